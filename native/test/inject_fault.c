// Makes one system call of a run fail, one after another through the whole of a process:
//   inject_fault ERRNO PROCESS FIRST STRIDE WAY LAUNCHER PLAN
// Each run of LAUNCHER on PLAN is traced, and in run n the n-th call of PROCESS fails with ERRNO, without being made: n is FIRST, then always STRIDE
// more, so that several of these can share the work. PROCESS is 0 for the supervisor, 1 for init, both until their end, and 2 for the command's,
// whose calls count until it executes the command; PROCESS@NUMBER counts only from its first call of that number on. WAY is `plan`, a plan and a status descriptor, or `channel`, one socket for everything, behind
// which a caller reads to the end. The last run is the first in which there was no n-th call. A line of JSON for each run: which call it was, whether
// the command had been executed by then, whether the very same call was what its process made next, how the launcher ended, its status lines and
// its stdout, whether it never ended, and whether a process outlived it.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACEES_MAX 64
#define TEXT_BYTES 65536
#define RUN_SECONDS 30  // until a run counts as hanging
#define ALL ULONG_MAX
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
  bool failed;     // that was its last call
  bool known;      // its first stop was seen
  unsigned order;  // 0 the launcher, then as they were made
};

static struct {
  struct tracee tracees[TRACEES_MAX];
  unsigned made;
  bool counting;           // from the launcher's exec on
  bool reached;            // the call from which to count, where there is one
  bool executed;           // the command
  unsigned long calls, wanted;
  struct syscall_info call;  // that failed
  bool after;                // the command had been executed by then
  bool again;                // its process made the same one next
} run;

// How to run what.
static struct {
  const char *launcher, *plan;
  bool channel;
  unsigned long process;
  unsigned long from;  // the number of the call from which to count, or ALL
  int error;
} what;

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

// The end of a process cannot fail, nor can getpid(2).
static bool can_fail(uint64_t number) {
  return number != SYS_exit && number != SYS_exit_group && number != SYS_rt_sigreturn && number != SYS_getpid;
}

static bool is_same_call(const struct syscall_info *a, const struct syscall_info *b) {
  return a->number == b->number && memcmp(a->arguments, b->arguments, sizeof a->arguments) == 0;
}

static bool is_counted(const struct tracee *tracee) { return run.counting && tracee->order == what.process && run.calls < run.wanted; }

static void on_syscall(struct tracee *tracee) {
  struct syscall_info info;
  memset(&info, 0, sizeof info);
  // ESRCH: killed meanwhile; waitpid(2) tells.
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tracee->pid, sizeof info, &info) < 0) return;
  if (info.op == PTRACE_SYSCALL_INFO_EXIT && tracee->failing) {
    tracee->failing = false;
    tracee->failed = true;
    set_result(tracee->pid, -what.error);
    return;
  }
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
  if (tracee->failed) {
    tracee->failed = false;
    run.again = is_same_call(&info, &run.call);
  }
  if (!is_counted(tracee) || !can_fail(info.number)) return;
  run.reached = run.reached || what.from == ALL || info.number == what.from;
  if (!run.reached) return;
  if (++run.calls != run.wanted) return;
  run.call = info;
  run.after = run.executed;
  tracee->failing = true;
  set_number(tracee->pid, -1);
}

// The launcher's own exec starts the count; the command's ends that of its process.
static void on_exec(const struct tracee *tracee) {
  if (tracee->order == 0) run.counting = true;
  if (tracee->order != 2) return;
  run.executed = true;
  if (what.process == 2) run.counting = false;
}

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
  bool watched = is_counted(tracee) || tracee->failing || tracee->failed;
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

// `ends` become the descriptors from 0 on, and there are no others.
static bool arrange(int *ends, int count) {
  for (int i = 0; i < count; i++) {
    ends[i] = fcntl(ends[i], F_DUPFD, 64);  // out of the way of the numbers that they become
    if (ends[i] < 0) return false;
  }
  for (int i = 0; i < count; i++) {
    if (dup2(ends[i], i) < 0) return false;
  }
  for (int i = count; i < 128; i++) (void)close(i);
  return true;
}

static _Noreturn void exec_launcher(int out, int third, int fourth) {
  int null = open("/dev/null", O_RDWR);
  int ends[] = {null, out, null, third, fourth};
  if (null < 0 || !arrange(ends, what.channel ? 4 : 5)) _exit(126);
  if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP) != 0) _exit(126);
  char *environment[] = {NULL};
  if (what.channel) execle(what.launcher, what.launcher, "run", "--channel-fd", "3", (char *)NULL, environment);
  else execle(what.launcher, what.launcher, "run", "--plan-fd", "3", "--status-fd", "4", (char *)NULL, environment);
  _exit(126);
}

