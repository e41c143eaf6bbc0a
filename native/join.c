// Who enters a user namespace leaves its own behind, and who enters a pid namespace does it for its children alone (setns(2)). So a process between does
// both, and makes init as a child of the supervisor's, its sibling (CLONE_PARENT), which the supervisor can wait for. That process sees the host, and is
// in no pid namespace of the pod: nobody there can reach it. Init can be seen by others of the pod from its first instruction on, by processes that may
// have its uid. What keeps them from it is that it has capabilities which they have not (ptrace(2)), until it is not dumpable any more.
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

// The user namespace first: it gives the right to enter the others.
static const struct {
  int type;
  const char *call;
} joined[PLAN_POD_NAMESPACES] = {
    [PLAN_POD_USER] = {CLONE_NEWUSER, "setns(CLONE_NEWUSER)"}, [PLAN_POD_PID] = {CLONE_NEWPID, "setns(CLONE_NEWPID)"},
    [PLAN_POD_NETWORK] = {CLONE_NEWNET, "setns(CLONE_NEWNET)"}, [PLAN_POD_IPC] = {CLONE_NEWIPC, "setns(CLONE_NEWIPC)"},
    [PLAN_POD_UTS] = {CLONE_NEWUTS, "setns(CLONE_NEWUTS)"},     [PLAN_POD_CGROUP] = {CLONE_NEWCGROUP, "setns(CLONE_NEWCGROUP)"},
};

struct told {
  pid_t init;
  int error;
  int step;  // PLAN_POD_*, or PLAN_POD_NAMESPACES for the clone
};

static void close_namespaces(const struct plan *plan) {
  for (int i = 0; i < PLAN_POD_NAMESPACES; i++) (void)close(plan->join[i]);
}

static pid_t enter_and_clone(const struct plan *plan, struct told *told) {
  for (told->step = 0; told->step < PLAN_POD_NAMESPACES; told->step++) {
    // The type is checked: what is no namespace of that kind is not entered.
    if (setns(plan->join[told->step], joined[told->step].type) < 0) return -1;
  }
  return sys_clone(plan->namespaces | CLONE_PARENT);
}

static bool read_told(int from, struct told *told) {
  ssize_t got;
  do got = read(from, told, sizeof *told);
  while (got < 0 && errno == EINTR);
  if (got >= 0 && got != (ssize_t)sizeof *told) errno = ECHILD;
  return got == (ssize_t)sizeof *told;
}

pid_t join_clone(const struct plan *plan, const char **failed) {
  int ends[2];
  *failed = "pipe2";
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  *failed = "clone";
  pid_t between = sys_clone(0);
  if (between == 0) {
    struct told told = {.init = -1};
    pid_t init = enter_and_clone(plan, &told);
    if (init == 0) {
      (void)close(ends[0]);
      (void)close(ends[1]);
      close_namespaces(plan);
      return 0;
    }
    told.init = init;
    told.error = errno;
    _exit(write(ends[1], &told, sizeof told) == (ssize_t)sizeof told ? 0 : 125);
  }
  int saved = errno;
  (void)close(ends[1]);
  struct told told = {.init = -1, .error = saved};
  bool is_told = between >= 0 && read_told(ends[0], &told);
  saved = is_told ? told.error : errno;
  (void)close(ends[0]);
  while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR) continue;
  close_namespaces(plan);
  if (is_told && told.step < PLAN_POD_NAMESPACES) *failed = joined[told.step].call;
  errno = saved;
  return is_told ? told.init : -1;
}
