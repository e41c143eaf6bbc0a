// What travels between init (or the command's process before exec) and the supervisor, on a SOCK_SEQPACKET pair: one struct, one message.
#ifndef SANDBOXLIB_REPORT_H
#define SANDBOXLIB_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "steps.h"

#define NO_INDEX UINT32_MAX
#define REPORT_PATH_BYTES 4096
#define REPORT_DETAIL_BYTES 512

enum exec_reason {
  EXEC_NONE = 0,
  EXEC_NOT_FOUND,
  EXEC_NOT_EXECUTABLE,
  EXEC_DIRECTORY,
  EXEC_MISSING_INTERPRETER,
  EXEC_WRONG_ARCHITECTURE,
  EXEC_NOT_A_PROGRAM,
  EXEC_TEXT_BUSY,
  EXEC_INTERPRETER_LOOP,
  EXEC_TOO_LONG,
  EXEC_OTHER
};
const char *exec_reason_name(enum exec_reason reason);

// A step that failed: enough for a person to act on.
struct failure {
  enum step step;
  uint32_t index;  // of the record, or NO_INDEX
  int error;       // errno, or 0
  enum exec_reason reason;
  char syscall[32];
  char path[REPORT_PATH_BYTES];
  char detail[REPORT_DETAIL_BYTES];  // the missing interpreter's name, or what a helper program said
};

enum message_kind {
  // init to supervisor
  MESSAGE_FAILED = 1,
  MESSAGE_TERMINAL,  // carries the terminal's master descriptor
  MESSAGE_STARTED,
  MESSAGE_EXITED,  // value: the command's wait status
  MESSAGE_HERE,    // of init inside of a tool, by the number that the kernel puts with it: it is to be put into the control groups
  MESSAGE_PROCESSES,  // carries the proc of the sandbox, for sampling.c
  MESSAGE_COUNTS,  // of init inside of a tool, or with sampling, the last that it says: struct counts follows
  MESSAGE_LISTENER,  // of the command's process: carries the listener of its filter, which the supervisor hands to init
  MESSAGE_DENIED,    // the filter ends the command: struct denied follows
  MESSAGE_NOTIFIED,  // a call that the caller is to be told of: struct notified follows
  MESSAGE_CAPTURE,   // carries a descriptor of what capture.c is to keep; value: which
  // beside init in a container (container.c); value: milliseconds
  MESSAGE_USER_TIME,
  MESSAGE_SYSTEM_TIME,
  // beside the supervisor, see binfmt.c
  MESSAGE_TABLE,  // value: descriptor
  // supervisor to init
  MESSAGE_PLAN,        // to init inside of a tool: carries the plan
  MESSAGE_DESCRIPTOR,  // the same: carries one of the command's
  MESSAGE_GATE,        // the same: carries a pipe, on which a byte comes when it has been put there
  MESSAGE_GO,          // value, inside of a tool: columns << 16 | rows of a terminal
  MESSAGE_CALL,            // to the command's process, which waits for it: its arguments are there
  MESSAGE_SIGNAL_ALL,      // value: signal
  MESSAGE_SIGNAL_COMMAND,  // value: signal
  MESSAGE_SIGNAL_GROUP,    // value: signal, to the command's process group
  MESSAGE_ANSWER,          // value: slot << 16 | decision, see notify.h
};

struct message {
  enum message_kind kind;
  int value;
};

// Of processes that were waited for, all together (getrusage(2)).
struct counts {
  int64_t resident_bytes;  // the most of one of them
  int64_t read_bytes, written_bytes;
  int64_t voluntary_switches, involuntary_switches;
  int64_t processor_us;  // only of init, for its children
};
void counts_add(struct counts *counts, const struct rusage *usage);

// A system call that a filter does not allow.
struct denied {
  int32_t number;
  uint32_t audit;  // AUDIT_ARCH_* of the ABI it was made by
};

// A system call that the filter asks about (notify.h).
struct notified {
  int32_t slot;
  int32_t answer;
  int32_t thread;  // as init sees it; 0: not at all
  struct denied call;
  uint64_t arguments[6];
};

void failure_fill(struct failure *failure, enum step step, uint32_t index, int error, const char *syscall, const char *path);

// The path of a failure is optional everywhere below: NULL for none. errno is taken as it is when the call is made.
// In init and in the command's process: tells the supervisor and ends this process.
void report_use(int socket_fd);
_Noreturn void fail(enum step step, uint32_t index, const char *syscall, const char *path);
_Noreturn void fail_with(const struct failure *failure);

bool message_send(int socket_fd, enum message_kind kind, int value);
// One message of that size; `*descriptor`, close-on-exec, is -1 where none came with it. 0 at the end of the socket, -1 with errno.
ssize_t message_receive(int socket_fd, struct message *message, int *descriptor, int flags);
bool message_send_counts(int socket_fd, const struct counts *counts);
bool message_send_denied(int socket_fd, const struct denied *denied);
bool message_send_notified(int socket_fd, const struct notified *notified);
// In the command's process: hands the listener of its filter on; false with errno.
bool report_listener(int listener);
// Bytes that need not be a struct message, with `count` descriptors: one to DESCRIPTORS_SENT_MAX.
#define DESCRIPTORS_SENT_MAX 4
bool descriptors_send(int socket_fd, const void *bytes, size_t length, const int *descriptors, size_t count);
bool message_send_descriptor(int socket_fd, enum message_kind kind, int descriptor);

// "EPERM", "SIGKILL"; a number in words where there is no name.
const char *error_name(int error, char *buffer, size_t size);
const char *signal_name(int signal, char *buffer, size_t size);

#endif
