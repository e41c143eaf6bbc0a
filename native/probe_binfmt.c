// Trial of a table of formats of programs (binfmt_misc) that belongs to a user namespace: made, written to, and used from a namespace inside.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define MAGIC "sandboxlib"
#define EXIT_OF_INTERPRETER 125  // the launcher itself, told to run with a file's name as its only argument
static const char registration[] = ":probe:M:0:" MAGIC "::/proc/self/exe:F";

static uid_t outer_uid;
static gid_t outer_gid;

static bool write_text(struct probe_result *result, const char *path, const char *text, size_t length) {
  int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return probe_fail(result, "open", "%s", path);
  bool written = write(descriptor, text, length) == (ssize_t)length;
  if (!written) (void)probe_fail(result, "write", "%s", path);
  return close(descriptor) == 0 && written;
}

static bool write_map(struct probe_result *result, pid_t child, const char *name, const char *text) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
  return write_text(result, path, text, strlen(text));
}

// The table's files belong to uid 0 and gid 0 of its namespace, so the caller has to be these.
static bool map_root(struct probe_result *result, pid_t child) {
  char uids[32], gids[32];
  (void)snprintf(uids, sizeof uids, "0 %u 1", (unsigned)outer_uid);
  (void)snprintf(gids, sizeof gids, "0 %u 1", (unsigned)outer_gid);
  return write_map(result, child, "setgroups", "deny") && write_map(result, child, "uid_map", uids) && write_map(result, child, "gid_map", gids);
}

static int open_table(struct probe_result *result) {
  int context = sys_fsopen("binfmt_misc");
  if (context < 0) {
    const char *because = errno == ENODEV ? "not in this kernel, or its module is not loaded" : "no fsopen(2), which Linux has since 5.2, or filtered";
    return (void)probe_fail(result, "fsopen", "%s", because), -1;
  }
  int table = -1;
  if (sys_fsconfig_create(context) < 0) (void)probe_fail(result, "fsconfig", "not for user namespaces before Linux 6.7");
  else if ((table = sys_fsmount(context, SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV)) < 0) (void)probe_fail(result, "fsmount", "binfmt_misc");
  (void)close(context);
  return table;
}

static bool register_format(struct probe_result *result, int table) {
  int registry = openat(table, "register", O_WRONLY | O_CLOEXEC);
  if (registry < 0) return probe_fail(result, "openat", "the table cannot be written to");
  bool written = write(registry, registration, sizeof registration - 1) == (ssize_t)(sizeof registration - 1);
  if (!written) (void)probe_fail(result, "write", "a format is refused");
  return close(registry) == 0 && written;
}

static _Noreturn void run_program(void) {
  char *arguments[] = {(char *)(uintptr_t) "./program", NULL};
  char *environment[] = {NULL};
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) _exit(1);
  (void)close(STDERR_FILENO);  // the launcher will complain
  execve(arguments[0], arguments, environment);
  _exit(1);
}

// From a user namespace below, as a sandbox's may be.
static bool use_format(struct probe_result *result) {
  int program = open("program", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  if (program < 0) return probe_fail(result, "open", "a program in the scratch tmpfs");
  bool written = write(program, MAGIC "\n", sizeof MAGIC) == (ssize_t)sizeof MAGIC;
  if (close(program) < 0 || !written) return probe_fail(result, "write", "a program in the scratch tmpfs");
  pid_t child = sys_clone(CLONE_NEWUSER);
  if (child < 0) return probe_fail(result, "clone", "a user namespace inside of another");
  if (child == 0) run_program();
  int status;
  if (waitpid(child, &status, 0) != child) return probe_fail(result, "waitpid", "lost a child");
  errno = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OF_INTERPRETER) return probe_pass(result, "a table of its own, which takes effect");
  return probe_fail(result, "execve", "a registered format is not run by its interpreter");
}

static bool try_table(struct probe_result *result) {
  if (unshare(CLONE_NEWNS) < 0) return probe_fail(result, "unshare", "a mount namespace");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return probe_fail(result, "mount", "cannot make the mounts private");
  if (!probe_enter_scratch(result)) return false;
  int table = open_table(result);
  return table >= 0 && register_format(result, table) && use_format(result);
}

bool probe_binfmt(struct probe_result *result) {
  outer_uid = geteuid();
  outer_gid = getegid();
  return probe_in_user_namespace(result, map_root, try_table);
}
