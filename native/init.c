// Init: pid 1 of the sandbox, in all its new namespaces from its first instruction. It builds the root, starts the command, reaps, passes signals
// on, and ends when the command does or when the supervisor is gone; the kernel then ends every other process of the pid namespace.
//
// The command may run under the same uid. It cannot touch init all the same: signals that pid 1 has no handler for do not reach it from inside
// (pid_namespaces(7)), and it is not dumpable, so that neither ptrace(2) nor /proc/1 open it.
//
// Without namespaces (the record `domain`) it is an ordinary process beside those of the host. Where that closes signals, init is in a domain of Landlock
// and the command in one below it: kill(2) for all (-1) then reaches the sandbox and nobody else, in one go that no fork(2) outruns, because the kernel
// goes through the processes under the lock that a new one needs; and nothing of the sandbox reaches init.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "binfmt.h"
#include "capture.h"
#include "landlock.h"
#include "mounts.h"
#include "network.h"
#include "notify.h"
#include "run.h"
#include "sampling.h"
#include "sys.h"

static void die_with_supervisor(void) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_PDEATHSIG)", NULL);
}

// The id maps are written by now. A supervisor that died before PR_SET_PDEATHSIG took hold shows as end of file here.
static void wait_for_go(int socket_fd) {
  struct message message;
  ssize_t got;
  do got = recv(socket_fd, &message, sizeof message, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) fail(STEP_INIT, NO_INDEX, "recv", NULL);
  if (got != (ssize_t)sizeof message || message.kind != MESSAGE_GO) _exit(125);
}

// Ids that exist in the new user namespace, or nothing could be created on its file systems (EOVERFLOW).
static void become_mapped(const struct plan *plan) {
  if ((plan->namespaces & CLONE_NEWUSER) == 0 && !plan->has_join) return;
  if (sys_setresgid(plan->become_gid) < 0) fail(STEP_MAP_IDS, NO_INDEX, "setresgid", NULL);
  if (sys_setresuid(plan->become_uid) < 0) fail(STEP_MAP_IDS, NO_INDEX, "setresuid", NULL);
  die_with_supervisor();  // a change of ids clears it, prctl(2)
}

static void set_hostname(struct record *record) {
  const char *name = read_string(&record->payload);
  if (sethostname(name, strlen(name)) < 0) fail(record->step, record->index, "sethostname", NULL);
}

static void bring_loopback_up(const struct record *record) {
  if (loopback_up() < 0) fail(record->step, record->index, "netlink(RTM_NEWLINK)", NULL);
}

// Whether "all" (kill(2), -1) are the processes of the sandbox: else they would be those of the host.
static bool is_alone(const struct plan *plan) { return getpid() == 1 || plan->closes_signals; }

// Whatever loses its parent in the sandbox comes to init as it would to pid 1, and is waited for and counted here.
static void enter_domain(const struct plan *plan, const struct record *record) {
  if (!plan->closes_signals) return;
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_SET_CHILD_SUBREAPER)", NULL);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_SET_NO_NEW_PRIVS)", NULL);
  const char *failed;
  if (!landlock_close_signals(&failed)) fail(record->step, record->index, failed, NULL);
  // Seen, and not only believed: a kill(2) for all would else be one of the host.
  int reached = kill(getppid(), 0);
  if (reached < 0 && errno == EPERM) return;
  if (reached == 0) errno = ENOTSUP;
  fail(record->step, record->index, "kill", NULL);
}

static void perform(const struct plan *plan, struct record *record) {
  switch (record->step) {
    case STEP_DOMAIN: enter_domain(plan, record); break;
    case STEP_HOSTNAME: set_hostname(record); break;
    case STEP_LOOPBACK: bring_loopback_up(record); break;
    case STEP_ROOT: mounts_root(record); break;
    case STEP_MOUNT: mounts_mount(record); break;
    case STEP_READONLY: mounts_readonly(record); break;
    case STEP_MASK: mounts_mask(record); break;
    case STEP_MKDIR: mounts_mkdir(record); break;
    case STEP_SYMLINK: mounts_symlink(record); break;
    case STEP_FILE: mounts_file(record); break;
    case STEP_SYSCTL: mounts_sysctl(record); break;
    case STEP_PIVOT: mounts_pivot(record); break;
    case STEP_SOURCE: tool_open_source(record); break;
    case STEP_CONTENT: tool_open_content(record); break;
    case STEP_TREE: mounts_tree(record); break;
    case STEP_LAYER: mounts_layer(record); break;
    case STEP_DISK: mounts_disk(record); break;
    case STEP_USER_NAMESPACE: userns_rename(record); break;
    case STEP_BINFMT: binfmt_inside(plan, record); break;
    default: break;  // of another phase
  }
}

