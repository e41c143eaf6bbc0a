// Calls of the command that its seccomp filter asks about (seccomp_unotify(2), Linux 5.0). Init answers: at once where the filter says how, or as the
// caller of the launcher decides.
#ifndef SANDBOXLIB_NOTIFY_H
#define SANDBOXLIB_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "run.h"
#include "uapi.h"

// What becomes of a call is in the data of SECCOMP_RET_USER_NOTIF: the answer in the upper four bits, an errno in the rest. The number is also what the
// status line names.
enum { NOTIFY_LOG = 1, NOTIFY_ERRNO, NOTIFY_KILL, NOTIFY_ASK };
// Answers of the caller: 0, an errno, or
#define NOTIFY_DECIDES_KILL 0xffffu
#define NOTIFY_ERRNO_MASK 0xfffu
// As many calls are told and not yet acknowledged; who makes another waits in the kernel.
#define NOTIFY_SLOTS 64

// In the command's process: installs the filter. `tells`: its KILL_PROCESS asks init, where no other filter is in force yet, whose lesser answers would
// count for more than a question. `asks`: it holds questions. *listener is -1 where nothing asks. False with errno.
bool notify_install(struct sbx_sock_filter *filter, uint16_t length, bool tells, bool asks, int *listener);

// In init, once: `listener` is that of the filter in the plan that may ask.
void notify_listen(const struct run *run, int listener);
// Whether one more question may be heard.
bool notify_is_ready(void);
// Hears one question.
void notify_hear(int listener, int socket_fd, pid_t command);
// The caller has taken note of the call in that slot, and decided, where it was asked: `value` of MESSAGE_ANSWER.
void notify_answer(int listener, int socket_fd, pid_t command, int value);

#endif
