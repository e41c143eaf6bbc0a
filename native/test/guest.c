// The command of the tests: one small verb per promise, static, so that a sandbox needs no shell, no library and no /proc for it.
// An answer is one line on stdout. A call that fails answers "errno NAME" and exits with status 1.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES 65536

extern char **environ;

static _Noreturn void usage(const char *what) {
  fprintf(stderr, "guest: %s\n", what);
  exit(64);
}

// musl has no strerrorname_np(3).
static const char *errno_name(int code) {
#define NAME(constant) {constant, #constant}
  static const struct {
    int code;
    const char *name;
  } names[] = {NAME(EPERM),  NAME(ENOENT),  NAME(ESRCH),        NAME(EIO),         NAME(ENXIO),  NAME(EBADF),  NAME(EAGAIN),
               NAME(ENOMEM), NAME(EACCES),  NAME(EFAULT),       NAME(EBUSY),       NAME(EEXIST), NAME(EXDEV),  NAME(ENODEV),
               NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL),       NAME(ENFILE),      NAME(EMFILE), NAME(ENOTTY), NAME(EFBIG),
               NAME(ENOSPC), NAME(EROFS),   NAME(ENOSYS),       NAME(EDQUOT),      NAME(ELOOP),  NAME(ENETDOWN),
               NAME(ENETUNREACH), NAME(ECONNREFUSED), NAME(EADDRNOTAVAIL), NAME(EAFNOSUPPORT)};
#undef NAME
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (names[i].code == code) return names[i].name;
  return "unknown";
}

static _Noreturn void fail_with(int code) {
  printf("errno %s\n", errno_name(code));
  fflush(stdout);
  exit(1);
}

static long long number(const char *text) {
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0') usage("not a number");
  return value;
}

static const char *argument(int argc, char **argv, int index) {
  if (index >= argc) usage("an argument is missing");
  return argv[index];
}

static void write_all(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size > 0) {
    ssize_t written = write(fd, at, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      // stdout may be what failed: the status alone has to tell.
      exit(errno == EPIPE || errno == ECONNRESET ? 32 : 1);
    }
    at += written;
    size -= (size_t)written;
  }
}

