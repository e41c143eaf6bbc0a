// Trials of system calls that touch only the calling process. Each runs in a throwaway child and needs no namespace.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

// Recent numbers and structures; system calls from 424 on have one number on every architecture.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424  // 5.1
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425  // 5.1
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434  // 5.3
#endif
#ifndef SYS_clone3
#define SYS_clone3 435  // 5.3
#endif
#define PIDFD_CLONE_FLAG UINT64_C(0x00001000)           // CLONE_PIDFD, 5.2
#define INTO_CGROUP_CLONE_FLAG UINT64_C(0x200000000)    // CLONE_INTO_CGROUP, 5.7
#define CGROUP2_MAGIC 0x63677270                        // statfs(2)
#define WAIT_BY_PIDFD ((idtype_t)3)                     // P_PIDFD, 5.4
#define IOCTL_TIOCGPTPEER 0x5441UL
#define IOCTL_TIOCSPTLCK 0x40045431UL
#define IOCTL_TIOCSCTTY 0x540EUL
#define IOCTL_TIOCSTI 0x5412UL

struct clone3_arguments {
  uint64_t flags;
  uint64_t pidfd;
  uint64_t child_tid;
  uint64_t parent_tid;
  uint64_t exit_signal;
  uint64_t stack;
  uint64_t stack_size;
  uint64_t tls;
  uint64_t set_tid;
  uint64_t set_tid_size;
  uint64_t cgroup;
};
#define CLONE3_SIZE_5_3 64U
#define CLONE3_SIZE_5_7 88U

struct io_uring_parameters {
  uint32_t entries[30];
};

static const char *not_before(const char *release) { return errno == ENOSYS ? release : "refused"; }

bool probe_openat2(struct probe_result *result) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return probe_fail(result, "open", "/");
  int same = sys_openat2(root, "../../.", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, SBX_RESOLVE_IN_ROOT | SBX_RESOLVE_NO_MAGICLINKS);
  if (same < 0) return probe_fail(result, "openat2", "%s", not_before("not before Linux 5.6, or filtered"));
  if (close(same) < 0 || close(root) < 0) return probe_fail(result, "close", "descriptor");
  return probe_pass(result, "RESOLVE_IN_ROOT");
}

static pid_t clone3_with(uint64_t flags, int *pidfd, int cgroup, size_t size) {
  struct clone3_arguments arguments = {.flags = flags,
                                       .pidfd = (uint64_t)(uintptr_t)pidfd,
                                       .exit_signal = SIGCHLD,
                                       .cgroup = cgroup < 0 ? 0 : (uint64_t)cgroup};
  return (pid_t)syscall(SYS_clone3, &arguments, size);
}

bool probe_clone3(struct probe_result *result) {
  int pidfd = -1;
  pid_t child = clone3_with(PIDFD_CLONE_FLAG, &pidfd, -1, CLONE3_SIZE_5_3);
  if (child == 0) _exit(0);
  if (child < 0) return probe_fail(result, "clone3", "%s", not_before("not before Linux 5.3, or filtered"));
  if (!probe_wait(result, "clone3", child)) return false;
  if (close(pidfd) < 0) return probe_fail(result, "clone3", "no pidfd came with the child");
  return probe_pass(result, "with a pidfd");
}

// The directory of the process's own cgroup in the v2 tree.
static int open_own_cgroup(void) {
  static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  char text[4096];
  char path[4200];
  struct statfs info;
  if (!probe_read_file("/proc/self/cgroup", text, sizeof text)) return -1;
  char *own = strstr(text, "0::/");
  errno = ENOENT;
  if (own == NULL || (own != text && own[-1] != '\n')) return -1;
  own += 3;
  own[strcspn(own, "\n")] = '\0';
  for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
    if (statfs(mounts[i], &info) < 0 || (unsigned long)info.f_type != CGROUP2_MAGIC) continue;
    (void)snprintf(path, sizeof path, "%s%s", mounts[i], own);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  errno = ENOENT;
  return -1;
}

// Into the cgroup that the process is in already: nothing changes, and the kernel still checks every right.
bool probe_clone3_cgroup(struct probe_result *result) {
  int cgroup = open_own_cgroup();
  if (cgroup < 0) return probe_fail(result, "open", "the own cgroup is not in a mounted cgroup v2 tree");
  pid_t child = clone3_with(INTO_CGROUP_CLONE_FLAG, NULL, cgroup, CLONE3_SIZE_5_7);
  if (child == 0) _exit(0);
  if (child < 0) {
    const char *because = errno == EACCES ? "the cgroup is not delegated to the caller"
                          : errno == EBUSY ? "the cgroup has controllers for its children; only those may hold processes"
                                           : not_before("not before Linux 5.7, or filtered");
    return probe_fail(result, "clone3", "%s", because);
  }
  if (!probe_wait(result, "clone3", child)) return false;
  return close(cgroup) == 0 ? probe_pass(result, "CLONE_INTO_CGROUP") : probe_fail(result, "close", "cgroup");
}

static bool signal_by_pidfd(struct probe_result *result, int pidfd) {
  siginfo_t ended;
  if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
    return probe_fail(result, "pidfd_send_signal", "%s", not_before("not before Linux 5.1, or filtered"));
  if (waitid(WAIT_BY_PIDFD, (id_t)pidfd, &ended, WEXITED) < 0)
    return probe_fail(result, "waitid", "P_PIDFD: not before Linux 5.4");
  return probe_pass(result, "open, signal and wait");
}

