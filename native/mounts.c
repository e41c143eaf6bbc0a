// Runs in init, in its new namespaces, with the capabilities of its user namespace. Every function ends the process through fail() when its
// step cannot be done. Descriptors that stay open end with the process or are close-on-exec.
//
// The mount API of Linux 5.2 (open_tree, move_mount, fsopen) and mount_setattr of 5.12 are used where the kernel has them: a mount is made
// detached, gets all its flags, and only then appears. Else mount(2) does it in more steps, through /proc/self/fd.
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "capture.h"
#include "entered.h"
#include "filesystem.h"
#include "paths.h"
#include "report.h"
#include "submounts.h"
#include "sys.h"

// The new root is mounted over "/", where nothing else of the old root is hidden by it: lookups start at the old root, below what covers it.
// By path only this leads to what covers it, because going up from "/" stays there and then crosses the mount.
#define COVERING_ROOT "/.."

static int new_root = -1;
static int root_source = -1;  // the directory that the root shows, by the caller's own mount of it
static int fresh_proc = -1;
static int trees[PLAN_TREES_MAX];  // detached, in the order of their records
static uint32_t tree_count;
static unsigned covers;           // of ours over the old root, below the new one: see mounts_pivot
static int disk = -1;             // one of them: the file system of which the sandbox's own directories are parts
static unsigned disk_directories;
static bool only_entered;         // a root without mounts of its own: chroot(2)

// In a user namespace the kernel refuses a remount that would clear a flag of the source ("locked"), so those that are there are repeated.
static unsigned long flags_in_place(int descriptor) {
  struct statvfs status;
  if (fstatvfs(descriptor, &status) < 0) return 0;
  unsigned long result = 0;
  if (status.f_flag & ST_RDONLY) result |= MS_RDONLY;
  if (status.f_flag & ST_NOSUID) result |= MS_NOSUID;
  if (status.f_flag & ST_NODEV) result |= MS_NODEV;
  if (status.f_flag & ST_NOEXEC) result |= MS_NOEXEC;
  if (status.f_flag & ST_NOATIME) result |= MS_NOATIME;
  if (status.f_flag & ST_NODIRATIME) result |= MS_NODIRATIME;
  if (status.f_flag & ST_RELATIME) result |= MS_RELATIME;
  return result;
}

static bool remount_one(int mount_fd, void *flags) {
  char path[32];
  descriptor_path(path, mount_fd);
  unsigned long wanted = MS_REMOUNT | MS_BIND | legacy_flags_of(*(const uint32_t *)flags) | flags_in_place(mount_fd);
  return mount(NULL, path, NULL, wanted, NULL) == 0;
}

// mount(2) changes one mount at a time; the ones below are looked up.
static void legacy_remount(const struct mount_step *at, int mount_fd, uint32_t flags, bool recursive) {
  if (!remount_one(mount_fd, &flags)) fail_mount(at, "mount");
  if (recursive && !submounts_each(mount_fd, new_root, remount_one, &flags)) fail_mount(at, "mount");
}

// Asked with nothing to change, which the kernel answers before it looks at the path.
static bool kernel_has_mount_setattr(void) {
  static int known = -1;
  if (known < 0) known = sys_mount_setattr(-1, "", 0, &(struct sbx_mount_attr){0}) == 0 || (errno != ENOSYS && errno != EPERM);
  return known == 1;
}

// mount_setattr(2), or remounts for kernels before 5.12.
static void set_attributes(const struct mount_step *at, int mount_fd, uint32_t flags, bool recursive) {
  struct sbx_mount_attr attributes = {.attr_set = attributes_of(flags), .propagation = MS_PRIVATE};
  unsigned how = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);
  if (!kernel_has_mount_setattr()) legacy_remount(at, mount_fd, flags, recursive);
  else if (sys_mount_setattr(mount_fd, "", how, &attributes) < 0) fail_mount(at, "mount_setattr");
}

