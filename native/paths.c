// Path resolution inside a root that may have been prepared to hurt us. openat2(2) does it in the kernel since 5.6; before that the same walk is
// made here, one component at a time, never letting the kernel follow a link.
#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

#define LINKS_MAX 40  // as path_resolution(7)

static void close_keeping_errno(int descriptor) {
  int saved = errno;
  (void)close(descriptor);
  errno = saved;
}

// Opens a path that has neither links nor dots in it: where a link appears all the same, somebody is swapping components, and the next
// openat(2) fails with ENOTDIR.
static int open_plain(int root, const char *path) {
  int current = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char name[NAME_MAX + 1];
  while (current >= 0 && *path != '\0') {
    size_t length = strcspn(path, "/");
    if (length > NAME_MAX) {
      close_keeping_errno(current);
      errno = ENAMETOOLONG;
      return -1;
    }
    memcpy(name, path, length);
    name[length] = '\0';
    int next = openat(current, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    close_keeping_errno(current);
    current = next;
    path += length;
    while (*path == '/') path++;
  }
  return current;
}

struct walk {
  char done[PATH_MAX];     // resolved so far: no links, no dots, no leading slash
  char pending[PATH_MAX];  // still to do
  int links;
};

static bool append(char *to, const char *text, size_t length) {
  size_t used = strlen(to);
  if (used + length + 2 > PATH_MAX) {
    errno = ENAMETOOLONG;
    return false;
  }
  if (used > 0) to[used++] = '/';
  memcpy(to + used, text, length);
  to[used + length] = '\0';
  return true;
}

static void drop_last(char *path) {
  char *slash = strrchr(path, '/');
  *(slash == NULL ? path : slash) = '\0';
}

// The link that `done` ends with is replaced by what it holds, in front of what is pending.
static bool expand_link(struct walk *walk, int link) {
  char target[PATH_MAX];
  ssize_t length = readlinkat(link, "", target, sizeof target - 1);
  if (length < 0) return false;
  target[length] = '\0';
  if (++walk->links > LINKS_MAX) {
    errno = ELOOP;
    return false;
  }
  if (target[0] == '/') walk->done[0] = '\0';
  else drop_last(walk->done);
  if (!append(target, walk->pending, strlen(walk->pending))) return false;
  memcpy(walk->pending, target, strlen(target) + 1);
  return true;
}

static int open_by_hand(int root, const char *path) {
  struct walk walk = {.done = "", .pending = "", .links = 0};
  if (!append(walk.pending, path, strlen(path))) return -1;
  for (;;) {
    char *rest = walk.pending + strspn(walk.pending, "/");
    size_t length = strcspn(rest, "/");
    if (length == 0) return open_plain(root, walk.done);
    bool dot = length == 1 && rest[0] == '.';
    bool dots = length == 2 && rest[0] == '.' && rest[1] == '.';
    if (dots) drop_last(walk.done);
    else if (!dot && !append(walk.done, rest, length)) return -1;
    memmove(walk.pending, rest + length, strlen(rest + length) + 1);
    if (dot || dots) continue;
    int found = open_plain(root, walk.done);
    if (found < 0) return -1;
    struct stat status;
    bool ok = fstat(found, &status) == 0 && (!S_ISLNK(status.st_mode) || expand_link(&walk, found));
    close_keeping_errno(found);
    if (!ok) return -1;
  }
}

int path_open(int root, const char *path) {
  for (;;) {
    int found = sys_openat2(root, path, O_PATH | O_CLOEXEC, 0, SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_MAGICLINKS);
    if (found >= 0) return found;
    // EAGAIN: a rename raced with a ".."; the kernel asks to try again.
    if (errno == EAGAIN || errno == EINTR) continue;
    // Older container filters answer EPERM for system calls that they do not know.
    if (errno == ENOSYS || errno == EPERM) return open_by_hand(root, path);
    return -1;
  }
}

// For kernels before 5.6, and filters that know no openat2(2).
static int open_without_links_by_hand(const char *path) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return -1;
  int found = open_plain(root, path + strspn(path, "/"));
  close_keeping_errno(root);
  struct stat status;
  if (found < 0) return -1;
  bool known = fstat(found, &status) == 0;
  if (known && !S_ISLNK(status.st_mode)) return found;
  if (known) errno = ELOOP;
  close_keeping_errno(found);
  return -1;
}

int path_open_without_links(const char *path) {
  // Of any other path the kernel would begin elsewhere.
  if (path[0] != '/') return open_without_links_by_hand(path);
  for (;;) {
    int found = sys_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, SBX_RESOLVE_NO_SYMLINKS);
    if (found >= 0) return found;
    if (errno == EAGAIN || errno == EINTR) continue;
    return errno == ENOSYS || errno == EPERM ? open_without_links_by_hand(path) : -1;
  }
}

