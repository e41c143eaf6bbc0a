// stdin, stdout and stderr of the command where they pass through the supervisor: as pipes of its own, or as the sandbox's terminal.
#ifndef SANDBOXLIB_STREAMS_H
#define SANDBOXLIB_STREAMS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "run.h"
#include "status.h"

#define STREAMS_POLL_MAX 4

// Makes the pipes that the plan asks for: the command's ends are run->standard. NULL, or the call that failed.
const char *streams_prepare(struct run *run);
// Input that comes when everything else is there, of at most PLAN_INPUT_MAX bytes: the command's end of its pipe. NULL, or the call that failed.
const char *streams_take_input(const uint8_t *bytes, size_t length, int *command_end);
// Begins to pass bytes on, where there are pipes; false with errno.
bool streams_open(void);
// The same by way of the sandbox's terminal; false with errno.
bool streams_open_terminal(int master);

// What to poll for; returns how many entries, at most STREAMS_POLL_MAX.
size_t streams_poll(struct pollfd *entries);
// One round after poll. False when more output came than limits.outputBytes allows. Afterwards streams_lost() is the call by which some of what
// was to pass was lost, with its errno, or NULL.
bool streams_step(void);
const char *streams_lost(int *error);

// Every process of the sandbox is gone: what is there now is the rest.
void streams_last(void);
// Whether there is something to read that no poll tells of.
bool streams_have_rest(void);
// Whether all output is with its reader, or its reader gone.
bool streams_delivered(void);
// Whether the reader of all that is still to be delivered is the caller itself, who can hear of the end before.
bool streams_await_caller(void);
// Lets the readers of what was delivered know that it was all, before the launcher ends: who heard that it is pending is told. Nothing may be said on these
// descriptors any more.
void streams_hang_up(void);
// What the end says of the output: what is pending, and the rest as if all of it had been delivered. False when more came than limits.outputBytes allows.
bool streams_tell(struct ending *ending);

#endif
