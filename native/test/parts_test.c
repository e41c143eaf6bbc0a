// The smaller parts of the launcher: what it passes on (relay.c), what it says (status.c) and by which names (report.c).
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../channel.h"
#include "../relay.h"
#include "../report.h"
#include "../status.h"

static void must(bool done, const char *what) {
  if (done) return;
  perror(what);
  exit(125);
}

static void make_pipe(int ends[2]) { must(pipe2(ends, O_CLOEXEC) == 0, "pipe2"); }

static struct relay relay;
static bool by_splice;

static void open_relay(int from, int to) {
  memset(&relay, 0, sizeof relay);
  must(relay_open(&relay, from, true, to, true) && relay.splices, "relay_open");
  relay.splices = by_splice;
}

static size_t drain(int from, char *text, size_t size) {
  size_t used = 0;
  ssize_t got;
  must(fcntl(from, F_SETFL, O_NONBLOCK) == 0, "fcntl");
  while (used < size && (got = read(from, text + used, size - used)) > 0) used += (size_t)got;
  return used;
}

static void put(int to, const char *text) { must(write(to, text, strlen(text)) == (ssize_t)strlen(text), "write"); }

static void bytes_pass(void) {
  int in[2], out[2];
  make_pipe(in), make_pipe(out);
  open_relay(in[0], out[1]);
  put(in[1], "hello");
  CHECK(relay_step(&relay));
  CHECK(relay_flushed(&relay) && !relay_ended(&relay));
  char text[16];
  CHECK(drain(out[0], text, sizeof text) == 5 && memcmp(text, "hello", 5) == 0);
  CHECK(relay_step(&relay));  // nothing there: no block, no end
  CHECK(!relay_ended(&relay));
  (void)close(in[1]);
  CHECK(relay_step(&relay) && relay_ended(&relay));
  (void)close(out[0]), (void)close(out[1]);
}

// With room for more, for exactly what comes, and for less; alone and shared.
static void budgets_are_exact(void) {
  for (uint64_t bound = 0; bound <= 12; bound++) {
    int in[2], out[2];
    make_pipe(in), make_pipe(out);
    open_relay(in[0], out[1]);
    uint64_t budget = bound;
    relay.budget = &budget;
    bool within = true;
    put(in[1], "12345");
    within = relay_step(&relay) && within;
    if (within) {
      put(in[1], "67890");
      within = relay_step(&relay) && within;
    }
    char text[16];
    size_t got = drain(out[0], text, sizeof text);
    CHECK(got == (bound < 10 ? bound : 10));
    CHECK(memcmp(text, "1234567890", got) == 0);
    CHECK(within == (bound >= 10) && relay.truncated == (bound < 10));
    CHECK(budget == (bound < 10 ? 0 : bound - 10));
    (void)close(in[1]), (void)close(out[0]), (void)close(out[1]);
    if (relay.from >= 0) (void)close(relay.from);
  }
}

static void a_lost_reader_closes_the_source(void) {
  int in[2], out[2];
  make_pipe(in), make_pipe(out);
  open_relay(in[0], out[1]);
  (void)close(out[0]);
  put(in[1], "hello");
  CHECK(relay_step(&relay));
  CHECK(relay.reader_gone && relay_ended(&relay));
  // Who writes now learns of it.
  CHECK(write(in[1], "x", 1) < 0 && errno == EPIPE);
  (void)close(in[1]), (void)close(out[1]);
}

static void a_slow_reader_blocks_nobody(void) {
  int in[2], out[2];
  make_pipe(in), make_pipe(out);
  open_relay(in[0], out[1]);
  must(fcntl(in[1], F_SETFL, O_NONBLOCK) == 0, "fcntl");
  static char chunk[65536];
  memset(chunk, 'x', sizeof chunk);
  size_t sent = 0;
  for (int round = 0; round < 64; round++) {
    ssize_t written = write(in[1], chunk, sizeof chunk);
    if (written > 0) sent += (size_t)written;
    CHECK(relay_step(&relay));
  }
  CHECK(by_splice ? relay.target_is_full : !relay_flushed(&relay));
  struct pollfd entry;
  CHECK(relay_poll(&relay, &entry) == 1 && entry.fd == relay.to && entry.events == POLLOUT);
  (void)close(in[1]);
  static char text[1 << 20];
  size_t got = 0;
  for (int round = 0; round < 64 && !relay_ended(&relay); round++) {
    got += drain(out[0], text, sizeof text);
    CHECK(relay_step(&relay));
  }
  got += drain(out[0], text, sizeof text);
  CHECK(relay_ended(&relay) && got == sent);
  (void)close(out[0]), (void)close(out[1]);
}

