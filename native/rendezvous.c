// Between the supervisor and a client of a container engine. What runs in a container of an engine is the engine's child, not the client's, and inherits
// no descriptor of ours. So this process listens on a socket in a directory that the container is shown, and hands on to whoever comes (container.c)
// what a tool's child would have inherited: init's socket, and the room.
//
//   supervisor ── this ── client ~~ engine ── container.c ── init ── command
//
// The name of the socket is random, and gone from the directory as soon as somebody came, or the supervisor is gone. The client is never killed from here:
// between its two requests, to make a container and to start it, that would leave the container. It goes on, what it starts finds nobody, and ends.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rendezvous.h"
#include "run.h"
#include "sys.h"

#define EXIT_FAILED 125
#define PLACEHOLDER "RENDEZVOUS"
#define RANDOM_BYTES 16
#define REMOVALS 4
#define REMOVAL_PAUSE_NS 500000000

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char name[sizeof RENDEZVOUS_PREFIX + (size_t)RANDOM_BYTES * 2] = RENDEZVOUS_PREFIX;

int rendezvous_complain(const char *who, const char *what) {
  char text[256];
  char error[32];
  int length = snprintf(text, sizeof text, "%s: %s: %s\n", who, what, error_name(errno, error, sizeof error));
  if (length > 0) (void)!write(STDERR_FILENO, text, (size_t)length);
  return EXIT_FAILED;
}

static int complain(const char *what) { return rendezvous_complain("rendezvous", what); }

static bool choose_name(void) {
  uint8_t bytes[RANDOM_BYTES];
  ssize_t got;
  do got = getrandom(bytes, sizeof bytes, 0);
  while (got < 0 && errno == EINTR);
  if (got != (ssize_t)sizeof bytes) return false;
  size_t used = strlen(name);
  for (size_t i = 0; i < sizeof bytes; i++) (void)snprintf(name + used + 2 * i, 3, "%02x", bytes[i]);
  return true;
}

// Nobody but this user and root may connect. The name is new, and in a directory like /tmp nobody else may take it away (S_ISVTX).
static int listen_in(const char *directory) {
  int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name);
  if (length < 0 || (size_t)length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return -1;
  mode_t before = umask(077);
  bool bound = bind(listener, (struct sockaddr *)&address, sizeof address) == 0;
  (void)umask(before);
  if (bound && listen(listener, 1) == 0) return listener;
  if (bound) (void)unlink(address.sun_path);
  return -1;
}

static void stop_listening(int *listener) {
  if (*listener < 0) return;
  (void)unlink(address.sun_path);
  (void)close(*listener);
  *listener = -1;
}

static bool read_legacy(struct rendezvous_legacy *legacy) {
  for (int resource = 0; resource < RENDEZVOUS_RLIMITS; resource++) {
    if (sys_prlimit(resource, NULL, &legacy->rlimits[resource]) < 0) return false;
  }
  if (sched_getaffinity(0, sizeof legacy->processors, &legacy->processors) < 0) return false;
  errno = 0;
  legacy->nice_value = getpriority(PRIO_PROCESS, 0);
  return errno == 0;
}

static bool hand_over(int to, const int descriptors[RENDEZVOUS_DESCRIPTORS]) {
  struct rendezvous_legacy legacy;
  memset(&legacy, 0, sizeof legacy);
  if (!read_legacy(&legacy)) return false;
  return descriptors_send(to, &legacy, sizeof legacy, descriptors, RENDEZVOUS_DESCRIPTORS);
}

// False: it was nobody after all.
static bool meet(int listener, const int descriptors[RENDEZVOUS_DESCRIPTORS]) {
  int met = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (met < 0) return false;
  bool handed = hand_over(met, descriptors);
  (void)close(met);
  return handed;
}

