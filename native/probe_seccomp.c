// Trials of system call filters (seccomp(2)).
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define RET_ERRNO 0x00050000U  // SECCOMP_RET_ERRNO
#define RET_ALLOW 0x7fff0000U  // SECCOMP_RET_ALLOW
#define ANSWER 4711

// getppid(2) gets `action`, everything else goes through: harmless to whatever else the child does.
static int install(uint32_t action, unsigned long flags) {
  const struct sbx_sock_filter filter[] = {
      {.code = SBX_BPF_LD_W_ABS, .k = 0},
      {.code = SBX_BPF_JEQ_K, .jt = 0, .jf = 1, .k = SYS_getppid},
      {.code = SBX_BPF_RET_K, .k = action},
      {.code = SBX_BPF_RET_K, .k = RET_ALLOW},
  };
  const struct sbx_sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
  if (flags == 0) return sys_seccomp_filter(&program);
  return (int)syscall(SYS_seccomp, SBX_SECCOMP_SET_MODE_FILTER, flags, &program);
}

bool probe_seccomp_filter(struct probe_result *result) {
  if (install(RET_ERRNO | ENOTTY, 0) < 0) return probe_fail(result, "seccomp", "no filters in this kernel, or refused");
  if (syscall(SYS_getppid) == -1 && errno == ENOTTY) return probe_pass(result, "SECCOMP_SET_MODE_FILTER");
  errno = 0;
  return probe_fail(result, "getppid", "the filter was accepted and does not act");
}

static bool answer(struct probe_result *result, int listener, int64_t value, uint32_t flags) {
  struct sbx_seccomp_notif asked;
  (void)memset(&asked, 0, sizeof asked);
  if (sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) return probe_fail(result, "SECCOMP_IOCTL_NOTIF_RECV", "refused");
  struct sbx_seccomp_notif_resp reply = {.id = asked.id, .val = value, .flags = flags};
  if (sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0)
    return probe_fail(result, "SECCOMP_IOCTL_NOTIF_SEND", flags == 0 ? "refused" : "no call may go on: not before Linux 5.5");
  return true;
}

// With a listener of its own it would wait for itself for ever where the parent is gone: without one the call fails then.
static _Noreturn void ask(int listener, pid_t parent) {
  if (close(listener) < 0) _exit(1);
  _exit(syscall(SYS_getppid) == ANSWER && syscall(SYS_getppid) == parent ? 0 : 1);
}

bool probe_seccomp_notify(struct probe_result *result) {
  int listener = install(SBX_SECCOMP_RET_USER_NOTIF, SBX_SECCOMP_FILTER_FLAG_NEW_LISTENER);
  if (listener < 0) return probe_fail(result, "seccomp", "no listener: not before Linux 5.0, or another filter has one");
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) return probe_fail(result, "fork", "no process to try it on");
  if (child == 0) ask(listener, parent);
  if (!answer(result, listener, ANSWER, 0) || !answer(result, listener, 0, SBX_SECCOMP_USER_NOTIF_FLAG_CONTINUE)) return false;
  if (!probe_wait(result, "getppid", child)) return false;
  return close(listener) == 0 ? probe_pass(result, "asked and answered") : probe_fail(result, "close", "listener");
}

#if defined(__x86_64__)
// Without IA-32 emulation the instruction is a fault, and the trial ends by SIGSEGV: that is the answer. 20 is getpid(2) of i386.
bool probe_i386(struct probe_result *result) {
  long pid;
  __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
  errno = 0;
  if (pid != getpid()) return probe_fail(result, "getpid", "int 0x80 answers %ld", pid);
  return probe_pass(result, "32-bit system calls work: a filter must know them");
}
#else
bool probe_i386(struct probe_result *result) {
  errno = 0;
  return probe_fail(result, "getpid", "only x64 has i386 system calls");
}
#endif
