// Calls that a seccomp filter answers with the death of their process: who was it, and what did it call? The kernel says neither, so the filter asks
// init instead (seccomp_unotify(2), Linux 5.0), and init kills.
#ifndef SANDBOXLIB_DENIED_H
#define SANDBOXLIB_DENIED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "uapi.h"

// In the command's process: installs the filter with its KILL_PROCESS asking init. *listener is -1 where that cannot be, and the filter then installed as
// it is: another filter is in force already, whose lesser answers would count for more than a question, or this kernel has no listener left to give.
// False with errno.
bool denied_install(struct sbx_sock_filter *filter, uint16_t length, int *listener);

// In init: answers one question.
void denied_answer(int listener, int socket_fd, pid_t command);

#endif
