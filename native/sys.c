// The only file that calls the kernel past the C library. Nothing here decides anything.
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

// Raw, so that neither C library runs its fork handlers; with no stack given it behaves as fork(2). The order of the arguments after the
// stack differs between architectures, but all of them are 0 here.
pid_t sys_clone(unsigned long flags) { return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0UL, 0UL, 0UL, 0UL); }

pid_t sys_clone_silent(void) { return (pid_t)syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL); }

int sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct sbx_open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int sys_open_tree(int directory, const char *path, unsigned flags) {
  return (int)syscall(SYS_open_tree, directory, path, flags | (unsigned)O_CLOEXEC);
}

int sys_move_mount(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  return (int)syscall(SYS_move_mount, from_directory, from, to_directory, to, flags);
}

int sys_fsopen(const char *type) { return (int)syscall(SYS_fsopen, type, SBX_FSOPEN_CLOEXEC); }

int sys_fsconfig_string(int context, const char *key, const char *value) {
  return (int)syscall(SYS_fsconfig, context, SBX_FSCONFIG_SET_STRING, key, value, 0);
}

int sys_fsconfig_flag(int context, const char *key) {
  return (int)syscall(SYS_fsconfig, context, SBX_FSCONFIG_SET_FLAG, key, NULL, 0);
}

int sys_fsconfig_create(int context) {
  return (int)syscall(SYS_fsconfig, context, SBX_FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

int sys_fsmount(int context, unsigned attributes) {
  return (int)syscall(SYS_fsmount, context, SBX_FSMOUNT_CLOEXEC, attributes);
}

int sys_mount_setattr(int directory, const char *path, unsigned flags, const struct sbx_mount_attr *attributes) {
  return (int)syscall(SYS_mount_setattr, directory, path, flags, attributes, sizeof *attributes);
}

int sys_pivot_root(const char *new_root, const char *put_old) { return (int)syscall(SYS_pivot_root, new_root, put_old); }

int sys_close_range(unsigned first, unsigned last, unsigned flags) {
  return (int)syscall(SYS_close_range, first, last, flags);
}

long sys_getdents(int directory, void *entries, size_t size) { return syscall(SYS_getdents64, directory, entries, size); }

int sys_seccomp_filter(const struct sbx_sock_fprog *program) {
  int result = (int)syscall(SYS_seccomp, SBX_SECCOMP_SET_MODE_FILTER, 0, program);
  if (result < 0 && errno == ENOSYS) return prctl(PR_SET_SECCOMP, SBX_SECCOMP_MODE_FILTER, program, 0, 0);
  return result;
}

int sys_seccomp_listener(const struct sbx_sock_fprog *program, unsigned long flags) {
  return (int)syscall(SYS_seccomp, SBX_SECCOMP_SET_MODE_FILTER, SBX_SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, program);
}

int sys_seccomp_notif(int listener, unsigned long request, void *argument) { return (int)syscall(SYS_ioctl, listener, request, argument); }

int sys_landlock_version(void) {
  return (int)syscall(SYS_landlock_create_ruleset, NULL, 0UL, SBX_LANDLOCK_CREATE_RULESET_VERSION);
}

int sys_landlock_create_ruleset(const struct sbx_landlock_ruleset *ruleset) {
  return (int)syscall(SYS_landlock_create_ruleset, ruleset, sizeof *ruleset, 0UL);
}

int sys_landlock_allow_path(int ruleset, uint64_t access, int parent) {
  struct sbx_landlock_path_beneath rule = {.allowed_access = access, .parent = parent};
  return (int)syscall(SYS_landlock_add_rule, ruleset, SBX_LANDLOCK_RULE_PATH_BENEATH, &rule, 0UL);
}

int sys_landlock_allow_port(int ruleset, uint64_t access, uint64_t port) {
  struct sbx_landlock_net_port rule = {.allowed_access = access, .port = port};
  return (int)syscall(SYS_landlock_add_rule, ruleset, SBX_LANDLOCK_RULE_NET_PORT, &rule, 0UL);
}

int sys_landlock_restrict_self(int ruleset) { return (int)syscall(SYS_landlock_restrict_self, ruleset, 0UL); }

int sys_join_session_keyring(void) { return (int)syscall(SYS_keyctl, SBX_KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0); }

int sys_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct sbx_cap_header header = {.version = SBX_CAPABILITY_VERSION_3, .pid = 0};
  struct sbx_cap_data data[2];
  for (unsigned half = 0; half < 2; half++) {
    data[half].effective = (uint32_t)(effective >> (32 * half));
    data[half].permitted = (uint32_t)(permitted >> (32 * half));
    data[half].inheritable = (uint32_t)(inheritable >> (32 * half));
  }
  return (int)syscall(SYS_capset, &header, data);
}

int sys_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
  struct sbx_cap_header header = {.version = SBX_CAPABILITY_VERSION_3, .pid = 0};
  struct sbx_cap_data data[2];
  memset(data, 0, sizeof data);
  if (syscall(SYS_capget, &header, data) < 0) return -1;
  *effective = (uint64_t)data[1].effective << 32 | data[0].effective;
  *permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
  *inheritable = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
  return 0;
}

