// A STAND-IN, written for these tests from the documentation of linux-user-chroot(8), which no distribution has any more. It takes that command line and
// nothing beside it, and does what is documented, as root; the real one is set-user-ID, looks every path up as its caller, and is still to be tried.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOUNTS_MAX 1024

enum kind { MOUNT_PROC, MOUNT_READONLY, MOUNT_BIND };

static struct {
  enum kind kind;
  const char *source, *destination;
} mounts[MOUNTS_MAX];
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

static const char *inside(int argc, char **argv, int *at) {
  const char *path = word(argc, argv, at);
  if (path[0] != '/') die("not an absolute path:", path);
  return path;
}

static void add(enum kind kind, const char *source, const char *destination) {
  if (mount_count == MOUNTS_MAX) die("too many mounts:", destination);
  mounts[mount_count].kind = kind;
  mounts[mount_count].source = source;
  mounts[mount_count++].destination = destination;
}

// Options end at the first word that is none; an option that is not documented ends everything.
static int read_options(int argc, char **argv) {
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    const char *option = argv[at];
    if (strcmp(option, "--unshare-ipc") == 0) namespaces |= CLONE_NEWIPC;
    else if (strcmp(option, "--unshare-pid") == 0) namespaces |= CLONE_NEWPID;
    else if (strcmp(option, "--unshare-net") == 0) namespaces |= CLONE_NEWNET;
    else if (strcmp(option, "--mount-proc") == 0) add(MOUNT_PROC, "proc", inside(argc, argv, &at));
    else if (strcmp(option, "--mount-readonly") == 0) add(MOUNT_READONLY, NULL, inside(argc, argv, &at));
    else if (strcmp(option, "--mount-bind") == 0) {
      const char *source = inside(argc, argv, &at);
      add(MOUNT_BIND, source, inside(argc, argv, &at));
    } else if (strcmp(option, "--seccomp-profile-version") == 0) {
      if (strcmp(word(argc, argv, &at), "-1") != 0) die("profiles are not part of the stand-in:", option);
    } else if (strcmp(option, "--chdir") == 0) directory = inside(argc, argv, &at);
    else die("unknown option", option);
  }
  return at;
}

static void make_mounts(const char *root) {
  static char path[8192];
  if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) die("private", "/");
  if (mount(root, root, NULL, MS_BIND, NULL) < 0 || mount(NULL, root, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID, NULL) < 0) die("bind", root);
  for (size_t i = 0; i < mount_count; i++) {
    int length = snprintf(path, sizeof path, "%s%s", root, mounts[i].destination);
    if (length < 0 || (size_t)length >= sizeof path) die("too long:", mounts[i].destination);
    switch (mounts[i].kind) {
      case MOUNT_PROC:
        if (mount("proc", path, "proc", MS_NOSUID, NULL) < 0) die("proc", path);
        break;
      case MOUNT_READONLY:
        if (mount(path, path, NULL, MS_BIND, NULL) < 0 || mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) < 0) die("read-only", path);
        break;
      case MOUNT_BIND:
        if (mount(mounts[i].source, path, NULL, MS_BIND, NULL) < 0 || mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID, NULL) < 0) die(mounts[i].source, path);
        break;
    }
  }
}

static _Noreturn void enter(const char *root, char **command) {
  make_mounts(root);
  if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir(directory) < 0) die("enter", root);
  if (setgid(getgid()) < 0 || setuid(getuid()) < 0) die("become", "the caller");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) die("prctl", "PR_SET_NO_NEW_PRIVS");
  execv(command[0], command);
  die("execute", command[0]);
}

int main(int argc, char **argv) {
  int at = read_options(argc, argv);
  if (at + 2 > argc) die("usage:", "ROOTDIR PROGRAM [ARGS...]");
  pid_t child = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
  if (child < 0) die("clone", argv[at]);
  if (child == 0) enter(argv[at], argv + at + 1);
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) die("wait for", argv[at]);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