// Opens what a bind is to show. It is looked up once, here, and only the descriptor is used from now on: what somebody puts at the path later
// does not matter. What was put there between the check and now must not lead elsewhere either: an earlier run of the same sandbox may have left a
// symlink in a directory that it could write to.
static int open_source(const struct mount_step *at, const char *source, uint32_t kind, uint32_t flags) {
  int found;
  if (flags & PLAN_MOUNT_SOURCE_IN_ROOT) found = path_open(new_root, source);
  else if (flags & PLAN_MOUNT_SOURCE_OF_ROOT) found = path_open(root_source, source);
  else if (flags & PLAN_MOUNT_SOURCE_WITHOUT_LINKS) found = path_open_without_links(source);
  // Not open(3), which with musl sets FD_CLOEXEC once more.
  else found = openat(AT_FDCWD, source, O_PATH | O_CLOEXEC);
  if (found < 0 && errno == ENOENT && (flags & PLAN_MOUNT_IF_EXISTS)) return -1;
  if (found < 0) fail(at->step, at->index, "open", source);
  struct stat status;
  if (fstat(found, &status) < 0) fail(at->step, at->index, "fstat", source);
  bool directory = S_ISDIR(status.st_mode);
  if ((kind == PLAN_SOURCE_DIRECTORY && !directory) || (kind == PLAN_SOURCE_FILE && directory)) {
    errno = directory ? EISDIR : ENOTDIR;
    fail(at->step, at->index, "open", source);
  }
  return found;
}

static bool is_directory(const struct mount_step *at, int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) < 0) fail_mount(at, "fstat");
  return S_ISDIR(status.st_mode);
}

// The mount point, made where the plan says so. -1: absent, and the plan allows that.
static int open_target(const struct mount_step *at, uint32_t flags, bool directory) {
  int target;
  if (!(flags & PLAN_MOUNT_CREATE)) target = path_open(new_root, at->path);
  else if (directory) target = path_make_directory(new_root, at->path, 0755);
  else target = path_make_file(new_root, at->path, 0644);
  if (target < 0 && errno == ENOENT && (flags & PLAN_MOUNT_IF_EXISTS)) return -1;
  if (target < 0) fail_mount(at, (flags & PLAN_MOUNT_CREATE) ? "mkdirat" : "openat2");
  if (is_directory(at, target) != directory) {
    errno = directory ? ENOTDIR : EISDIR;
    fail_mount(at, "move_mount");
  }
  return target;
}

// A detached copy of a tree of mounts with its flags set; -1 where the kernel is too old, and mount(2) must do.
static int detached_bind(const struct mount_step *at, int source, uint32_t flags) {
  if (!kernel_has_mount_setattr()) return -1;
  bool recursive = (flags & PLAN_MOUNT_RECURSIVE) != 0;
  int tree = sys_open_tree(source, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U));
  if (tree < 0) fail_mount(at, "open_tree");
  set_attributes(at, tree, flags, recursive);
  return tree;
}

static void legacy_bind(const struct mount_step *at, int source, int target, uint32_t flags) {
  char from[32], to[32];
  descriptor_path(from, source);
  descriptor_path(to, target);
  bool recursive = (flags & PLAN_MOUNT_RECURSIVE) != 0;
  if (mount(from, to, NULL, MS_BIND | (recursive ? MS_REC : 0UL), NULL) < 0) fail_mount(at, "mount");
  int mounted = path_open(new_root, at->path);
  if (mounted < 0) fail_mount(at, "openat2");
  int same = sys_same_file(mounted, source);
  if (same < 0) fail_mount(at, "fstat");
  if (same == 0) {
    errno = ESTALE;  // somebody moved the mount point meanwhile
    fail_mount(at, "mount");
  }
  legacy_remount(at, mounted, flags, recursive);
  (void)close(mounted);
}

static void bind_mount(const struct mount_step *at, int source, uint32_t flags) {
  int target = open_target(at, flags, is_directory(at, source));
  if (target < 0) return;
  int tree = detached_bind(at, source, flags);
  if (tree >= 0) attach(at, tree, target);
  else legacy_bind(at, source, target, flags);
  if (tree >= 0) (void)close(tree);
  (void)close(target);
}

