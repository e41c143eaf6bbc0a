// Bounds on a sandbox as a whole where there are no control groups: what its processes take is looked at from time to time, by the supervisor, through
// the proc of the sandbox's own pid namespace. Everything it says is a lower bound of what was really taken, so that nobody is ended who did not meet
// the bound; what comes and goes between two looks it may miss.
#ifndef SANDBOXLIB_SAMPLING_H
#define SANDBOXLIB_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "status.h"

// In init: opens the proc of the pid namespace that it is pid 1 of; -1 with errno, ENOTSUP where /proc is none.
int sampling_open_proc(void);

// In the supervisor. Takes `proc` over; the first look is due at once.
bool sampling_start(const struct plan *plan, int proc);
void sampling_stop(void);
// When to look again; 0: never.
int64_t sampling_next_ns(void);
// Does a bounded part of the work. NULL, or the call that failed, with errno; `*met` is CAUSE_COMMAND where no bound was met.
const char *sampling_step(enum end_cause *met);

#endif
