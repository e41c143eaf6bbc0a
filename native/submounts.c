// The table of mounts, proc_pid_mountinfo(5), has for each its own number, that of its parent, and its path. Only the numbers tell what belongs to the
// new root: the same paths exist in the old one, which it covers.
#include "submounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paths.h"

#define SUBMOUNTS_MAX 4096
#define TEXT_BYTES 65536  // holds any line: three paths at most, each byte as an octal escape

struct walk {
  int root;
  bool (*visit)(int mount_fd, void *context);
  void *context;
  long numbers[SUBMOUNTS_MAX];
  size_t count;
  bool found_more;
};

// From /proc/self/fdinfo, since 3.15; -1 with errno.
static long mount_number(int descriptor) {
  char path[40], text[512];
  (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", descriptor);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  ssize_t got = read(file, text, sizeof text - 1);
  (void)close(file);
  text[got > 0 ? got : 0] = '\0';
  const char *found = strstr(text, "mnt_id:");
  if (found != NULL) return strtol(found + strlen("mnt_id:"), NULL, 10);
  errno = ENOSYS;
  return -1;
}

static bool knows(const struct walk *walk, long number) {
  for (size_t i = 0; i < walk->count; i++) {
    if (walk->numbers[i] == number) return true;
  }
  return false;
}

// "\040" is a blank, and so on for what would end a field.
static void unescape(char *text) {
  char *to = text;
  for (; *text != '\0'; text++) {
    bool escaped = text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' && text[3] <= '7';
    *to++ = escaped ? (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0')) : *text;
    if (escaped) text += 3;
  }
  *to = '\0';
}

static bool visit_mount(const struct walk *walk, long number, const char *path) {
  int found = path_open(walk->root, path);
  if (found < 0) return false;
  // Another number: this one is covered at its whole by a further mount, which has its own line, and cannot be seen.
  bool ok = mount_number(found) != number || walk->visit(found, walk->context);
  int saved = errno;
  (void)close(found);
  errno = saved;
  return ok;
}

// "36 35 98:0 /root /point options ...".
static bool read_line(struct walk *walk, char *line) {
  char *rest;
  long number = strtol(line, &rest, 10);
  long parent = strtol(rest, &rest, 10);
  if (!knows(walk, parent) || knows(walk, number)) return true;
  if (walk->count == SUBMOUNTS_MAX) {
    errno = E2BIG;
    return false;
  }
  char *saved;
  char *point = strtok_r(rest, " ", &saved);
  for (int field = 0; point != NULL && field < 2; field++) point = strtok_r(NULL, " ", &saved);
  if (point == NULL) {
    errno = EPROTO;
    return false;
  }
  walk->numbers[walk->count++] = number;
  walk->found_more = true;
  unescape(point);
  return visit_mount(walk, number, point);
}

static bool read_lines(struct walk *walk, int table) {
  static char text[TEXT_BYTES];
  size_t used = 0;
  for (;;) {
    ssize_t got = read(table, text + used, sizeof text - 1 - used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0 && used == 0;
    used += (size_t)got;
    text[used] = '\0';
    char *line = text;
    for (char *end = strchr(line, '\n'); end != NULL; end = strchr(line, '\n')) {
      *end = '\0';
      if (!read_line(walk, line)) return false;
      line = end + 1;
    }
    used -= (size_t)(line - text);
    memmove(text, line, used);
  }
}

bool submounts_each(int mounted, int root, bool (*visit)(int mount_fd, void *context), void *context) {
  static struct walk walk;
  walk.root = root;
  walk.visit = visit;
  walk.context = context;
  walk.count = 1;
  walk.numbers[0] = mount_number(mounted);
  if (walk.numbers[0] < 0) return false;
  // Parents come before their children nearly always; when not, the next round finds them.
  do {
    walk.found_more = false;
    int table = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (table < 0) return false;
    errno = EPROTO;  // for a last line without its end
    bool ok = read_lines(&walk, table);
    int saved = errno;
    (void)close(table);
    errno = saved;
    if (!ok) return false;
  } while (walk.found_more);
  return true;
}
