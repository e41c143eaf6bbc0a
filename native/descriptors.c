// Which descriptors live on. close_range(2) does it since 5.9, its CLOEXEC flag since 5.11; before that /proc/self/fd is walked, by system calls
// alone: the command's process does this between clone and exec.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

#define ENTRIES_BYTES 4096

// -1 for "." and "..".
static long descriptor_of(const char *name) {
  long number = 0;
  if (*name == '\0') return -1;
  for (; *name != '\0'; name++) {
    if (*name < '0' || *name > '9' || number > INT_MAX / 10) return -1;
    number = number * 10 + (*name - '0');
  }
  return number;
}

// Only the kernel's own list will do, not a directory that somebody mounted in its place.
static int open_list(void) {
  int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list < 0) return -1;
  struct statfs status;
  if (fstatfs(list, &status) == 0 && status.f_type == SBX_PROC_MAGIC) return list;
  (void)close(list);
  errno = ENOSYS;
  return -1;
}

static bool visit_entries(const char *entries, size_t length, int list, unsigned first, unsigned last, bool (*visit)(int descriptor)) {
  for (size_t at = 0; at + sizeof(struct sbx_dirent) < length;) {
    struct sbx_dirent head;
    memcpy(&head, entries + at, sizeof head);
    long number = descriptor_of(entries + at + sizeof head);
    if (number != list && number >= (long)first && number <= (long)last && !visit((int)number)) return false;
    at += head.length;
  }
  return true;
}

// Calls `visit` for every open descriptor in the range. The list is in the order of the numbers and read by position, so that closing what was
// visited leaves out nothing.
static bool each_descriptor(unsigned first, unsigned last, bool (*visit)(int descriptor)) {
  int list = open_list();
  if (list < 0) return false;
  char entries[ENTRIES_BYTES];
  ssize_t got;
  bool ok = true;
  while (ok && (got = sys_getdents(list, entries, sizeof entries)) != 0) {
    ok = got > 0 && visit_entries(entries, (size_t)got, list, first, last, visit);
  }
  return close(list) == 0 && ok;
}

static bool mark(int descriptor) { return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0; }
static bool shut(int descriptor) { return close(descriptor) == 0; }

bool descriptors_close_on_exec(unsigned first) {
  if (sys_close_range(first, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0) return true;
  if (errno != ENOSYS && errno != EINVAL && errno != EPERM) return false;
  return each_descriptor(first, UINT_MAX, mark);
}

static bool close_between(unsigned first, unsigned last) {
  if (first > last || sys_close_range(first, last, 0) == 0) return true;
  if (errno != ENOSYS && errno != EPERM) return false;
  return each_descriptor(first, last, shut);
}

static bool close_from(unsigned next, const int *kept, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (kept[i] < (int)next) continue;
    if (!close_between(next, (unsigned)kept[i] - 1)) return false;
    next = (unsigned)kept[i] + 1;
  }
  return close_between(next, UINT_MAX);
}

bool descriptors_close_except(const int *kept, size_t count) { return close_from(3, kept, count); }

// Two passes, because what one descriptor is to become another may still be.
bool descriptors_arrange(int *from, const int *to, size_t count, int *kept) {
  int above = 3;
  for (size_t i = 0; i < count; i++) {
    if (to[i] >= above) above = to[i] + 1;
  }
  int moved = fcntl(*kept, F_DUPFD_CLOEXEC, above);
  if (moved < 0) return false;
  *kept = moved;
  for (size_t i = 0; i < count; i++) {
    from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, above);
    if (from[i] < 0) return false;
  }
  // In ascending order, as they were made.
  if (!close_between(3, (unsigned)moved - 1) || !close_from((unsigned)moved + 1, from, count)) return false;
  for (size_t i = 0; i < count; i++) {
    if (dup2(from[i], to[i]) < 0) return false;
  }
  for (size_t i = 0; i < count; i++) (void)close(from[i]);
  return true;
}
