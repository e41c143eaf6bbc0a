// Mounts below a mount, for kernels whose mount(2) changes only one at a time.
#ifndef SANDBOXLIB_SUBMOUNTS_H
#define SANDBOXLIB_SUBMOUNTS_H

#include <stdbool.h>

// Calls `visit` with a descriptor of every mount below the one that `mounted` is the root of. `root` is what covers "/" of this process. False
// with errno when they cannot all be found, or `visit` says so.
bool submounts_each(int mounted, int root, bool (*visit)(int mount_fd, void *context), void *context);

#endif
