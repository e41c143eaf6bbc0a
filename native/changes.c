#include "changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATH_LENGTH_MAX (CHANGES_DEPTH_MAX * (NAME_MAX + 1) + NAME_MAX + 2)

static char path[PATH_LENGTH_MAX];
static char output[65536];
static size_t pending;

static bool flush(void) {
  for (size_t done = 0; done < pending;) {
    ssize_t written = write(STDOUT_FILENO, output + done, pending - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    done += (size_t)written;
  }
  pending = 0;
  return true;
}

static bool put(const char *bytes, size_t length) {
  if (length > sizeof output - pending && !flush()) return false;
  if (length > sizeof output) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(output + pending, bytes, length);
  pending += length;
  return true;
}

static char type_of(const struct stat *status) {
  switch (status->st_mode & S_IFMT) {
    case S_IFDIR: return 'd';
    case S_IFREG: return 'f';
    case S_IFLNK: return 'l';
    case S_IFIFO: return 'p';
    case S_IFSOCK: return 's';
    case S_IFBLK: return 'b';
    // overlayfs.rst: device 0/0 says that there is nothing of this name any more.
    case S_IFCHR: return status->st_rdev == 0 ? 'w' : 'c';
    default: return '?';
  }
}

// overlayfs.rst, with userxattr: what the layers below have in a directory of this name does not show.
static bool is_opaque(int directory) {
  char value[2];
  return fgetxattr(directory, "user.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

static bool is_marked(int parent, const char *name) {
  int file = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  // Marks can be read; other files may be closed.
  if (file < 0) return false;
  char value[2];
  bool marked = fgetxattr(file, CHANGES_WHITEOUT, value, sizeof value) == 1 && value[0] == 'y';
  (void)close(file);
  return marked;
}

static bool put_entry(char type, char mark, const struct stat *status) {
  char line[160];
  int length = snprintf(line, sizeof line, "%c%c %o %u %u %llu %lld.%09ld %llu ", type, mark, (unsigned)(status->st_mode & 07777),
                        (unsigned)status->st_uid, (unsigned)status->st_gid, (unsigned long long)status->st_size, (long long)status->st_mtim.tv_sec,
                        status->st_mtim.tv_nsec, (unsigned long long)status->st_ino);
  return length > 0 && (size_t)length < sizeof line && put(line, (size_t)length) && put(path, strlen(path) + 1);
}

static int open_directory(int parent, const char *name) { return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

// A command may have closed a directory even to its owner, who opens it for as long as it takes. By descriptor, for chmod(2) would follow a symlink.
static int open_closed(int parent, const char *name) {
  int found = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (found < 0) return -1;
  char self[32];
  (void)snprintf(self, sizeof self, "/proc/self/fd/%d", found);
  int opened = chmod(self, 0700) < 0 ? -1 : open_directory(parent, name);
  int error = errno;
  (void)close(found);
  errno = error;
  return opened;
}

static bool list(int directory, size_t length, unsigned depth);

static bool list_below(int parent, const char *name, const struct stat *status, size_t length, unsigned depth) {
  if (depth == CHANGES_DEPTH_MAX) return put_entry('d', 'x', status);
  bool closed = (status->st_mode & 0700) != 0700 && geteuid() != 0;
  int directory = closed ? open_closed(parent, name) : open_directory(parent, name);
  if (directory < 0) return false;
  int again = closed ? dup(directory) : -1;
  bool ok = (!closed || again >= 0) && put_entry('d', is_opaque(directory) ? 'o' : '-', status) && list(directory, length, depth + 1);
  int error = errno;
  if (again >= 0) {
    if (fchmod(again, status->st_mode & 07777) < 0 && ok) ok = false, error = errno;
    (void)close(again);
  }
  errno = error;
  return ok;
}

static bool list_entry(int parent, const char *name, size_t length, unsigned depth) {
  size_t more = strlen(name);
  if (length + more + 2 > sizeof path) {
    errno = ENAMETOOLONG;
    return false;
  }
  if (length > 0) path[length++] = '/';
  memcpy(path + length, name, more + 1);
  struct stat status;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return false;
  if (S_ISDIR(status.st_mode)) return list_below(parent, name, &status, length + more, depth);
  bool marked = S_ISREG(status.st_mode) && status.st_size == 0 && is_marked(parent, name);
  return put_entry(marked ? 'w' : type_of(&status), '-', &status);
}

// Takes the descriptor over.
static bool list(int directory, size_t length, unsigned depth) {
  DIR *entries = fdopendir(directory);
  if (entries == NULL) return false;
  bool ok = true;
  while (ok) {
    errno = 0;
    const struct dirent *entry = readdir(entries);
    if (entry == NULL) break;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    ok = list_entry(directory, entry->d_name, length, depth);
  }
  int error = errno;
  (void)closedir(entries);
  errno = error;
  // What failed stays in `path`; what was listed whole does not.
  if (error != 0) return false;
  path[length] = '\0';
  return ok;
}

int changes_list(const char *directory) {
  int upper = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (upper >= 0 && list(upper, 0, 0) && flush()) return 0;
  int error = errno;
  (void)fprintf(stderr, "%s: %s\n", path[0] == '\0' ? directory : path, strerror(error));
  return 1;
}
