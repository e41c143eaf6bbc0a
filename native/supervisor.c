// The supervisor: outside of the sandbox, between the caller and init. It makes init, writes its id maps, and then keeps the clock, the output
// bound, the terminal and the channel, so that nothing of that depends on the caller's event loop. It is single-threaded and never blocks on
// anything that the sandbox or the reader of its output could hold back.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "binfmt.h"
#include "call.h"
#include "capture.h"
#include "cgroup.h"
#include "channel.h"
#include "compiled.h"
#include "complaints.h"
#include "hold.h"
#include "join.h"
#include "orders.h"
#include "run.h"
#include "sampling.h"
#include "scheduling.h"
#include "status.h"
#include "streams.h"
#include "sys.h"
#include "terminal.h"
#include "verdict.h"

#define EXIT_SANDBOX_FAILED 125
#define TOOL_PATIENCE_NS 5000000000
// For one that no signal ends: what an engine was asked for it does in its own time.
#define UNASKED_TOOL_PATIENCE_NS 30000000000
// For an init that alone can end everything, on a machine that may be busy with what it is to end.
#define INIT_PATIENCE_NS 30000000000
#define ORDERS_PER_ROUND 64
#define MILLISECOND_NS INT64_C(1000000)
#define PROCESSOR_TIME_CHECK_MIN_NS MILLISECOND_NS
#define PROCESSOR_TIME_CHECK_MAX_NS (100 * MILLISECOND_NS)
#define KILL_PATIENCE_NS (100 * MILLISECOND_NS)
#define READER_PATIENCE_NS (100 * MILLISECOND_NS)
#define BOUNDS_CHECK_NS (5 * MILLISECOND_NS)
#define BOUNDS_ASK_NS (50 * MILLISECOND_NS)
#define BOUNDS_PATIENCE_NS (1000 * MILLISECOND_NS)

static struct {
  struct run *run;
  pid_t init;
  int socket_fd;  // to init; -1 after its end
  int room_fd;    // to the process that becomes the tool, until it does; -1 else
  int gate_fd;    // lets an init go on that waits for its control groups; -1: none does
  int signals_fd;
  bool started, failed, init_gone, caller_gone;
  bool sweeps;  // there is no pid namespace of ours that ends with init
  bool tool_ended;  // or init, where we sweep after it
  int tool_status;
  struct failure failure;
  struct ending ending;
  int64_t started_ns, ended_ns, wall_deadline_ns, kill_deadline_ns, tool_deadline_ns, reader_deadline_ns;  // 0: none
  bool killing;  // the next deadline of that kind is the last one
  int processes_fd;      // the proc of the sandbox, for sampling.c; -1: none
  int64_t command_us;    // processor time of the command and its children, as init knows it at the end
  int64_t processor_time_check_ns, bounds_check_ns, bounds_until_ns;  // 0: none
  int master;  // of the sandbox's terminal, or -1
  size_t call_length;
  bool called;  // or nobody was waited for
  unsigned from_terminal[NSIG];  // signals that came from the terminal and whose forwarded double is still to come
} self;

static struct complaints complaints;

static int64_t now_ns(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) < 0) return 0;
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Before there is an init: the failure is the whole story.
static int refuse(enum step step, uint32_t index, const char *syscall, const char *path) {
  failure_fill(&self.failure, step, index, errno, syscall, path);
  cgroups_remove();
  status_failed(&self.failure);
  return EXIT_SANDBOX_FAILED;
}

static void prepare_terminal(struct run *run) {
  struct winsize size = {.ws_col = 80, .ws_row = 24};
  if (run->plan.columns != 0 && run->plan.rows != 0) {
    size.ws_col = (unsigned short)run->plan.columns;
    size.ws_row = (unsigned short)run->plan.rows;
  } else {
    (void)terminal_size(&size);
  }
  run->columns = size.ws_col;
  run->rows = size.ws_row;
}

static void close_if_open(int *descriptor) {
  if (*descriptor >= 0) (void)close(*descriptor);
  *descriptor = -1;
}

static _Noreturn void become_init(struct run *run, int socket_fd, int supervisor_end) {
  (void)close(supervisor_end);
  close_if_open(&run->channel_fd);
  close_if_open(&run->status_fd);
  close_if_open(&run->input_fd);
  close_if_open(&run->output_fd);
  close_if_open(&run->error_fd);
  cgroups_forget();
  if (run->plan.has_tool) {
    close_if_open(&self.socket_fd);
    close_if_open(&self.gate_fd);
    close_if_open(&complaints.from);
  }
  init_main(run, socket_fd);
}

static void close_command_ends(struct run *run) {
  if (run->standard[0] != 0) (void)close(run->standard[0]);
  if (run->standard[1] != 1) (void)close(run->standard[1]);
  if (run->standard[2] > 2 && run->standard[2] != run->standard[1]) (void)close(run->standard[2]);
  close_if_open(&run->inside_fd);
  close_if_open(&run->complaints_fd);
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_DESCRIPTOR) continue;
    // A descriptor may be named twice; the second close finds it closed already.
    int from = (int)read_u32(&record.payload);
    if (from > 2) (void)close(from);
  }
}

