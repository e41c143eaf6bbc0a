// What a privileged caller is favoured with and a sandbox is not.
#ifndef SANDBOXLIB_SCHEDULING_H
#define SANDBOXLIB_SCHEDULING_H

// This process, and with it what it starts, is favoured over nobody: by its scheduling class, its nice value, its I/O class, or the OOM killer
// (sched(7), ioprio_set(2), proc_pid_oom_score_adj(5)). NULL, or the call that failed, with errno.
const char *scheduling_reset(void);

#endif
