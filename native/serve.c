// The server holds one end of some sockets, the lanes, whose other ends the caller has since it started the server. A lane carries one run at a time:
// when a plan arrives on one, the server forks, and the child takes the lane over. It is from then on what `launcher run` is, with the lane as its
// channel. The server itself reads nothing, so that nothing of one run gets near another: all that it knows of a run is the process's end.
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

#include "run.h"

#define EXIT_FAILED 125

struct lane {
  int descriptor;  // -1: the caller has closed it
  pid_t worker;    // who has it now, or 0
};

static struct {
  struct lane lanes[SERVE_LANES_MAX];
  size_t count;
  int signals_fd;
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

static _Noreturn void become_worker(int lane, int (*run)(int lane)) {
  // At once: while it held the others, the caller would not see them end.
  if (!descriptors_close_except(&lane, 1)) _exit(EXIT_FAILED);
  _exit(run(lane));
}

static void start(struct lane *lane, int (*run)(int lane)) {
  pid_t worker = fork();
  if (worker == 0) become_worker(lane->descriptor, run);
  lane->worker = worker > 0 ? worker : 0;
}

static void end_lane(struct lane *lane) {
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

// A plan, or the end. What it is nobody reads here.
static void look(struct lane *lane, int (*run)(int lane)) {
  char byte;
  ssize_t got = recv(lane->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    end_lane(lane);
    return;
  }
  start(lane, run);
  if (lane->worker != 0) return;
  // No process for it: the caller gets the reason, and the plan stays unread.
  char line[160];
  int length = snprintf(line, sizeof line, "{\"event\":\"failed\",\"step\":\"fork\",\"syscall\":\"fork\",\"errno\":\"%s\"}\n",
                        errno == EAGAIN ? "EAGAIN" : errno == ENOMEM ? "ENOMEM" : "UNKNOWN");
  (void)!send(lane->descriptor, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
  end_lane(lane);
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

int serve(int first, size_t count, int (*run)(int lane)) {
  server.count = count;
  for (size_t i = 0; i < count; i++) {
    server.lanes[i] = (struct lane){.descriptor = first + (int)i};
    if (fcntl(first + (int)i, F_SETFD, FD_CLOEXEC) < 0) return EXIT_FAILED;
  }
  if (!prepare_signals()) return EXIT_FAILED;
  while (!is_over()) {
    struct pollfd entries[SERVE_LANES_MAX + 1];
    struct lane *polled[SERVE_LANES_MAX];
    size_t waiting = list(entries, polled);
    entries[waiting] = (struct pollfd){.fd = server.signals_fd, .events = POLLIN};
    if (poll(entries, (nfds_t)waiting + 1, -1) < 0 && errno != EINTR) return EXIT_FAILED;
    reap();
    for (size_t i = 0; i < waiting; i++) {
      if (entries[i].revents != 0 && polled[i]->descriptor >= 0) look(polled[i], run);
    }
  }
  return 0;
}
