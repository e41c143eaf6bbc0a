// Trials of what bounds a sandbox as a whole without control groups (sampling.c).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define RESOURCE_PROCESSES 6  // RLIMIT_NPROC
#define PROCESSES 4
#define ROLLUP_BYTES 4096

static _Noreturn void wait_for_the_end(pid_t parent) {
  probe_end_with(parent);
  for (;;) (void)pause();
}

static pid_t fork_waiting(void) {
  pid_t self = getpid();
  pid_t child = fork();
  if (child == 0) wait_for_the_end(self);
  return child;
}

static bool end_all(const pid_t *children, unsigned count) {
  bool ended = true;
  for (unsigned i = 0; i < count; i++) {
    if (kill(children[i], SIGKILL) < 0 || waitpid(children[i], NULL, 0) != children[i]) ended = false;
  }
  return ended;
}

// In a user namespace of its own. Since Linux 5.14 the kernel counts there those who are in it (ucounts), before that all that the user has anywhere. Uid 0
// of the host is bounded nowhere (copy_process() in kernel/fork.c).
bool probe_process_limit(struct probe_result *result) {
  struct sbx_rlimit limit = {.soft = PROCESSES, .hard = PROCESSES};
  if (sys_prlimit(RESOURCE_PROCESSES, &limit, NULL) < 0) return probe_fail(result, "prlimit", "RLIMIT_NPROC");
  pid_t children[PROCESSES];
  unsigned count = 0;
  while (count < PROCESSES && (children[count] = fork_waiting()) > 0) count++;
  int error = errno;
  if (!end_all(children, count)) return probe_fail(result, "waitpid", "lost a child");
  // One of them is this process.
  if (count == PROCESSES - 1 && error == EAGAIN) return probe_pass(result, "RLIMIT_NPROC counts in a user namespace by itself");
  errno = count == PROCESSES ? 0 : error;
  if (count == PROCESSES) return probe_fail(result, "fork", "RLIMIT_NPROC does not bind this user");
  return probe_fail(result, "fork", "RLIMIT_NPROC counts beyond the user namespace (Linux 5.14)");
}

static bool read_shares(struct probe_result *result, pid_t child) {
  char path[40];
  char text[ROLLUP_BYTES];
  (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)child);
  if (!probe_read_file(path, text, sizeof text)) return probe_fail(result, "open", "the smaps_rollup of another process");
  errno = 0;
  if (strstr(text, "\nPss_Anon:") == NULL) return probe_fail(result, "read", "no shares of anonymous memory in smaps_rollup (Linux 5.4)");
  return probe_pass(result, "with shares of anonymous memory");
}

bool probe_memory_shares(struct probe_result *result) {
  pid_t child = fork_waiting();
  if (child < 0) return probe_fail(result, "fork", "a process to look at");
  bool found = read_shares(result, child);
  return end_all(&child, 1) && found;
}
