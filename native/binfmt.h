// A table of foreign formats of programs (binfmt_misc) that holds for the sandbox alone.
#ifndef SANDBOXLIB_BINFMT_H
#define SANDBOXLIB_BINFMT_H

#include "run.h"

// In the supervisor, before there is an init: where the plan wants the table in a user namespace around the sandbox's, this process enters one
// and makes it there. Nothing to do otherwise. False fills `failure` in.
bool binfmt_around(const struct plan *plan, struct failure *failure);

// In init: the table of its own user namespace, unless it is there already.
void binfmt_inside(const struct plan *plan, struct record *record);

// What keeps init's table alive, which must stay open; -1 where init has none.
int binfmt_descriptor(void);

#endif
