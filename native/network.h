#ifndef SANDBOXLIB_NETWORK_H
#define SANDBOXLIB_NETWORK_H

// Brings the loopback device of this network namespace up; -1 with errno.
int loopback_up(void);

#endif
