// Trials of mounts. Each runs in a mount namespace of its own, over a scratch tmpfs there, so nothing of it is seen outside.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define IOCTL_TIOCGPTPEER 0x5441UL
#define IOCTL_TIOCSPTLCK 0x40045431UL
#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static bool make_directory(struct probe_result *result, const char *name) {
  return mkdir(name, 0755) == 0 || probe_fail(result, "mkdir", "%s in the scratch tmpfs", name);
}

static bool make_file(struct probe_result *result, const char *name) {
  int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return probe_fail(result, "open", "cannot create %s", name);
  return close(descriptor) == 0 || probe_fail(result, "close", "%s", name);
}

static bool mount_scratch(struct probe_result *result, const char *type, const char *options, const char *if_refused) {
  if (!probe_enter_scratch(result) || !make_directory(result, "at")) return false;
  if (mount(type, "at", type, SAFE, options) == 0) return true;
  if (errno == ENODEV) return probe_fail(result, "mount", "%s is not in this kernel, or its module is not loaded", type);
  return probe_fail(result, "mount", "%s", if_refused);
}

// The kernel refuses a fresh proc where the visible one has something mounted over a part of it: the new one would uncover that.
bool probe_proc(struct probe_result *result) {
  char self[16];
  if (!mount_scratch(result, "proc", NULL, "refused: parts of /proc are covered here (mount too revealing), or it is not mounted"))
    return false;
  ssize_t length = readlink("at/self", self, sizeof self);
  if (length < 0) return probe_fail(result, "readlink", "/proc/self of the fresh proc");
  errno = 0;
  if (length != 1 || self[0] != '1') return probe_fail(result, "readlink", "the fresh proc shows another pid namespace");
  return probe_pass(result, "shows its own pid namespace alone");
}

bool probe_sysfs(struct probe_result *result) {
  if (!mount_scratch(result, "sysfs", NULL, "refused: parts of /sys are covered here, or it is not mounted")) return false;
  if (access("at/class/net/lo", F_OK) < 0) return probe_fail(result, "access", "the fresh sysfs shows no loopback");
  return probe_pass(result, "shows its own network namespace");
}

static bool open_terminal(struct probe_result *result, int controller) {
  int unlocked = 0;
  if (syscall(SYS_ioctl, controller, IOCTL_TIOCSPTLCK, &unlocked) < 0)
    return probe_fail(result, "TIOCSPTLCK", "of the fresh devpts");
  long peer = syscall(SYS_ioctl, controller, IOCTL_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) return probe_fail(result, "TIOCGPTPEER", "of the fresh devpts (4.13)");
  return close((int)peer) == 0 || probe_fail(result, "close", "terminal");
}

