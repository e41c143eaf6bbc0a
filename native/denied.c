#include "denied.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "report.h"
#include "sys.h"

#define DYING_MS 200  // for one that gets no processor at once

static void exchange_answers(struct sbx_sock_filter *filter, uint16_t length, uint32_t from, uint32_t to) {
  for (uint16_t i = 0; i < length; i++) {
    if (filter[i].code == SBX_BPF_RET_K && filter[i].k == from) filter[i].k = to;
  }
}

bool denied_install(struct sbx_sock_filter *filter, uint16_t length, int *listener) {
  const struct sbx_sock_fprog program = {.len = length, .filter = filter};
  *listener = -1;
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0) {
    exchange_answers(filter, length, SBX_SECCOMP_RET_KILL_PROCESS, SBX_SECCOMP_RET_USER_NOTIF);
    *listener = sys_seccomp_listener(&program);
    if (*listener >= 0) return true;
    exchange_answers(filter, length, SBX_SECCOMP_RET_USER_NOTIF, SBX_SECCOMP_RET_KILL_PROCESS);
  }
  return sys_seccomp_filter(&program) >= 0;
}

// Whether the process is gone after at most so long.
static bool is_gone(int process, int milliseconds) {
  struct pollfd end = {.fd = process, .events = POLLIN};
  int ready;
  do ready = poll(&end, 1, milliseconds);
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

static bool end_by(int process, int signal) { return syscall(SYS_pidfd_send_signal, process, signal, NULL, 0U) == 0 || errno == ESRCH; }

// As the kernel does it, by SIGSYS, which the parent then sees; what blocks or handles that gets SIGKILL. Its own process is held by a descriptor, for
// the thread that called may be gone as soon as it has handled the signal.
static void kill_process(int process) {
  if (!end_by(process, SIGSYS)) fail(STEP_SECCOMP, NO_INDEX, "pidfd_send_signal", NULL);
  if (is_gone(process, DYING_MS)) return;
  if (!end_by(process, SIGKILL)) fail(STEP_SECCOMP, NO_INDEX, "pidfd_send_signal", NULL);
}

// `thread` waits for an answer, so that its number is its own. Whose it is can be told of the first of a process (pidfd_open(2), Linux 5.3), and of those
// of the command.
static void kill_caller(pid_t thread, bool of_command, pid_t command) {
  int process = (int)syscall(SYS_pidfd_open, of_command ? command : thread, 0U);
  if (process >= 0) {
    kill_process(process);
    (void)close(process);
  } else if (kill(thread, SIGKILL) < 0 && errno != ESRCH) {
    fail(STEP_SECCOMP, NO_INDEX, "kill", NULL);
  }
}

static void refuse(int listener, uint64_t id) {
  struct sbx_seccomp_notif_resp answer = {.id = id, .error = -EPERM};
  // ENOENT: it is gone meanwhile.
  if (sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT) fail(STEP_SECCOMP, NO_INDEX, "ioctl(SECCOMP_IOCTL_NOTIF_SEND)", NULL);
}

void denied_answer(int listener, int socket_fd, pid_t command) {
  struct sbx_seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
    // ENOENT: whoever asked was killed before it could be heard.
    if (errno == EINTR || errno == ENOENT || errno == EAGAIN) return;
    fail(STEP_SECCOMP, NO_INDEX, "ioctl(SECCOMP_IOCTL_NOTIF_RECV)", NULL);
  }
  const struct denied denied = {.number = call.data.nr, .audit = call.data.arch};
  bool of_command = call.pid != 0 && syscall(SYS_tgkill, command, (pid_t)call.pid, 0) == 0;
  if (of_command && !message_send_denied(socket_fd, &denied)) fail(STEP_INIT, NO_INDEX, "send", NULL);
  if (call.pid != 0) kill_caller((pid_t)call.pid, of_command, command);
  else refuse(listener, call.id);
}