// A terminal from the sandbox's own devpts, or without namespaces from the host's; its other side goes to the supervisor. The slave is opened
// through the master (TIOCGPTPEER), never by a path.
static int open_terminal(const struct run *run, int socket_fd) {
  if (!run->plan.has_terminal) return -1;
  // That of a host's devpts may be closed to ordinary users, who use the device.
  const char *path = run->plan.has_domain ? "/dev/ptmx" : "/dev/pts/ptmx";
  int master = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) fail(STEP_TERMINAL, NO_INDEX, "open", path);
  int unlocked = 0;
  if (ioctl(master, TIOCSPTLCK, &unlocked) < 0) fail(STEP_TERMINAL, NO_INDEX, "ioctl(TIOCSPTLCK)", NULL);
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) fail(STEP_TERMINAL, NO_INDEX, "ioctl(TIOCGPTPEER)", NULL);
  struct winsize size = {.ws_col = run->columns, .ws_row = run->rows};
  if (ioctl(slave, TIOCSWINSZ, &size) < 0) fail(STEP_TERMINAL, NO_INDEX, "ioctl(TIOCSWINSZ)", NULL);
  if (fchown(slave, run->plan.uid, (gid_t)-1) < 0) fail(STEP_TERMINAL, NO_INDEX, "fchown", NULL);
  if (!message_send_descriptor(socket_fd, MESSAGE_TERMINAL, master)) fail(STEP_TERMINAL, NO_INDEX, "sendmsg", NULL);
  (void)close(master);
  return slave;
}

static void block_sigchld(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (sigprocmask(SIG_SETMASK, &set, NULL) < 0) fail(STEP_INIT, NO_INDEX, "sigprocmask", NULL);
}

// Who asks for the end before the command was started gets the end, and no command. Any other message stays for watch().
static void end_if_asked(int socket_fd) {
  struct message message;
  ssize_t got = recv(socket_fd, &message, sizeof message, MSG_PEEK | MSG_DONTWAIT);
  bool asked = got == (ssize_t)sizeof message && message.kind == MESSAGE_SIGNAL_ALL && message.value != SIGSTOP;
  if (asked || got == 0) _exit(125);
}

// Everything up to the tool, which this process then becomes.
static _Noreturn void become_tool(const struct run *run, int socket_fd) {
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step == STEP_TOOL) tool_execute(run, &record, socket_fd);
    perform(&run->plan, &record);
  }
  errno = EINVAL;
  fail(STEP_TOOL, NO_INDEX, "execve", NULL);
}

// CLONE_VFORK: init goes on when the command was executed, or is gone. Memory is not shared.
static pid_t start_command(const struct run *run, int socket_fd) {
  int terminal = open_terminal(run, socket_fd);
  // A tool that rewrites calls must be able to read them (ptrace(2)).
  if (!run->plan.tool_traces && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_DUMPABLE)", NULL);
  pid_t init = getpid();
  pid_t command = sys_clone(CLONE_VFORK);
  if (command < 0) fail(STEP_FORK, NO_INDEX, "clone", NULL);
  if (command == 0) command_main(run, socket_fd, init, terminal);
  return command;
}

// From here on init needs one privilege: to signal processes of the sandbox that changed their uid. And it holds nothing open but the socket, and
// the table of formats where there is one, so that the command's streams end with the command.
static void give_up_privileges(const struct run *run, int socket_fd) {
  (void)close(0);
  (void)close(1);
  (void)close(2);
  int table = binfmt_descriptor();
  int open_on[2] = {table < socket_fd ? table : socket_fd, table < socket_fd ? socket_fd : table};  // -1 counts for nothing
  if (!descriptors_close_except(open_on, 2)) fail(STEP_INIT, NO_INDEX, "close_range", NULL);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_NO_NEW_PRIVS)", NULL);
  uint64_t effective, permitted, inheritable;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) fail(STEP_INIT, NO_INDEX, "capget", NULL);
  uint64_t kept = permitted & (1ULL << SBX_CAP_KILL);
  if (sys_capset(kept, kept, 0) < 0) fail(STEP_INIT, NO_INDEX, "capset", NULL);
  if (!run->plan.closes_signals) die_with_supervisor();  // a change of capabilities clears it too
}