static void sleep_ms(long long milliseconds) {
  struct timespec left = {.tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000) * 1000000};
  while (nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

static int do_exit(int argc, char **argv) {
  return (int)number(argument(argc, argv, 2));
}

static int do_signal(int argc, char **argv) {
  raise((int)number(argument(argc, argv, 2)));
  return 0;
}

// Bytes of a known pattern: byte n is n modulo 251, a prime, so that a lost or doubled chunk shows.
static int do_flood(int argc, char **argv) {
  int fd = (int)number(argument(argc, argv, 2));
  long long left = number(argument(argc, argv, 3));
  static unsigned char chunk[CHUNK_BYTES];
  for (long long position = 0; left > 0;) {
    size_t size = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    for (size_t i = 0; i < size; i++) chunk[i] = (unsigned char)((position + (long long)i) % 251);
    write_all(fd, chunk, size);
    position += (long long)size;
    left -= (long long)size;
  }
  return 0;
}

// One write(2) for each byte.
static int do_bytewise(int argc, char **argv) {
  int fd = (int)number(argument(argc, argv, 2));
  long long count = number(argument(argc, argv, 3));
  for (long long i = 0; i < count; i++) {
    unsigned char byte = (unsigned char)(i % 251);
    write_all(fd, &byte, 1);
  }
  return 0;
}

// "o0" on stdout, "e0" on stderr, "o1", ...: the order shows whether both are one file.
static int do_interleave(int argc, char **argv) {
  long long count = number(argument(argc, argv, 2));
  for (long long i = 0; i < count; i++) {
    dprintf(1, "o%lld\n", i);
    dprintf(2, "e%lld\n", i);
  }
  return 0;
}

static int do_cat(int argc, char **argv) {
  int from = argc > 2 ? (int)number(argv[2]) : 0;
  int to = argc > 3 ? (int)number(argv[3]) : 1;
  static char chunk[CHUNK_BYTES];
  for (;;) {
    ssize_t got = read(from, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with(errno);
    if (got == 0) return 0;
    write_all(to, chunk, (size_t)got);
  }
}

static int do_echo(int argc, char **argv) {
  for (int i = 2; i < argc; i++) printf("%s\n", argv[i]);
  return 0;
}

static int do_fds(int argc, char **argv) {
  (void)argc;
  (void)argv;
  for (int fd = 0; fd < 4096; fd++)
    if (fcntl(fd, F_GETFD) >= 0) printf("%d\n", fd);
  return 0;
}

static int do_env(int argc, char **argv) {
  (void)argc;
  (void)argv;
  for (char **at = environ; *at != NULL; at++) printf("%s\n", *at);
  return 0;
}

static int do_ids(int argc, char **argv) {
  (void)argc;
  (void)argv;
  uid_t uid[3];
  gid_t gid[3];
  if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0) fail_with(errno);
  printf("uid %u %u %u\ngid %u %u %u\ngroups", uid[0], uid[1], uid[2], gid[0], gid[1], gid[2]);
  gid_t groups[256];
  int count = getgroups(256, groups);
  if (count < 0) fail_with(errno);
  for (int i = 0; i < count; i++) printf(" %u", groups[i]);
  printf("\n");
  return 0;
}

static int do_umask(int argc, char **argv) {
  (void)argc;
  (void)argv;
  mode_t mask = umask(0);
  printf("%04o\n", (unsigned)mask);
  return 0;
}

static int do_cwd(int argc, char **argv) {
  (void)argc;
  (void)argv;
  char path[4096];
  if (getcwd(path, sizeof path) == NULL) fail_with(errno);
  printf("%s\n", path);
  return 0;
}

static int do_hostname(int argc, char **argv) {
  (void)argc;
  (void)argv;
  char name[256];
  if (gethostname(name, sizeof name) < 0) fail_with(errno);
  printf("%s\n", name);
  return 0;
}

// permitted, effective, inheritable, bounding, ambient: 16 hexadecimal digits each.
static int do_caps(int argc, char **argv) {
  (void)argc;
  (void)argv;
  // capget(2), version 3: two words of 32 bits for each set.
  struct {
    uint32_t version;
    int pid;
  } header = {.version = 0x20080522, .pid = 0};
  struct {
    uint32_t effective;
    uint32_t permitted;
    uint32_t inheritable;
  } data[2] = {{0}};
  if (syscall(SYS_capget, &header, data) < 0) fail_with(errno);
  uint64_t bounding = 0;
  uint64_t ambient = 0;
  for (unsigned long bit = 0; bit < 64; bit++) {
    if (prctl(PR_CAPBSET_READ, bit, 0, 0, 0) == 1) bounding |= UINT64_C(1) << bit;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, bit, 0, 0) == 1) ambient |= UINT64_C(1) << bit;
  }
  uint64_t permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
  uint64_t effective = (uint64_t)data[1].effective << 32 | data[0].effective;
  uint64_t inheritable = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
  printf("%016llx %016llx %016llx %016llx %016llx\n", (unsigned long long)permitted, (unsigned long long)effective,
         (unsigned long long)inheritable, (unsigned long long)bounding, (unsigned long long)ambient);
  return 0;
}

// no_new_privs, seccomp mode, session is our own, signal mask is empty, number of ignored signals.
static int do_state(int argc, char **argv) {
  (void)argc;
  (void)argv;
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  bool masked = false;
  int ignored = 0;
  for (int number_of_signal = 1; number_of_signal < 65; number_of_signal++) {
    struct sigaction action;
    if (sigismember(&mask, number_of_signal) == 1) masked = true;
    if (sigaction(number_of_signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN) ignored++;
  }
  printf("no_new_privs %d\nseccomp %d\nmasked %d\nignored %d\npid %d\nppid %d\nsid %d\npgid %d\n",
         prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECCOMP, 0, 0, 0, 0), masked, ignored, getpid(), getppid(),
         getsid(0), getpgid(0));
  return 0;
}

static int do_rlimit(int argc, char **argv) {
  struct rlimit limit;
  if (getrlimit((int)number(argument(argc, argv, 2)), &limit) < 0) fail_with(errno);
  printf("%lld %lld\n", (long long)limit.rlim_cur, (long long)limit.rlim_max);
  return 0;
}

static int do_spin(int argc, char **argv) {
  (void)argc;
  (void)argv;
  for (volatile unsigned long turn = 0;; turn = turn + 1) continue;
}

// Ignores SIGXCPU, so that only the hard limit ends it.
static int do_spin_on(int argc, char **argv) {
  signal(SIGXCPU, SIG_IGN);
  return do_spin(argc, argv);
}

