// A lock between processes that is gone with whoever holds it, however that ends: flock(2), for callers that have no way to call it.
#ifndef SANDBOXLIB_LOCK_H
#define SANDBOXLIB_LOCK_H

// Makes `path` where it is missing, waits until nobody else has it locked, writes "locked\n" to standard output, and holds the lock until standard input
// ends. The exit status: 1 with a line on standard error where there is no way to lock it.
int lock_hold(const char *path);

#endif