// Opens `path` up to `length` bytes of it, making that last component a directory where it is missing.
static int open_or_make(int root, int parent, const char *path, size_t length, const char *name, size_t name_length, mode_t mode) {
  char prefix[PATH_MAX];
  char component[NAME_MAX + 1];
  if (length >= sizeof prefix || name_length >= sizeof component) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(prefix, path, length);
  prefix[length] = '\0';
  int found = path_open(root, prefix);
  if (found >= 0 || errno != ENOENT) return found;
  memcpy(component, name, name_length);
  component[name_length] = '\0';
  if (mkdirat(parent, component, mode) < 0) return -1;
  return openat(parent, component, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
}

static int make_directories(int root, const char *path, size_t length, mode_t mode) {
  int current = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  size_t at = 0;
  while (current >= 0) {
    while (at < length && path[at] == '/') at++;
    if (at == length) break;
    size_t name_length = 0;
    while (at + name_length < length && path[at + name_length] != '/') name_length++;
    if (name_length == 2 && memcmp(path + at, "..", 2) == 0) {
      close_keeping_errno(current);
      errno = EINVAL;
      return -1;
    }
    int next = open_or_make(root, current, path, at + name_length, path + at, name_length, mode);
    close_keeping_errno(current);
    current = next;
    at += name_length;
  }
  return current;
}

// The directory that is to hold the last component, when it is there already, which it nearly always is.
static int open_existing_parent(int root, const char *path, const char **name) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  *name = slash == NULL ? path : slash + 1;
  size_t length = (size_t)(*name - path);
  bool plain = (*name)[0] != '\0' && strcmp(*name, ".") != 0 && strcmp(*name, "..") != 0;
  if (!plain || length >= sizeof parent) {
    errno = plain ? ENAMETOOLONG : EINVAL;
    return -1;
  }
  memcpy(parent, path, length);
  parent[length] = '\0';
  return path_open(root, length == 0 ? "/" : parent);
}

// What is there under a name that could not be made.
static int open_existing(int root, const char *path) {
  int found = path_open(root, path);
  // A link that leads to nothing.
  if (found < 0 && errno == ENOENT) errno = EEXIST;
  return found;
}

// In a view of the host all is made, so that to look first would find nothing, nearly always.
int path_make_directory(int root, const char *path, mode_t mode) {
  const char *name;
  int parent = open_existing_parent(root, path, &name);
  if (parent < 0) {
    // Parents are to be made too, or the path has a form that only the slow way takes.
    int found = path_open(root, path);
    return found >= 0 || errno != ENOENT ? found : make_directories(root, path, strlen(path), mode);
  }
  bool made = mkdirat(parent, name, mode) == 0;
  int found = made ? openat(parent, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC) : -1;
  close_keeping_errno(parent);
  return made || errno != EEXIST ? found : open_existing(root, path);
}

int path_open_parent(int root, const char *path, const char **name) {
  int found = open_existing_parent(root, path, name);
  if (found >= 0 || errno != ENOENT) return found;
  return make_directories(root, path, (size_t)(*name - path), 0755);
}

int path_make_file(int root, const char *path, mode_t mode) {
  const char *name;
  int parent = path_open_parent(root, path, &name);
  if (parent < 0) {
    int error = errno;
    int found = path_open(root, path);
    if (found < 0) errno = error;
    return found;
  }
  // mknod(2) makes a regular file without opening it.
  bool made = mknodat(parent, name, S_IFREG | mode, 0) == 0;
  int file = made ? openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
  close_keeping_errno(parent);
  return made || errno != EEXIST ? file : open_existing(root, path);
}

static int open_component(int directory, const char *name) {
  int found = openat(directory, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
  struct stat status;
  // For a link too the kernel says ENOTDIR, as for any other that is no directory.
  if (found < 0 && errno == ENOTDIR && fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0) errno = S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
  return found;
}

// Another file system than that of `root` is refused, as RESOLVE_NO_XDEV does; of a bind mount of the same one only openat2(2) knows.
static bool is_on_same(int root, int directory) {
  struct stat above, below;
  if (fstat(root, &above) < 0 || fstat(directory, &below) < 0) return false;
  if (above.st_dev == below.st_dev) return true;
  errno = EXDEV;
  return false;
}

// Goes down `length` bytes of `path`, one component at a time; makes what is missing where `makes` says so.
static int descend(int root, const char *path, size_t length, bool makes) {
  int current = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char name[NAME_MAX + 1];
  for (size_t at = 0; current >= 0 && at < length;) {
    size_t size = strcspn(path + at, "/");
    if (size == 0 || size > NAME_MAX || (path[at] == '.' && (size == 1 || (size == 2 && path[at + 1] == '.')))) {
      close_keeping_errno(current);
      errno = size > NAME_MAX ? ENAMETOOLONG : EINVAL;
      return -1;
    }
    memcpy(name, path + at, size);
    name[size] = '\0';
    int next = open_component(current, name);
    if (next < 0 && errno == ENOENT && makes && (mkdirat(current, name, 0755) == 0 || errno == EEXIST)) next = open_component(current, name);
    if (next >= 0 && !is_on_same(root, next)) {
      close_keeping_errno(next);
      next = -1;
    }
    close_keeping_errno(current);
    current = next;
    at += size + (path[at + size] == '/');
  }
  return current;
}

int path_open_beneath(int root, const char *path) {
  if (path[0] == '\0') return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (;;) {
    uint64_t resolve = SBX_RESOLVE_BENEATH | SBX_RESOLVE_NO_SYMLINKS | SBX_RESOLVE_NO_MAGICLINKS | SBX_RESOLVE_NO_XDEV;
    int found = sys_openat2(root, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, resolve);
    if (found >= 0) return found;
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno == ENOSYS || errno == EPERM) return descend(root, path, strlen(path), false);
    return -1;
  }
}

int path_make_parent_beneath(int root, const char *path, const char **name) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  *name = slash == NULL ? path : slash + 1;
  size_t length = slash == NULL ? 0 : (size_t)(slash - path);
  if (length >= sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, length);
  parent[length] = '\0';
  int found = path_open_beneath(root, parent);
  return found >= 0 || errno != ENOENT ? found : descend(root, parent, length, true);
}