static void touch(long long bytes) {
  volatile char *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_with(errno);
  for (long long at = 0; at < bytes; at += 4096) memory[at] = 1;
}

// COUNT children that use BYTES of memory each, at the same time, for a moment; 0: this process itself. Then it says "survived".
static int do_touch(int argc, char **argv) {
  long long bytes = number(argument(argc, argv, 2));
  long long count = number(argument(argc, argv, 3));
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child > 0) continue;
    touch(bytes);
    sleep_ms(300);
    _exit(0);
  }
  if (count == 0) touch(bytes);
  while (wait(NULL) > 0) continue;
  write_all(1, "survived\n", 9);
  return 0;
}

// The same, but who has the memory keeps it: COUNT children, or with 0 this process.
static int do_touch_on(int argc, char **argv) {
  long long bytes = number(argument(argc, argv, 2));
  long long count = number(argument(argc, argv, 3));
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child == 0) break;
    if (i == count - 1) bytes = 0;
  }
  if (bytes > 0) touch(bytes);
  for (;;) pause();
}

// Memory that processes may share, and no file has.
static int do_touch_shared_on(int argc, char **argv) {
  size_t bytes = (size_t)number(argument(argc, argv, 2));
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_with(errno);
  memset(memory, 1, bytes);
  for (;;) pause();
}

// BYTES of this process that COUNT children have too, for a moment, without a copy.
static int do_touch_then_fork(int argc, char **argv) {
  touch(number(argument(argc, argv, 2)));
  long long count = number(argument(argc, argv, 3));
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child == 0) sleep_ms(500), _exit(0);
  }
  while (wait(NULL) > 0) continue;
  return 0;
}

// BYTES that may be written to, and are not.
static int do_reserve(int argc, char **argv) {
  size_t bytes = (size_t)number(argument(argc, argv, 2));
  if (mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED) fail_with(errno);
  sleep_ms(300);
  return 0;
}

// COUNT children that use up MILLISECONDS of processor time each, are waited for, and so count as this process's own; once more for what nobody waits for.
static int do_labour(int argc, char **argv) {
  long long milliseconds = number(argument(argc, argv, 2));
  long long count = number(argument(argc, argv, 3));
  signal(SIGCHLD, argc > 4 ? SIG_IGN : SIG_DFL);
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child > 0) continue;
    struct timespec used = {0, 0};
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < milliseconds) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    _exit(0);
  }
  while (wait(NULL) > 0) continue;
  write_all(1, "survived\n", 9);
  return 0;
}

static int do_sleep(int argc, char **argv) {
  sleep_ms(number(argument(argc, argv, 2)));
  return 0;
}

// SIGCONT goes with every order to end, so that it reaches what is stopped: it is no news.
static void catch_all(void (*handler)(int)) {
  for (int caught = 1; caught < 32; caught++)
    if (caught != SIGCONT) signal(caught, handler);
}

static void say_caught(int caught) {
  dprintf(1, "caught %d\n", caught);
}

// Says "ready", answers each signal N with "caught N", and goes on.
static int do_stubborn(int argc, char **argv) {
  (void)argc;
  (void)argv;
  catch_all(say_caught);
  write_all(1, "ready\n", 6);
  for (;;) pause();
}

static void exit_caught(int caught) {
  dprintf(1, "caught %d\n", caught);
  _exit(7);
}

// Says "ready", answers the first signal N with "caught N" and ends with status 7.
static int do_orderly(int argc, char **argv) {
  (void)argc;
  (void)argv;
  catch_all(exit_caught);
  write_all(1, "ready\n", 6);
  for (;;) pause();
}

// A daemon as daemon(3) makes it, that leaves its parent, session and descriptors behind; the marker makes it easy to find from outside.
static int do_daemon(int argc, char **argv) {
  argument(argc, argv, 2);
  long long milliseconds = number(argument(argc, argv, 3));
  pid_t child = fork();
  if (child < 0) fail_with(errno);
  if (child > 0) {
    waitpid(child, NULL, 0);
    printf("daemon started\n");
    return 0;
  }
  setsid();
  if (fork() != 0) _exit(0);
  for (int caught = 1; caught < 32; caught++) signal(caught, SIG_IGN);
  if (argc < 5) {
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  }
  sleep_ms(milliseconds);
  _exit(0);
}

