#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "relay.h"
#include "sys.h"

#define WIDE_PIPE_BYTES 262144
#define END_OF_TRANSMISSION 4  // ^D, the terminal's end of file

static struct {
  struct run *run;
  struct relay input, output, error;
  uint64_t budget;
  int master;  // of the sandbox's terminal, or -1
  bool end_of_input_sent, over;
  bool output_pending, error_pending, output_gone, error_gone;
  const char *lost_by;
  int lost_errno;
} streams;

// What the command's id is called where we are; the id itself where it is not mapped here.
static uint32_t outside_id(uint32_t wanted_kind, uint32_t id) {
  struct cursor cursor = plan_start(&streams.run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_MAP_IDS || read_u32(&record.payload) != wanted_kind) continue;
    (void)read_u32(&record.payload);
    (void)read_string(&record.payload);
    uint32_t count = read_u32(&record.payload);
    for (uint32_t i = 0; i < count; i++) {
      uint32_t inside = read_u32(&record.payload), outside = read_u32(&record.payload), size = read_u32(&record.payload);
      if (id >= inside && id - inside < size) return outside + (id - inside);
    }
  }
  return id;
}

// The command's, so that it may open it again. Who may not give it away keeps it, and then the command has it open and no more. Of a tool that maps
// ids by itself nobody knows here what they are called: there the command's process does it (command.c).
static const char *open_pipe(int ends[2]) {
  const struct plan *plan = &streams.run->plan;
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe2";
  if (plan->has_tool && !plan->maps_uid) return NULL;
  uid_t uid = outside_id(PLAN_MAP_UID, plan->uid);
  gid_t gid = outside_id(PLAN_MAP_GID, plan->gid);
  if ((uid == geteuid() && gid == getegid()) || fchown(ends[0], uid, gid) == 0 || errno == EPERM) return NULL;
  return "fchown";
}

// A stream that somebody reads or writes meanwhile passes in larger pieces, with fewer changes of process. It is as good without: beyond
// pipe-user-pages-soft (pipe(7)) an ordinary user gets no larger one.
static void widen(int end) {
  if (!streams.run->plan.collects) (void)fcntl(end, F_SETPIPE_SZ, WIDE_PIPE_BYTES);
}

static const char *prepare_input(struct run *run) {
  int ends[2];
  run->standard[0] = STDIN_FILENO;
  run->input_fd = -1;
  if (!plan_pipes(&run->plan, STDIN_FILENO)) return NULL;
  const char *failed = open_pipe(ends);
  if (failed != NULL) return failed;
  widen(ends[0]);
  run->standard[0] = ends[0];
  run->input_fd = ends[1];
  return NULL;
}

// One pipe for both where both lead to the same place, to keep their order.
static const char *prepare_output(struct run *run) {
  const bool piped[] = {plan_pipes(&run->plan, STDOUT_FILENO), plan_pipes(&run->plan, STDERR_FILENO)};
  run->standard[1] = STDOUT_FILENO;
  run->standard[2] = run->plan.error_to_output ? STDOUT_FILENO : STDERR_FILENO;
  run->output_fd = run->error_fd = -1;
  if (!piped[0] && !piped[1]) return NULL;
  int ends[2];
  int same = run->plan.collects ? 0 : sys_same_file(STDOUT_FILENO, STDERR_FILENO);
  if (same < 0) return "fstat";
  bool together = run->plan.error_to_output || same == 1;
  if (piped[0]) {
    const char *failed = open_pipe(ends);
    if (failed != NULL) return failed;
    widen(ends[0]);
    run->output_fd = ends[0];
    run->standard[1] = ends[1];
    if (together) run->standard[2] = ends[1];
  }
  if (together || !piped[1]) return NULL;
  const char *failed = open_pipe(ends);
  if (failed != NULL) return failed;
  run->error_fd = ends[0];
  run->standard[2] = ends[1];
  return NULL;
}

const char *streams_prepare(struct run *run) {
  streams.run = run;
  streams.master = streams.input.from = streams.output.from = streams.error.from = -1;
  const char *failed = prepare_input(run);
  return failed == NULL ? prepare_output(run) : failed;
}

static bool open_collecting(const struct run *run) {
  const struct plan *plan = &run->plan;
  if (run->input_fd >= 0 && !relay_open_from_memory(&streams.input, plan->input, plan->input_bytes, run->input_fd)) return false;
  if (run->output_fd >= 0 && !relay_open_to_channel(&streams.output, run->output_fd, STDOUT_FILENO)) return false;
  return run->error_fd < 0 || relay_open_to_channel(&streams.error, run->error_fd, STDERR_FILENO);
}

bool streams_open(void) {
  const struct run *run = streams.run;
  streams.budget = run->plan.output_bytes;
  if (run->plan.output_bytes != UINT64_MAX) streams.output.budget = streams.error.budget = &streams.budget;
  if (run->plan.collects) return open_collecting(run);
  if (run->input_fd >= 0 && !relay_open(&streams.input, STDIN_FILENO, true, run->input_fd, true)) return false;
  if (run->output_fd >= 0 && !relay_open(&streams.output, run->output_fd, true, STDOUT_FILENO, true)) return false;
  return run->error_fd < 0 || relay_open(&streams.error, run->error_fd, true, STDERR_FILENO, true);
}

const char *streams_take_input(const uint8_t *bytes, size_t length, int *command_end) {
  int ends[2];
  const char *failed = open_pipe(ends);
  if (failed != NULL) return failed;
  *command_end = ends[0];
  streams.run->input_fd = ends[1];
  return relay_open_from_memory(&streams.input, bytes, length, ends[1]) ? NULL : "fcntl";
}

