// A sandbox that another program makes: bwrap, runc, systemd-nspawn. The supervisor starts it as it would start init, and it starts our init inside
// of what it makes:
//
//   supervisor ── tool ── (whatever the tool needs) ── init ── command
//
// Init inside has the other end of a socket to the supervisor from the beginning. On it come the plan and the command's descriptors, so that nothing
// of the command passes through the tool: neither its streams, nor its exit status, nor what it may not inherit. Whatever a tool says, and however
// it ends, it can never be taken for what the command did. And when the supervisor is gone, the socket ends, init ends, and with it, where the tool
// made a pid namespace, every process in it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paths.h"
#include "run.h"
#include "sys.h"

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47  // 4.3
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

// sd_listen_fds(3): what systemd-nspawn passes on must name its process, which nobody knows before it is there.
#define LISTEN_PID "LISTEN_PID="

static int source_from[PLAN_SOURCES_MAX + 5];
static int source_to[PLAN_SOURCES_MAX + 5];
static size_t source_count;

static void add(int from, int to) {
  source_from[source_count] = from;
  source_to[source_count++] = to;
}

// Opened here and now, without following a link: what somebody puts at the path later, and what the tool would follow, does not matter.
void tool_open_source(struct record *record) {
  int number = (int)read_u32(&record->payload);
  uint32_t kind = read_u32(&record->payload);
  const char *path = read_string(&record->payload);
  int found = path_open_without_links(path);
  struct stat status;
  if (found < 0 || fstat(found, &status) < 0) fail(record->step, record->index, "open", path);
  bool directory = S_ISDIR(status.st_mode);
  if ((kind == PLAN_SOURCE_DIRECTORY && !directory) || (kind == PLAN_SOURCE_FILE && directory)) {
    errno = directory ? EISDIR : ENOTDIR;
    fail(record->step, record->index, "open", path);
  }
  add(found, number);
}

static bool write_all(int file, const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(file, bytes, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes += written;
    length -= (size_t)written;
  }
  return true;
}

// A file that is nowhere: what a tool takes from a descriptor, or by the path of one.
void tool_open_content(struct record *record) {
  int number = (int)read_u32(&record->payload);
  uint32_t length = read_u32(&record->payload);
  const uint8_t *bytes = read_bytes(&record->payload, length);
  int file = sys_memfd_create("sandboxlib-content");
  if (file < 0) fail(record->step, record->index, "memfd_create", NULL);
  if (!write_all(file, bytes, length) || lseek(file, 0, SEEK_SET) < 0) fail(record->step, record->index, "write", NULL);
  add(file, number);
}

static void reset_signals(const struct record *record) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal < NSIG; signal++) {
    if (sigaction(signal, &action, NULL) < 0 && errno != EINVAL) fail(record->step, record->index, "sigaction", NULL);
  }
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) fail(record->step, record->index, "sigprocmask", NULL);
}

static void name_listener(char **environment) {
  static char entry[sizeof LISTEN_PID + 16];
  for (; *environment != NULL; environment++) {
    if (strcmp(*environment, LISTEN_PID) != 0) continue;
    (void)snprintf(entry, sizeof entry, LISTEN_PID "%d", (int)getpid());
    *environment = entry;
  }
}

static bool copy_all(int from, int to) {
  uint8_t bytes[16384];
  for (;;) {
    ssize_t got = read(from, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (!write_all(to, bytes, (size_t)got)) return false;
  }
}

static int seal(int file) { return fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL); }

// What init inside is executed from: a copy that nobody can write to. Unlike a process that was cloned into its user namespace, one that was executed
// there belongs to it whole (the kernel's mm->user_ns), so that a command with the right capability could open /proc/1/exe, and, being root of the
// host, write to the launcher itself (CVE-2019-5736).
static int sealed_launcher(void) {
  int original = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (original < 0) return -1;
  int copy = sys_memfd_create("launcher");
  bool sealed = copy >= 0 && copy_all(original, copy) && seal(copy) == 0;
  (void)close(original);
  if (sealed) return copy;
  if (copy >= 0) (void)close(copy);
  return -1;
}