// Daemons that are never the same for long: each process makes its successor and ends, in a session of its own, so that a list of them is old when it
// is read. Not for ever, should nobody end them: then `file` tells of it.
static _Noreturn void run_away(long long milliseconds, const char *file) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + milliseconds;
  for (int caught = 1; caught < 32; caught++) signal(caught, SIG_IGN);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  do {
    // Without room for another process it goes on by itself.
    pid_t child = fork();
    if (child > 0) _exit(0);
    if (child == 0) setsid();
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec * 1000LL + now.tv_nsec / 1000000 < end);
  (void)open(file, O_WRONLY | O_CREAT, 0600);
  _exit(0);
}

// storm MARKER CHAINS MILLISECONDS FILE: so many of them, then sleeps so long.
static int do_storm(int argc, char **argv) {
  argument(argc, argv, 2);
  long long chains = number(argument(argc, argv, 3));
  long long milliseconds = number(argument(argc, argv, 4));
  const char *file = argument(argc, argv, 5);
  for (long long i = 0; i < chains; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child == 0) run_away(60000, file);
  }
  printf("ready\n");
  fflush(stdout);
  sleep_ms(milliseconds);
  return 0;
}

// A daemon that works, in a session of its own, while this process waits.
static int do_daemon_spin(int argc, char **argv) {
  argument(argc, argv, 2);
  pid_t child = fork();
  if (child < 0) fail_with(errno);
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    return do_spin(argc, argv);
  }
  waitpid(child, NULL, 0);
  for (;;) pause();
}

static int do_fork_bomb(int argc, char **argv) {
  argument(argc, argv, 2);
  for (;;) (void)!fork();
}

// A short life that leaves a daemon behind, which ignores what it can and holds the output open; then the given status.
static int do_brief(int argc, char **argv) {
  argument(argc, argv, 2);
  long long milliseconds = number(argument(argc, argv, 3));
  long long status = number(argument(argc, argv, 4));
  pid_t child = fork();
  if (child < 0) fail_with(errno);
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    for (int caught = 1; caught < 32; caught++) signal(caught, SIG_IGN);
    sleep_ms(600000);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  sleep_ms(milliseconds);
  return (int)status;
}

static int do_fork_sleep(int argc, char **argv) {
  argument(argc, argv, 2);
  long long milliseconds = number(argument(argc, argv, 3));
  long long count = number(argument(argc, argv, 4));
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    if (child == 0) {
      sleep_ms(milliseconds);
      _exit(0);
    }
  }
  write_all(1, "ready\n", 6);
  sleep_ms(milliseconds);
  return 0;
}

// COUNT children that end at once and are waited for by nobody: zombies for as long as this process lives, its init's from then on.
// By vfork(2), which copies nothing: all that matters of them is that they are dead.
static int do_zombies(int argc, char **argv) {
  long long count = number(argument(argc, argv, 2));
  for (volatile long long i = 0; i < count; i++) {
    pid_t child = vfork();
    if (child < 0) fail_with(errno);
    if (child == 0) _exit(0);
  }
  printf("%lld\n", count);
  return 0;
}

// COUNT processes that never stay: each makes its successor and ends, so that a list of them is old when it is read.
static int do_chase(int argc, char **argv) {
  argument(argc, argv, 2);
  long long count = number(argument(argc, argv, 3));
  for (int caught = 1; caught < 32; caught++) signal(caught, SIG_IGN);
  for (long long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child < 0) fail_with(errno);
    while (child == 0) {
      setsid();
      pid_t next = fork();
      if (next > 0) _exit(0);
    }
  }
  write_all(1, "ready\n", 6);
  for (;;) pause();
}

static void *idle(void *unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

// COUNT threads that do nothing.
static int do_threads(int argc, char **argv) {
  argument(argc, argv, 2);
  long long count = number(argument(argc, argv, 3));
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 16384);
  for (long long i = 0; i < count; i++) {
    pthread_t thread;
    int code = pthread_create(&thread, &small, idle, NULL);
    if (code != 0) fail_with(code);
  }
  write_all(1, "ready\n", 6);
  for (;;) pause();
}

// Each waits in vfork(2), which no signal but SIGKILL interrupts, for the one that it made; the last says "ready" and stays.
static void __attribute__((noinline)) vfork_down(long long depth) {
  if (depth == 0) {
    write_all(1, "ready\n", 6);
    for (;;) pause();
  }
  pid_t child = vfork();
  if (child == 0) vfork_down(depth - 1);
  if (child > 0) waitpid(child, NULL, 0);
  _exit(child < 0 ? 1 : 0);
}