// Relays close what they read from: the terminal is still to be told of its size, and of the end of the input.
bool streams_open_terminal(int master) {
  streams.master = master;
  return relay_open(&streams.output, dup(master), true, STDOUT_FILENO, false) && relay_open(&streams.input, STDIN_FILENO, false, dup(master), true);
}

// When our own input ends, the command's terminal says so.
static bool owes_end_of_input(void) { return streams.master >= 0 && !streams.end_of_input_sent && relay_ended(&streams.input); }

size_t streams_poll(struct pollfd *entries) {
  size_t count = relay_poll(&streams.output, entries);
  count += relay_poll(&streams.error, entries + count);
  if (streams.over) return count;
  count += relay_poll(&streams.input, entries + count);
  if (owes_end_of_input()) entries[count++] = (struct pollfd){.fd = streams.master, .events = POLLOUT};
  return count;
}

static void note_loss(const char *call, int error) {
  if (streams.lost_by != NULL) return;
  streams.lost_by = call;
  streams.lost_errno = error;
}

const char *streams_lost(int *error) {
  *error = streams.lost_errno;
  return streams.lost_by;
}

static bool step_relay(struct relay *relay) {
  bool within = relay_step(relay);
  if (relay->lost_by != NULL) note_loss(relay->lost_by, relay->error);
  return within;
}

static bool step_output(struct relay *relay) {
  if (relay_ended(relay) || step_relay(relay)) return true;
  if (relay->from >= 0) (void)close(relay->from);
  relay->from = -1;
  return false;
}

static void step_input(void) {
  int *pipe_end = &streams.run->input_fd;
  if (streams.master < 0 && *pipe_end < 0) return;
  (void)step_relay(&streams.input);
  if (relay_ended(&streams.input) && *pipe_end >= 0) {
    (void)close(*pipe_end);
    *pipe_end = -1;
  }
  if (!owes_end_of_input()) return;
  char end = END_OF_TRANSMISSION;
  ssize_t written;
  do written = write(streams.master, &end, 1);
  while (written < 0 && errno == EINTR);
  if (written < 0 && errno == EAGAIN) return;
  if (written < 0 && errno != EIO) note_loss("write", errno);
  streams.end_of_input_sent = true;
}

bool streams_step(void) {
  bool output_within = step_output(&streams.output), error_within = step_output(&streams.error);
  if (!streams.over) step_input();
  return output_within && error_within;
}

void streams_last(void) { streams.over = streams.output.last = streams.error.last = true; }

// Nobody says that a stream has ended while somebody outside, who was handed the command's descriptor, holds it open.
static bool has_rest(const struct relay *relay) { return relay->last && relay->from >= 0 && relay_flushed(relay); }
bool streams_have_rest(void) { return has_rest(&streams.output) || has_rest(&streams.error); }

bool streams_delivered(void) { return relay_ended(&streams.output) && relay_ended(&streams.error); }

bool streams_await_caller(void) {
  const uint32_t pipes = streams.run->plan.pipes;
  // By the channel the last word comes after all output.
  if (streams.run->plan.collects) return false;
  if (!relay_ended(&streams.output) && (pipes >> STDOUT_FILENO & 1) == 0) return false;
  return relay_ended(&streams.error) || (pipes >> STDERR_FILENO & 1) != 0;
}

// The descriptor of an output is an end of the socket, or whatever it is, by which its reader sees that this was all.
static void hang_up(const struct relay *relay, int descriptor, bool pending, bool *gone) {
  if (*gone || !relay_ended(relay)) return;
  if (pending) status_delivered(descriptor);
  (void)close(descriptor);
  *gone = true;
}

void streams_hang_up(void) {
  hang_up(&streams.output, STDOUT_FILENO, streams.output_pending, &streams.output_gone);
  hang_up(&streams.error, STDERR_FILENO, streams.error_pending, &streams.error_gone);
}

// From now on the relay may pass exactly what is in its pipe, as far as the bound, which it no longer shares, allows.
static bool settle(struct relay *relay, uint64_t *allowance) {
  int rest = 0;
  if (relay->from >= 0 && ioctl(relay->from, FIONREAD, &rest) < 0) note_loss("ioctl(FIONREAD)", errno);
  relay->passed += (uint64_t)rest;
  if (relay->budget == NULL) return true;
  *allowance = (uint64_t)rest < streams.budget ? (uint64_t)rest : streams.budget;
  streams.budget -= *allowance;
  relay->budget = allowance;
  if ((uint64_t)rest > *allowance) relay->truncated = true;
  return (uint64_t)rest <= *allowance;
}

bool streams_tell(struct ending *ending) {
  static uint64_t allowances[2];
  const struct run *run = streams.run;
  bool output_within = settle(&streams.output, &allowances[0]), error_within = settle(&streams.error, &allowances[1]);
  ending->output_truncated = streams.output.truncated;
  ending->error_truncated = streams.error.truncated || (streams.output.truncated && run->standard[2] == run->standard[1]);
  ending->output_pending = streams.output_pending = !relay_ended(&streams.output);
  ending->error_pending = streams.error_pending = !relay_ended(&streams.error);
  bool passes = streams.master >= 0 || run->output_fd >= 0 || run->error_fd >= 0;
  ending->output_bytes = passes ? (int64_t)(streams.output.passed + streams.error.passed) : -1;
  return output_within && error_within;
}
