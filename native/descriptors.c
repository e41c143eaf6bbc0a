// Which descriptors live on. close_range(2) does it since 5.9, its CLOEXEC flag since 5.11; before that /proc/self/fd is walked.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

// Calls `visit` for every open descriptor in the range.
static bool each_descriptor(unsigned first, unsigned last, bool (*visit)(int descriptor)) {
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return false;
  int own = dirfd(directory);
  bool ok = true;
  for (struct dirent *entry = readdir(directory); entry != NULL && ok; entry = readdir(directory)) {
    char *end;
    long number = strtol(entry->d_name, &end, 10);
    bool numeric = end != entry->d_name && *end == '\0';
    if (numeric && number >= (long)first && (unsigned long)number <= last && number != own) ok = visit((int)number);
  }
  return closedir(directory) == 0 && ok;
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

bool descriptors_close_except(const int *kept, size_t count) {
  unsigned next = 3;
  for (size_t i = 0; i < count; i++) {
    if (kept[i] < (int)next) continue;
    if (!close_between(next, (unsigned)kept[i] - 1)) return false;
    next = (unsigned)kept[i] + 1;
  }
  return close_between(next, UINT_MAX);
}