static pid_t execute(char **command, const sigset_t *mask, bool silent) {
  pid_t child = sys_clone(0);
  if (child != 0) return child;
  int null = silent ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
  if (silent && (dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)) _exit(EXIT_FAILED);
  if (sigprocmask(SIG_SETMASK, mask, NULL) < 0) _exit(EXIT_FAILED);
  execv(command[0], command);
  _exit(complain(command[0]));
}

static int wait_for(pid_t child) {
  int status;
  pid_t reaped;
  do reaped = waitpid(child, &status, 0);
  while (reaped < 0 && errno == EINTR);
  return reaped < 0 || !WIFEXITED(status) ? EXIT_FAILED : WEXITSTATUS(status);
}

// A client that was killed may have left its container, which only it would have started; or the engine is still about to make it.
static void remove_container(char *client, const sigset_t *mask) {
  static char verb[] = "rm", force[] = "--force", volumes[] = "--volumes";
  char *command[] = {client, verb, force, volumes, name, NULL};
  const struct timespec pause = {.tv_nsec = REMOVAL_PAUSE_NS};
  for (int i = 0; i < REMOVALS; i++) {
    pid_t child = execute(command, mask, true);
    if (child > 0) (void)wait_for(child);
    if (i + 1 < REMOVALS) (void)nanosleep(&pause, NULL);
  }
}

// The wait status of the client, or -1.
static int watch(pid_t client, int listener, int ended, const int descriptors[RENDEZVOUS_DESCRIPTORS]) {
  for (;;) {
    struct pollfd watched[3] = {
        {.fd = ended, .events = POLLIN},
        {.fd = listener, .events = POLLIN},
        // Only its end: what the supervisor sent is for init.
        {.fd = listener < 0 ? -1 : descriptors[0], .events = POLLRDHUP},
    };
    if (poll(watched, 3, -1) < 0 && errno != EINTR) return -1;
    bool over = watched[2].revents != 0;
    if (over || (watched[1].revents != 0 && meet(listener, descriptors))) {
      stop_listening(&listener);
      for (int i = 0; i < RENDEZVOUS_DESCRIPTORS; i++) (void)close(descriptors[i]);
    }
    struct signalfd_siginfo info;
    if (read(ended, &info, sizeof info) < 0) continue;
    int status;
    if (waitpid(client, &status, WNOHANG) != client) continue;
    stop_listening(&listener);
    return status;
  }
}

static bool fill_in(char **command) {
  bool found = false;
  for (; *command != NULL; command++) {
    if (strcmp(*command, PLACEHOLDER) != 0) continue;
    *command = name;
    found = true;
  }
  return found;
}

int rendezvous_main(const char *directory, const char *tree, char **command) {
  // Not for the client. Its own way to the engine is.
  if (fcntl(PLAN_TOOL_SOCKET, F_SETFD, FD_CLOEXEC) < 0 || fcntl(PLAN_TOOL_LAUNCHER, F_SETFD, FD_CLOEXEC) < 0) return complain("fcntl");
  if (!choose_name()) return complain("getrandom");
  errno = EINVAL;
  if (!fill_in(command)) return complain(PLACEHOLDER);
  int room = sys_open_tree(AT_FDCWD, tree, OPEN_TREE_CLONE | AT_RECURSIVE);
  if (room < 0) return complain("open_tree");
  int user = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
  int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (user < 0 || network < 0) return complain("open");
  sigset_t children, before;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &children, &before) < 0) return complain("sigprocmask");
  int ended = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  if (ended < 0) return complain("signalfd");
  int listener = listen_in(directory);
  if (listener < 0) return complain("bind");
  pid_t client = execute(command, &before, false);
  if (client < 0) {
    stop_listening(&listener);
    return complain("clone");
  }
  const int descriptors[RENDEZVOUS_DESCRIPTORS] = {PLAN_TOOL_SOCKET, room, user, network};
  int status = watch(client, listener, ended, descriptors);
  if (status < 0 || WIFSIGNALED(status)) remove_container(command[0], &before);
  return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}