// The tool reads nothing, and what it writes are its complaints: a failure's detail.
static void arrange(const struct run *run, const struct record *record, int *socket_fd) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) fail(record->step, record->index, "open", "/dev/null");
  int launcher = sealed_launcher();
  if (launcher < 0) fail(record->step, record->index, "memfd_create", "/proc/self/exe");
  add(null, 0);
  add(run->complaints_fd, 1);
  add(run->complaints_fd, 2);
  add(run->inside_fd, PLAN_TOOL_SOCKET);
  add(launcher, PLAN_TOOL_LAUNCHER);
  bool arranged = descriptors_arrange(source_from, source_to, source_count, socket_fd);
  report_use(*socket_fd);
  if (!arranged) fail(record->step, record->index, "dup2", NULL);
}

// What root belongs to is no business of the tool's, nor of what it makes, where most tools can set no groups. An ordinary user cannot give any up
// (EPERM), and has them inside as outside.
static void drop_groups(const struct record *record) {
  if (sys_setgroups(0, NULL) < 0 && errno != EPERM) fail(record->step, record->index, "setgroups", NULL);
}

// Those that a caller passes on without being root (capabilities(7)): a tool that finds itself with them may refuse to run, as bwrap does, or give
// them to files that ask for what is inheritable. What is permitted an execve(2) by anybody but root takes away by itself.
static void pass_no_capabilities_on(const struct record *record) {
  uint64_t effective, permitted, inheritable;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_CAP_AMBIENT)", NULL);
  if (sys_capget(&effective, &permitted, &inheritable) < 0) fail(record->step, record->index, "capget", NULL);
  if (sys_capset(effective, permitted, 0) < 0) fail(record->step, record->index, "capset", NULL);
}

_Noreturn void tool_execute(const struct run *run, const struct record *record, int socket_fd) {
  arrange(run, record, &socket_fd);
  drop_groups(record);
  pass_no_capabilities_on(record);
  // Where the supervisor is gone the tool ends as it is ended by it; 0: by itself, after our init, whose socket ends.
  if (prctl(PR_SET_PDEATHSIG, (unsigned long)run->plan.tool_end_signal, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_SET_PDEATHSIG)", NULL);
  reset_signals(record);
  (void)umask(022);
  name_listener(run->tool_environment);
  execve(run->tool_arguments[0], run->tool_arguments, run->tool_environment);
  fail(record->step, record->index, "execve", run->tool_arguments[0]);
}

static int seal_plan(const struct run *run) {
  int file = sys_memfd_create("sandboxlib-plan");
  if (file < 0) return -1;
  bool sealed = write_all(file, run->plan.bytes, run->plan.length) && seal(file) == 0;
  if (sealed) return file;
  (void)close(file);
  return -1;
}

static bool send_descriptors(const struct run *run, int socket_fd) {
  for (int i = 0; i < 3; i++) {
    if (!message_send_descriptor(socket_fd, MESSAGE_DESCRIPTOR, run->standard[i])) return false;
  }
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    int from = record.step == STEP_DESCRIPTOR ? (int)read_u32(&record.payload) : -1;
    // 1 into 2 is in `standard` already.
    if (from > 2 && !message_send_descriptor(socket_fd, MESSAGE_DESCRIPTOR, from)) return false;
  }
  return true;
}

// All of it waits in the socket for an init that is still to come.
const char *tool_send_plan(const struct run *run, int socket_fd, int gate) {
  int plan = seal_plan(run);
  if (plan < 0) return "memfd_create";
  bool sent = message_send_descriptor(socket_fd, MESSAGE_PLAN, plan) && send_descriptors(run, socket_fd);
  if (sent && gate >= 0) sent = message_send_descriptor(socket_fd, MESSAGE_GATE, gate);
  (void)close(plan);
  int size = run->columns << 16 | run->rows;
  return sent && message_send(socket_fd, MESSAGE_GO, size) ? NULL : "sendmsg";
}