static bool write_id_maps(void) {
  struct cursor cursor = plan_start(&self.run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step == STEP_MAP_IDS && !map_ids(&record, self.init, &self.failure)) return false;
  }
  return true;
}

// Some tools would leave something of theirs on the host if they were killed: they get the signal that lets them clear it away, and some time.
static void end_tool(void) {
  uint32_t signal = self.run->plan.tool_end_signal;
  if (self.init_gone || self.tool_ended || self.tool_deadline_ns != 0) return;
  if (signal != SIGKILL) self.tool_deadline_ns = now_ns() + (signal == 0 ? UNASKED_TOOL_PATIENCE_NS : TOOL_PATIENCE_NS);
  if (signal != 0) (void)kill(self.init, (int)signal);
}

// What is left after an init that was killed can only be hunted one by one. The end of the socket is its order to end everything.
static void let_init_end(void) {
  if (self.tool_deadline_ns == 0) self.tool_deadline_ns = now_ns() + INIT_PATIENCE_NS;
  if (self.socket_fd >= 0) (void)shutdown(self.socket_fd, SHUT_WR);
}

static void kill_init(void) {
  if (!self.run->plan.has_tool) {
    if (self.init_gone || self.tool_ended) return;
    if (self.started && self.run->plan.closes_signals) let_init_end();
    // Our own child, not yet waited for: the pid is still its.
    else (void)kill(self.init, SIGKILL);
    return;
  }
  end_tool();
  // Init inside of a tool is no child of ours. The end of the socket is its order to end; what it said before is still read.
  if (self.socket_fd >= 0) (void)shutdown(self.socket_fd, SHUT_WR);
}

// Everything in the sandbox, by init where it can: what init has waited for is counted. It gets a moment, and then its own end.
static void kill_all(void) {
  bool by_init = self.started && (!self.sweeps || self.run->plan.closes_signals) && !self.init_gone && !self.tool_ended;
  if (!by_init || !message_send(self.socket_fd, MESSAGE_SIGNAL_ALL, SIGKILL)) {
    kill_init();
    return;
  }
  self.killing = true;
  int64_t deadline = now_ns() + KILL_PATIENCE_NS;
  if (self.kill_deadline_ns == 0 || deadline < self.kill_deadline_ns) self.kill_deadline_ns = deadline;
}

// What is left undone here cannot be made good, so the sandbox ends with the name of it. The first failure is the one that counts.
static void give_up(enum step step, int error, const char *syscall) {
  if (!self.failed) failure_fill(&self.failure, step, NO_INDEX, error, syscall, NULL);
  self.failed = true;
  kill_init();
}

static void to_init(enum message_kind kind, int value) {
  if (self.socket_fd >= 0) (void)message_send(self.socket_fd, kind, value);
}

// The first cause is the one that counts.
static void set_cause(enum end_cause cause, int by) {
  if (self.ending.cause != CAUSE_COMMAND || self.ending.exited) return;
  self.ending.cause = cause;
  self.ending.by = by;
}

// A request that comes before the command waits in init's socket: init looks there last thing before it starts one.
static void end_with(int signal, uint32_t grace_milliseconds) {
  // A sandbox that waits for its command has nobody to ask.
  if (signal == SIGKILL || !self.called) {
    kill_all();
    return;
  }
  to_init(MESSAGE_SIGNAL_ALL, signal);
  int64_t deadline = now_ns() + (int64_t)grace_milliseconds * 1000000;
  if (self.kill_deadline_ns == 0 || deadline < self.kill_deadline_ns) self.kill_deadline_ns = deadline;
}

static void end_orderly(void) { end_with(self.run->plan.kill_signal, self.run->plan.grace_milliseconds); }

static void resize(unsigned columns, unsigned rows) {
  struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
  if (self.master >= 0) (void)ioctl(self.master, TIOCSWINSZ, &size);
}

static void forward(int signal) {
  if (self.from_terminal[signal] > 0) {
    self.from_terminal[signal]--;
    return;
  }
  set_cause(CAUSE_SIGNALLED, signal);
  end_with(signal, self.run->plan.grace_milliseconds);
}

// What follows the order is the call. A second one is none of ours: the sandbox is used once.
static void expect_call(uint32_t length) {
  errno = EINVAL;
  if (self.called || length == 0 || length > CALL_BYTES_MAX) {
    give_up(STEP_PLAN, errno, "recv");
    return;
  }
  self.call_length = length;
  orders_expect_call(self.run->call->bytes, length);
}

