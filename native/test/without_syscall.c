// Runs a command with system calls that fail, to rehearse older kernels and stricter surroundings:
//   without_syscall [--errno NUMBER] CALL... -- COMMAND [ARG...]
// A CALL is a name or number, with @N=VALUE or @N&MASK behind it where only calls with such an argument shall fail. The error is ENOSYS
// unless said otherwise; --errno holds for the calls after it. The filter is inherited by everything that the command starts.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../uapi.h"

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "unknown architecture"
#endif

#define INSTRUCTIONS_MAX 512
#define ARGUMENTS_MAX 6

static const struct {
  const char *name;
  long number;
} names[] = {
#define CALL(name) {#name, SYS_##name}
    CALL(capset),     CALL(clone),         CALL(close_range), CALL(fsconfig), CALL(fsmount),    CALL(fsopen),        CALL(keyctl),
    CALL(mount),      CALL(mount_setattr), CALL(move_mount),  CALL(openat2),  CALL(open_tree),  CALL(pivot_root),    CALL(prctl),
    CALL(prlimit64),  CALL(seccomp),       CALL(sethostname), CALL(setns),    CALL(setresuid),  CALL(signalfd4),     CALL(umount2),
    CALL(landlock_create_ruleset),
#undef CALL
};

static struct sock_filter instructions[INSTRUCTIONS_MAX];
static unsigned short count;

static _Noreturn void refuse(const char *what, const char *which) {
  (void)fprintf(stderr, "without_syscall: %s: %s\n", what, which);
  exit(125);
}

static void add(struct sock_filter instruction) {
  if (count == INSTRUCTIONS_MAX) refuse("too many calls", "the filter is full");
  instructions[count++] = instruction;
}

static long number_of(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strlen(names[i].name) == length && memcmp(names[i].name, name, length) == 0) return names[i].number;
  }
  char *end;
  long number = strtol(name, &end, 0);
  if (end != name + length || length == 0) refuse("unknown call", name);
  return number;
}

static void load(size_t offset) { add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset)); }

// Arguments are compared by their low half: flags and options of prctl(2), clone(2) and the like.
static void forbid(const char *call, unsigned error) {
  size_t length = strcspn(call, "@");
  long number = number_of(call, length);
  load(offsetof(struct seccomp_data, nr));
  if (call[length] == '\0') {
    add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1));
  } else {
    char *relation, *end;
    unsigned long argument = strtoul(call + length + 1, &relation, 10);
    bool exactly = *relation == '=';
    if (argument >= ARGUMENTS_MAX || (!exactly && *relation != '&')) refuse("not CALL@N=VALUE or CALL@N&MASK", call);
    unsigned long value = strtoul(relation + 1, &end, 0);
    if (*end != '\0' || value > UINT32_MAX) refuse("not a value", call);
    add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3));
    load(offsetof(struct seccomp_data, args) + 8 * argument);
    if (exactly) add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)value, 0, 1));
    else add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)value, 0, 1));
  }
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)));
}

int main(int argument_count, char **arguments) {
  // Other architectures than the compiler's own pass: nothing here runs on them.
  load(offsetof(struct seccomp_data, arch));
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 1, 0));
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  unsigned error = ENOSYS;
  int at = 1;
  for (; at < argument_count && strcmp(arguments[at], "--") != 0; at++) {
    if (strcmp(arguments[at], "--errno") != 0) forbid(arguments[at], error);
    else if (++at < argument_count) error = (unsigned)strtoul(arguments[at], NULL, 0);
  }
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  if (at + 1 >= argument_count) refuse("usage", "without_syscall [--errno NUMBER] CALL... -- COMMAND [ARG...]");
  struct sock_fprog program = {.len = count, .filter = instructions};
  // Root needs no PR_SET_NO_NEW_PRIVS for it, and keeps set-user-ID helpers working.
  if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) refuse("prctl", strerror(errno));
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0) refuse("prctl", strerror(errno));
  execv(arguments[at + 1], arguments + at + 1);
  refuse(arguments[at + 1], strerror(errno));
}