// To the channel as frames, which come only when there is enough of them or something is said; and which stand back for what has room.
static void output_passes_by_the_channel(void) {
  int in[2], channel[2];
  make_pipe(in);
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) == 0, "socketpair");
  channel_use(channel[1]);
  memset(&relay, 0, sizeof relay);
  CHECK(relay_open_to_channel(&relay, in[0], 2));
  put(in[1], "hello");
  CHECK(relay_step(&relay) && relay_flushed(&relay));
  channel_step();
  struct pollfd entry;
  char text[256];
  CHECK(channel_poll(&entry) == 0 && drain(channel[0], text, sizeof text) == 0);
  channel_say("{}\n", 3);
  static const char wanted[] = "{\"event\":\"output\",\"stream\":2,\"bytes\":       5}\nhello{}\n";
  CHECK(drain(channel[0], text, sizeof text) == sizeof wanted - 1 && memcmp(text, wanted, sizeof wanted - 1) == 0);
  // Nobody reads: in the end the relay keeps what it has, and a line still has room.
  static char chunk[65536];
  memset(chunk, 'x', sizeof chunk);
  must(fcntl(in[1], F_SETFL, O_NONBLOCK) == 0, "fcntl");
  for (int round = 0; round < 64; round++) {
    (void)!write(in[1], chunk, sizeof chunk);
    CHECK(relay_step(&relay));
    channel_step();
  }
  CHECK(!relay_flushed(&relay) && relay_poll(&relay, &entry) == 1 && entry.fd == channel[1] && entry.events == POLLOUT);
  CHECK(channel_poll(&entry) == 1 && entry.fd == channel[1]);
  channel_say("{}\n", 3);
  // And when nobody ever will, nothing waits.
  (void)close(channel[0]);
  CHECK(!channel_finish());
  CHECK(channel_poll(&entry) == 0);
  CHECK(relay_step(&relay) && relay.reader_gone && relay_ended(&relay));
  (void)close(in[1]), (void)close(channel[1]);
}

static void memory_passes(void) {
  int out[2];
  make_pipe(out);
  memset(&relay, 0, sizeof relay);
  relay.from = -1;
  CHECK(relay_open_from_memory(&relay, (const uint8_t *)"hello", 5, out[1]));
  CHECK(!relay_ended(&relay) && relay_step(&relay) && relay_ended(&relay));
  char text[16];
  CHECK(drain(out[0], text, sizeof text) == 5 && memcmp(text, "hello", 5) == 0);
  (void)close(out[0]), (void)close(out[1]);
}

static void sockets_pass_without_sigpipe(void) {
  int in[2], out[2];
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) == 0, "socketpair");
  memset(&relay, 0, sizeof relay);
  CHECK(relay_open(&relay, in[0], false, out[1], false));
  CHECK(relay.from_is_socket && relay.to_is_socket);
  CHECK((fcntl(in[0], F_GETFL) & O_NONBLOCK) == 0 && (fcntl(out[1], F_GETFL) & O_NONBLOCK) == 0);
  CHECK(relay_step(&relay) && !relay_ended(&relay));
  put(in[1], "hello");
  CHECK(relay_step(&relay));
  char text[16];
  CHECK(drain(out[0], text, sizeof text) == 5);
  (void)close(out[0]);
  struct sigaction standard = {.sa_handler = SIG_DFL}, before;
  must(sigaction(SIGPIPE, &standard, &before) == 0, "sigaction");
  put(in[1], "hello");
  CHECK(relay_step(&relay) && relay.reader_gone);
  must(sigaction(SIGPIPE, &before, NULL) == 0, "sigaction");
  (void)close(in[1]), (void)close(out[1]);
}

static void a_file_keeps_its_position(void) {
  char name[] = "/tmp/sandboxlib-relay-XXXXXX";
  int file = mkstemp(name);
  must(file >= 0 && unlink(name) == 0, "mkstemp");
  put(file, "before ");
  int in[2];
  make_pipe(in);
  memset(&relay, 0, sizeof relay);
  CHECK(relay_open(&relay, in[0], true, file, false));
  CHECK(relay.to == file && (fcntl(file, F_GETFL) & O_NONBLOCK) == 0);
  put(in[1], "and ");
  CHECK(relay_step(&relay));
  put(file, "after");
  char text[32] = "";
  CHECK(pread(file, text, sizeof text - 1, 0) == 16 && strcmp(text, "before and after") == 0);
  (void)close(in[0]), (void)close(in[1]), (void)close(file);
}

static void a_pipe_of_the_caller_keeps_its_flags(void) {
  int in[2], out[2];
  make_pipe(in), make_pipe(out);
  memset(&relay, 0, sizeof relay);
  CHECK(relay_open(&relay, in[0], false, out[1], false));
  CHECK(relay.from != in[0] && relay.to != out[1]);
  CHECK((fcntl(in[0], F_GETFL) & O_NONBLOCK) == 0 && (fcntl(out[1], F_GETFL) & O_NONBLOCK) == 0);
  (void)close(in[0]), (void)close(in[1]), (void)close(out[0]), (void)close(out[1]), (void)close(relay.from), (void)close(relay.to);
}

