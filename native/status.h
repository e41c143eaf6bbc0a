// Status lines for the caller, JSON on a descriptor; or, where there is none, one line for a person on stderr when the sandbox failed.
#ifndef SANDBOXLIB_STATUS_H
#define SANDBOXLIB_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "report.h"

enum end_cause { CAUSE_COMMAND = 0, CAUSE_WALL, CAUSE_OUTPUT, CAUSE_CPU, CAUSE_MEMORY, CAUSE_PIDS, CAUSE_PROCESS_CPU, CAUSE_FILE, CAUSE_TERMINATED, CAUSE_SIGNALLED };
// The limit's name in a spec; NULL where the cause is none.
const char *limit_name(enum end_cause cause);

struct ending {
  enum end_cause cause;
  int by;          // the signal of CAUSE_SIGNALLED
  bool denied;     // by its filter, which ended it:
  struct denied denied_call;
  bool exited;     // the command's own end is known, and this is it:
  int wait_status;
  bool output_truncated, error_truncated;
  bool output_pending, error_pending;  // still to be delivered, and told of when it is
  int64_t output_bytes;  // -1: not known
  int64_t wall_us, user_us, system_us;
  int64_t memory_peak, pids_peak;  // -1: not known
  bool counted;
  struct counts counts;
};

// Of `launcher unpack`, which has lines of its own.
struct unpack_counts {
  uint64_t entries, bytes;
  uint64_t owners, devices, xattrs, modes;  // that were left out
};
struct unpack_failure {
  uint64_t record;  // counted from 0
  const char *syscall, *path, *detail;
  int error;  // 0: the stream is wrong, and `detail` says how
};

// -1: no status lines.
void status_use(int descriptor);
// In place of status lines, for a launcher that a person started.
struct speaker {
  void (*failed)(const struct failure *failure);
  void (*ended)(const struct ending *ending);
};
void status_speak_by(const struct speaker *speaker);
// `held`: descriptors in the order of PLAN_POD_*, or NULL.
void status_started(pid_t init, const int *held);
// A call that the caller is to take note of, or to decide on.
void status_notified(const struct notified *notified);
void status_failed(const struct failure *failure);
void status_ended(const struct ending *ending);
// A stream that was pending: its reader has it all, or is gone.
void status_delivered(int stream);
void status_left_out(const char *what, int error, const char *path);
void status_unpacked(const struct unpack_counts *counts);
void status_unpack_failed(const struct unpack_failure *failure);

#endif
