// Makes one system call of a run fail, one after another through the whole of a process:
//   inject_fault ERRNO PROCESS LAUNCHER PLAN
// Each run of LAUNCHER on PLAN is traced, and in run n the n-th call of PROCESS fails with ERRNO, without being made. PROCESS is 0 for the
// supervisor, 1 for init, 2 for the command's, whose calls count until it executes the command. The last run is the first in which there was
// no n-th call. A line of JSON for each run: which call it was, how the launcher ended, its status lines and its stdout, whether it never
// ended, and whether a process outlived it.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACEES_MAX 64
#define TEXT_BYTES 65536
#define RUN_SECONDS 20  // until a run counts as hanging
#define END_SECONDS 5   // for what is left of a run to end

// ptrace(2), PTRACE_GET_SYSCALL_INFO: only what we read of it.
struct syscall_info {
  uint8_t op;
  uint8_t pad[3];
  uint32_t arch;
  uint64_t instruction_pointer;
  uint64_t stack_pointer;
  uint64_t number;
  uint64_t arguments[6];
};

struct tracee {
  pid_t pid;
  bool failing;    // the call that it is in was taken from it
  bool known;      // its first stop was seen
  unsigned order;  // 0 the launcher, then as they were made
};

static struct {
  struct tracee tracees[TRACEES_MAX];
  unsigned made;
  unsigned process;        // whose calls count
  bool counting;           // from the launcher's exec on
  unsigned long calls, wanted;
  long number;             // of the call that failed
  uint64_t argument;       // its first
  int error;
} run;

static _Noreturn void die(const char *what) {
  (void)fprintf(stderr, "inject_fault: %s: %s\n", what, strerror(errno));
  exit(125);
}

static struct tracee *find(pid_t pid) {
  for (unsigned i = 0; i < TRACEES_MAX; i++) {
    if (run.tracees[i].pid == pid) return &run.tracees[i];
  }
  for (unsigned i = 0; i < TRACEES_MAX; i++) {
    if (run.tracees[i].pid != 0) continue;
    run.tracees[i] = (struct tracee){.pid = pid, .order = run.made++};
    return &run.tracees[i];
  }
  errno = ENOMEM;
  die("too many processes");
}

static void set_number(pid_t pid, long number) {
#if defined(__x86_64__)
  if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), number) < 0 && errno != ESRCH) die("PTRACE_POKEUSER");
#elif defined(__aarch64__)
  int value = (int)number;
  struct iovec part = {.iov_base = &value, .iov_len = sizeof value};
  if (ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &part) < 0 && errno != ESRCH) die("PTRACE_SETREGSET");
#endif
}

static void set_result(pid_t pid, long result) {
#if defined(__x86_64__)
  if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), result) < 0 && errno != ESRCH) die("PTRACE_POKEUSER");
#elif defined(__aarch64__)
  struct user_regs_struct registers;
  struct iovec part = {.iov_base = &registers, .iov_len = sizeof registers};
  if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &part) < 0) return;
  registers.regs[0] = (uint64_t)result;
  (void)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &part);
#endif
}

// The end of a process cannot fail.
static bool can_fail(uint64_t number) { return number != SYS_exit && number != SYS_exit_group && number != SYS_rt_sigreturn; }

static bool is_counted(const struct tracee *tracee) { return run.counting && tracee->order == run.process && run.calls < run.wanted; }

static void on_syscall(struct tracee *tracee) {
  struct syscall_info info;
  memset(&info, 0, sizeof info);
  // ESRCH: killed meanwhile; waitpid(2) tells.
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tracee->pid, sizeof info, &info) < 0) return;
  if (info.op == PTRACE_SYSCALL_INFO_EXIT && tracee->failing) {
    tracee->failing = false;
    set_result(tracee->pid, -run.error);
    return;
  }
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !is_counted(tracee) || !can_fail(info.number)) return;
  if (++run.calls != run.wanted) return;
  run.number = (long)info.number;
  run.argument = info.arguments[0];
  tracee->failing = true;
  set_number(tracee->pid, -1);
}

// The launcher's own exec starts the count, the command's ends it.
static void on_exec(const struct tracee *tracee) { run.counting = tracee->order == 0; }

static void on_stop(pid_t pid, int status) {
  struct tracee *tracee = find(pid);
  int signal = WSTOPSIG(status);
  int event = status >> 16;
  int pass_on = 0;
  if (signal == (SIGTRAP | 0x80)) on_syscall(tracee);
  else if (event == PTRACE_EVENT_EXEC) on_exec(tracee);
  else if (event == PTRACE_EVENT_STOP || (signal == SIGSTOP && !tracee->known)) pass_on = 0;
  else if (event == 0 && signal != SIGTRAP) pass_on = signal;
  tracee->known = true;
  // Nobody stops for a call that is of no interest: that would cost more than the run itself.
  bool watched = is_counted(tracee) || tracee->failing;
  (void)ptrace(watched ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0, pass_on);
}

static void forget(pid_t pid) {
  struct tracee *tracee = find(pid);
  *tracee = (struct tracee){.pid = 0};
}

static volatile sig_atomic_t alarmed;
static void on_alarm(int signal) { alarmed = signal; }