// Mounts a new file system on `target` and returns a descriptor of its root.
static int mount_filesystem(const struct mount_step *at, const char *type, const char *options, uint32_t flags, int target) {
  int mount_fd = detached_filesystem(at, type, options, flags);
  if (mount_fd >= 0) {
    attach(at, mount_fd, target);
    return mount_fd;
  }
  char to[32];
  descriptor_path(to, target);
  if (mount(type, to, type, legacy_flags_of(flags), options) < 0) fail_mount(at, "mount");
  mount_fd = new_root < 0 ? open(COVERING_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC) : path_open(new_root, at->path);
  if (mount_fd < 0) fail_mount(at, "open");
  return mount_fd;
}

void mounts_begin(void) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail(STEP_ROOT, NO_INDEX, "mount", "/");
}

static int open_root(const struct mount_step *at, const char *path) {
  int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail(at->step, at->index, "open", path);
  return root;
}

static void root_by_bind(const struct mount_step *at, int base, int source, uint32_t flags) {
  int tree = detached_bind(at, source, flags | PLAN_MOUNT_RECURSIVE);
  if (tree >= 0) {
    attach(at, tree, base);
    new_root = tree;
    return;
  }
  char from[32], to[32];
  descriptor_path(from, source);
  descriptor_path(to, base);
  if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0) fail_mount(at, "mount");
  new_root = open_root(at, COVERING_ROOT);
  legacy_remount(at, new_root, flags, true);
}

// The next part of the disk.
static int make_disk_directory(const struct mount_step *at) {
  char name[16];
  (void)snprintf(name, sizeof name, "%u", disk_directories++);
  if (mkdirat(disk, name, 0700) < 0) fail_mount(at, "mkdirat");
  int part = openat(disk, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (part < 0) fail_mount(at, "openat");
  return part;
}

static bool write_all(int descriptor, const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(descriptor, bytes, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes += written;
    length -= (size_t)written;
  }
  return true;
}

// Layers of the overlay that comes next, below its source.
static int below[PLAN_LAYERS_MAX];
static size_t below_count;

// overlayfs shows the uppermost directory: one on the way to a mount point has to be what it is in the layers below.
static void make_alike(const struct mount_step *at, int skeleton, const char *path, uint32_t layer) {
  int made = path_make_directory(skeleton, path, 0755);
  int opened = made < 0 ? -1 : openat(made, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) fail(at->step, at->index, "mkdirat", path);
  int lower = path_open_beneath(layer == 0 ? root_source : below[layer - 1], path + 1);
  // What is mounted in the source is not in the overlay.
  if (lower < 0 && errno != EXDEV && errno != ENOENT) fail(at->step, at->index, "openat2", path);
  if (lower >= 0) {
    take_place_of(at, opened, lower);
    (void)close(lower);
  }
  (void)close(opened);
  (void)close(made);
}

static void make_content(const struct mount_step *at, int skeleton, const char *path, struct reader *r) {
  uint32_t length = read_u32(r);
  const uint8_t *content = read_bytes(r, length);
  const char *name;
  int parent = path_open_parent(skeleton, path, &name);
  int file = parent < 0 ? -1 : openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0 || !write_all(file, content, length)) fail(at->step, at->index, file < 0 ? "openat" : "write", path);
  (void)close(file);
  (void)close(parent);
}

static void make_mount_point(const struct mount_step *at, int skeleton, const char *path, bool file) {
  int made = file ? path_make_file(skeleton, path, 0644) : path_make_directory(skeleton, path, 0755);
  if (made < 0) fail(at->step, at->index, file ? "openat" : "mkdirat", path);
  (void)close(made);
}

static void make_skeleton(const struct mount_step *at, int scratch, struct reader *r) {
  uint32_t count = read_u32(r);
  int skeleton = path_make_directory(scratch, "/skeleton", 0755);
  if (skeleton < 0) fail_mount(at, "mkdirat");
  for (uint32_t i = 0; i < count; i++) {
    uint32_t kind = read_u32(r);
    const char *path = read_string(r);
    if (kind == PLAN_SKELETON_LIKE) make_alike(at, skeleton, path, read_u32(r));
    else if (kind == PLAN_SKELETON_CONTENT) make_content(at, skeleton, path, r);
    else make_mount_point(at, skeleton, path, kind == PLAN_SKELETON_FILE);
  }
  (void)close(skeleton);
}

