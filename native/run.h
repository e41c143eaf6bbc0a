// One sandbox, from plan to end: what the launcher's three processes share. Filled in by the supervisor before it makes init, and only read
// after that.
#ifndef SANDBOXLIB_RUN_H
#define SANDBOXLIB_RUN_H

#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"
#include "report.h"

struct run {
  struct plan plan;
  // Ends that stay with the supervisor: -1 where there is none.
  int channel_fd;
  int status_fd;
  // What the command gets as 0, 1 and 2 (not used on a terminal), and the ends that the supervisor reads when it counts output.
  int standard[3];
  int output_fd;
  int error_fd;
  // NULL-terminated, pointing into the plan.
  char **arguments;
  char **environment;
  // Size of a terminal to be, resolved by the supervisor.
  unsigned short columns, rows;
};

// supervisor.c: returns the launcher's exit status.
int supervise(struct run *run);

// init.c: pid 1 of the sandbox; `socket_fd` leads to the supervisor.
_Noreturn void init_main(const struct run *run, int socket_fd);

// command.c: from the clone to the exec. `terminal` is the slave side, or -1.
_Noreturn void command_main(const struct run *run, int socket_fd, int terminal);

// userns.c: writes one id map of the process; false fills `failure` in.
bool map_ids(struct record *record, pid_t pid, struct failure *failure);
// Puts this process into a user namespace of its own, where the caller is uid 0 and gid 0 and nobody else exists; false fills `failure` in.
bool userns_enter(const struct record *record, struct failure *failure);

// descriptors.c
// Marks every descriptor from `first` on close-on-exec, whatever this process inherited; false with errno.
bool descriptors_close_on_exec(unsigned first);
// Closes every descriptor from 3 on but those of the ascending list; false with errno.
bool descriptors_close_except(const int *kept, size_t count);

#endif
