// Init in a container whose engine passes no descriptors on: how it gets its socket, and its room (rendezvous.c outside, container.c inside).
#ifndef SANDBOXLIB_RENDEZVOUS_H
#define SANDBOXLIB_RENDEZVOUS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "report.h"
#include "sys.h"

#define RENDEZVOUS_PREFIX "sandboxlib-"
// Init's socket, the room as a tree of mounts that is mounted nowhere, and the room's user and network namespace.
#define RENDEZVOUS_DESCRIPTORS DESCRIPTORS_SENT_MAX
#define RENDEZVOUS_RLIMITS 16  // all that there are, RLIM_NLIMITS

// What a child inherits of its parent besides, and the engine's containers have from the engine.
struct rendezvous_legacy {
  struct sbx_rlimit rlimits[RENDEZVOUS_RLIMITS];
  cpu_set_t processors;
  int32_t nice_value;
};

// Runs `command` in the room of a tool, each argument that is RENDEZVOUS being the name of the container, and of the socket in `directory`.
// Returns what to exit with.
int rendezvous_main(const char *directory, const char *tree, char **command);

// What the supervisor reads as what the tool has to say, with errno; returns what to exit with.
int rendezvous_complain(const char *who, const char *what);

// In the container: gets to the room by the socket `path`, and makes there the namespaces of the sandbox, with a network of its own or that of the
// room. Returns only what to exit with.
int container_main(const char *path, bool own_network);

#endif
