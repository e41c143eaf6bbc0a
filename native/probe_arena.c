// Makes the namespaces in which a trial runs. Three processes: the trial's child (made by probe.c), which maps ids from outside as the
// launcher does, and the inner one, which waits for that and then runs the body.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

// Why a user namespace was refused, as far as a process can know.
static const char *why_no_user_namespace(int error) {
  char text[16];
  if (error == ENOSPC) {
    if (probe_read_file("/proc/sys/user/max_user_namespaces", text, sizeof text) && text[0] == '0')
      return "user.max_user_namespaces is 0";
    return "user.max_user_namespaces is reached, or 32 levels of user namespaces";
  }
  if (error == EPERM || error == EACCES) {
    if (probe_read_file("/proc/sys/kernel/unprivileged_userns_clone", text, sizeof text) && text[0] == '0')
      return "kernel.unprivileged_userns_clone is 0";
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SBX_SECCOMP_MODE_FILTER)
      return "refused, probably by the seccomp filter of the container around";
    return "refused: by a security module, or because the caller is in a chroot or has an unmapped id";
  }
  if (error == ENOSYS) return "hidden by a seccomp filter, or not in this kernel";
  if (error == EINVAL) return "not in this kernel";
  return "user namespace refused";
}

static const char *why_no_namespace(int error) {
  if (error == EPERM || error == EACCES) return "refused: needs CAP_SYS_ADMIN, or a seccomp filter is in the way";
  if (error == ENOSPC) return "the bound on such namespaces (user.max_*_namespaces) is reached";
  if (error == EINVAL) return "not in this kernel";
  return "refused";
}

static bool fail_clone(struct probe_result *result, unsigned long flags) {
  int error = errno;
  bool user = (flags & CLONE_NEWUSER) != 0;
  // The user namespace comes first in the kernel; only where it works alone are the others to blame.
  if (user && (flags & ~(unsigned long)CLONE_NEWUSER) != 0) {
    pid_t alone = sys_clone(CLONE_NEWUSER);
    if (alone == 0) _exit(0);
    user = alone < 0;
    if (alone > 0 && waitpid(alone, NULL, 0) != alone) return probe_fail(result, "waitpid", "lost a child");
  }
  const char *because = user ? why_no_user_namespace(error) : why_no_namespace(error);
  errno = error;  // looking for the reason has used it
  return probe_fail(result, "clone", "%s", because);
}

// Some emulations of Linux accept the flags and give nothing.
static bool namespace_differs(pid_t child, const char *name) {
  char path[64];
  struct stat own;
  struct stat other;
  (void)snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  if (stat(path, &own) < 0) return true;
  (void)snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)child, name);
  if (stat(path, &other) < 0) return true;
  return own.st_ino != other.st_ino || own.st_dev != other.st_dev;
}

static bool check_namespaces(struct probe_result *result, unsigned long flags, pid_t child) {
  static const struct {
    unsigned long flag;
    const char *name;
  } kinds[] = {{CLONE_NEWUSER, "user"}, {CLONE_NEWNS, "mnt"},  {CLONE_NEWPID, "pid"},       {CLONE_NEWNET, "net"},
               {CLONE_NEWIPC, "ipc"},   {CLONE_NEWUTS, "uts"}, {CLONE_NEWCGROUP, "cgroup"}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if ((flags & kinds[i].flag) == 0 || namespace_differs(child, kinds[i].name)) continue;
    errno = 0;
    return probe_fail(result, "clone", "the kernel accepted the flag and made no %s namespace", kinds[i].name);
  }
  return true;
}

static void run_inner(struct probe_result *result, const int go[2], unsigned long flags, probe_body *body) {
  char byte;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) {
    (void)probe_fail(result, "prctl", "PR_SET_PDEATHSIG");
    _exit(0);
  }
  if (close(go[1]) < 0) _exit(0);
  // End of file: the parent gave up, and has said why, or is gone.
  if (read(go[0], &byte, 1) != 1) _exit(0);
  if ((flags & CLONE_NEWNS) != 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
    (void)probe_fail(result, "mount",
                     errno == EPERM || errno == EACCES
                         ? "the namespace comes without capabilities: a security module takes them away"
                         : "cannot make the mounts private");
    _exit(0);
  }
  (void)body(result);
  _exit(0);
}

static bool run_outer(struct probe_result *result, const int go[2], unsigned long flags, pid_t child, probe_map *map) {
  bool ready = close(go[0]) == 0;
  ready = ready && ((flags & CLONE_NEWUSER) == 0 || map(result, child));
  ready = ready && check_namespaces(result, flags, child);
  if (ready && write(go[1], "", 1) != 1) ready = probe_fail(result, "write", "the child is gone");
  int closed = close(go[1]);
  int status;
  if (waitpid(child, &status, 0) != child) return probe_fail(result, "waitpid", "lost a child");
  if (closed < 0 && !result->reported) return probe_fail(result, "close", "pipe");
  if (!ready || result->reported) return result->ok;
  errno = 0;
  if (WIFSIGNALED(status)) return probe_fail(result, "signal", "ended by signal %d", WTERMSIG(status));
  return probe_fail(result, "child", "ended without a word");
}

static bool run(struct probe_result *result, unsigned long flags, probe_map *map, probe_body *body) {
  int go[2];
  if (pipe2(go, O_CLOEXEC) < 0) return probe_fail(result, "pipe2", "no descriptor");
  pid_t child = sys_clone(flags);
  if (child == 0) run_inner(result, go, flags, body);
  if (child > 0) return run_outer(result, go, flags, child, map);
  (void)fail_clone(result, flags);
  (void)close(go[0]);
  (void)close(go[1]);
  return false;
}

bool probe_in_namespaces(struct probe_result *result, unsigned long flags, probe_body *body) {
  return run(result, flags, probe_map_ids, body);
}

bool probe_in_user_namespace(struct probe_result *result, probe_map *map, probe_body *body) {
  return run(result, CLONE_NEWUSER, map, body);
}

// Any directory will do: it is covered, not written to. Covering, never removing: rmdir(2) of a mount point would reach the host.
bool probe_enter_scratch(struct probe_result *result) {
  static const char *const places[] = {"/tmp", "/run", "/mnt", "/var", "/usr", "/proc"};
  errno = ENOENT;
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    struct stat place;
    if (stat(places[i], &place) < 0 || !S_ISDIR(place.st_mode)) continue;
    if (mount("tmpfs", places[i], "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") < 0)
      return probe_fail(result, "mount", "cannot mount a tmpfs");
    if (chdir(places[i]) < 0) return probe_fail(result, "chdir", "cannot enter the fresh tmpfs");
    return true;
  }
  return probe_fail(result, "stat", "no directory to mount on");
}