// EPIPE: init is gone, which its end tells. Otherwise nobody would ever come to it.
static void hand_call_on(const struct call *call) {
  int input = -1;
  const char *failed = call->has_input ? streams_take_input(call->input, call->input_bytes, &input) : NULL;
  if (failed != NULL) {
    give_up(STEP_RELAY, errno, failed);
    return;
  }
  if (self.socket_fd < 0) return;
  bool handed = input < 0 ? message_send(self.socket_fd, MESSAGE_CALL, 0) : message_send_descriptor(self.socket_fd, MESSAGE_CALL, input);
  if (!handed && errno != EPIPE) give_up(STEP_INIT, errno, "send");
  close_if_open(&input);
}

static void take_call(void) {
  struct call *call = self.run->call;
  const char *wrong = call_parse(call, self.call_length);
  if (wrong != NULL) {
    give_up(STEP_PLAN, EINVAL, "recv");
    (void)snprintf(self.failure.detail, sizeof self.failure.detail, "%s", wrong);
    return;
  }
  self.called = true;
  self.run->plan.kill_signal = (int)call->kill_signal;
  self.run->plan.grace_milliseconds = call->grace_milliseconds;
  hand_call_on(call);
}

static void obey(struct order order) {
  bool names_signal = order.type == ORDER_TERMINATE || order.type == ORDER_SIGNAL || order.type == ORDER_FORWARD;
  if (names_signal && (order.a == 0 || order.a >= NSIG)) return;
  switch (order.type) {
    case ORDER_TERMINATE:
      set_cause(CAUSE_TERMINATED, 0);
      end_with((int)order.a, order.b);
      break;
    case ORDER_KILL:
      set_cause(CAUSE_TERMINATED, 0);
      kill_all();
      break;
    case ORDER_RESIZE: resize(order.a, order.b); break;
    case ORDER_SIGNAL: to_init(MESSAGE_SIGNAL_COMMAND, (int)order.a); break;
    case ORDER_FORWARD: forward((int)order.a); break;
    case ORDER_CALL: expect_call(order.a); break;
    case ORDER_ANSWER: to_init(MESSAGE_ANSWER, (int)(order.a << 16 | (order.b & 0xffff))); break;
    default: break;  // from a newer library; the plan's protocol number guards what matters
  }
}

static void read_orders(void) {
  for (int round = 0; round < ORDERS_PER_ROUND; round++) {
    struct order order;
    switch (orders_next(self.run->channel_fd, &order)) {
      case ORDERS_NONE: return;
      case ORDERS_ONE: obey(order); break;
      case ORDERS_CALL_CAME: take_call(); break;
      case ORDERS_FAILED: give_up(STEP_RELAY, errno, "recv"); __attribute__((fallthrough));
      case ORDERS_END:
        self.caller_gone = true;
        kill_init();
        return;
    }
  }
}

static void start_terminal(int master) {
  self.master = master;
  if (!streams_open_terminal(master)) give_up(STEP_TERMINAL, errno, "fcntl");
}

static void on_started(void) {
  self.started = true;
  self.started_ns = now_ns();
  uint64_t wall = self.run->plan.wall_milliseconds;
  if (wall > 0) self.wall_deadline_ns = self.started_ns + (int64_t)wall * 1000000;
  if (cgroups_need_asking()) self.bounds_check_ns = self.started_ns + BOUNDS_ASK_NS;
  if (self.run->plan.cpu_milliseconds > 0) self.processor_time_check_ns = self.started_ns;
  if (self.run->plan.has_sampling && !sampling_start(&self.run->plan, self.processes_fd)) give_up(STEP_SAMPLING, errno, "memfd_create");
  if (!self.failed && !self.run->plan.collects) status_started(self.init, hold_held());
}

struct incoming {
  struct message message;
  union {
    struct failure failure;
    struct counts counts;
    struct denied denied;
    struct notified notified;
  };
};

// cmsg(3) by hand: musl's CMSG_NXTHDR does not compile without a warning.
static bool received_with(const struct msghdr *header, int type, void *value, size_t size) {
  const uint8_t *at = header->msg_control;
  for (size_t left = header->msg_controllen; left >= sizeof(struct cmsghdr);) {
    struct cmsghdr part;
    memcpy(&part, at, sizeof part);
    if (part.cmsg_level == SOL_SOCKET && part.cmsg_type == type && part.cmsg_len == CMSG_LEN(size) && left >= CMSG_LEN(size)) {
      memcpy(value, at + CMSG_LEN(0), size);
      return true;
    }
    size_t step = CMSG_ALIGN((size_t)part.cmsg_len);
    if (step < sizeof part || step >= left) return false;
    at += step;
    left -= step;
  }
  return false;
}

static int received_descriptor(const struct msghdr *header) {
  int descriptor;
  return received_with(header, SCM_RIGHTS, &descriptor, sizeof descriptor) ? descriptor : -1;
}

