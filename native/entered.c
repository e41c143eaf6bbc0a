// A root that is only entered, by chroot(2), has no mount of its own, and so neither "nodev" nor a proc of the sandbox. What stands in it is what the
// command gets. Two things would lead out of it, whatever else the command lacks: a device, which needs no capability but the permission of its file
// (the disk, the memory of the machine), and a mount of the host, whose proc leads to the roots of other processes of the same user. So the whole tree is
// looked at before it is entered. The command can make neither in it, for it has no capability to.
#include "entered.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "report.h"
#include "sys.h"

#define ENTRIES_BYTES 8192
#define DEPTH_MAX 512

static struct {
  dev_t device;
  int directory[DEPTH_MAX];
  size_t path_length[DEPTH_MAX];
  size_t depth;
  char path[REPORT_PATH_BYTES];
} walk;

// What every root of a distribution has, and every user may use: null, zero, full, random, urandom; tty and ptmx.
static bool is_harmless_device(const struct stat *status) {
  if (!S_ISCHR(status->st_mode)) return false;
  unsigned number = minor(status->st_rdev);
  if (major(status->st_rdev) == 1) return number == 3 || number == 5 || number == 7 || number == 8 || number == 9;
  return major(status->st_rdev) == 5 && (number == 0 || number == 2);
}

static bool append_name(const char *name) {
  size_t used = walk.path_length[walk.depth - 1];
  size_t length = strlen(name);
  if (used + length + 2 > sizeof walk.path) {
    errno = ENAMETOOLONG;
    return false;
  }
  walk.path[used] = '/';
  memcpy(walk.path + used + 1, name, length + 1);
  return true;
}

// Preconditions: the path is that of the directory.
static bool descend(int directory) {
  if (directory < 0) return false;
  if (walk.depth == DEPTH_MAX) {
    (void)close(directory);
    errno = ENAMETOOLONG;
    return false;
  }
  walk.path_length[walk.depth] = strlen(walk.path);
  walk.directory[walk.depth++] = directory;
  return true;
}

static bool leave(void) { return close(walk.directory[--walk.depth]) == 0; }

static bool look_at_directory(const char *name, const struct stat *status) {
  if (status->st_dev != walk.device) {
    errno = EXDEV;
    return false;
  }
  return descend(openat(walk.directory[walk.depth - 1], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Directories and devices; the kinds that hold nothing and lead nowhere are known by the list itself.
static bool look_at(const char *name) {
  struct stat status;
  if (!append_name(name)) return false;
  // Gone since it was listed.
  if (fstatat(walk.directory[walk.depth - 1], name, &status, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT;
  if (S_ISDIR(status.st_mode)) return look_at_directory(name, &status) || errno == ENOENT;
  if ((!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) || is_harmless_device(&status)) return true;
  errno = EPERM;
  return false;
}

static bool is_worth_a_look(const struct sbx_dirent *entry, const char *name) {
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
  return entry->type == DT_DIR || entry->type == DT_CHR || entry->type == DT_BLK || entry->type == DT_UNKNOWN;
}

// One piece of the innermost directory. Where a directory is found in it the rest waits: it is read again from there on.
static bool read_piece(void) {
  static char entries[ENTRIES_BYTES];
  size_t depth = walk.depth;
  int directory = walk.directory[depth - 1];
  long got = sys_getdents(directory, entries, sizeof entries);
  if (got < 0) return false;
  if (got == 0) return leave();
  for (size_t at = 0; at + sizeof(struct sbx_dirent) < (size_t)got;) {
    struct sbx_dirent entry;
    memcpy(&entry, entries + at, sizeof entry);
    const char *name = entries + at + sizeof entry;
    if (is_worth_a_look(&entry, name) && !look_at(name)) return false;
    if (walk.depth > depth) return lseek(directory, entry.next, SEEK_SET) >= 0;
    at += entry.length;
  }
  return true;
}

bool entered_is_harmless(int root, const char *path, const char **found) {
  struct stat status;
  *found = path;
  if (strlen(path) >= sizeof walk.path) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(walk.path, path, strlen(path) + 1);
  if (fstat(root, &status) < 0) return false;
  walk.device = status.st_dev;
  walk.depth = 0;
  if (!descend(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))) return false;
  *found = walk.path;
  while (walk.depth > 0) {
    walk.path[walk.path_length[walk.depth - 1]] = '\0';
    if (!read_piece()) return false;
  }
  return true;
}
