// `launcher serve`: a process that starts sandboxes for one caller, without the caller's having to fork.
#ifndef SANDBOXLIB_SERVE_H
#define SANDBOXLIB_SERVE_H

#include <stddef.h>

#define SERVE_LANES_MAX 256u
#define SERVE_STREAMS_MAX 256u

// Sockets whose other ends the caller has.
struct served {
  int orders_fd;  // which stream is for which lane
  int first;      // of the lanes, one after the other; the streams follow
  size_t lanes, streams;
};

// Serves the lanes until the caller has closed them all. `run` performs the plan that waits on a lane, in a process of its own, and returns that process's
// exit status: 0 where the lane has had the last word of the run. Returns an exit status.
int serve(const struct served *served, int (*run)(int lane));

#endif