// Init inside of a tool waits until it is in the control groups, with all that it will start; it is known here by the number that the kernel sees it by.
static void put_into_groups(const struct msghdr *header) {
  struct ucred sender;
  if (!received_with(header, SCM_CREDENTIALS, &sender, sizeof sender) || self.gate_fd < 0 || self.failed) return;
  if (!cgroups_join(sender.pid, &self.failure)) {
    self.failed = true;
    kill_init();
  } else if (write(self.gate_fd, "", 1) != 1) {
    give_up(STEP_CGROUP, errno, "write");
  }
  close_if_open(&self.gate_fd);
}

// The command's process has the same socket as init: what it sends comes here. EPIPE: the command has ended meanwhile, and init with it.
static void hand_listener_on(int listener) {
  errno = EBADF;
  bool handed = listener >= 0 && message_send_descriptor(self.socket_fd, MESSAGE_LISTENER, listener);
  if (!handed && errno != EPIPE) give_up(STEP_SECCOMP, errno, "sendmsg");
  close_if_open(&listener);
}

// One message of init, of the command's process, or of the one that is to become the tool; false at the end.
static bool read_message(int *socket_fd) {
  static struct incoming incoming;
  union {
    char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr align;
  } control;
  struct iovec part = {.iov_base = &incoming, .iov_len = sizeof incoming};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t got = recvmsg(*socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EAGAIN) return false;
  // unix(7) says it once, and before what init wrote last, where init ended without reading all that we wrote.
  if (got < 0 && (errno == EINTR || errno == ECONNRESET)) return true;
  if (got < 0) give_up(STEP_INIT, errno, "recvmsg");
  if (got <= 0) {
    close_if_open(socket_fd);
    return false;
  }
  switch (incoming.message.kind) {
    case MESSAGE_FAILED:
      if (self.failed || got != (ssize_t)(sizeof incoming.message + sizeof incoming.failure)) break;
      self.failed = true;
      self.failure = incoming.failure;
      break;
    case MESSAGE_TERMINAL: start_terminal(received_descriptor(&header)); break;
    case MESSAGE_STARTED: on_started(); break;
    case MESSAGE_HERE: put_into_groups(&header); break;
    case MESSAGE_PROCESSES: self.processes_fd = received_descriptor(&header); break;
    case MESSAGE_CAPTURE: capture_take(incoming.message.value, received_descriptor(&header)); break;
    case MESSAGE_LISTENER: hand_listener_on(received_descriptor(&header)); break;
    case MESSAGE_DENIED:
      if (got != (ssize_t)(sizeof incoming.message + sizeof incoming.denied)) break;
      self.ending.denied = true;
      self.ending.denied_call = incoming.denied;
      break;
    case MESSAGE_NOTIFIED:
      if (got == (ssize_t)(sizeof incoming.message + sizeof incoming.notified)) status_notified(&incoming.notified);
      break;
    case MESSAGE_EXITED:
      self.ending.exited = true;
      self.ending.wait_status = incoming.message.value;
      self.ended_ns = now_ns();
      break;
    case MESSAGE_COUNTS:
      if (got != (ssize_t)(sizeof incoming.message + sizeof incoming.counts)) break;
      self.command_us = incoming.counts.processor_us;
      if (!self.run->plan.has_tool) break;
      self.ending.counts = incoming.counts;
      self.ending.counted = true;
      break;
    case MESSAGE_USER_TIME: self.ending.user_us += (int64_t)incoming.message.value * 1000; break;
    case MESSAGE_SYSTEM_TIME: self.ending.system_us += (int64_t)incoming.message.value * 1000; break;
    case MESSAGE_PLAN:
    case MESSAGE_DESCRIPTOR:
    case MESSAGE_GATE:
    case MESSAGE_TABLE:
    case MESSAGE_GO:
    case MESSAGE_CALL:
    case MESSAGE_SIGNAL_ALL:
    case MESSAGE_SIGNAL_COMMAND:
    case MESSAGE_SIGNAL_GROUP:
    case MESSAGE_ANSWER: break;
  }
  return true;
}

// A tool that makes no pid namespace does not end what the command leaves: it is told when init has nothing more to say. The end of the socket may
// come later: such a tool has the other end of it too, which it inherited.
static void end_tool_after_command(void) {
  uint32_t signal = self.run->plan.tool_end_signal;
  if (self.run->plan.has_tool && signal != 0 && signal != SIGKILL) end_tool();
}

static void read_messages(void) {
  while (self.room_fd >= 0 && read_message(&self.room_fd)) continue;
  if (self.socket_fd < 0) return;
  while (self.socket_fd >= 0 && read_message(&self.socket_fd)) continue;
  if (self.socket_fd < 0 || self.ending.exited) end_tool_after_command();
}

static int64_t microseconds_of(struct timeval time) { return (int64_t)time.tv_sec * 1000000 + time.tv_usec; }

static void add_usage(const struct rusage *usage) {
  self.ending.user_us += microseconds_of(usage->ru_utime);
  self.ending.system_us += microseconds_of(usage->ru_stime);
  if (!self.run->plan.has_tool) counts_add(&self.ending.counts, usage);
}