// Where a layer above has its two directories when nobody is to see it again: a part of the disk, or a tmpfs with bounds of its own, which covers the old
// root as the disk does.
static int layer_in_memory(const struct mount_step *at, const char *options) {
  int place;
  if (options[0] == '\0') {
    place = make_disk_directory(at);
  } else {
    int base = open_root(at, "/");
    place = mount_filesystem(at, "tmpfs", options, PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV, base);
    (void)close(base);
    covers++;
  }
  if (mkdirat(place, "upper", 0700) < 0 || mkdirat(place, "work", 0700) < 0) fail_mount(at, "mkdirat");
  return place;
}

// What is captured lies in its directory at once, or where there is a disk, which bounds it, at the end (capture.c).
static void add_upper(const struct mount_step *at, bool captured, const char *options, int lower, struct layers *layers) {
  int kept = captured ? path_open_without_links(options) : -1;
  if (captured && kept < 0) fail(at->step, at->index, "open", options);
  bool is_bounded = captured && disk >= 0;
  int place = captured && !is_bounded ? kept : layer_in_memory(at, captured ? "" : options);
  open_upper(at, place, lower, layers);
  (void)close(place);
  if (!is_bounded) return;
  int upper = fcntl(layers->upper, F_DUPFD_CLOEXEC, 3);
  if (upper < 0) fail_mount(at, "fcntl");
  capture_remember(upper, kept);
}

static void close_upper(const struct layers *layers) {
  (void)close(layers->upper);
  (void)close(layers->work);
}

void mounts_layer(struct record *record) {
  struct mount_step at = {.step = record->step, .index = record->index, .path = read_string(&record->payload)};
  below[below_count++] = open_source(&at, at.path, PLAN_SOURCE_DIRECTORY, PLAN_MOUNT_SOURCE_WITHOUT_LINKS);
}

static void add_layers_below(struct layers *layers, int *lowers) {
  for (size_t i = 0; i < below_count; i++) lowers[layers->count++] = below[i];
  layers->lowers = lowers;
}

static void close_layers_below(void) {
  while (below_count > 0) (void)close(below[--below_count]);
}

