// System calls that the C libraries lack or wrap too thickly. Each returns what the kernel returns, -1 with errno set on failure.
#ifndef SANDBOXLIB_SYS_H
#define SANDBOXLIB_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "uapi.h"

pid_t sys_clone(unsigned long flags);
// A child whose end sends no signal, and that only __WCLONE waits for (wait(2)).
pid_t sys_clone_silent(void);
int sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_open_tree(int directory, const char *path, unsigned flags);
int sys_move_mount(int from_directory, const char *from, int to_directory, const char *to, unsigned flags);
int sys_fsopen(const char *type);
int sys_fsconfig_string(int context, const char *key, const char *value);
int sys_fsconfig_flag(int context, const char *key);
int sys_fsconfig_create(int context);
int sys_fsmount(int context, unsigned attributes);
int sys_mount_setattr(int directory, const char *path, unsigned flags, const struct sbx_mount_attr *attributes);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
long sys_getdents(int directory, void *entries, size_t size);
int sys_seccomp_filter(const struct sbx_sock_fprog *program);
// The same, and a descriptor on which the kernel asks what to do; close-on-exec.
int sys_seccomp_listener(const struct sbx_sock_fprog *program, unsigned long flags);
// ioctl(2) of a listener, whose requests do not fit the type that musl has for them.
int sys_seccomp_notif(int listener, unsigned long request, void *argument);
// The ABI of Landlock; -1 with errno ENOSYS or EOPNOTSUPP where there is none.
int sys_landlock_version(void);
int sys_landlock_create_ruleset(const struct sbx_landlock_ruleset *ruleset);
int sys_landlock_allow_path(int ruleset, uint64_t access, int parent);
int sys_landlock_allow_port(int ruleset, uint64_t access, uint64_t port);
int sys_landlock_restrict_self(int ruleset);
// A number of 64 bits that nobody can guess, and that is not 0.
int sys_draw_pass(uint64_t *pass);
int sys_join_session_keyring(void);
int sys_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable);
int sys_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
int sys_memfd_create(const char *name);
int sys_prlimit(int resource, const struct sbx_rlimit *wanted, struct sbx_rlimit *present);
int sys_setgroups(size_t count, const uint32_t *groups);
int sys_setresuid(uint32_t uid);
int sys_setresgid(uint32_t gid);
int sys_same_file(int a, int b);

// Calls of the command's process under its filter. Each carries the pass, in the last of the six registers that a filter sees and the call itself does
// not use: a filter that would refuse the command this call knows by it that it is the launcher's. The program never has it: execve(2) clears the
// registers, and the memory that held it is gone.
void sys_use_pass(uint64_t pass);
int sys_execve(const char *path, char *const *arguments, char *const *environment);
int sys_fstatat(const char *path, struct stat *status, int flags);
int sys_open(const char *path, int flags);
ssize_t sys_pread(int file, void *to, size_t size, off_t offset);
int sys_close(int file);
ssize_t sys_sendmsg(int socket_fd, const struct msghdr *header, int flags);
_Noreturn void sys_exit(int status);

#endif