// Of an init that was killed the kernel waited for the rest, and counted it nowhere.
static void count_if_whole(int status) {
  if (!self.run->plan.has_tool && WIFEXITED(status)) self.ending.counted = true;
}

static void on_all_gone(void) {
  self.init_gone = true;
  read_messages();
  if (self.ended_ns == 0) self.ended_ns = now_ns();
  streams_last();
  if (self.run->channel_fd >= 0) self.reader_deadline_ns = now_ns() + READER_PATIENCE_NS;
}

// Init is the last of its pid namespace to go: when it can be waited for, every process of the sandbox is gone, and its usage is that of all.
static void reap_init(void) {
  int status;
  struct rusage usage;
  memset(&usage, 0, sizeof usage);
  pid_t reaped;
  do reaped = wait4(self.init, &status, WNOHANG, &usage);
  while (reaped < 0 && errno == EINTR);
  if (reaped == 0) return;
  if (reaped < 0) {
    give_up(STEP_INIT, errno, "wait4");
    while (waitpid(self.init, &status, 0) < 0 && errno == EINTR) continue;
  }
  add_usage(&usage);
  count_if_whole(status);
  on_all_gone();
}

// SIGKILL for each, as the kernel lists them (proc_pid_task_children(5)). They are our own, not yet waited for: their numbers are still theirs. What
// they leave becomes ours in turn, and is killed when SIGCHLD tells of it.
static void kill_children(void) {
  int list = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (list < 0) return;
  char text[4096];
  ssize_t got;
  do got = read(list, text, sizeof text - 1);
  while (got < 0 && errno == EINTR);
  (void)close(list);
  text[got > 0 ? got : 0] = '\0';
  for (char *at = text; *at != '\0';) {
    char *end;
    long pid = strtol(at, &end, 10);
    // A number that the buffer cut off is not followed by a blank: the next round has it.
    if (end == at || *end != ' ') break;
    if (pid > 1 && pid != cgroups_keeper() && pid != terminal_keeper()) (void)kill((pid_t)pid, SIGKILL);
    at = end + 1;
  }
}

// Around a tool: whatever it leaves behind, or never was in a pid namespace, has become our own child (prctl(2), PR_SET_CHILD_SUBREAPER), and ends
// after it. The last of them ends the run.
static void reap_children(void) {
  for (;;) {
    int status;
    struct rusage usage;
    pid_t reaped = wait4(-1, &status, WNOHANG, &usage);
    if (reaped < 0 && errno == EINTR) continue;
    if (reaped < 0 && errno != ECHILD) give_up(STEP_INIT, errno, "wait4");
    if (reaped < 0) on_all_gone();
    if (reaped <= 0) break;
    add_usage(&usage);
    if (reaped != self.init) continue;
    count_if_whole(status);
    self.tool_ended = true;
    self.tool_status = status;
  }
  if (!self.tool_ended || self.init_gone) return;
  kill_init();
  kill_children();
}

// The whole sandbox pauses with us, when the terminal asks for that (Ctrl-Z).
static void pause_all(void) {
  to_init(MESSAGE_SIGNAL_ALL, SIGSTOP);
  terminal_restore();
  (void)raise(SIGSTOP);
  if (self.run->plan.has_terminal) (void)terminal_make_raw(self.run->channel_fd < 0);
  to_init(MESSAGE_SIGNAL_ALL, SIGCONT);
}

static void on_signal(const struct signalfd_siginfo *info) {
  int signal = (int)info->ssi_signo;
  bool by_kernel = info->ssi_code == SI_KERNEL;
  struct winsize size;
  switch (signal) {
    case SIGCHLD:
      if (self.sweeps) reap_children();
      else reap_init();
      break;
    case SIGCONT: break;
    case SIGTSTP: pause_all(); break;
    case SIGWINCH:
      if (terminal_size(&size)) resize(size.ws_col, size.ws_row);
      break;
    case SIGUSR1:
    case SIGUSR2: to_init(MESSAGE_SIGNAL_COMMAND, signal); break;
    default:
      // Ctrl-C is the command's to answer, as often as it likes; a kill(2) asks for the end.
      if (by_kernel && signal != SIGHUP) {
        self.from_terminal[signal]++;
        to_init(MESSAGE_SIGNAL_GROUP, signal);
      } else {
        set_cause(CAUSE_SIGNALLED, signal);
        end_with(signal, self.run->plan.grace_milliseconds);
      }
  }
}

static void read_signals(void) {
  struct signalfd_siginfo info;
  while (read(self.signals_fd, &info, sizeof info) == (ssize_t)sizeof info) on_signal(&info);
}

static const int watched_signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};

// SIGTTOU would stop us for restoring the terminal from the background, SIGPIPE would end us for a reader that left.
static bool watch_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof watched_signals / sizeof watched_signals[0]; i++) sigaddset(&set, watched_signals[i]);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  if (sigaction(SIGPIPE, &ignore, NULL) < 0 || sigaction(SIGTTOU, &ignore, NULL) < 0) return false;
  self.signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return self.signals_fd >= 0;
}

