// A STAND-IN for linux-user-chroot(8), which no distribution has any more: written for our tests, and no program to install. It takes that command line
// and nothing beside it, and does the same calls in the same order, so that what the real one cannot do fails here too: sources are directories,
// looked up as the caller (setfsuid(2)); mounts are not recursive; an ordinary user's command keeps its groups. The real one is still to be tried.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 1023

enum kind { MOUNT_PROC, MOUNT_READONLY, MOUNT_BIND };

static struct {
  enum kind kind;
  const char *source, *destination;
} mounts[OPTIONS_MAX];
static size_t mount_count;
static unsigned long namespaces = CLONE_NEWNS;
static const char *directory = "/";

static _Noreturn void die(const char *what, const char *path) {
  fprintf(stderr, "linux-user-chroot (stand-in): %s %s: %s\n", what, path, errno == 0 ? "refused" : strerror(errno));
  exit(1);
}

static const char *word(int argc, char **argv, int *at) {
  if (++*at >= argc) die("a word is missing after", argv[argc - 1]);
  return argv[*at];
}

static void add(enum kind kind, const char *source, const char *destination) {
  if (destination[0] != '/') die("not an absolute path:", destination);
  mounts[mount_count].kind = kind;
  mounts[mount_count].source = source;
  mounts[mount_count++].destination = destination;
}

// Options end at the first word that is none. All count against the bound, those that mount nothing too.
static int read_options(int argc, char **argv) {
  int at = 1;
  for (int count = 0; at < argc && argv[at][0] == '-'; at++) {
    const char *option = argv[at];
    if (++count > OPTIONS_MAX) die("too many options:", option);
    if (strcmp(option, "--unshare-ipc") == 0) namespaces |= CLONE_NEWIPC | CLONE_NEWUTS;
    else if (strcmp(option, "--unshare-pid") == 0) namespaces |= CLONE_NEWPID;
    else if (strcmp(option, "--unshare-net") == 0) namespaces |= CLONE_NEWNET;
    else if (strcmp(option, "--mount-proc") == 0) add(MOUNT_PROC, NULL, word(argc, argv, &at));
    else if (strcmp(option, "--mount-readonly") == 0) add(MOUNT_READONLY, NULL, word(argc, argv, &at));
    else if (strcmp(option, "--mount-bind") == 0) {
      const char *source = word(argc, argv, &at);
      add(MOUNT_BIND, source, word(argc, argv, &at));
    } else if (strcmp(option, "--chdir") == 0) directory = word(argc, argv, &at);
    else if (strcmp(option, "--seccomp-profile-version") == 0) die("filters are no part of the stand-in:", word(argc, argv, &at));
    else die("unknown option", option);
  }
  return at;
}

static void enter_as_caller(const char *path) {
  (void)setfsuid(getuid());
  int result = chdir(path);
  int error = errno;
  (void)setfsuid(0);
  errno = error;
  if (result < 0) die("enter", path);
}

static void make_mount(size_t index, const char *root) {
  static char path[16384];
  int length = snprintf(path, sizeof path, "%s%s", root, mounts[index].destination);
  if (length < 0 || (size_t)length >= sizeof path) die("too long:", mounts[index].destination);
  switch (mounts[index].kind) {
    case MOUNT_PROC:
      if (mount("proc", path, "proc", 0, NULL) < 0) die("proc", path);
      break;
    case MOUNT_READONLY:
      if (mount(path, path, NULL, MS_BIND, NULL) < 0 || mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0) die("read-only", path);
      break;
    case MOUNT_BIND:
      enter_as_caller(mounts[index].source);
      if (mount(".", path, NULL, MS_BIND, NULL) < 0) die("bind", path);
      break;
  }
}

static void enter_root(const char *root) {
  enter_as_caller(root);
  if (mount(".", ".", NULL, MS_BIND, NULL) < 0) die("bind", root);
  if (strcmp(root, "/") == 0) return;
  if (mount(root, "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) die("move over the root:", root);
}

static _Noreturn void inside(const char *root, char **command) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) die("prctl", "PR_SET_NO_NEW_PRIVS");
  if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) die("private", "/");
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL) < 0) die("nosuid", "/");
  for (size_t i = 0; i < mount_count; i++) make_mount(i, root);
  enter_root(root);
  if (setgid(getgid()) < 0 || setuid(getuid()) < 0) die("become", "the caller");
  if (chdir(directory) < 0) die("chdir", directory);
  execvp(command[0], command);
  die("execute", command[0]);
}

int main(int argc, char **argv) {
  int at = read_options(argc, argv);
  if (at + 2 > argc) die("usage:", "[OPTION...] ROOTDIR PROGRAM [ARGS...]");
  pid_t child = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
  if (child < 0) die("clone", argv[at]);
  if (child == 0) inside(argv[at], argv + at + 1);
  if (setgid(getgid()) < 0 || setuid(getuid()) < 0) die("become", "the caller");
  int status;
  if (waitpid(child, &status, 0) < 0) die("wait for", argv[at]);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