static int do_vforks(int argc, char **argv) {
  argument(argc, argv, 2);
  vfork_down(number(argument(argc, argv, 3)));
  return 0;
}

static int do_isatty(int argc, char **argv) {
  (void)argc;
  (void)argv;
  printf("%d %d %d\n", isatty(0), isatty(1), isatty(2));
  return 0;
}

static int do_winsize(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct winsize size;
  if (ioctl(0, TIOCGWINSZ, &size) < 0) fail_with(errno);
  printf("%d %d\n", size.ws_col, size.ws_row);
  return 0;
}

static void say_resized(int caught) {
  (void)caught;
  struct winsize size;
  if (ioctl(0, TIOCGWINSZ, &size) == 0) dprintf(1, "%d %d\n", size.ws_col, size.ws_row);
  _exit(0);
}

static int do_await_resize(int argc, char **argv) {
  (void)argc;
  (void)argv;
  signal(SIGWINCH, say_resized);
  write_all(1, "ready\n", 6);
  for (;;) pause();
}

static int do_interfaces(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct if_nameindex *all = if_nameindex();
  if (all == NULL) fail_with(errno);
  int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (struct if_nameindex *at = all; at->if_index != 0; at++) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", at->if_name);
    bool up = ioctl(probe, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
    printf("%s %s\n", at->if_name, up ? "up" : "down");
  }
  return 0;
}

// Connects to 127.0.0.1:PORT.
static int do_connect(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argument(argc, argv, 2)))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail_with(errno);
  printf("connected\n");
  return 0;
}

// Connects to the abstract unix socket NAME.
static int do_connect_abstract(int argc, char **argv) {
  const char *name = argument(argc, argv, 2);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(name) > sizeof address.sun_path - 1) usage("the name is too long");
  memcpy(address.sun_path + 1, name, strlen(name));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, size) < 0) fail_with(errno);
  printf("connected\n");
  return 0;
}

// Listens on loopback and connects to itself.
static int do_loopback(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) < 0 || connect(client, (struct sockaddr *)&address, size) < 0)
    fail_with(errno);
  printf("connected\n");
  return 0;
}

// Numbers in /proc: the processes that can be seen.
static int do_pids(int argc, char **argv) {
  (void)argc;
  (void)argv;
  DIR *proc = opendir("/proc");
  if (proc == NULL) fail_with(errno);
  for (struct dirent *entry = readdir(proc); entry != NULL; entry = readdir(proc))
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') printf("%s\n", entry->d_name);
  closedir(proc);
  return 0;
}

static int do_kill(int argc, char **argv) {
  if (kill((pid_t)number(argument(argc, argv, 2)), (int)number(argument(argc, argv, 3))) < 0) fail_with(errno);
  printf("sent\n");
  return 0;
}

static int do_read(int argc, char **argv) {
  int fd = open(argument(argc, argv, 2), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_with(errno);
  static char chunk[CHUNK_BYTES];
  for (;;) {
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0) fail_with(errno);
    if (got == 0) return 0;
    write_all(1, chunk, (size_t)got);
  }
}

