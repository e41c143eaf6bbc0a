// Messages between the processes of one sandbox, and the names of errors and signals. Runs between clone and exec too: no allocation.
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys.h"

static int report_socket = -1;

void report_use(int socket_fd) { report_socket = socket_fd; }

static void copy_text(char *to, size_t size, const char *from) {
  size_t length = from == NULL ? 0 : strnlen(from, size - 1);
  if (length > 0) memcpy(to, from, length);
  to[length] = '\0';
}

void failure_fill(struct failure *failure, enum step step, uint32_t index, int error, const char *syscall, const char *path) {
  memset(failure, 0, sizeof *failure);
  failure->step = step;
  failure->index = index;
  failure->error = error;
  copy_text(failure->syscall, sizeof failure->syscall, syscall);
  copy_text(failure->path, sizeof failure->path, path);
}

_Noreturn void fail(enum step step, uint32_t index, const char *syscall, const char *path) {
  struct failure failure;
  failure_fill(&failure, step, index, errno, syscall, path);
  fail_with(&failure);
}

// Blocks are of 512 bytes on Linux, and what is resident is in KiB.
void counts_add(struct counts *counts, const struct rusage *usage) {
  int64_t resident = (int64_t)usage->ru_maxrss * 1024;
  if (resident > counts->resident_bytes) counts->resident_bytes = resident;
  counts->read_bytes += (int64_t)usage->ru_inblock * 512;
  counts->written_bytes += (int64_t)usage->ru_oublock * 512;
  counts->voluntary_switches += usage->ru_nvcsw;
  counts->involuntary_switches += usage->ru_nivcsw;
}

static bool send_with(int socket_fd, enum message_kind kind, const void *more, size_t length) {
  struct message message = {.kind = kind, .value = 0};
  struct iovec parts[2] = {{.iov_base = &message, .iov_len = sizeof message}, {.iov_base = (void *)(uintptr_t)more, .iov_len = length}};
  struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent;
  do sent = sys_sendmsg(socket_fd, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)(sizeof message + length);
}

bool message_send_counts(int socket_fd, const struct counts *counts) { return send_with(socket_fd, MESSAGE_COUNTS, counts, sizeof *counts); }

bool message_send_denied(int socket_fd, const struct denied *denied) { return send_with(socket_fd, MESSAGE_DENIED, denied, sizeof *denied); }

bool message_send_notified(int socket_fd, const struct notified *notified) { return send_with(socket_fd, MESSAGE_NOTIFIED, notified, sizeof *notified); }

// A failed send means that the supervisor is gone; this process ends either way, and with it the sandbox.
_Noreturn void fail_with(const struct failure *failure) {
  (void)send_with(report_socket, MESSAGE_FAILED, failure, sizeof *failure);
  sys_exit(125);
}

bool message_send(int socket_fd, enum message_kind kind, int value) {
  struct message message = {.kind = kind, .value = value};
  ssize_t sent;
  do sent = send(socket_fd, &message, sizeof message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)sizeof message;
}

ssize_t message_receive(int socket_fd, struct message *message, int *descriptor, int flags) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {.iov_base = message, .iov_len = sizeof *message};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  *descriptor = -1;
  ssize_t got;
  do got = recvmsg(socket_fd, &header, flags | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (rights != NULL && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof(int))) {
    memcpy(descriptor, CMSG_DATA(rights), sizeof *descriptor);
  }
  return got;
}

bool descriptors_send(int socket_fd, const void *bytes, size_t length, const int *descriptors, size_t count) {
  struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
  union {
    char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_SENT_MAX)];
    struct cmsghdr align;
  } control;
  memset(&control, 0, sizeof control);
  // The C libraries disagree about the type of lengths.
  size_t size = count * sizeof descriptors[0];
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
  header.msg_controllen = (__typeof__(header.msg_controllen))CMSG_SPACE(size);
  control.align.cmsg_level = SOL_SOCKET;
  control.align.cmsg_type = SCM_RIGHTS;
  control.align.cmsg_len = (__typeof__(control.align.cmsg_len))CMSG_LEN(size);
  memcpy(control.bytes + CMSG_LEN(0), descriptors, size);
  ssize_t sent;
  do sent = sys_sendmsg(socket_fd, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)length;
}