// waitpid(2) then ends with EINTR.
static void set_alarm(int seconds) {
  alarmed = 0;
  struct itimerval time = {.it_value = {.tv_sec = seconds}};
  if (setitimer(ITIMER_REAL, &time, NULL) < 0) die("setitimer");
}

static _Noreturn void exec_launcher(const char *launcher, const char *plan, int out, int status) {
  int file = open(plan, O_RDONLY);
  int null = open("/dev/null", O_RDWR);
  if (file < 0 || null < 0) _exit(126);
  // Out of the way of the numbers that they become.
  int sources[] = {null, out, null, file, status};
  for (int i = 0; i < 5; i++) sources[i] = fcntl(sources[i], F_DUPFD, 64);
  for (int i = 0; i < 5; i++) {
    if (dup2(sources[i], i) < 0) _exit(126);
  }
  for (int i = 5; i < 128; i++) (void)close(i);
  if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP) != 0) _exit(126);
  char *environment[] = {NULL};
  execle(launcher, launcher, "run", "--plan-fd", "3", "--status-fd", "4", (char *)NULL, environment);
  _exit(126);
}

static void read_text(int from, char text[TEXT_BYTES]) {
  size_t used = 0;
  ssize_t got;
  while (used + 1 < TEXT_BYTES && (got = read(from, text + used, TEXT_BYTES - 1 - used)) > 0) used += (size_t)got;
  text[used] = '\0';
}

static void print_string(const char *text) {
  (void)putchar('"');
  for (; *text != '\0'; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\') (void)printf("\\%c", byte);
    else if (byte < 0x20 || byte >= 0x7f) (void)printf("\\u%04x", byte);
    else (void)putchar(byte);
  }
  (void)putchar('"');
}

static void kill_all(void) {
  for (unsigned i = 0; i < TRACEES_MAX; i++) {
    if (run.tracees[i].pid != 0) (void)kill(run.tracees[i].pid, SIGKILL);
  }
}

// Follows the run to its end: that of the launcher, then, for a moment, that of whatever it left. Returns the launcher's wait status.
static int follow(pid_t launcher, bool *hung, bool *outlived) {
  int result = -1;
  *hung = *outlived = false;
  set_alarm(RUN_SECONDS);
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0 && errno == ECHILD) return result;
    if (pid < 0 && errno != EINTR) die("waitpid");
    if (pid < 0 && alarmed != 0) {
      if (result < 0) *hung = true;
      else *outlived = true;
      kill_all();
      set_alarm(RUN_SECONDS);
    }
    if (pid < 0) continue;
    if (WIFSTOPPED(status)) {
      on_stop(pid, status);
      continue;
    }
    if (pid == launcher) {
      result = status;
      set_alarm(END_SECONDS);
    }
    forget(pid);
  }
}

static bool inject(unsigned long wanted, int error, unsigned process, const char *launcher, const char *plan) {
  memset(&run, 0, sizeof run);
  run.wanted = wanted;
  run.process = process;
  run.error = error;
  int out[2], status[2];
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(status, O_CLOEXEC) < 0) die("pipe2");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) exec_launcher(launcher, plan, out[1], status[1]);
  (void)close(out[1]);
  (void)close(status[1]);
  (void)find(child);
  int first;
  if (waitpid(child, &first, 0) != child || !WIFSTOPPED(first)) die("the launcher did not stop");
  run.tracees[0].known = true;
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, 0, options) < 0 || ptrace(PTRACE_CONT, child, 0, 0) < 0) die("ptrace");
  bool hung, outlived;
  int ended = follow(child, &hung, &outlived);
  static char out_text[TEXT_BYTES], status_text[TEXT_BYTES];
  read_text(out[0], out_text);
  read_text(status[0], status_text);
  (void)close(out[0]);
  (void)close(status[0]);
  bool reached = run.calls >= run.wanted;
  (void)printf("{\"call\":%lu,\"reached\":%s,\"number\":%ld,\"argument\":%llu,\"process\":%u,\"code\":%d,\"signal\":%d,\"hung\":%s,\"outlived\":%s,\"status\":", wanted,
               reached ? "true" : "false", run.number, (unsigned long long)run.argument, run.process, WIFEXITED(ended) ? WEXITSTATUS(ended) : -1,
               WIFSIGNALED(ended) ? WTERMSIG(ended) : 0, hung ? "true" : "false", outlived ? "true" : "false");
  print_string(status_text);
  (void)fputs(",\"stdout\":", stdout);
  print_string(out_text);
  (void)puts("}");
  return reached;
}

int main(int count, char **arguments) {
  if (count != 5) {
    (void)fputs("usage: inject_fault ERRNO PROCESS LAUNCHER PLAN\n", stderr);
    return 125;
  }
  int error = atoi(arguments[1]);
  unsigned process = (unsigned)atoi(arguments[2]);
  struct sigaction action = {.sa_handler = on_alarm};
  if (sigaction(SIGALRM, &action, NULL) < 0) die("sigaction");
  // What the launcher leaves behind becomes our child, and shows as one that outlives it.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) die("prctl");
  unsigned long wanted = 1;
  while (inject(wanted, error, process, arguments[3], arguments[4]) && fflush(stdout) == 0) wanted++;
  return fflush(stdout) == 0 ? 0 : 125;
}
