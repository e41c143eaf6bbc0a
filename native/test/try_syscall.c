// Installs a seccomp filter on itself, then does one thing and says what came of it. Part of the tests, not of the package.
//
//   try_syscall FILTER native|x32|i386 NUMBER [ARGUMENT...]   the result, or "errno 38" and so on
//   try_syscall FILTER retrace NUMBER [ARGUMENT]              the same, but of a child's getppid that a tracer turns into NUMBER
//   try_syscall FILTER threads                                starts eight threads and waits for them: "8"
//   try_syscall FILTER exec COMMAND [ARGUMENT...]             becomes COMMAND
//
// FILTER is a file of struct sock_filter entries; "-" is none.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_INSTRUCTIONS 4096
#define THREADS 8

static void die(const char *what) {
  fprintf(stderr, "try_syscall: %s: %s\n", what, strerror(errno));
  exit(99);
}

static void install(const char *path) {
  static struct sock_filter instructions[MAX_INSTRUCTIONS];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    die(path);
  ssize_t size = read(fd, instructions, sizeof instructions);
  if (size <= 0 || (size_t)size % sizeof instructions[0] != 0)
    die("reading the filter");
  close(fd);
  struct sock_fprog program = {.len = (unsigned short)((size_t)size / sizeof instructions[0]), .filter = instructions};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    die("PR_SET_NO_NEW_PRIVS");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
    die("SECCOMP_SET_MODE_FILTER");
}

static long call_i386(long number, const unsigned long a[6]) {
#if defined __x86_64__
  long result;
  // The sixth argument would be ebp; no call of the tests has one.
  __asm__ volatile("int $0x80"
       : "=a"(result)
       : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
       : "memory", "r8", "r9", "r10", "r11");
  result = (int)result;
  if (result < 0 && result >= -4095) {
    errno = (int)-result;
    return -1;
  }
  return result;
#else
  (void)number;
  (void)a;
  fprintf(stderr, "try_syscall: no i386 calls on this machine\n");
  exit(99);
#endif
}

static void *count(void *counter) {
  __atomic_fetch_add((int *)counter, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static int start_threads(void) {
  pthread_t threads[THREADS];
  int started = 0;
  for (int i = 0; i < THREADS; i++) {
    errno = pthread_create(&threads[i], NULL, count, &started);
    if (errno != 0)
      die("pthread_create");
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  printf("%d\n", started);
  return 0;
}

static void report(long result) {
  if (result == -1)
    printf("errno %d\n", errno);
  else
    printf("%ld\n", result);
  fflush(stdout);
}

// Changes the call that `child` is about to make.
static void change_call(pid_t child, long number, unsigned long argument) {
  struct user_regs_struct registers;
  struct iovec all = {&registers, sizeof registers};
  if (ptrace(PTRACE_GETREGSET, child, (void *)NT_PRSTATUS, &all) != 0)
    die("PTRACE_GETREGSET");
#if defined __x86_64__
  registers.orig_rax = (unsigned long long)number;
  registers.rdi = argument;
#elif defined __aarch64__
  registers.regs[0] = argument;
  int call = (int)number;
  struct iovec one = {&call, sizeof call};
  if (ptrace(PTRACE_SETREGSET, child, (void *)NT_ARM_SYSTEM_CALL, &one) != 0)
    die("NT_ARM_SYSTEM_CALL");
#else
#error "which register holds the number of a system call?"
#endif
  if (ptrace(PTRACE_SETREGSET, child, (void *)NT_PRSTATUS, &all) != 0)
    die("PTRACE_SETREGSET");
}

static int retrace(long number, unsigned long argument) {
  pid_t child = fork();
  if (child < 0)
    die("fork");
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
      die("PTRACE_TRACEME");
    raise(SIGSTOP);
    errno = 0;
    report(syscall(SYS_getppid));
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
    die("waiting for the child's stop");
  // Without this option the kernel does not tell the entry of a call from a signal.
  if (ptrace(PTRACE_SETOPTIONS, child, 0, (void *)PTRACE_O_TRACESYSGOOD) != 0)
    die("PTRACE_O_TRACESYSGOOD");
  // The end of raise, then whatever there is before getppid.
  for (;;) {
    if (ptrace(PTRACE_SYSCALL, child, 0, 0) != 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
      die("PTRACE_SYSCALL");
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info) <= 0)
      die("PTRACE_GET_SYSCALL_INFO");
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_getppid)
      break;
  }
  change_call(child, number, argument);
  if (ptrace(PTRACE_CONT, child, 0, 0) != 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
    die("PTRACE_CONT");
  return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: try_syscall FILTER native|x32|i386|retrace|threads|exec ...\n");
    return 99;
  }
  if (strcmp(argv[1], "-") != 0)
    install(argv[1]);
  const char *verb = argv[2];
  if (strcmp(verb, "threads") == 0)
    return start_threads();
  if (argc < 4) {
    fprintf(stderr, "try_syscall: %s what?\n", verb);
    return 99;
  }
  if (strcmp(verb, "exec") == 0) {
    execvp(argv[3], argv + 3);
    die(argv[3]);
  }
  long number = strtol(argv[3], NULL, 0);
  unsigned long a[6] = {0};
  for (int i = 0; i < 6 && i + 4 < argc; i++)
    a[i] = strtoul(argv[i + 4], NULL, 0);
  if (strcmp(verb, "retrace") == 0)
    return retrace(number, a[0]);
  long result;
  errno = 0;
  if (strcmp(verb, "i386") == 0)
    result = call_i386(number, a);
  else
    result = syscall(strcmp(verb, "x32") == 0 ? number + 0x40000000L : number, a[0], a[1], a[2], a[3], a[4], a[5]);
  report(result);
  return 0;
}
