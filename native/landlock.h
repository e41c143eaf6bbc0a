// Landlock: what a process gives up by itself, for good (landlock(7)).
#ifndef SANDBOXLIB_LANDLOCK_H
#define SANDBOXLIB_LANDLOCK_H

#include "plan.h"

// Performs a landlock record on this process. The paths of its rules are those that the command sees.
void landlock_restrict(struct record *record);
// Puts this process into a domain out of which it and its children can send no signal; false with errno, and the call that failed. It needs
// PR_SET_NO_NEW_PRIVS. Linux 6.12.
bool landlock_close_signals(const char **syscall);

#endif
