// Captured changes that have a bound. Their layer above is a part of the disk, in memory, so that nothing which the command does can take more; when
// everything in the sandbox is gone the supervisor copies it to the directory where it is to be kept.
#ifndef SANDBOXLIB_CAPTURE_H
#define SANDBOXLIB_CAPTURE_H

#include <stdbool.h>

#include "report.h"

// What a descriptor of MESSAGE_CAPTURE is, in this order; the last two for each view. A file system outlasts its mount namespace while one is open.
enum { CAPTURE_USER_NAMESPACE, CAPTURE_UPPER, CAPTURE_PLACE };

// In init: remembers a layer above, and the directory that has `upper` for what it holds in the end. Takes both descriptors over. No more of them than a plan may have.
void capture_remember(int upper, int place);
// In init, before there is a command: hands all of them on. False with errno.
bool capture_hand_on(int socket_fd);

// In the supervisor: one that init handed on; -1 where it could not be received.
void capture_take(int what, int descriptor);
// In the supervisor, when every process of the sandbox is gone. `upper` is what it was, empty, or whole. False fills `failure` in.
bool capture_keep(struct failure *failure);

#endif