int sys_memfd_create(const char *name) { return (int)syscall(SYS_memfd_create, name, SBX_MFD_CLOEXEC | SBX_MFD_ALLOW_SEALING); }

int sys_prlimit(int resource, const struct sbx_rlimit *wanted, struct sbx_rlimit *present) {
  return (int)syscall(SYS_prlimit64, 0, resource, wanted, present);
}

// The libraries' wrappers signal every thread; there is only one here, and these may run between clone and exec.
int sys_setgroups(size_t count, const uint32_t *groups) { return (int)syscall(SYS_setgroups, count, groups); }
int sys_setresuid(uint32_t uid) { return (int)syscall(SYS_setresuid, uid, uid, uid); }
int sys_setresgid(uint32_t gid) { return (int)syscall(SYS_setresgid, gid, gid, gid); }

// Whether two descriptors lead to the same place, so that two streams into it must keep their order; -1 with errno.
int sys_same_file(int a, int b) {
  struct stat first, second;
  if (fstat(a, &first) < 0 || fstat(b, &second) < 0) return -1;
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino && first.st_rdev == second.st_rdev;
}

int sys_draw_pass(uint64_t *pass) {
  do {
    ssize_t got = getrandom(pass, sizeof *pass, 0);
    if (got < 0 && errno != EINTR) return -1;
    if (got != (ssize_t)sizeof *pass) *pass = 0;
  } while (*pass == 0);
  return 0;
}

static uint64_t pass_in_use;

void sys_use_pass(uint64_t pass) { pass_in_use = pass; }

static long with_pass(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
  return syscall(number, a, b, c, d, 0UL, pass_in_use);
}

int sys_execve(const char *path, char *const *arguments, char *const *environment) {
  return (int)with_pass(SYS_execve, (uintptr_t)path, (uintptr_t)arguments, (uintptr_t)environment, 0);
}

// On both architectures struct stat of both C libraries is that of the kernel.
int sys_fstatat(const char *path, struct stat *status, int flags) {
  return (int)with_pass(SYS_newfstatat, (uintptr_t)(intptr_t)AT_FDCWD, (uintptr_t)path, (uintptr_t)status, (uintptr_t)flags);
}

int sys_open(const char *path, int flags) {
  return (int)with_pass(SYS_openat, (uintptr_t)(intptr_t)AT_FDCWD, (uintptr_t)path, (uintptr_t)flags, 0);
}

ssize_t sys_pread(int file, void *to, size_t size, off_t offset) {
  return (ssize_t)with_pass(SYS_pread64, (uintptr_t)file, (uintptr_t)to, size, (uintptr_t)offset);
}

int sys_close(int file) { return (int)with_pass(SYS_close, (uintptr_t)file, 0, 0, 0); }

ssize_t sys_sendmsg(int socket_fd, const struct msghdr *header, int flags) {
  return (ssize_t)with_pass(SYS_sendmsg, (uintptr_t)socket_fd, (uintptr_t)header, (uintptr_t)flags, 0);
}

_Noreturn void sys_exit(int status) {
  for (;;) (void)with_pass(SYS_exit_group, (uintptr_t)status, 0, 0, 0);
}
