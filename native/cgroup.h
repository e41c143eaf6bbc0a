// Control groups around one sandbox (cgroups(7)): one directory in each tree that the plan names, made before init, removed after its end. All of
// this is the supervisor's.
#ifndef SANDBOXLIB_CGROUP_H
#define SANDBOXLIB_CGROUP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "plan.h"
#include "report.h"
#include "status.h"

#define CGROUP_POLL_MAX (2 * PLAN_CGROUPS_MAX)

// Makes them and sets their bounds; false fills `failure` in, and what was made until then goes with cgroups_remove().
bool cgroups_make(const struct plan *plan, struct failure *failure);
// Puts a process into each, with all that it will start.
bool cgroups_join(pid_t process, struct failure *failure);
// What tells of a bound that was met; returns how many entries it filled in.
size_t cgroups_poll(struct pollfd *entries);
// Whether nothing may tell of some bound: then cgroups_met() has to be asked from time to time.
bool cgroups_need_asking(void);
// After ppoll(2), with those entries: whether to ask cgroups_met().
bool cgroups_told(const struct pollfd *entries, size_t count);
// The process that waits to clean up after us; 0: none. It is a child, and none of the sandbox.
pid_t cgroups_keeper(void);
// In a child of the supervisor: holds nothing of them any more.
void cgroups_forget(void);
// The kernel's own count says which bound was met; CAUSE_COMMAND: none.
enum end_cause cgroups_met(void);
// Processor time of everything that was ever inside, in microseconds; false where no tree counts it.
bool cgroups_processor_time(int64_t *user_us, int64_t *system_us);
// -1 for what this kernel does not tell.
int64_t cgroups_memory_peak(void);
int64_t cgroups_pids_peak(void);
// When everything inside has ended, or is to end now.
void cgroups_remove(void);

// probe.c: whether a cgroup can be made below `parent`, bounded by `file`, joined by a child and removed. NULL, or the call that failed, with errno.
const char *cgroup_try(const char *parent, const char *file, const char *value);

#endif