bool probe_pidfd(struct probe_result *result) {
  pid_t self = getpid();
  pid_t child = sys_clone(0);
  if (child < 0) return probe_fail(result, "clone", "no process to try it on");
  if (child == 0) {
    probe_end_with(self);
    while (pause() < 0 && errno == EINTR) continue;
    _exit(1);
  }
  int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
  bool ok = pidfd < 0 ? probe_fail(result, "pidfd_open", "%s", not_before("not before Linux 5.3, or filtered"))
                      : signal_by_pidfd(result, pidfd);
  if (!ok && (kill(child, SIGKILL) < 0 || waitpid(child, NULL, 0) < 0)) return false;
  return ok;
}

bool probe_close_range(struct probe_result *result) {
  int descriptor = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return probe_fail(result, "open", "/");
  if (sys_close_range((unsigned)descriptor, (unsigned)descriptor, 0) < 0)
    return probe_fail(result, "close_range", "%s", not_before("not before Linux 5.9, or filtered"));
  if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) return probe_pass(result, "close_range(2)");
  errno = 0;
  return probe_fail(result, "close_range", "the descriptor is still open");
}

bool probe_keyring(struct probe_result *result) {
  if (sys_join_session_keyring() < 0)
    return probe_fail(result, "keyctl", "%s", not_before("not built into the kernel, or filtered"));
  return probe_pass(result, "a session keyring of its own");
}

bool probe_no_new_privileges(struct probe_result *result) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return probe_fail(result, "prctl", "PR_SET_NO_NEW_PRIVS");
  errno = 0;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return probe_fail(result, "prctl", "the setting did not stay");
  return probe_pass(result, "PR_SET_NO_NEW_PRIVS");
}

bool probe_memfd(struct probe_result *result) {
  int descriptor = (int)syscall(SYS_memfd_create, "probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return probe_fail(result, "memfd_create", "%s", not_before("not before Linux 3.17, or filtered"));
  if (fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE) < 0) return probe_fail(result, "fcntl", "F_ADD_SEALS");
  if (write(descriptor, "x", 1) < 0 && errno == EPERM) return probe_pass(result, "with seals");
  errno = 0;
  return probe_fail(result, "write", "a sealed file could be written");
}

// A grandchild whose parent ends must come to this process.
bool probe_subreaper(struct probe_result *result) {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return probe_fail(result, "prctl", "PR_SET_CHILD_SUBREAPER");
  pid_t child = fork();
  if (child == 0) {
    pid_t orphan = fork();
    _exit(orphan < 0 ? 1 : 0);
  }
  if (child < 0) return probe_fail(result, "fork", "no process to try it on");
  if (!probe_wait(result, "fork", child)) return false;
  if (waitpid(-1, NULL, 0) < 0) return probe_fail(result, "waitpid", "an orphan did not come here");
  return probe_pass(result, "PR_SET_CHILD_SUBREAPER");
}

static int open_terminal(struct probe_result *result) {
  int unlocked = 0;
  int controller = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (controller < 0) return (void)probe_fail(result, "open", "/dev/ptmx"), -1;
  if (syscall(SYS_ioctl, controller, IOCTL_TIOCSPTLCK, &unlocked) < 0)
    return (void)probe_fail(result, "TIOCSPTLCK", "cannot unlock a terminal"), -1;
  int terminal = (int)syscall(SYS_ioctl, controller, IOCTL_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) (void)probe_fail(result, "TIOCGPTPEER", "not before Linux 4.13");
  return terminal;
}

static bool control_terminal(struct probe_result *result, int *terminal) {
  *terminal = open_terminal(result);
  if (*terminal < 0) return false;
  if (setsid() < 0) return probe_fail(result, "setsid", "no session for the terminal");
  if (syscall(SYS_ioctl, *terminal, IOCTL_TIOCSCTTY, 0) < 0) return probe_fail(result, "TIOCSCTTY", "refused");
  return true;
}

static bool take_terminal(struct probe_result *result) {
  int terminal;
  return control_terminal(result, &terminal) && probe_pass(result, "a pseudo-terminal of its own");
}

static bool inject_input(struct probe_result *result) {
  int terminal;
  if (!control_terminal(result, &terminal)) return false;
  if (syscall(SYS_ioctl, terminal, IOCTL_TIOCSTI, "x") < 0)
    return probe_fail(result, "TIOCSTI", "refused, as it should be (dev.tty.legacy_tiocsti is 0, or a filter)");
  return probe_pass(result, "a program can type into its terminal (dev.tty.legacy_tiocsti is 1, or CAP_SYS_ADMIN)");
}

// setsid(2) fails for the leader of a process group, which the trial's own child is.
static bool in_follower(struct probe_result *result, probe_body *body) {
  pid_t self = getpid();
  pid_t child = fork();
  if (child < 0) return probe_fail(result, "fork", "no process to try it on");
  if (child == 0) {
    probe_end_with(self);
    (void)body(result);
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child) return probe_fail(result, "waitpid", "lost a child");
  return result->ok;
}

bool probe_terminal(struct probe_result *result) { return in_follower(result, take_terminal); }
bool probe_tiocsti(struct probe_result *result) { return in_follower(result, inject_input); }

bool probe_io_uring(struct probe_result *result) {
  struct io_uring_parameters parameters;
  (void)memset(&parameters, 0, sizeof parameters);
  int ring = (int)syscall(SYS_io_uring_setup, 1, &parameters);
  if (ring < 0)
    return probe_fail(result, "io_uring_setup", errno == EPERM ? "switched off (kernel.io_uring_disabled) or filtered"
                                                               : "not in this kernel, or filtered");
  return close(ring) == 0 ? probe_pass(result, "open to this caller") : probe_fail(result, "close", "ring");
}
