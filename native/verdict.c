#include "verdict.h"

#include <signal.h>
#include <sys/wait.h>

#include "cgroup.h"

#define EXIT_LIMIT 124
#define EXIT_SANDBOX_FAILED 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

int verdict_status_of_failure(const struct failure *failure) {
  if (failure->step != STEP_EXEC) return EXIT_SANDBOX_FAILED;
  bool absent = failure->reason == EXEC_NOT_FOUND || failure->reason == EXEC_MISSING_INTERPRETER;
  return absent ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

int verdict_status_of_ending(const struct ending *ending, bool is_compiled) {
  if (limit_name(ending->cause) != NULL) return EXIT_LIMIT;
  // As run-sandbox has it: who asked for the end is told that it came.
  if (is_compiled && ending->cause == CAUSE_SIGNALLED) return 128 + ending->by;
  if (ending->exited && WIFEXITED(ending->wait_status)) return WEXITSTATUS(ending->wait_status);
  if (ending->exited) return 128 + WTERMSIG(ending->wait_status);
  return 128 + (ending->cause == CAUSE_SIGNALLED ? ending->by : SIGKILL);
}

// The kernel's counts decide, also where the command ended before anybody looked.
void verdict_judge(const struct plan *plan, bool started, int64_t command_us, struct ending *ending) {
  ending->memory_peak = cgroups_memory_peak();
  ending->pids_peak = cgroups_pids_peak();
  int64_t user_us, system_us;
  bool counted = cgroups_processor_time(&user_us, &system_us);
  if (counted) ending->user_us = user_us, ending->system_us = system_us;
  if (!started || ending->cause != CAUSE_COMMAND) return;
  ending->cause = cgroups_met();
  uint64_t bound = plan->cpu_milliseconds;
  if (ending->cause == CAUSE_COMMAND && counted && bound > 0 && user_us + system_us >= (int64_t)bound * 1000) ending->cause = CAUSE_CPU;
  uint64_t sampled = plan->sampled_cpu_milliseconds;
  // More than the bound was written, whether the command was still there to be ended for it or not.
  if (ending->cause == CAUSE_COMMAND && (ending->output_truncated || ending->error_truncated)) ending->cause = CAUSE_OUTPUT;
  if (ending->cause == CAUSE_COMMAND && sampled > 0 && command_us >= (int64_t)sampled * 1000) ending->cause = CAUSE_CPU;
}
