#include "scheduling.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys.h"

#define SBX_SCHED_DEADLINE 6
#define SBX_SCHED_RESET_ON_FORK 0x40000000L

// Nobody's sandbox gets a better class than the default; a worse one, which the caller chose, stays. The calls are made by number, because
// those of musl always fail with ENOSYS.
static const char *reset_class(void) {
  long class = syscall(SYS_sched_getscheduler, 0);
  if (class < 0) return "sched_getscheduler";
  class &= ~SBX_SCHED_RESET_ON_FORK;
  int priority = 0;
  bool better = class == SCHED_FIFO || class == SCHED_RR || class == SBX_SCHED_DEADLINE;
  if (better && syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &priority) < 0) return "sched_setscheduler";
  errno = 0;
  int nice_value = getpriority(PRIO_PROCESS, 0);
  if (errno != 0) return "getpriority";
  if (nice_value < 0 && setpriority(PRIO_PROCESS, 0, 0) < 0) return "setpriority";
  long io_class = syscall(SYS_ioprio_get, SBX_IOPRIO_WHO_PROCESS, 0) >> SBX_IOPRIO_CLASS_SHIFT;
  if (io_class == SBX_IOPRIO_CLASS_RT && syscall(SYS_ioprio_set, SBX_IOPRIO_WHO_PROCESS, 0, 0) < 0) return "ioprio_set";
  return NULL;
}

// A caller that the OOM killer is to spare does not pass that on.
static const char *reset_oom_score(void) {
  int file = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  if (file < 0) return errno == ENOENT ? NULL : "open(oom_score_adj)";
  char text[16] = "";
  ssize_t got = read(file, text, sizeof text - 1);
  const char *failed = got < 0 ? "read(oom_score_adj)" : NULL;
  if (failed == NULL && text[0] == '-' && pwrite(file, "0", 1, 0) != 1) failed = "write(oom_score_adj)";
  (void)close(file);
  return failed;
}

const char *scheduling_reset(void) {
  const char *failed = reset_class();
  return failed == NULL ? reset_oom_score() : failed;
}
