// `launcher serve`: a process that starts sandboxes for one caller, without the caller's having to fork.
#ifndef SANDBOXLIB_SERVE_H
#define SANDBOXLIB_SERVE_H

#include <stddef.h>

#define SERVE_LANES_MAX 256u

// Serves the lanes, sockets with descriptors from `first` on, until the caller has closed them all. `run` performs the plan that waits on a lane, in a
// process of its own, and returns that process's exit status: 0 where the lane has had the last word of the run. Returns an exit status.
int serve(int first, size_t count, int (*run)(int lane));

#endif
