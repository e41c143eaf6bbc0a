// One sandbox, from plan to end: what the launcher's three processes share. Filled in by the supervisor before it makes init, and only read
// after that.
#ifndef SANDBOXLIB_RUN_H
#define SANDBOXLIB_RUN_H

#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"
#include "report.h"

struct compiled;

struct run {
  struct plan plan;
  // Ends that stay with the supervisor: -1 where there is none.
  int channel_fd;
  int status_fd;
  // What the command gets as 0, 1 and 2 (not used on a terminal), and our ends where these are pipes of our own.
  int standard[3];
  int input_fd;
  int output_fd;
  int error_fd;
  // NULL-terminated, pointing into the plan.
  char **arguments;
  char **environment;
  struct call *call;  // where the arguments come later; NULL else
  // Size of a terminal to be, resolved by the supervisor.
  unsigned short columns, rows;
  // Where a tool makes the sandbox (tool.c), -1 else: the end of the socket that our init inside will hold, and where the tool's own words go.
  int inside_fd;
  int complaints_fd;
  char **tool_arguments;
  char **tool_environment;
  // Inside of a tool: what the descriptors of the plan's records became here, in their order. NULL: they still have their numbers.
  const int *given;
  // Of a plan that this program carries (compiled.h), NULL else: where the command starts in place of the plan's directory, or NULL.
  const struct compiled *compiled;
  const char *directory;
};

// supervisor.c: returns the launcher's exit status.
int supervise(struct run *run);

// init.c: pid 1 of the sandbox; `socket_fd` leads to the supervisor. With a tool, the process that becomes the tool.
_Noreturn void init_main(const struct run *run, int socket_fd);
// The same inside of what a tool made, after inside.c got the plan.
_Noreturn void init_inside(const struct run *run, int socket_fd);

// vectors.c: fills in what execve(2) gets, for the command and for a tool; false where there is no memory. Before any clone.
bool vectors_prepare(struct run *run);

// inside.c: what the tool starts in the sandbox; returns only what to exit with.
int inside_main(int socket_fd);

// tool.c: what the tool shall find open, and the tool itself.
void tool_open_source(struct record *record);
void tool_open_content(struct record *record);
_Noreturn void tool_execute(const struct run *run, const struct record *record, int socket_fd);
// In the supervisor: the plan and the command's descriptors for init inside, and where it waits to be put into control groups (-1: nowhere); NULL, or
// the call that failed.
const char *tool_send_plan(const struct run *run, int socket_fd, int gate);

// command.c: from the clone to the exec. `init` is the parent, by its pid where that is; `terminal` is the slave side, or -1.
_Noreturn void command_main(const struct run *run, int socket_fd, pid_t init, int terminal);

// userns.c: writes one id map of the process; false fills `failure` in.
bool map_ids(struct record *record, pid_t pid, struct failure *failure);
// Inside of a tool: a user namespace of our own, in which the one id that this process has is called otherwise.
void userns_rename(struct record *record);
// Puts this process into a user namespace of its own, where the caller is uid 0 and gid 0 and nobody else exists; false fills `failure` in.
bool userns_enter(const struct record *record, struct failure *failure);

// descriptors.c
// Marks every descriptor from `first` on close-on-exec, whatever this process inherited; false with errno.
bool descriptors_close_on_exec(unsigned first);
// Closes every descriptor from 3 on but those of the ascending list; false with errno.
bool descriptors_close_except(const int *kept, size_t count);
// Makes each from[i] the descriptor to[i], close-on-exec or not as dup2(2) leaves it, and closes every other from 3 on but `*kept`, which moves out
// of the way. False with errno.
bool descriptors_arrange(int *from, const int *to, size_t count, int *kept);

#endif