static void a_closed_descriptor_is_refused(void) {
  int in[2];
  make_pipe(in);
  CHECK(!relay_open(&relay, in[0], true, 4000, false) && errno == EBADF);
  CHECK(!relay_open(&relay, 4000, true, in[1], false) && errno == EBADF);
  (void)close(in[0]), (void)close(in[1]);
}

// What one call writes as its line.
static const char *said(void (*say)(const void *), const void *about) {
  static char text[65536];
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  status_use(ends[1]);
  say(about);
  text[drain(ends[0], text, sizeof text - 1)] = '\0';
  (void)close(ends[0]), (void)close(ends[1]);
  return text;
}

static void say_failed(const void *failure) { status_failed(failure); }
static void say_ended(const void *ending) { status_ended(ending); }
static void say_delivered(const void *stream) { status_delivered(*(const int *)stream); }
static void say_started(const void *pid) { status_started(*(const pid_t *)pid, NULL); }

static void strings_are_escaped(void) {
  struct failure failure;
  failure_fill(&failure, STEP_MOUNT, 7, ENOENT, "open_tree", "/a\"b\\c\n\t\x01\x7f\xc3\xa9");
  CHECK(strcmp(said(say_failed, &failure),
               "{\"event\":\"failed\",\"step\":\"mount\",\"index\":7,\"syscall\":\"open_tree\",\"errno\":\"ENOENT\","
               "\"path\":\"/a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f\\u00c3\\u00a9\"}\n") == 0);
  // Every byte there is, by its value.
  char path[REPORT_PATH_BYTES] = "";
  for (int byte = 1; byte < 256; byte++) path[byte - 1] = (char)byte;
  failure_fill(&failure, STEP_MOUNT, NO_INDEX, 0, NULL, path);
  const char *line = said(say_failed, &failure);
  for (const char *at = line; *at != '\0' && at[1] != '\0'; at++) CHECK((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f);
}

static void a_line_is_whole_at_its_longest(void) {
  struct failure failure;
  static char path[2 * REPORT_PATH_BYTES];
  memset(path, 0xff, sizeof path - 1);
  failure_fill(&failure, STEP_EXEC, 65535, ENOENT, "a call with a name far too long to be one", path);
  failure.reason = EXEC_MISSING_INTERPRETER;
  memset(failure.detail, 0xff, sizeof failure.detail - 1);
  CHECK(strlen(failure.path) == REPORT_PATH_BYTES - 1 && strlen(failure.syscall) == sizeof failure.syscall - 1);
  const char *line = said(say_failed, &failure);
  size_t length = strlen(line);
  CHECK(length > 3 && strcmp(line + length - 3, "\"}\n") == 0);
  CHECK(strstr(line, "\"reason\":\"missing-interpreter\",\"interpreter\":\"") != NULL);
}

static void endings_say_how(void) {
  struct ending ending = {.cause = CAUSE_COMMAND, .exited = true, .wait_status = 3 << 8, .wall_us = 12345, .user_us = 6, .system_us = 1000, .memory_peak = -1, .pids_peak = -1, .output_bytes = -1};
  CHECK(strcmp(said(say_ended, &ending), "{\"event\":\"ended\",\"cause\":\"command\",\"code\":3,\"stdoutTruncated\":false,\"stderrTruncated\":false,"
                                         "\"wallMs\":12.345,\"cpuUserMs\":0.006,\"cpuSystemMs\":1.000}\n") == 0);
  ending = (struct ending){.cause = CAUSE_WALL, .exited = true, .wait_status = SIGKILL};
  CHECK(strstr(said(say_ended, &ending), "\"cause\":\"limit\",\"limit\":\"wallMs\",\"signal\":\"SIGKILL\"") != NULL);
  ending = (struct ending){.cause = CAUSE_OUTPUT, .output_truncated = true};
  CHECK(strstr(said(say_ended, &ending), "\"cause\":\"limit\",\"limit\":\"outputBytes\",\"stdoutTruncated\":true") != NULL);
  ending = (struct ending){.cause = CAUSE_MEMORY, .memory_peak = 4096, .pids_peak = 3};
  CHECK(strstr(said(say_ended, &ending), "\"cause\":\"limit\",\"limit\":\"memoryBytes\",\"stdout") != NULL);
  CHECK(strstr(said(say_ended, &ending), "\"memoryBytes\":4096,\"pids\":3}") != NULL);
  ending = (struct ending){.cause = CAUSE_WALL, .output_pending = true, .output_bytes = 12};
  CHECK(strstr(said(say_ended, &ending), "\"outputPending\":[1],\"outputBytes\":12,\"memoryBytes\"") != NULL);
  ending.error_pending = true;
  CHECK(strstr(said(say_ended, &ending), "\"outputPending\":[1,2],") != NULL);
  ending.output_pending = false;
  CHECK(strstr(said(say_ended, &ending), "\"outputPending\":[2],") != NULL);
  int stream = 2;
  CHECK(strcmp(said(say_delivered, &stream), "{\"event\":\"delivered\",\"stream\":2}\n") == 0);
  ending = (struct ending){.cause = CAUSE_PIDS};
  CHECK(strstr(said(say_ended, &ending), "\"limit\":\"pids\"") != NULL);
  ending = (struct ending){.cause = CAUSE_CPU};
  CHECK(strstr(said(say_ended, &ending), "\"limit\":\"cpuMs\"") != NULL);
  ending = (struct ending){.cause = CAUSE_TERMINATED};
  CHECK(strstr(said(say_ended, &ending), "\"cause\":\"terminated\",\"stdout") != NULL);
  ending = (struct ending){.cause = CAUSE_SIGNALLED, .by = SIGTERM};
  CHECK(strstr(said(say_ended, &ending), "\"cause\":\"signalled\",\"by\":\"SIGTERM\"") != NULL);
  pid_t pid = 4711;
  char started[96];
  (void)snprintf(started, sizeof started, "{\"event\":\"started\",\"pid\":4711,\"supervisor\":%d}\n", (int)getpid());
  CHECK(strcmp(said(say_started, &pid), started) == 0);
}

static void a_reader_that_left_is_no_matter(void) {
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  (void)close(ends[0]);
  status_use(ends[1]);
  status_started(1, NULL);
  status_use(-1);
  status_started(1, NULL);
  (void)close(ends[1]);
}

static void names_are_the_kernels(void) {
  char buffer[32];
  CHECK(strcmp(error_name(EPERM, buffer, sizeof buffer), "EPERM") == 0);
  CHECK(strcmp(error_name(EDQUOT, buffer, sizeof buffer), "EDQUOT") == 0);
  CHECK(strcmp(error_name(4000, buffer, sizeof buffer), "errno 4000") == 0);
  CHECK(strcmp(signal_name(SIGKILL, buffer, sizeof buffer), "SIGKILL") == 0);
  CHECK(strcmp(signal_name(40, buffer, sizeof buffer), "SIG40") == 0);
  for (int signal = 1; signal < 32; signal++) CHECK(strncmp(signal_name(signal, buffer, sizeof buffer), "SIG", 3) == 0 && signal_name(signal, buffer, sizeof buffer) != buffer);
  static const char *const reasons[] = {"", "not-found", "not-executable", "directory", "missing-interpreter", "wrong-architecture", "not-a-program", "text-busy", "interpreter-loop", "too-long", "other"};
  for (unsigned i = 0; i <= EXEC_OTHER; i++) CHECK(strcmp(exec_reason_name((enum exec_reason)i), reasons[i]) == 0);
}

int main(void) {
  must(signal(SIGPIPE, SIG_IGN) != SIG_ERR, "signal");
  TEST(bytes_pass, "relay, by read: bytes pass, and the end is seen");
  TEST(budgets_are_exact, "relay, by read: exactly the budget passes");
  TEST(a_lost_reader_closes_the_source, "relay, by read: when the reader is gone the writer learns of it");
  TEST(a_slow_reader_blocks_nobody, "relay, by read: a slow reader blocks nobody and loses nothing");
  by_splice = true;
  TEST(bytes_pass, "relay, by splice: bytes pass, and the end is seen");
  TEST(budgets_are_exact, "relay, by splice: exactly the budget passes");
  TEST(a_lost_reader_closes_the_source, "relay, by splice: when the reader is gone the writer learns of it");
  TEST(a_slow_reader_blocks_nobody, "relay, by splice: a slow reader blocks nobody and loses nothing");
  TEST(memory_passes, "relay: from memory");
  TEST(sockets_pass_without_sigpipe, "relay: sockets pass, and a closed one is no signal");
  TEST(a_file_keeps_its_position, "relay: a file keeps the position that its caller shares");
  TEST(a_pipe_of_the_caller_keeps_its_flags, "relay: a pipe of the caller stays a blocking one");
  TEST(a_closed_descriptor_is_refused, "relay: a closed descriptor is refused");
  TEST(strings_are_escaped, "status: any byte is escaped by its value");
  TEST(a_line_is_whole_at_its_longest, "status: the longest failure is a whole line");
  TEST(endings_say_how, "status: an ending says its cause");
  TEST(a_reader_that_left_is_no_matter, "status: a reader that left is no matter");
  TEST(names_are_the_kernels, "report: errors, signals and reasons have their names");
  TEST(output_passes_by_the_channel, "channel: output between the lines, and what nobody reads");
  return tests_end();
}
