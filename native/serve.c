// The server holds one end of some sockets, the lanes, whose other ends the caller has since it started the server. A lane carries one run at a time:
// when a plan arrives on one, the server forks, and the child takes the lane over. It is from then on what `launcher run` is, with the lane as its
// channel. Of the runs the server itself reads nothing, so that nothing of one gets near another: all that it knows of a run is the process's end.
//
// Other sockets of that kind are streams, each of them for one run, as its stdin, stdout or stderr: which one is for which, orders of the caller say that
// come on a socket of their own before the plan. With the fork the server gives them up, so that their ends are seen as those of any process.
//
// A fork of this process costs a fraction of one of the caller, whose page tables may be those of gigabytes.
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orders.h"
#include "run.h"

#define EXIT_FAILED 125

struct lane {
  int descriptor;  // -1: the caller has closed it
  pid_t worker;    // who has it now, or 0
};

struct stream {
  int descriptor;  // -1: it was given away
  int lane;        // by its number, or -1: it is nobody's yet
  int target;      // which descriptor it is there
};

static struct {
  struct lane lanes[SERVE_LANES_MAX];
  size_t count;
  struct stream streams[SERVE_STREAMS_MAX];
  size_t streams_count;
  uint8_t order[ORDER_BYTES];
  size_t order_used;
  int orders_fd, signals_fd;
} server;

// What comes from a terminal is for the caller and for the commands, who get it too. The end of this process is the end of its lanes.
static bool prepare_signals(void) {
  static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
    if (sigaction(ignored[i], &ignore, NULL) < 0) return false;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return false;
  server.signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return server.signals_fd >= 0;
}

static int number_of(const struct lane *lane) { return (int)(lane - server.lanes); }

static bool obey_lend(uint32_t lane, uint32_t what) {
  uint32_t target = what >> 16, index = what & 0xffff;
  if (lane >= server.count || index >= server.streams_count || target > STDERR_FILENO) return false;
  struct stream *stream = &server.streams[index];
  if (stream->descriptor < 0 || stream->lane >= 0) return false;
  stream->lane = (int)lane;
  stream->target = (int)target;
  return true;
}

// What is for a run has been sent before its plan. False for what no caller of ours sends.
static bool read_orders(void) {
  for (;;) {
    ssize_t got = recv(server.orders_fd, server.order + server.order_used, ORDER_BYTES - server.order_used, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    // The lanes tell of it.
    if (got <= 0) return true;
    server.order_used += (size_t)got;
    if (server.order_used < ORDER_BYTES) continue;
    server.order_used = 0;
    struct order order = order_parse(server.order);
    if (order.type != ORDER_LEND || !obey_lend(order.a, order.b)) return false;
  }
}

static _Noreturn void become_worker(const struct lane *lane, int (*run)(int lane)) {
  for (size_t i = 0; i < server.streams_count; i++) {
    const struct stream *stream = &server.streams[i];
    if (stream->lane == number_of(lane) && dup2(stream->descriptor, stream->target) < 0) _exit(EXIT_FAILED);
  }
  // At once: while it held the others, the caller would not see them end.
  if (!descriptors_close_except(&lane->descriptor, 1)) _exit(EXIT_FAILED);
  _exit(run(lane->descriptor));
}

static void give_streams_up(int lane) {
  for (size_t i = 0; i < server.streams_count; i++) {
    struct stream *stream = &server.streams[i];
    if (stream->lane != lane) continue;
    (void)close(stream->descriptor);
    *stream = (struct stream){.descriptor = -1, .lane = -1};
  }
}

static void start(struct lane *lane, int (*run)(int lane)) {
  pid_t worker = fork();
  if (worker == 0) become_worker(lane, run);
  lane->worker = worker > 0 ? worker : 0;
}

static void end_lane(struct lane *lane) {
  give_streams_up(number_of(lane));
  (void)close(lane->descriptor);
  lane->descriptor = -1;
}

static void reap(void) {
  struct signalfd_siginfo info;
  while (read(server.signals_fd, &info, sizeof info) == (ssize_t)sizeof info) continue;
  for (;;) {
    int status;
    pid_t ended = waitpid(-1, &status, WNOHANG);
    if (ended < 0 && errno == EINTR) continue;
    if (ended <= 0) return;
    for (size_t i = 0; i < server.count; i++) {
      struct lane *lane = &server.lanes[i];
      if (lane->worker != ended) continue;
      lane->worker = 0;
      // Without its last word, perhaps in the middle of another: the end of the lane is all that can be said there.
      if (status != 0) end_lane(lane);
    }
  }
}

// A plan, or the end. What it is nobody reads here. False where the orders before it cannot be understood.
static bool look(struct lane *lane, int (*run)(int lane)) {
  char byte;
  ssize_t got = recv(lane->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got <= 0) {
    end_lane(lane);
    return true;
  }
  if (!read_orders()) return false;
  start(lane, run);
  if (lane->worker != 0) {
    give_streams_up(number_of(lane));
    return true;
  }
  // No process for it: the caller gets the reason, and the plan stays unread.
  char line[160];
  int length = snprintf(line, sizeof line, "{\"event\":\"failed\",\"step\":\"fork\",\"syscall\":\"fork\",\"errno\":\"%s\"}\n",
                        errno == EAGAIN ? "EAGAIN" : errno == ENOMEM ? "ENOMEM" : "UNKNOWN");
  (void)!send(lane->descriptor, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
  end_lane(lane);
  return true;
}

static size_t list(struct pollfd *entries, struct lane **polled) {
  size_t count = 0;
  for (size_t i = 0; i < server.count; i++) {
    struct lane *lane = &server.lanes[i];
    if (lane->descriptor < 0 || lane->worker != 0) continue;
    polled[count] = lane;
    entries[count++] = (struct pollfd){.fd = lane->descriptor, .events = POLLIN};
  }
  return count;
}

static bool is_over(void) {
  for (size_t i = 0; i < server.count; i++) {
    if (server.lanes[i].descriptor >= 0) return false;
  }
  return true;
}

static bool take_over(const struct served *served) {
  server.orders_fd = served->orders_fd;
  server.count = served->lanes;
  server.streams_count = served->streams;
  if (fcntl(server.orders_fd, F_SETFD, FD_CLOEXEC) < 0) return false;
  for (size_t i = 0; i < server.count + server.streams_count; i++) {
    int descriptor = served->first + (int)i;
    if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0) return false;
    if (i < server.count) server.lanes[i] = (struct lane){.descriptor = descriptor};
    else server.streams[i - server.count] = (struct stream){.descriptor = descriptor, .lane = -1};
  }
  return true;
}

int serve(const struct served *served, int (*run)(int lane)) {
  if (!take_over(served) || !prepare_signals()) return EXIT_FAILED;
  while (!is_over()) {
    struct pollfd entries[SERVE_LANES_MAX + 1];
    struct lane *polled[SERVE_LANES_MAX];
    size_t waiting = list(entries, polled);
    entries[waiting] = (struct pollfd){.fd = server.signals_fd, .events = POLLIN};
    if (poll(entries, (nfds_t)waiting + 1, -1) < 0 && errno != EINTR) return EXIT_FAILED;
    reap();
    for (size_t i = 0; i < waiting; i++) {
      if (entries[i].revents != 0 && polled[i]->descriptor >= 0 && !look(polled[i], run)) return EXIT_FAILED;
    }
  }
  return 0;
}