static void pass_on(const struct run *run, const struct message *message, pid_t command) {
  // ESRCH: nothing is left to signal. The rest cannot happen to init, and would leave the supervisor its SIGKILL.
  if (message->kind == MESSAGE_SIGNAL_ALL) {
    pid_t all = is_alone(&run->plan) ? -1 : -command;
    (void)kill(all, message->value);
    // Stopped processes would sleep on over the request to end.
    if (message->value != SIGSTOP && message->value != SIGTSTP) (void)kill(all, SIGCONT);
  } else if (message->kind == MESSAGE_SIGNAL_COMMAND) {
    (void)kill(command, message->value);
  } else if (message->kind == MESSAGE_SIGNAL_GROUP) {
    (void)kill(-command, message->value);
  }
}

#define DESCENDANTS_PATIENCE_S 5

// In a pod, where this is not pid 1 and "all" would be everybody's: what lost its parent has come here, one generation after the other. What forks faster
// than it is found ends with the pod.
static void end_descendants(void) {
  static char numbers[65536];
  char path[48];
  struct timespec start, now;
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  if (clock_gettime(CLOCK_MONOTONIC, &start) < 0) return;
  for (;;) {
    int children = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = children < 0 ? -1 : read(children, numbers, sizeof numbers - 1);
    if (children >= 0) (void)close(children);
    if (got < 0 || clock_gettime(CLOCK_MONOTONIC, &now) < 0 || now.tv_sec - start.tv_sec > DESCENDANTS_PATIENCE_S) return;
    // A number that is cut off at the end is none of ours to signal.
    while (got > 0 && numbers[got - 1] != ' ') got--;
    numbers[got] = '\0';
    char *end = numbers;
    for (long pid = strtol(numbers, &end, 10); pid > 0; pid = strtol(end, &end, 10)) (void)kill((pid_t)pid, SIGKILL);
    siginfo_t ended;
    if (waitid(P_ALL, 0, &ended, WEXITED) < 0 && errno != EINTR) return;
  }
}

// The end of this process would end them too, but nobody would wait for them, and their processor time would count nowhere.
static void end_the_rest(const struct run *run) {
  if (run->plan.has_join) end_descendants();
  if (!is_alone(&run->plan)) return;
  if (kill(-1, SIGKILL) < 0) {
    // Their end does not follow from ours there. ESRCH: nobody is left.
    if (run->plan.closes_signals && errno != ESRCH) fail(STEP_INIT, NO_INDEX, "kill", NULL);
    return;
  }
  siginfo_t ended;
  while (waitid(P_ALL, 0, &ended, WEXITED) == 0 || errno == EINTR) continue;
}

// What the tool took, and what init did before, is none of the command's, and only here are they told apart.
static void tell_counts(int socket_fd) {
  struct rusage usage;
  struct counts counts = {0};
  if (getrusage(RUSAGE_CHILDREN, &usage) < 0) return;
  counts_add(&counts, &usage);
  counts.processor_us = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  // Unless the supervisor is gone.
  (void)message_send_counts(socket_fd, &counts);
}

static void reap(const struct run *run, int socket_fd, pid_t command) {
  int status;
  for (;;) {
    pid_t reaped = waitpid(-1, &status, WNOHANG);
    if (reaped < 0 && errno == EINTR) continue;
    // There is the command at least to wait for.
    if (reaped < 0) fail(STEP_INIT, NO_INDEX, "waitpid", NULL);
    if (reaped == 0) return;
    if (reaped != command) continue;
    if (!message_send(socket_fd, MESSAGE_EXITED, status)) fail(STEP_INIT, NO_INDEX, "send", NULL);
    end_the_rest(run);
    if (run->plan.has_tool || run->plan.has_sampling) tell_counts(socket_fd);
    _exit(0);
  }
}

// False at the end of the socket. `*listener` of the command's filter comes by it, once.
static bool read_order(const struct run *run, int socket_fd, pid_t command, int *listener) {
  struct message message;
  int descriptor;
  ssize_t got = message_receive(socket_fd, &message, &descriptor, MSG_DONTWAIT);
  if (got == 0) return false;
  if (got < 0 && errno != EAGAIN && errno != EINTR) fail(STEP_INIT, NO_INDEX, "recvmsg", NULL);
  if (got != (ssize_t)sizeof message) return true;
  // Without a descriptor left for it nobody would answer, and who asks would wait for ever.
  errno = EMFILE;
  if (message.kind == MESSAGE_LISTENER && descriptor < 0) fail(STEP_SECCOMP, NO_INDEX, "recvmsg", NULL);
  if (message.kind == MESSAGE_LISTENER) {
    *listener = descriptor;
    notify_listen(run, descriptor);
  } else if (message.kind == MESSAGE_ANSWER) {
    notify_answer(*listener, socket_fd, command, message.value);
  } else {
    pass_on(run, &message, command);
  }
  return true;
}