static bool block_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof watched_signals / sizeof watched_signals[0]; i++) sigaddset(&set, watched_signals[i]);
  return sigprocmask(SIG_SETMASK, &set, NULL) == 0;
}

// As many processors as there are may work for the sandbox, so that its bound cannot be met before the next look.
static void check_processor_time(int64_t now) {
  int64_t user_us, system_us;
  if (!cgroups_processor_time(&user_us, &system_us)) {
    self.processor_time_check_ns = 0;
    give_up(STEP_LIMIT_CPU, errno, "read");
    return;
  }
  int64_t left_ns = (int64_t)self.run->plan.cpu_milliseconds * MILLISECOND_NS - (user_us + system_us) * 1000;
  if (left_ns <= 0) {
    self.processor_time_check_ns = 0;
    set_cause(CAUSE_CPU, 0);
    end_with(SIGXCPU, self.run->plan.grace_milliseconds);
    return;
  }
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t wait_ns = left_ns / (processors < 1 ? 1 : processors);
  if (wait_ns < PROCESSOR_TIME_CHECK_MIN_NS) wait_ns = PROCESSOR_TIME_CHECK_MIN_NS;
  if (wait_ns > PROCESSOR_TIME_CHECK_MAX_NS) wait_ns = PROCESSOR_TIME_CHECK_MAX_NS;
  self.processor_time_check_ns = now + wait_ns;
}

// A sandbox that met a bound of its control groups ends whole: what is left of it after the kernel's choice of a victim, or of a refused fork(2), is
// nothing that anybody counts on. v1 tells of a want of memory a moment before it kills.
static void check_bounds(int64_t now) {
  enum end_cause met = cgroups_met();
  int64_t later = cgroups_need_asking() ? now + BOUNDS_ASK_NS : 0;
  self.bounds_check_ns = now < self.bounds_until_ns ? now + BOUNDS_CHECK_NS : later;
  if (met == CAUSE_COMMAND) return;
  self.bounds_check_ns = 0;
  set_cause(met, 0);
  kill_all();
}

// As at a bound of control groups, but what was met is known by what was seen.
static void sample(void) {
  enum end_cause met;
  const char *failed = sampling_step(&met);
  if (failed == NULL && met == CAUSE_COMMAND && !self.ending.exited) return;
  sampling_stop();
  if (failed != NULL) give_up(STEP_SAMPLING, errno, failed);
  if (met == CAUSE_COMMAND) return;
  set_cause(met, 0);
  if (met == CAUSE_CPU) end_with(SIGXCPU, self.run->plan.grace_milliseconds);
  else kill_all();
}

static void expect_bounds(void) {
  self.bounds_check_ns = now_ns();
  self.bounds_until_ns = self.bounds_check_ns + BOUNDS_PATIENCE_NS;
}

static void check_deadlines(void) {
  int64_t now = now_ns();
  if (self.processor_time_check_ns != 0 && now >= self.processor_time_check_ns) check_processor_time(now);
  if (self.bounds_check_ns != 0 && now >= self.bounds_check_ns) check_bounds(now);
  if (sampling_next_ns() != 0 && now >= sampling_next_ns()) sample();
  if (self.wall_deadline_ns != 0 && now >= self.wall_deadline_ns) {
    self.wall_deadline_ns = 0;
    set_cause(CAUSE_WALL, 0);
    end_orderly();
  }
  if (self.kill_deadline_ns != 0 && now >= self.kill_deadline_ns) {
    self.kill_deadline_ns = 0;
    if (self.killing) kill_init();
    else kill_all();
  }
  // For good: the deadline stays, so that nobody gives the tool another.
  if (self.tool_deadline_ns != 0 && now >= self.tool_deadline_ns && !self.tool_ended) (void)kill(self.init, SIGKILL);
}