bool message_send_descriptor(int socket_fd, enum message_kind kind, int descriptor) {
  const struct message message = {.kind = kind, .value = 0};
  return descriptors_send(socket_fd, &message, sizeof message, &descriptor, 1);
}

bool report_listener(int listener) { return message_send_descriptor(report_socket, MESSAGE_LISTENER, listener); }

const char *exec_reason_name(enum exec_reason reason) {
  switch (reason) {
    case EXEC_NONE: return "";
    case EXEC_NOT_FOUND: return "not-found";
    case EXEC_NOT_EXECUTABLE: return "not-executable";
    case EXEC_DIRECTORY: return "directory";
    case EXEC_MISSING_INTERPRETER: return "missing-interpreter";
    case EXEC_WRONG_ARCHITECTURE: return "wrong-architecture";
    case EXEC_NOT_A_PROGRAM: return "not-a-program";
    case EXEC_TEXT_BUSY: return "text-busy";
    case EXEC_INTERPRETER_LOOP: return "interpreter-loop";
    case EXEC_TOO_LONG: return "too-long";
    case EXEC_OTHER: return "other";
  }
  return "other";
}

#define NAMED_ERRORS(X)                                                                                                                 \
  X(EPERM) X(ENOENT) X(ESRCH) X(EINTR) X(EIO) X(ENXIO) X(E2BIG) X(ENOEXEC) X(EBADF) X(ECHILD) X(EAGAIN) X(ENOMEM) X(EACCES) X(EFAULT)    \
  X(ENOTBLK) X(EBUSY) X(EEXIST) X(EXDEV) X(ENODEV) X(ENOTDIR) X(EISDIR) X(EINVAL) X(ENFILE) X(EMFILE) X(ENOTTY) X(ETXTBSY) X(EFBIG)      \
  X(ENOSPC) X(ESPIPE) X(EROFS) X(EMLINK) X(EPIPE) X(EDOM) X(ERANGE) X(EDEADLK) X(ENAMETOOLONG) X(ENOLCK) X(ENOSYS) X(ENOTEMPTY)          \
  X(ELOOP) X(ENODATA) X(ETIME) X(EPROTO) X(EBADMSG) X(EOVERFLOW) X(ELIBACC) X(ELIBBAD) X(EUSERS) X(ENOTSOCK) X(EMSGSIZE)                 \
  X(EOPNOTSUPP) X(EAFNOSUPPORT) X(EADDRINUSE) X(ENOBUFS) X(ETIMEDOUT) X(ECONNREFUSED) X(ECONNRESET) X(EALREADY) X(ESTALE) X(EDQUOT)      \
  X(EREMOTEIO) X(ENOKEY) X(EKEYEXPIRED) X(EKEYREVOKED) X(EKEYREJECTED) X(ECANCELED)

#define AS_CASE(name) \
  case name: return #name;
const char *error_name(int error, char *buffer, size_t size) {
  switch (error) { NAMED_ERRORS(AS_CASE) }
  (void)snprintf(buffer, size, "errno %d", error);
  return buffer;
}

#define NAMED_SIGNALS(X)                                                                                                               \
  X(SIGHUP) X(SIGINT) X(SIGQUIT) X(SIGILL) X(SIGTRAP) X(SIGABRT) X(SIGBUS) X(SIGFPE) X(SIGKILL) X(SIGUSR1) X(SIGSEGV) X(SIGUSR2)        \
  X(SIGPIPE) X(SIGALRM) X(SIGTERM) X(SIGSTKFLT) X(SIGCHLD) X(SIGCONT) X(SIGSTOP) X(SIGTSTP) X(SIGTTIN) X(SIGTTOU) X(SIGURG) X(SIGXCPU)  \
  X(SIGXFSZ) X(SIGVTALRM) X(SIGPROF) X(SIGWINCH) X(SIGIO) X(SIGPWR) X(SIGSYS)

const char *signal_name(int signal, char *buffer, size_t size) {
  switch (signal) { NAMED_SIGNALS(AS_CASE) }
  (void)snprintf(buffer, size, "SIG%d", signal);
  return buffer;
}
