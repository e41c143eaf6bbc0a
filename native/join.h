// A sandbox in the namespaces of a pod: see hold.h.
#ifndef SANDBOXLIB_JOIN_H
#define SANDBOXLIB_JOIN_H

#include <sys/types.h>

#include "plan.h"

// As clone(2): init of this sandbox, a child of the caller's, in the namespaces that the plan names and in new ones of its own. -1 with errno and the call
// that failed in `failed`.
pid_t join_clone(const struct plan *plan, const char **failed);

#endif