static const struct timespec *next_deadline(struct timespec *wait) {
  if (streams_have_rest()) {
    *wait = (struct timespec){.tv_sec = 0, .tv_nsec = 0};
    return wait;
  }
  const int64_t last[] = {self.reader_deadline_ns, 0, 0, 0, 0, 0};
  const int64_t running[] = {self.wall_deadline_ns, self.kill_deadline_ns, self.processor_time_check_ns, self.bounds_check_ns,
                               self.tool_ended ? 0 : self.tool_deadline_ns, sampling_next_ns()};
  int64_t deadline = 0;
  const int64_t *deadlines = self.init_gone ? last : running;
  for (size_t i = 0; i < sizeof running / sizeof running[0]; i++) {
    if (deadlines[i] != 0 && (deadline == 0 || deadlines[i] < deadline)) deadline = deadlines[i];
  }
  if (deadline == 0) return NULL;
  int64_t left = deadline - now_ns();
  if (left < 0) left = 0;
  *wait = (struct timespec){.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
  return wait;
}

// Output or input that was lost on the way must not look like all of it.
static void step_streams(void) {
  if (!streams_step()) {
    set_cause(CAUSE_OUTPUT, 0);
    kill_all();
  }
  int error;
  const char *lost_by = streams_lost(&error);
  if (lost_by != NULL) give_up(STEP_RELAY, error, lost_by);
}

static void watch_round(void) {
  struct pollfd entries[6 + STREAMS_POLL_MAX + CGROUP_POLL_MAX];
  size_t count = 0;
  if (self.room_fd >= 0) entries[count++] = (struct pollfd){.fd = self.room_fd, .events = POLLIN};
  if (complaints.from >= 0) entries[count++] = (struct pollfd){.fd = complaints.from, .events = POLLIN};
  if (self.socket_fd >= 0) entries[count++] = (struct pollfd){.fd = self.socket_fd, .events = POLLIN};
  if (self.run->channel_fd >= 0) entries[count++] = (struct pollfd){.fd = self.run->channel_fd, .events = POLLIN};
  entries[count++] = (struct pollfd){.fd = self.signals_fd, .events = POLLIN};
  count += streams_poll(entries + count);
  count += channel_poll(entries + count);
  size_t groups_at = count;
  if (!self.init_gone) count += cgroups_poll(entries + count);
  struct timespec wait;
  // Whatever poll says, every source is asked without blocking; EINTR costs one round.
  (void)ppoll(entries, (nfds_t)count, next_deadline(&wait), NULL);
  complaints_read(&complaints);
  read_signals();
  read_messages();
  if (self.run->channel_fd >= 0) read_orders();
  channel_step();
  step_streams();
  if (cgroups_told(entries + groups_at, count - groups_at)) expect_bounds();
  if (!self.init_gone) check_deadlines();
}

static bool finished(void) {
  if (!self.init_gone) return false;
  return self.caller_gone || streams_delivered();
}

// A caller that takes its output later, or never, hears of the end all the same. Anybody else's reader is waited for. Asked once.
static bool reader_is_late(void) {
  if (self.reader_deadline_ns == 0 || now_ns() < self.reader_deadline_ns) return false;
  self.reader_deadline_ns = 0;
  return streams_await_caller();
}

static int report_end(void) {
  if (!streams_tell(&self.ending)) set_cause(CAUSE_OUTPUT, 0);
  verdict_judge(&self.run->plan, self.started, self.command_us, &self.ending);
  cgroups_remove();
  terminal_restore();
  bool explained = self.ending.exited || self.ending.cause != CAUSE_COMMAND;
  // What its filter killed has ended by SIGSYS, whatever it did in its last moment.
  if (self.ending.denied && self.ending.exited) self.ending.wait_status = SIGSYS;
  // Whatever ended the command, the end of the caller too: half of what it changed must not look like all.
  bool counts = self.started && !(self.failed && self.ending.cause == CAUSE_COMMAND);
  if (counts && !capture_keep(&self.failure)) {
    self.failed = true;
    status_failed(&self.failure);
    return EXIT_SANDBOX_FAILED;
  }
  if (!self.failed && !explained && self.run->plan.has_tool) {
    complaints_fill(&complaints, &self.failure, self.run->tool_arguments[0], self.tool_status);
    self.failed = true;
  }
  if (!self.failed && !explained) {
    failure_fill(&self.failure, STEP_LOST, NO_INDEX, 0, NULL, NULL);
    self.failed = true;
  }
  if (self.failed && self.ending.cause == CAUSE_COMMAND) {
    status_failed(&self.failure);
    return verdict_status_of_failure(&self.failure);
  }
  if (self.started_ns != 0) self.ending.wall_us = (self.ended_ns - self.started_ns) / 1000;
  if (self.run->compiled != NULL) compiled_judge(self.run->compiled, &self.ending);
  status_ended(&self.ending);
  return verdict_status_of_ending(&self.ending, self.run->compiled != NULL);
}

// What a late reader still has to get it gets after the last word, and is told of that; the exit status tells it too.
static int conclude(void) {
  int status = report_end();
  if (self.failed || finished()) return status;
  do {
    streams_hang_up();
    watch_round();
    if (self.failed) return EXIT_SANDBOX_FAILED;
  } while (!finished());
  streams_hang_up();
  return status;
}

// Before init got its word: it has done nothing yet, and nothing of what follows is set up.
static int abandon(enum step step, const char *syscall) {
  failure_fill(&self.failure, step, NO_INDEX, errno, syscall, NULL);
  kill_init();
  while (waitpid(self.init, NULL, 0) < 0 && errno == EINTR) continue;
  cgroups_remove();
  status_failed(&self.failure);
  return EXIT_SANDBOX_FAILED;
}

// Init waits for its id maps; until it gets the word it is only a process that waits.
static void release_init(void) {
  bool joined = self.run->plan.has_tool || cgroups_join(self.init, &self.failure);
  if (!joined || !write_id_maps()) {
    self.failed = true;
    kill_init();
    return;
  }
  // Unless it is gone already, and told why, it would wait for ever.
  if (message_send(self.room_fd >= 0 ? self.room_fd : self.socket_fd, MESSAGE_GO, 0) || errno == EPIPE) return;
  failure_fill(&self.failure, STEP_INIT, NO_INDEX, errno, "send", NULL);
  self.failed = true;
  kill_init();
}

// A socket for an init that the tool will start, with all that it needs waiting in it, and a pipe for what the tool has to say.
static const char *prepare_tool(struct run *run) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return "socketpair";
  self.socket_fd = ends[0];
  run->inside_fd = ends[1];
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe2";
  run->complaints_fd = ends[1];
  if (!complaints_open(&complaints, ends[0])) return "fcntl";
  if (run->plan.cgroups == 0) return tool_send_plan(run, self.socket_fd, -1);
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe2";
  self.gate_fd = ends[1];
  const char *failed = tool_send_plan(run, self.socket_fd, ends[0]);
  (void)close(ends[0]);
  int on = 1;
  if (failed == NULL && setsockopt(self.socket_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) return "setsockopt(SO_PASSCRED)";
  return failed;
}

// Of a sandbox that was made ahead nobody is to wait for what it takes to unmount its file systems (the kernel lets every processor come round first): they
// outlast init, and end with this process, which has said its last word then. Who may not hold them so waits.
static void hold_mounts(const struct run *run) {
  char path[40];
  if (!run->plan.waits) return;
  (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)self.init);
  // Open until the end.
  (void)openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

int supervise(struct run *run) {
  self.run = run;
  self.master = self.socket_fd = self.room_fd = self.gate_fd = self.processes_fd = complaints.from = -1;
  self.called = !run->plan.waits;
  // What outlives an init that has joined a pod is a child of the pod's own.
  self.sweeps = run->plan.has_tool || ((run->plan.namespaces & CLONE_NEWPID) == 0 && !run->plan.has_join);
  const char *failed = scheduling_reset();
  if (failed != NULL) return refuse(STEP_SCHEDULING, NO_INDEX, failed, NULL);
  if (run->plan.collects) channel_use(run->channel_fd);
  failed = streams_prepare(run);
  if (failed != NULL) return refuse(STEP_RELAY, NO_INDEX, failed, NULL);
  if (run->plan.has_terminal) prepare_terminal(run);
  // The command sees us in its /proc, and may have our uid: neither ptrace(2) nor what lies there opens us to it.
  if (run->plan.has_domain && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return refuse(STEP_CLONE, NO_INDEX, "prctl(PR_SET_DUMPABLE)", NULL);
  if (!block_signals()) return refuse(STEP_SIGNALS, NO_INDEX, "sigprocmask", NULL);
  if (!binfmt_around(&run->plan, &self.failure)) {
    status_failed(&self.failure);
    return EXIT_SANDBOX_FAILED;
  }
  if (self.sweeps && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return refuse(STEP_CLONE, NO_INDEX, "prctl(PR_SET_CHILD_SUBREAPER)", NULL);
  failed = run->plan.has_tool ? prepare_tool(run) : NULL;
  if (failed != NULL) return refuse(STEP_TOOL, NO_INDEX, failed, NULL);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return refuse(STEP_CLONE, NO_INDEX, "socketpair", NULL);
  if (!cgroups_make(&run->plan, &self.failure)) {
    cgroups_remove();
    status_failed(&self.failure);
    return EXIT_SANDBOX_FAILED;
  }
  // Init makes that one itself, in the groups of the sandbox.
  bool later = run->plan.cgroups > 0 && !run->plan.has_tool;
  if (run->plan.has_join) self.init = join_clone(&run->plan, &failed);
  else self.init = sys_clone(later ? run->plan.namespaces & ~(uint32_t)CLONE_NEWCGROUP : run->plan.namespaces);
  if (self.init < 0) return run->plan.has_join ? refuse(STEP_JOIN, NO_INDEX, failed, NULL) : refuse(STEP_NAMESPACES, 0, "clone", NULL);
  if (self.init == 0) become_init(run, ends[1], ends[0]);
  if (run->plan.has_tool) self.room_fd = ends[0];
  else self.socket_fd = ends[0];
  (void)close(ends[1]);
  close_command_ends(run);
  hold_mounts(run);
  if (run->plan.holds && !hold_namespaces(self.init)) return abandon(STEP_HOLD, "openat");
  if (!watch_signals()) return abandon(STEP_SIGNALS, "signalfd");
  if (!streams_open()) return abandon(STEP_RELAY, "fcntl");
  if (run->plan.has_terminal && !terminal_make_raw(run->channel_fd < 0)) return abandon(STEP_TERMINAL, "tcsetattr");
  release_init();
  while (!finished() && !reader_is_late()) watch_round();
  return conclude();
}
