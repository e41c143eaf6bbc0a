// Trials of system call filters (seccomp(2)).
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define RET_ERRNO 0x00050000U       // SECCOMP_RET_ERRNO
#define RET_ALLOW 0x7fff0000U       // SECCOMP_RET_ALLOW
#define RET_USER_NOTIF 0x7fc00000U  // SECCOMP_RET_USER_NOTIF, 5.0
#define FLAG_NEW_LISTENER 8UL       // SECCOMP_FILTER_FLAG_NEW_LISTENER, 5.0
#define IOCTL_NOTIF_RECV 0xc0502100UL
#define IOCTL_NOTIF_SEND 0xc0182101UL
#define LOAD_NUMBER 0x20U  // BPF_LD | BPF_W | BPF_ABS
#define JUMP_EQUAL 0x15U   // BPF_JMP | BPF_JEQ | BPF_K
#define RETURN 0x06U       // BPF_RET | BPF_K
#define ANSWER 4711

// struct seccomp_notif and struct seccomp_notif_resp
struct notification {
  uint64_t id;
  uint32_t pid;
  uint32_t flags;
  int32_t number;
  uint32_t architecture;
  uint64_t instruction;
  uint64_t arguments[6];
};
struct notification_answer {
  uint64_t id;
  int64_t value;
  int32_t error;
  uint32_t flags;
};

// getppid(2) gets `action`, everything else goes through: harmless to whatever else the child does.
static int install(uint32_t action, unsigned long flags) {
  const struct sbx_sock_filter filter[] = {
      {.code = LOAD_NUMBER, .k = 0},
      {.code = JUMP_EQUAL, .jt = 0, .jf = 1, .k = SYS_getppid},
      {.code = RETURN, .k = action},
      {.code = RETURN, .k = RET_ALLOW},
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

static bool answer(struct probe_result *result, int listener) {
  struct notification asked;
  (void)memset(&asked, 0, sizeof asked);
  if (syscall(SYS_ioctl, listener, IOCTL_NOTIF_RECV, &asked) < 0)
    return probe_fail(result, "SECCOMP_IOCTL_NOTIF_RECV", "refused");
  struct notification_answer reply = {.id = asked.id, .value = ANSWER};
  if (syscall(SYS_ioctl, listener, IOCTL_NOTIF_SEND, &reply) < 0)
    return probe_fail(result, "SECCOMP_IOCTL_NOTIF_SEND", "refused");
  return true;
}

bool probe_seccomp_notify(struct probe_result *result) {
  int listener = install(RET_USER_NOTIF, FLAG_NEW_LISTENER);
  if (listener < 0) return probe_fail(result, "seccomp", "no listener: not before Linux 5.0, or another filter has one");
  pid_t child = fork();
  if (child < 0) return probe_fail(result, "fork", "no process to try it on");
  if (child == 0) _exit(syscall(SYS_getppid) == ANSWER ? 0 : 1);
  if (!answer(result, listener)) return false;
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
