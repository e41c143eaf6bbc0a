// Landlock: what a process gives up by itself, for good (landlock(7)).
#ifndef SANDBOXLIB_LANDLOCK_H
#define SANDBOXLIB_LANDLOCK_H

#include "plan.h"

// Performs a landlock record on this process. The paths of its rules are those that the command sees.
void landlock_restrict(struct record *record);

#endif
