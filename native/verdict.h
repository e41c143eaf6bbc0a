// What an end comes to: which bound was met, and the exit status that says it to a shell.
#ifndef SANDBOXLIB_VERDICT_H
#define SANDBOXLIB_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "report.h"
#include "status.h"

// Fills in what the control groups counted, and the bound that the end is the end by, where nothing else was its cause. `command_us`: processor time of the
// command and its children, microseconds, as init knows it.
void verdict_judge(const struct plan *plan, bool started, int64_t command_us, struct ending *ending);
int verdict_status_of_failure(const struct failure *failure);
// `is_compiled`: as run-sandbox has it, and not as a launcher with a library beside it.
int verdict_status_of_ending(const struct ending *ending, bool is_compiled);

#endif