// Creates or replaces a file.
static int do_write(int argc, char **argv) {
  const char *text = argument(argc, argv, 3);
  int fd = open(argument(argc, argv, 2), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail_with(errno);
  if (write(fd, text, strlen(text)) < 0) fail_with(errno);
  printf("written\n");
  return 0;
}

// Writes BYTES zeros to a file; says how many went before an error.
static int do_fill(int argc, char **argv) {
  if (argc > 4) signal(SIGXFSZ, SIG_IGN);
  int fd = open(argument(argc, argv, 2), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) fail_with(errno);
  long long left = number(argument(argc, argv, 3));
  long long done = 0;
  static char chunk[4096];
  while (done < left) {
    size_t size = left - done < (long long)sizeof chunk ? (size_t)(left - done) : sizeof chunk;
    ssize_t written = write(fd, chunk, size);
    if (written < 0) {
      printf("%lld ", done);
      fail_with(errno);
    }
    done += written;
  }
  printf("%lld\n", done);
  return 0;
}

// Writes BYTES zeros to A, then to B, in one command; says how many went into each before an error.
static int do_fill_both(int argc, char **argv) {
  long long wanted = number(argument(argc, argv, 4));
  static char chunk[4096];
  for (int i = 2; i < 4; i++) {
    int fd = open(argument(argc, argv, i), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) fail_with(errno);
    long long done = 0;
    while (done < wanted && write(fd, chunk, sizeof chunk) == (ssize_t)sizeof chunk) done += (long long)sizeof chunk;
    printf("%lld\n", done);
  }
  return 0;
}

static int do_stat(int argc, char **argv) {
  struct stat status;
  if (lstat(argument(argc, argv, 2), &status) < 0) fail_with(errno);
  const char *kind = S_ISDIR(status.st_mode) ? "directory" : S_ISREG(status.st_mode) ? "file" : S_ISLNK(status.st_mode) ? "symlink" : "other";
  printf("%s %04o %u %u\n", kind, (unsigned)status.st_mode & 07777, status.st_uid, status.st_gid);
  return 0;
}

static int do_readlink(int argc, char **argv) {
  char target[4096];
  ssize_t size = readlink(argument(argc, argv, 2), target, sizeof target - 1);
  if (size < 0) fail_with(errno);
  target[size] = '\0';
  printf("%s\n", target);
  return 0;
}

static int do_mkdir(int argc, char **argv) {
  if (mkdir(argument(argc, argv, 2), 0777) < 0) fail_with(errno);
  printf("made\n");
  return 0;
}

static int do_unlink(int argc, char **argv) {
  if (unlink(argument(argc, argv, 2)) < 0) fail_with(errno);
  printf("removed\n");
  return 0;
}

static int do_chown(int argc, char **argv) {
  if (chown(argument(argc, argv, 2), (uid_t)number(argument(argc, argv, 3)), (gid_t)-1) < 0) fail_with(errno);
  printf("changed\n");
  return 0;
}

static int do_remount(int argc, char **argv) {
  // MS_REMOUNT | MS_BIND
  if (syscall(SYS_mount, "none", argument(argc, argv, 2), NULL, 32UL | 4096UL, NULL) < 0) fail_with(errno);
  printf("remounted\n");
  return 0;
}

// Opens descriptors until it fails: how many there are then, the standard three counted.
static int do_open_files(int argc, char **argv) {
  (void)argc;
  (void)argv;
  int highest = 2;
  for (;;) {
    int fd = dup(0);
    if (fd < 0) {
      printf("%d ", highest + 1);
      fail_with(errno);
    }
    highest = fd;
  }
}

static size_t __attribute__((noinline)) use_stack(size_t bytes) {
  volatile char frame[4096];
  for (size_t i = 0; i < sizeof frame; i += 512) frame[i] = (char)i;
  size_t rest = bytes <= sizeof frame ? 0 : use_stack(bytes - sizeof frame);
  return rest + (size_t)frame[0] + 1;
}

static int do_stack(int argc, char **argv) {
  printf("%zu\n", use_stack((size_t)number(argument(argc, argv, 2))));
  return 0;
}

static int do_abort(int argc, char **argv) {
  (void)argc;
  (void)argv;
  abort();
}

static int do_unshare(int argc, char **argv) {
  (void)argc;
  (void)argv;
  if (unshare(CLONE_NEWUSER) < 0) fail_with(errno);
  printf("unshared\n");
  return 0;
}

// A system call by its number, with six zeros: what does it say?
static int do_syscall(int argc, char **argv) {
  long result = syscall(number(argument(argc, argv, 2)), 0, 0, 0, 0, 0, 0);
  if (result < 0) fail_with(errno);
  printf("%ld\n", result);
  return 0;
}

// Of another process: no processor time at all, so that the kernel kills it.
static int do_bound(int argc, char **argv) {
  struct rlimit none = {0, 0};
  if (prlimit((pid_t)number(argument(argc, argv, 2)), RLIMIT_CPU, &none, NULL) < 0) fail_with(errno);
  printf("bounded\n");
  return 0;
}

// Says "ready", closes its output, and goes on for a while: the end of the output is not the end of the command.
static int do_close_output(int argc, char **argv) {
  long long milliseconds = number(argument(argc, argv, 2));
  write_all(1, "ready\n", 6);
  close(1);
  close(2);
  sleep_ms(milliseconds);
  return 3;
}

static void say(const char *what, bool done) { printf("%s %s\n", what, done ? "ok" : errno_name(errno)); }

static bool is_there(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

// PATH of the host, by all that leads out of a directory that is only a root by chroot(2): going up, and a second chroot.
static int do_leave(int argc, char **argv) {
  char above[4096] = "";
  for (int i = 0; i < 64; i++) strcat(above, "../");
  strncat(above, argument(argc, argv, 2) + 1, sizeof above - strlen(above) - 1);
  say("up", is_there(above));
  int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mkdir("/below", 0777) < 0 && errno != EEXIST) fail_with(errno);
  say("chroot", chroot("/below") == 0);
  for (int i = 0; i < 64 && fchdir(top) == 0; i++)
    if (chdir("..") < 0) fail_with(errno);
  say("again", chroot(".") == 0);
  say("then", is_there(argv[2]));
  return 0;
}

// What a process can do with another of the same user that it may trace.
static int do_reach(int argc, char **argv) {
  pid_t pid = (pid_t)number(argument(argc, argv, 2));
  bool attached = syscall(SYS_ptrace, 16, pid, 0, 0) == 0;  // PTRACE_ATTACH
  say("attach", attached);
  if (attached) (void)(waitpid(pid, NULL, __WALL) + syscall(SYS_ptrace, 17, pid, 0, 0));
  // Where the guest is, so is the other one.
  char buffer[8];
  struct iovec here = {.iov_base = buffer, .iov_len = sizeof buffer}, there = {.iov_base = (void *)(uintptr_t)do_leave, .iov_len = sizeof buffer};
  say("read", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == (long)sizeof buffer);
  int handle = (int)syscall(434, pid, 0);  // pidfd_open
  say("descriptor", syscall(438, handle, 0, 0) >= 0);  // pidfd_getfd
  say("compare", syscall(SYS_kcmp, getpid(), pid, 0, 0, 0) >= 0);
  return 0;
}

static const struct verb {
  const char *name;
  int (*run)(int argc, char **argv);
} verbs[] = {
    {"exit", do_exit},
    {"signal", do_signal},
    {"flood", do_flood},
    {"bytewise", do_bytewise},
    {"interleave", do_interleave},
    {"cat", do_cat},
    {"echo", do_echo},
    {"fds", do_fds},
    {"env", do_env},
    {"ids", do_ids},
    {"umask", do_umask},
    {"cwd", do_cwd},
    {"hostname", do_hostname},
    {"caps", do_caps},
    {"state", do_state},
    {"rlimit", do_rlimit},
    {"spin", do_spin},
    {"spin-on", do_spin_on},
    {"sleep", do_sleep},
    {"touch", do_touch},
    {"touch-on", do_touch_on},
    {"touch-shared-on", do_touch_shared_on},
    {"touch-then-fork", do_touch_then_fork},
    {"reserve", do_reserve},
    {"labour", do_labour},
    {"stubborn", do_stubborn},
    {"orderly", do_orderly},
    {"daemon", do_daemon},
    {"daemon-spin", do_daemon_spin},
    {"fork-bomb", do_fork_bomb},
    {"brief", do_brief},
    {"storm", do_storm},
    {"fork-sleep", do_fork_sleep},
    {"zombies", do_zombies},
    {"chase", do_chase},
    {"threads", do_threads},
    {"vforks", do_vforks},
    {"isatty", do_isatty},
    {"winsize", do_winsize},
    {"await-resize", do_await_resize},
    {"interfaces", do_interfaces},
    {"connect", do_connect},
    {"connect-abstract", do_connect_abstract},
    {"loopback", do_loopback},
    {"pids", do_pids},
    {"kill", do_kill},
    {"read", do_read},
    {"write", do_write},
    {"fill", do_fill},
    {"fill-both", do_fill_both},
    {"stat", do_stat},
    {"readlink", do_readlink},
    {"mkdir", do_mkdir},
    {"unlink", do_unlink},
    {"chown", do_chown},
    {"remount", do_remount},
    {"open-files", do_open_files},
    {"stack", do_stack},
    {"abort", do_abort},
    {"unshare", do_unshare},
    {"leave", do_leave},
    {"reach", do_reach},
    {"syscall", do_syscall},
    {"bound", do_bound},
    {"close-output", do_close_output},
};

int main(int argc, char **argv) {
  const char *name = argument(argc, argv, 1);
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strcmp(verbs[i].name, name) == 0) return verbs[i].run(argc, argv);
  usage("no such verb");
}
