// The namespaces of a pod, held open by the supervisor of the sandbox that made them. Whoever starts another sandbox in them opens them again by way of
// this process's descriptors (/proc/PID/fd), which it knows to live because it is its child: a number of a process inside could be another's by then.
#include "hold.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char *const names[PLAN_POD_NAMESPACES] = {
    [PLAN_POD_USER] = "user", [PLAN_POD_PID] = "pid", [PLAN_POD_NETWORK] = "net",
    [PLAN_POD_IPC] = "ipc",   [PLAN_POD_UTS] = "uts", [PLAN_POD_CGROUP] = "cgroup",
};

static int held[PLAN_POD_NAMESPACES];
static bool holds;

// Before init gives up being dumpable, from where on its files in /proc are closed to an ordinary user.
bool hold_namespaces(pid_t init) {
  for (int i = 0; i < PLAN_POD_NAMESPACES; i++) {
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)init, names[i]);
    held[i] = open(path, O_RDONLY | O_CLOEXEC);
    if (held[i] < 0) return false;
  }
  holds = true;
  return true;
}

const int *hold_held(void) { return holds ? held : NULL; }

_Noreturn void hold_pause(void) {
  for (;;) (void)pause();
}
