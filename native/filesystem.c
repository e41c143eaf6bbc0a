#include "filesystem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"
#include "report.h"
#include "sys.h"

// mount(2) takes one page of options.
#define OPTIONS_MAX 4096

_Noreturn void fail_mount(const struct mount_step *at, const char *syscall) { fail(at->step, at->index, syscall, at->path); }

void descriptor_path(char buffer[32], int descriptor) { (void)snprintf(buffer, 32, "/proc/self/fd/%d", descriptor); }

unsigned attributes_of(uint32_t flags) {
  unsigned attributes = 0;
  if (flags & PLAN_MOUNT_READONLY) attributes |= SBX_MOUNT_ATTR_RDONLY;
  if (flags & PLAN_MOUNT_NOSUID) attributes |= SBX_MOUNT_ATTR_NOSUID;
  if (flags & PLAN_MOUNT_NODEV) attributes |= SBX_MOUNT_ATTR_NODEV;
  if (flags & PLAN_MOUNT_NOEXEC) attributes |= SBX_MOUNT_ATTR_NOEXEC;
  return attributes;
}

unsigned long legacy_flags_of(uint32_t flags) {
  unsigned long result = 0;
  if (flags & PLAN_MOUNT_READONLY) result |= MS_RDONLY;
  if (flags & PLAN_MOUNT_NOSUID) result |= MS_NOSUID;
  if (flags & PLAN_MOUNT_NODEV) result |= MS_NODEV;
  if (flags & PLAN_MOUNT_NOEXEC) result |= MS_NOEXEC;
  return result;
}

void attach(const struct mount_step *at, int mount_fd, int target) {
  if (sys_move_mount(mount_fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) fail_mount(at, "move_mount");
}

// Passes "size=65536,mode=0755" to fsconfig(2) option by option.
static bool configure(int context, const char *options) {
  char buffer[512];
  if (strlen(options) >= sizeof buffer) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(buffer, options, strlen(options) + 1);
  char *rest = buffer;
  while (*rest != '\0') {
    char *option = rest;
    char *comma = strchr(rest, ',');
    if (comma == NULL) rest += strlen(rest);
    else *comma = '\0', rest = comma + 1;
    char *value = strchr(option, '=');
    if (value != NULL) *value++ = '\0';
    if (option[0] == '\0') continue;
    int result = value == NULL ? sys_fsconfig_flag(context, option) : sys_fsconfig_string(context, option, value);
    if (result < 0) return false;
  }
  return true;
}

// -1 where the kernel has no fsopen(2). EPERM may be a filter's word for that; when it is the kernel's own, mount(2) gets the same answer.
static int open_context(const struct mount_step *at, const char *type) {
  int context = sys_fsopen(type);
  if (context < 0 && errno != ENOSYS && errno != EPERM) fail_mount(at, "fsopen");
  return context;
}

static int create_detached(const struct mount_step *at, int context, uint32_t flags) {
  if (sys_fsconfig_create(context) < 0) fail_mount(at, "fsconfig");
  int mount_fd = sys_fsmount(context, attributes_of(flags));
  if (mount_fd < 0) fail_mount(at, "fsmount");
  (void)close(context);
  return mount_fd;
}

int detached_filesystem(const struct mount_step *at, const char *type, const char *options, uint32_t flags) {
  int context = open_context(at, type);
  if (context < 0) return -1;
  if (!configure(context, options)) fail_mount(at, "fsconfig");
  return create_detached(at, context, flags);
}

static bool configure_path(int context, const char *key, int descriptor) {
  char path[32];
  descriptor_path(path, descriptor);
  return sys_fsconfig_string(context, key, path) == 0;
}

// One by one, without a bound on their number but the kernel's own of 500. False before Linux 6.5, where nobody knows the option.
static bool configure_lowers(const struct mount_step *at, int context, const struct layers *layers) {
  for (size_t i = 0; i < layers->count; i++) {
    if (configure_path(context, "lowerdir+", layers->lowers[i])) continue;
    if (i == 0 && errno == EINVAL) return false;
    fail_mount(at, "fsconfig");
  }
  return true;
}

static bool has_upper(const struct layers *layers) { return layers->upper >= 0; }

static int detached_overlay(const struct mount_step *at, const struct layers *layers, uint32_t flags) {
  int context = open_context(at, "overlay");
  if (context < 0) return -1;
  if (!configure_lowers(at, context, layers)) {
    (void)close(context);
    return -1;
  }
  bool done = sys_fsconfig_flag(context, "userxattr") == 0;
  if (done && has_upper(layers)) done = configure_path(context, "upperdir", layers->upper) && configure_path(context, "workdir", layers->work);
  if (!done) fail_mount(at, "fsconfig");
  return create_detached(at, context, flags);
}

// False where they do not fit.
static bool join_layers(char *options, size_t size, const struct layers *layers) {
  size_t used = (size_t)snprintf(options, size, "userxattr");
  if (has_upper(layers))
    used += (size_t)snprintf(options + used, size - used, ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d", layers->upper, layers->work);
  for (size_t i = 0; i < layers->count && used < size; i++)
    used += (size_t)snprintf(options + used, size - used, "%s/proc/self/fd/%d", i == 0 ? ",lowerdir=" : ":", layers->lowers[i]);
  return used < size;
}

int mount_overlay(const struct mount_step *at, const struct layers *layers, uint32_t flags, int target) {
  int overlay = detached_overlay(at, layers, flags);
  if (overlay >= 0) {
    attach(at, overlay, target);
    return overlay;
  }
  char options[OPTIONS_MAX], to[32];
  if (!join_layers(options, sizeof options, layers)) errno = E2BIG, fail_mount(at, "mount");
  descriptor_path(to, target);
  if (mount("overlay", to, "overlay", legacy_flags_of(flags), options) < 0) fail_mount(at, "mount");
  return -1;
}

static int open_directory(const struct mount_step *at, int place, const char *name) {
  int found = openat(place, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (found < 0) fail_mount(at, "openat");
  return found;
}

// An owner without a number in this user namespace cannot be given: the directory stays the caller's, who then may write at the top of a view that is
// nobody else's. The mode last: a change of owner may take bits of it away.
void take_place_of(const struct mount_step *at, int directory, int lower) {
  struct stat status;
  if (fstat(lower, &status) < 0) fail_mount(at, "fstat");
  if (fchown(directory, status.st_uid, status.st_gid) < 0 && errno != EINVAL && errno != EPERM) fail_mount(at, "fchown");
  if (fchmod(directory, status.st_mode & 01777) < 0) fail_mount(at, "fchmod");
}

void open_upper(const struct mount_step *at, int place, int lower, struct layers *layers) {
  layers->upper = open_directory(at, place, "upper");
  layers->work = open_directory(at, place, "work");
  take_place_of(at, layers->upper, lower);
}