// Not with nodev: the terminals of a devpts are devices.
bool probe_devpts(struct probe_result *result) {
  if (!probe_enter_scratch(result) || !make_directory(result, "at")) return false;
  if (mount("devpts", "at", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600") < 0)
    return probe_fail(result, "mount", "a new instance of devpts");
  int controller = open("at/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (controller < 0) return probe_fail(result, "open", "ptmx of the fresh devpts");
  bool ok = open_terminal(result, controller);
  if (close(controller) < 0 || !ok) return false;
  return probe_pass(result, "with terminals of its own");
}

bool probe_mqueue(struct probe_result *result) {
  if (!mount_scratch(result, "mqueue", NULL, "refused")) return false;
  return make_file(result, "at/probe") && probe_pass(result, "with queues of its own");
}

bool probe_tmpfs(struct probe_result *result) {
  if (!mount_scratch(result, "tmpfs", "size=64k,nr_inodes=4,mode=0700", "tmpfs with a size")) return false;
  if (!make_file(result, "at/1") || !make_file(result, "at/2") || !make_file(result, "at/3")) return false;
  int descriptor = open("at/4", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 && errno == ENOSPC) return probe_pass(result, "with a bound that holds");
  if (descriptor >= 0) (void)close(descriptor);
  errno = 0;
  return probe_fail(result, "open", "the bound on the number of files did not hold");
}

static const char *why_no_overlay(void) {
  if (errno == ENODEV) return "not in this kernel, or its module is not loaded";
  if (errno == EPERM) return "not for user namespaces before Linux 5.11";
  return "refused";
}

static bool make_layers(struct probe_result *result) {
  if (!probe_enter_scratch(result)) return false;
  static const char *const names[] = {"lower", "lower2", "upper", "work", "at"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!make_directory(result, names[i])) return false;
  return make_file(result, "lower/a") && make_file(result, "lower2/b");
}

static bool check_overlay(struct probe_result *result) {
  struct stat file;
  if (stat("at/a", &file) < 0) return probe_fail(result, "stat", "a lower file does not show through");
  if (unlink("at/a") < 0) return probe_fail(result, "unlink", "no whiteout can be made");
  if (!make_file(result, "at/c")) return false;
  if (stat("upper/c", &file) < 0) return probe_fail(result, "stat", "a new file did not go to the upper layer");
  return probe_pass(result, "writable, on tmpfs");
}

// Inside a user namespace trusted.* attributes are out of reach: userxattr (5.11). Outside of one the plain form is also older kernels'.
bool probe_overlay(struct probe_result *result) {
  if (!make_layers(result)) return false;
  if (mount("overlay", "at", "overlay", SAFE, "userxattr,lowerdir=lower,upperdir=upper,workdir=work") == 0)
    return check_overlay(result);
  if (errno != EINVAL) return probe_fail(result, "mount", "%s", why_no_overlay());
  if (mount("overlay", "at", "overlay", SAFE, "lowerdir=lower,upperdir=upper,workdir=work") < 0)
    return probe_fail(result, "mount", "%s", why_no_overlay());
  return check_overlay(result);
}

bool probe_overlay_readonly(struct probe_result *result) {
  if (!make_layers(result)) return false;
  if (mount("overlay", "at", "overlay", SAFE | MS_RDONLY, "lowerdir=lower:lower2") < 0)
    return probe_fail(result, "mount", "%s", why_no_overlay());
  if (access("at/a", F_OK) < 0 || access("at/b", F_OK) < 0)
    return probe_fail(result, "access", "a layer does not show through");
  int descriptor = open("at/c", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 && errno == EROFS) return probe_pass(result, "two layers");
  if (descriptor >= 0) (void)close(descriptor);
  errno = 0;
  return probe_fail(result, "open", "a layered mount without an upper one could be written");
}

static int make_detached_tmpfs(struct probe_result *result) {
  int context = sys_fsopen("tmpfs");
  if (context < 0) return (void)probe_fail(result, "fsopen", "not before Linux 5.2, or filtered"), -1;
  int tree = -1;
  if (sys_fsconfig_string(context, "size", "64k") < 0 || sys_fsconfig_create(context) < 0)
    (void)probe_fail(result, "fsconfig", "tmpfs");
  else if ((tree = sys_fsmount(context, SBX_MOUNT_ATTR_NOSUID)) < 0)
    (void)probe_fail(result, "fsmount", "tmpfs");
  if (close(context) == 0) return tree;
  if (tree >= 0) (void)close(tree);
  return -1;
}

static bool attach(struct probe_result *result, int tree, const char *to) {
  if (sys_move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return probe_fail(result, "move_mount", "cannot attach a tree to %s", to);
  return true;
}

static int copy_tree(struct probe_result *result, const char *path) {
  int tree = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
  if (tree < 0) (void)probe_fail(result, "open_tree", "not before Linux 5.2, or filtered");
  return tree;
}

bool probe_mount_api(struct probe_result *result) {
  if (!probe_enter_scratch(result) || !make_directory(result, "at") || !make_directory(result, "copy")) return false;
  int tree = make_detached_tmpfs(result);
  if (tree < 0 || !attach(result, tree, "at") || !make_file(result, "at/a")) return false;
  int copy = copy_tree(result, "at");
  if (copy < 0 || !attach(result, copy, "copy")) return false;
  if (access("copy/a", F_OK) < 0) return probe_fail(result, "access", "the copied tree is empty");
  return probe_pass(result, "open_tree, move_mount, fsopen, fsmount");
}

static bool expect_readonly(struct probe_result *result, const char *path, const char *mechanism) {
  int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 && errno == EROFS) return probe_pass(result, "%s", mechanism);
  if (descriptor >= 0) (void)close(descriptor);
  errno = 0;
  return probe_fail(result, "open", "a read-only mount could be written");
}

bool probe_mount_setattr(struct probe_result *result) {
  struct sbx_mount_attr attributes = {.attr_set = SBX_MOUNT_ATTR_RDONLY | SBX_MOUNT_ATTR_NOSUID};
  if (!mount_scratch(result, "tmpfs", "size=64k", "tmpfs")) return false;
  if (sys_mount_setattr(AT_FDCWD, "at", AT_RECURSIVE, &attributes) < 0)
    return probe_fail(result, "mount_setattr", errno == ENOSYS ? "not before Linux 5.12, or filtered" : "refused");
  return expect_readonly(result, "at/a", "recursive read-only");
}

bool probe_bind_readonly(struct probe_result *result) {
  if (!probe_enter_scratch(result) || !make_directory(result, "from") || !make_directory(result, "to")) return false;
  if (mount("from", "to", NULL, MS_BIND | MS_REC, NULL) < 0) return probe_fail(result, "mount", "MS_BIND");
  if (mount(NULL, "to", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
    return probe_fail(result, "mount", "MS_REMOUNT");
  return expect_readonly(result, "to/a", "mount(2), for kernels without mount_setattr");
}

bool probe_pivot_root(struct probe_result *result) {
  if (!probe_enter_scratch(result) || !make_file(result, "new")) return false;
  if (sys_pivot_root(".", ".") < 0)
    return probe_fail(result, "pivot_root", errno == EINVAL ? "the root is an initramfs, or in a chroot" : "refused");
  if (umount2(".", MNT_DETACH) < 0) return probe_fail(result, "umount2", "cannot let the old root go");
  if (chdir("/") < 0 || access("/new", F_OK) < 0) return probe_fail(result, "access", "the new root is not the root");
  if (access("/usr", F_OK) < 0 && access("/proc", F_OK) < 0) return probe_pass(result, "the old root is gone");
  errno = 0;
  return probe_fail(result, "access", "the old root is still there");
}
