// A pod: namespaces that several sandboxes have in common. One of them makes and holds them (hold.c), the others join (join.c).
#ifndef SANDBOXLIB_HOLD_H
#define SANDBOXLIB_HOLD_H

#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"

// In the supervisor, while init only waits: opens what the record `hold` is for. False with errno.
bool hold_namespaces(pid_t init);
// The descriptors, in the order of PLAN_POD_*; NULL where nothing is held.
const int *hold_held(void);
// The command of a sandbox that is there to hold: waits for its end.
_Noreturn void hold_pause(void);

#endif