// What comes from one descriptor, to another, until it ends.
static void pass_on(int from, int to) {
  static char bytes[TEXT_BYTES];
  ssize_t got;
  while ((got = read(from, bytes, sizeof bytes)) > 0) {
    for (ssize_t done = 0, put; done < got; done += put) {
      put = write(to, bytes + done, (size_t)(got - done));
      if (put < 0) return;
    }
  }
}

// The library's part: it hands over the plan, reads every status line, and only then closes its end.
static _Noreturn void be_caller(int plan, int channel, int status) {
  int ends[] = {plan, channel, status};
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || !arrange(ends, 3)) _exit(126);
  pass_on(0, 1);
  pass_on(1, 2);
  _exit(0);
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
static int follow(pid_t launcher, pid_t caller, bool *hung, bool *outlived) {
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
    if (pid < 0 || pid == caller) continue;
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

static void print_row(int ended, bool hung, bool outlived, const char *status, const char *out) {
  const uint64_t *arguments = run.call.arguments;
  (void)printf("{\"call\":%lu,\"reached\":%s,\"number\":%ld,\"arguments\":[%ld,%ld,%ld],", run.wanted, run.calls >= run.wanted ? "true" : "false",
               (long)run.call.number, (long)arguments[0], (long)arguments[1], (long)arguments[2]);
  (void)printf("\"after\":%s,\"again\":%s,\"code\":%d,\"signal\":%d,", run.after ? "true" : "false", run.again ? "true" : "false",
               WIFEXITED(ended) ? WEXITSTATUS(ended) : -1, WIFSIGNALED(ended) ? WTERMSIG(ended) : 0);
  (void)printf("\"hung\":%s,\"outlived\":%s,\"status\":", hung ? "true" : "false", outlived ? "true" : "false");
  print_string(status);
  (void)fputs(",\"stdout\":", stdout);
  print_string(out);
  (void)puts("}");
}

static void start_tracing(pid_t child) {
  int first;
  if (waitpid(child, &first, 0) != child || !WIFSTOPPED(first)) die("the launcher did not stop");
  (void)find(child);
  run.tracees[0].known = true;
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, 0, options) < 0 || ptrace(PTRACE_CONT, child, 0, 0) < 0) die("ptrace");
}

static bool inject(unsigned long wanted) {
  memset(&run, 0, sizeof run);
  run.wanted = wanted;
  int out[2], status[2], channel[2];
  int plan = open(what.plan, O_RDONLY | O_CLOEXEC);
  if (plan < 0) die(what.plan);
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(status, O_CLOEXEC) < 0) die("pipe2");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0) die("socketpair");
  pid_t caller = what.channel ? fork() : 0;
  if (caller < 0) die("fork");
  if (what.channel && caller == 0) be_caller(plan, channel[0], status[1]);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) exec_launcher(out[1], what.channel ? channel[1] : plan, status[1]);
  int ours[] = {plan, out[1], status[1], channel[0], channel[1]};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) (void)close(ours[i]);
  start_tracing(child);
  bool hung, outlived;
  int ended = follow(child, caller, &hung, &outlived);
  static char out_text[TEXT_BYTES], status_text[TEXT_BYTES];
  read_text(out[0], out_text);
  read_text(status[0], status_text);
  (void)close(out[0]);
  (void)close(status[0]);
  print_row(ended, hung, outlived, status_text, out_text);
  return run.calls >= run.wanted;
}

static int refuse_usage(void) {
  (void)fputs("usage: inject_fault ERRNO PROCESS[@NUMBER] FIRST STRIDE plan|channel LAUNCHER PLAN\n", stderr);
  return 125;
}

int main(int count, char **arguments) {
  if (count != 8) return refuse_usage();
  char *end;
  what.error = atoi(arguments[1]);
  what.process = strtoul(arguments[2], &end, 10);
  what.from = *end == '@' ? strtoul(end + 1, NULL, 10) : ALL;
  unsigned long wanted = strtoul(arguments[3], NULL, 10);
  unsigned long stride = strtoul(arguments[4], NULL, 10);
  what.channel = strcmp(arguments[5], "channel") == 0;
  what.launcher = arguments[6];
  what.plan = arguments[7];
  if (wanted == 0 || stride == 0 || (!what.channel && strcmp(arguments[5], "plan") != 0)) return refuse_usage();
  struct sigaction action = {.sa_handler = on_alarm};
  if (sigaction(SIGALRM, &action, NULL) < 0) die("sigaction");
  // What the launcher leaves behind becomes our child, and shows as one that outlives it.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) die("prctl");
  while (inject(wanted) && fflush(stdout) == 0) wanted += stride;
  return fflush(stdout) == 0 ? 0 : 125;
}