// What pid 1 does by its own end alone.
static _Noreturn void end_without_supervisor(const struct run *run) {
  if (run->plan.closes_signals) end_the_rest(run);
  _exit(125);
}

static _Noreturn void watch(const struct run *run, int socket_fd, pid_t command) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  int children = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (children < 0) fail(STEP_INIT, NO_INDEX, "signalfd", NULL);
  // poll(2) passes over -1, the listener that there is not.
  struct pollfd watched[3] = {{.fd = socket_fd, .events = POLLIN}, {.fd = children, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
  for (;;) {
    reap(run, socket_fd, command);
    watched[2].events = notify_is_ready() ? POLLIN : 0;
    if (poll(watched, 3, -1) < 0) {
      if (errno != EINTR) fail(STEP_INIT, NO_INDEX, "poll", NULL);
      continue;
    }
    struct signalfd_siginfo info;
    bool unread = watched[1].revents != 0 && read(children, &info, sizeof info) < 0;
    if (unread && errno != EAGAIN && errno != EINTR) fail(STEP_INIT, NO_INDEX, "read", NULL);
    if (watched[0].revents != 0 && !read_order(run, socket_fd, command, &watched[2].fd)) end_without_supervisor(run);
    // POLLHUP: no process has that filter any more.
    if ((watched[2].revents & POLLIN) != 0) notify_hear(watched[2].fd, socket_fd, command);
    else if ((watched[2].revents & (POLLHUP | POLLERR)) != 0) watched[2].fd = -1;
  }
}

// The supervisor sees the processes of the sandbox by it, whatever proc the host shows it.
static void hand_processes_on(int socket_fd) {
  int proc = sampling_open_proc();
  if (proc < 0) fail(STEP_SAMPLING, NO_INDEX, "open", "/proc");
  if (!message_send_descriptor(socket_fd, MESSAGE_PROCESSES, proc)) fail(STEP_SAMPLING, NO_INDEX, "sendmsg", NULL);
  (void)close(proc);
}

static _Noreturn void start_and_watch(const struct run *run, int socket_fd) {
  block_sigchld();
  end_if_asked(socket_fd);
  // Where only init can end everything it must outlive the supervisor, whose end it learns of by the socket: from before there is anything to end.
  if (run->plan.closes_signals && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_PDEATHSIG)", NULL);
  if (run->plan.has_sampling) hand_processes_on(socket_fd);
  if (!capture_hand_on(socket_fd)) fail(STEP_CAPTURE, NO_INDEX, "sendmsg", NULL);
  if (run->plan.has_join && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_CHILD_SUBREAPER)", NULL);
  pid_t command = start_command(run, socket_fd);
  give_up_privileges(run, socket_fd);
  if (!message_send(socket_fd, MESSAGE_STARTED, 0)) fail(STEP_INIT, NO_INDEX, "send", NULL);
  watch(run, socket_fd, command);
}

// The root of a cgroup namespace is the group that its maker is in (cgroup_namespaces(7)): this process was put into the sandbox's own after its birth.
static void root_groups_here(void) {
  if (unshare(CLONE_NEWCGROUP) < 0) fail(STEP_CGROUP, NO_INDEX, "unshare(CLONE_NEWCGROUP)", NULL);
}

_Noreturn void init_main(const struct run *run, int socket_fd) {
  report_use(socket_fd);
  die_with_supervisor();
  wait_for_go(socket_fd);
  if (setsid() < 0) fail(STEP_SESSION, NO_INDEX, "setsid", NULL);
  become_mapped(&run->plan);
  if (run->plan.cgroups > 0 && !run->plan.has_tool && (run->plan.namespaces & CLONE_NEWCGROUP) != 0) root_groups_here();
  if ((run->plan.namespaces & CLONE_NEWNS) != 0) mounts_begin();
  if (run->plan.has_tool) become_tool(run, socket_fd);
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) perform(&run->plan, &record);
  start_and_watch(run, socket_fd);
}

_Noreturn void init_inside(const struct run *run, int socket_fd) {
  // Not every tool makes it the leader of a session; it is the one of its group already where that fails, and the command gets its own.
  if (setsid() < 0 && errno != EPERM) fail(STEP_SESSION, NO_INDEX, "setsid", NULL);
  if (run->plan.cgroups > 0) root_groups_here();
  // A root of its own takes nothing of what the host mounts later, wherever the tool's mounts come from.
  if (run->plan.has_pivot) mounts_begin();
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  bool inside = false;
  while (plan_next(&cursor, &record)) {
    if (inside) perform(&run->plan, &record);
    if (record.step == STEP_TOOL) inside = true;
  }
  start_and_watch(run, socket_fd);
}