// An overlay. Above the directory, on a tmpfs, are the mount points that it lacks; above both, where the root is writable, what the command writes.
// Nothing is written to the directory.
static void root_by_overlay(const struct mount_step *at, int base, uint32_t kind, const char *options, struct reader *r) {
  struct layers layers = {.upper = -1, .work = -1};
  uint32_t flags = PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV | (kind == PLAN_ROOT_OVERLAY ? PLAN_MOUNT_READONLY : 0U);
  if (kind != PLAN_ROOT_OVERLAY) add_upper(at, kind == PLAN_ROOT_CAPTURE, options, root_source, &layers);
  int scratch = mount_filesystem(at, "tmpfs", "size=16m,mode=0755", PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV, base);
  make_skeleton(at, scratch, r);
  int skeleton = openat(scratch, "skeleton", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (skeleton < 0) fail_mount(at, "openat");
  int merged = path_make_directory(scratch, "/merged", 0755);
  if (merged < 0) fail_mount(at, "mkdirat");
  int lowers[PLAN_LAYERS_MAX + 2] = {skeleton, root_source};
  layers.count = 2;
  add_layers_below(&layers, lowers);
  new_root = mount_overlay(at, &layers, flags, merged);
  if (new_root < 0) new_root = openat(scratch, "merged", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (new_root < 0) fail_mount(at, "openat");
  if (kind != PLAN_ROOT_OVERLAY) close_upper(&layers);
  close_layers_below();
  (void)close(merged);
  (void)close(skeleton);
  (void)close(scratch);
  covers++;
}

void mounts_root(struct record *record) {
  struct reader *r = &record->payload;
  uint32_t kind = read_u32(r);
  uint32_t flags = PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV | (read_u32(r) == 1 ? PLAN_MOUNT_READONLY : 0U);
  const char *source = read_string(r);
  const char *options = read_string(r);
  struct mount_step at = {.step = record->step, .index = record->index, .path = kind == PLAN_ROOT_TMPFS ? "/" : source};
  if (kind == PLAN_ROOT_HOST) {
    // What follows is mounted in this mount namespace, over the host's own.
    new_root = open_root(&at, "/");
    return;
  }
  if (kind == PLAN_ROOT_CHROOT) {
    new_root = open_source(&at, source, PLAN_SOURCE_DIRECTORY, PLAN_MOUNT_SOURCE_WITHOUT_LINKS);
    only_entered = true;
    if (!entered_is_harmless(new_root, source, &at.path)) fail_mount(&at, "fstatat");
    return;
  }
  int base = open_root(&at, "/");
  if (kind == PLAN_ROOT_TMPFS) {
    new_root = mount_filesystem(&at, "tmpfs", options, PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV, base);
    (void)close(base);
    return;
  }
  root_source = open_source(&at, source, PLAN_SOURCE_DIRECTORY, PLAN_MOUNT_SOURCE_WITHOUT_LINKS);
  if (kind == PLAN_ROOT_BIND) root_by_bind(&at, base, root_source, flags);
  else root_by_overlay(&at, base, kind, options, r);
  (void)close(base);
}

// A directory or file with all that is mounted below it, as it is now: what is mounted over the host's own later is not in it. Without a fallback:
// before Linux 5.2 there is no mount that is nowhere.
void mounts_tree(struct record *record) {
  uint32_t kind = read_u32(&record->payload);
  struct mount_step at = {.step = record->step, .index = record->index, .path = read_string(&record->payload)};
  int source = open_source(&at, at.path, kind, PLAN_MOUNT_SOURCE_WITHOUT_LINKS);
  int tree = sys_open_tree(source, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
  if (tree < 0) fail_mount(&at, "open_tree");
  (void)close(source);
  trees[tree_count++] = tree;
}

// The flags come last, because without mount_setattr(2) only what is mounted somewhere can be changed. Nobody else is here to see it without them.
static void mount_tree(const struct mount_step *at, int tree, uint32_t flags) {
  int target = open_target(at, flags, is_directory(at, tree));
  if (target < 0) return;
  attach(at, tree, target);
  set_attributes(at, tree, flags, true);
  (void)close(target);
}

// One file system for all of the sandbox's own directories, so that its size is the bound of them together. It covers the old root, where no path of the
// plan leads, and stays until that goes: its parts are then all that is left of it.
void mounts_disk(struct record *record) {
  struct mount_step at = {.step = record->step, .index = record->index, .path = "/"};
  int base = open_root(&at, "/");
  disk = mount_filesystem(&at, "tmpfs", read_string(&record->payload), PLAN_MOUNT_NOSUID | PLAN_MOUNT_NODEV, base);
  covers++;
  (void)close(base);
}

// What the command finds at `at->path` is the next part of the disk. The mode last: a change of owner may take bits of it away.
static void mount_disk_directory(const struct mount_step *at, uint32_t flags, const char *options) {
  struct ownership wanted;
  if (!plan_ownership(options, &wanted)) errno = EINVAL, fail_mount(at, "plan");
  int part = make_disk_directory(at);
  if (wanted.uid != UINT32_MAX && fchown(part, wanted.uid, wanted.gid) < 0) fail_mount(at, "fchown");
  if (fchmod(part, wanted.mode) < 0) fail_mount(at, "fchmod");
  bind_mount(at, part, flags);
  (void)close(part);
}

// A tool's own tmpfs may hold as much as the machine has, in bytes or in inodes.
static void remount_tmpfs(const struct mount_step *at, int target, uint32_t flags, const char *options) {
  struct statfs status;
  if (fstatfs(target, &status) < 0) fail_mount(at, "fstatfs");
  if (status.f_type != SBX_TMPFS_MAGIC) {
    errno = EINVAL;
    fail_mount(at, "fstatfs");
  }
  char path[32];
  descriptor_path(path, target);
  if (mount(NULL, path, NULL, MS_REMOUNT | legacy_flags_of(flags), options) < 0) fail_mount(at, "mount");
}

// A view of a directory, or of several as one, in which what the command changes is beside it: they themselves are never written to.
static void mount_view(const struct mount_step *at, uint32_t flags, const char *source, const char *options) {
  int lower = open_source(at, source, PLAN_SOURCE_DIRECTORY, flags);
  if (lower < 0) return;
  int target = open_target(at, flags, true);
  if (target < 0) return;
  int lowers[PLAN_LAYERS_MAX + 1] = {lower};
  struct layers layers = {.count = 1, .upper = -1, .work = -1};
  add_layers_below(&layers, lowers);
  bool is_written = (flags & PLAN_MOUNT_READONLY) == 0;
  if (is_written) add_upper(at, (flags & PLAN_MOUNT_CAPTURES) != 0, options, lower, &layers);
  int mounted = mount_overlay(at, &layers, flags, target);
  if (mounted >= 0) (void)close(mounted);
  if (is_written) close_upper(&layers);
  close_layers_below();
  (void)close(target);
  (void)close(lower);
}

static const char *const filesystem_types[PLAN_MOUNT_KINDS] = {NULL, "tmpfs", "proc", "devpts", "mqueue", "sysfs", NULL, NULL, NULL};

void mounts_mount(struct record *record) {
  struct reader *r = &record->payload;
  uint32_t kind = read_u32(r);
  uint32_t flags = read_u32(r);
  uint32_t source_kind = read_u32(r);
  const char *source = read_string(r);
  struct mount_step at = {.step = record->step, .index = record->index, .path = read_string(r)};
  const char *options = read_string(r);
  if (kind == PLAN_MOUNT_BIND) {
    int opened = open_source(&at, source, source_kind, flags);
    if (opened < 0) return;
    bind_mount(&at, opened, flags);
    (void)close(opened);
    return;
  }
  if (kind == PLAN_MOUNT_OVERLAY) {
    mount_view(&at, flags, source, options);
    return;
  }
  if (kind == PLAN_MOUNT_TREE) {
    mount_tree(&at, trees[strtoul(source, NULL, 10)], flags);
    return;
  }
  if (kind == PLAN_MOUNT_DISK) {
    mount_disk_directory(&at, flags, options);
    return;
  }
  int target = open_target(&at, flags, true);
  if (target < 0) return;
  if (flags & PLAN_MOUNT_REMOUNT) {
    remount_tmpfs(&at, target, flags, options);
    (void)close(target);
    return;
  }
  int mounted = mount_filesystem(&at, filesystem_types[kind], options, flags, target);
  (void)close(target);
  if (kind != PLAN_MOUNT_PROC) (void)close(mounted);
  else fresh_proc = mounted;
}

void mounts_readonly(struct record *record) {
  struct mount_step at = {.step = record->step, .index = record->index, .path = read_string(&record->payload)};
  int found = strcmp(at.path, "/") == 0 ? dup(new_root) : path_open(new_root, at.path);
  if (found < 0) fail_mount(&at, "openat2");
  set_attributes(&at, found, PLAN_MOUNT_READONLY, false);
  (void)close(found);
}

// The null device of the sandbox's own /dev, and nothing that a hostile root put in its place.
static int open_null(const struct mount_step *at) {
  int null = path_open(new_root, "/dev/null");
  struct stat status;
  if (null < 0 || fstat(null, &status) < 0) fail(at->step, at->index, "openat2", "/dev/null");
  if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) {
    errno = ENODEV;
    fail(at->step, at->index, "fstat", "/dev/null");
  }
  return null;
}

void mounts_mask(struct record *record) {
  struct mount_step at = {.step = record->step, .index = record->index, .path = read_string(&record->payload)};
  int target = path_open(new_root, at.path);
  if (target < 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  if (target < 0) fail_mount(&at, "openat2");
  bool directory = is_directory(&at, target);
  uint32_t flags = PLAN_MOUNT_READONLY | PLAN_MOUNT_NOSUID | PLAN_MOUNT_NOEXEC;
  if (directory) {
    int covered = mount_filesystem(&at, "tmpfs", "size=4k,nr_inodes=2,mode=0555", flags | PLAN_MOUNT_NODEV, target);
    (void)close(covered);
  } else {
    int null = open_null(&at);
    bind_mount(&at, null, flags);
    (void)close(null);
  }
  (void)close(target);
}

void mounts_mkdir(struct record *record) {
  mode_t mode = (mode_t)read_u32(&record->payload);
  const char *path = read_string(&record->payload);
  int made = path_make_directory(new_root, path, mode);
  if (made < 0) fail(record->step, record->index, "mkdirat", path);
  (void)close(made);
}

void mounts_symlink(struct record *record) {
  const char *target = read_string(&record->payload);
  const char *path = read_string(&record->payload);
  const char *name;
  int parent = path_open_parent(new_root, path, &name);
  if (parent < 0 || symlinkat(target, parent, name) < 0) fail(record->step, record->index, "symlinkat", path);
  (void)close(parent);
}

void mounts_file(struct record *record) {
  struct reader *r = &record->payload;
  mode_t mode = (mode_t)read_u32(r);
  const char *path = read_string(r);
  uint32_t length = read_u32(r);
  const uint8_t *content = read_bytes(r, length);
  const char *name;
  int parent = path_open_parent(new_root, path, &name);
  if (parent < 0) fail(record->step, record->index, "openat2", path);
  int file = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, mode);
  if (file < 0) fail(record->step, record->index, "openat", path);
  if (!write_all(file, content, length)) fail(record->step, record->index, "write", path);
  (void)close(file);
  (void)close(parent);
}

// What a tool mounted as /proc, or the host did around a tool, if it is one. Whose settings are meant the kernel takes from who opens them.
static int proc_of_tool(const struct record *record) {
  int proc = path_open(new_root, "/proc");
  struct statfs status;
  if (proc < 0 || fstatfs(proc, &status) < 0) fail(record->step, record->index, "fstatfs", "/proc");
  if (status.f_type == SBX_PROC_MAGIC) return proc;
  errno = ENODEV;
  fail(record->step, record->index, "fstatfs", "/proc");
}

// Through the descriptor of the proc that was mounted here, never through a path that could lead to another (CVE-2019-19921 and its kin).
void mounts_sysctl(struct record *record) {
  const char *name = read_string(&record->payload);
  const char *value = read_string(&record->payload);
  if (fresh_proc < 0) fresh_proc = proc_of_tool(record);
  char path[PATH_MAX];
  int length = snprintf(path, sizeof path, "sys/%s", name);
  int file = length < 0 || (size_t)length >= sizeof path ? -1 : openat(fresh_proc, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) fail(record->step, record->index, "openat", name);
  if (!write_all(file, (const uint8_t *)value, strlen(value))) fail(record->step, record->index, "write", name);
  (void)close(file);
}

// "/.." is "/" again, where nothing lies on top of the root: one more look, because everything rests on it.
static void check_nothing_above(const struct record *record) {
  struct stat root, above;
  if (stat("/", &root) < 0 || stat(COVERING_ROOT, &above) < 0) fail(record->step, record->index, "stat", COVERING_ROOT);
  if (root.st_dev == above.st_dev && root.st_ino == above.st_ino) return;
  errno = EXDEV;
  fail(record->step, record->index, "umount2", COVERING_ROOT);
}

void mounts_pivot(struct record *record) {
  if (fchdir(new_root) < 0) fail(record->step, record->index, "fchdir", "/");
  if (only_entered) {
    if (chroot(".") < 0) fail(record->step, record->index, "chroot", "/");
    (void)close(new_root);
    return;
  }
  // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, from where it is detached at once; and what of ours covers the
  // old root lies on top of both and goes first.
  if (sys_pivot_root(".", ".") < 0) fail(record->step, record->index, "pivot_root", "/");
  for (; covers > 0; covers--) {
    if (umount2(".", MNT_DETACH) < 0) fail(record->step, record->index, "umount2", "what covers the old root");
  }
  if (umount2(".", MNT_DETACH) < 0) fail(record->step, record->index, "umount2", "/");
  if (chdir("/") < 0) fail(record->step, record->index, "chdir", "/");
  check_nothing_above(record);
  (void)close(new_root);
  if (disk >= 0) (void)close(disk);
  if (root_source >= 0) (void)close(root_source);
  if (fresh_proc >= 0) (void)close(fresh_proc);
}
