#include "notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"
#include "report.h"
#include "sys.h"

#define DYING_MS 200  // for one that gets no processor at once

struct question {
  bool is_taken, awaits;  // awaits: an answer of the caller's
  uint64_t id;
  pid_t thread;
  struct denied call;
};

// Of init, which has one command with one such filter.
static struct {
  struct sbx_sock_filter filter[PLAN_FILTER_MAX];
  struct question questions[NOTIFY_SLOTS];
  int taken;
  bool asks;
} self;

static void exchange_answers(struct sbx_sock_filter *filter, uint16_t length, uint32_t from, uint32_t to) {
  for (uint16_t i = 0; i < length; i++) {
    if (filter[i].code == SBX_BPF_RET_K && filter[i].k == from) filter[i].k = to;
  }
}

// A caller that decides takes its time, and a signal that a thread handles in between would make it call again, and ask again (Linux 5.19).
static int install_listener(const struct sbx_sock_fprog *program, bool asks) {
  int listener = asks ? sys_seccomp_listener(program, SBX_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) : -1;
  return listener >= 0 || (asks && errno != EINVAL) ? listener : sys_seccomp_listener(program, 0);
}

bool notify_install(struct sbx_sock_filter *filter, uint16_t length, bool tells, bool asks, int *listener) {
  const struct sbx_sock_fprog program = {.len = length, .filter = filter};
  *listener = -1;
  bool exchanged = tells && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0;
  if (exchanged) exchange_answers(filter, length, SBX_SECCOMP_RET_KILL_PROCESS, SBX_SECCOMP_RET_USER_NOTIF);
  if (exchanged || asks) *listener = install_listener(&program, asks);
  if (*listener >= 0) return true;
  // Without a listener nobody would be asked, and every such call fail with ENOSYS.
  if (asks) return false;
  if (exchanged) exchange_answers(filter, length, SBX_SECCOMP_RET_USER_NOTIF, SBX_SECCOMP_RET_KILL_PROCESS);
  return sys_seccomp_filter(&program) >= 0;
}

// The filter as the plan has it, with a pass that nobody ever had: who has the right one is not asked about.
static void keep_filter(struct record *record) {
  (void)read_u32(&record->payload);
  uint32_t count = read_u32(&record->payload);
  memcpy(self.filter, read_bytes(&record->payload, (size_t)count * sizeof self.filter[0]), (size_t)count * sizeof self.filter[0]);
  uint32_t places = read_u32(&record->payload);
  uint64_t pass;
  if (sys_draw_pass(&pass) < 0) fail(STEP_SECCOMP, record->index, "getrandom", NULL);
  for (uint32_t i = 0; i < places; i++) self.filter[read_u32(&record->payload)].k = (uint32_t)(i % 2 == 0 ? pass >> 32 : pass);
}

void notify_listen(const struct run *run, int listener) {
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_SECCOMP) continue;
    struct reader flags = record.payload;
    if ((read_u32(&flags) & (PLAN_FILTER_TELLS | PLAN_FILTER_ASKS)) != 0) keep_filter(&record);
  }
  self.asks = run->plan.asks;
  // One processor for who asks and who answers, by turns: 12 against 85 us a question (Linux 6.6; elsewhere it is merely slower).
  (void)sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_SET_FLAGS, (void *)(uintptr_t)SBX_SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

bool notify_is_ready(void) { return self.taken < NOTIFY_SLOTS; }

// Whether the process is gone after at most so long.
static bool is_gone(int process, int milliseconds) {
  struct pollfd end = {.fd = process, .events = POLLIN};
  int ready;
  do ready = poll(&end, 1, milliseconds);
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

static void send_answer(int listener, struct sbx_seccomp_notif_resp answer) {
  int sent;
  do sent = sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_SEND, &answer);
  while (sent < 0 && errno == EINTR);
  // ENOENT: it is gone meanwhile.
  if (sent < 0 && errno != ENOENT) fail(STEP_SECCOMP, NO_INDEX, "ioctl(SECCOMP_IOCTL_NOTIF_SEND)", NULL);
}

static void fail_call(int listener, uint64_t id, int error) { send_answer(listener, (struct sbx_seccomp_notif_resp){.id = id, .error = -error}); }

static bool end_by(int process, int signal) { return syscall(SYS_pidfd_send_signal, process, signal, NULL, 0U) == 0 || errno == ESRCH; }

// As the kernel does it, by SIGSYS, which the parent then sees; what blocks or handles that gets SIGKILL. Its own process is held by a descriptor, for
// the thread that called may be gone as soon as it has handled the signal.
static void kill_process(int listener, const struct question *question, int process) {
  if (!end_by(process, SIGSYS)) fail(STEP_SECCOMP, NO_INDEX, "pidfd_send_signal", NULL);
  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: nothing but SIGKILL wakes it, and so it wakes to its signal.
  if (self.asks) fail_call(listener, question->id, EPERM);
  if (is_gone(process, DYING_MS)) return;
  if (!end_by(process, SIGKILL)) fail(STEP_SECCOMP, NO_INDEX, "pidfd_send_signal", NULL);
}

// False: whoever asked is gone, and its number may be another's by now.
static bool still_waits(int listener, uint64_t id) { return sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

// `thread` waits for an answer, so that its number is its own. Whose it is can be told of the first of a process (pidfd_open(2), Linux 5.3), and of those
// of the command.
static void kill_caller(int listener, const struct question *question, bool of_command, pid_t command) {
  int process = (int)syscall(SYS_pidfd_open, of_command ? command : question->thread, 0U);
  bool waits = still_waits(listener, question->id);
  if (waits && process >= 0) kill_process(listener, question, process);
  else if (waits && kill(question->thread, SIGKILL) < 0 && errno != ESRCH) fail(STEP_SECCOMP, NO_INDEX, "kill", NULL);
  if (process >= 0) (void)close(process);
}

// Who has no number here is no process that init may end: its call fails.
static void deny(int listener, const struct question *question, int socket_fd, pid_t command) {
  bool of_command = question->thread != 0 && syscall(SYS_tgkill, command, question->thread, 0) == 0;
  if (of_command && !message_send_denied(socket_fd, &question->call)) fail(STEP_INIT, NO_INDEX, "send", NULL);
  if (question->thread != 0) kill_caller(listener, question, of_command, command);
  else fail_call(listener, question->id, EPERM);
}

static void carry_out(int listener, const struct question *question, uint32_t answer, uint32_t number, int socket_fd, pid_t command) {
  switch (answer) {
    case NOTIFY_LOG: send_answer(listener, (struct sbx_seccomp_notif_resp){.id = question->id, .flags = SBX_SECCOMP_USER_NOTIF_FLAG_CONTINUE}); break;
    case NOTIFY_ERRNO: fail_call(listener, question->id, (int)number); break;
    default: deny(listener, question, socket_fd, command); break;
  }
}

static int take_slot(const struct question *question) {
  int slot = 0;
  while (self.questions[slot].is_taken) slot++;
  self.questions[slot] = *question;
  self.taken++;
  return slot;
}

void notify_hear(int listener, int socket_fd, pid_t command) {
  struct sbx_seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (sys_seccomp_notif(listener, SBX_SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
    // ENOENT: whoever asked was killed before it could be heard.
    if (errno == EINTR || errno == ENOENT || errno == EAGAIN) return;
    fail(STEP_SECCOMP, NO_INDEX, "ioctl(SECCOMP_IOCTL_NOTIF_RECV)", NULL);
  }
  uint32_t verdict = filter_run(self.filter, &call.data);
  bool is_told = (verdict & SBX_SECCOMP_RET_ACTION_FULL) == SBX_SECCOMP_RET_USER_NOTIF;
  // Where the profile kills the plan has no question: that was put there by notify_install.
  uint32_t answer = is_told ? (verdict & SBX_SECCOMP_RET_DATA) >> 12 : NOTIFY_KILL;
  struct question question = {.is_taken = true, .awaits = answer == NOTIFY_ASK, .id = call.id, .thread = (pid_t)call.pid};
  question.call = (struct denied){.number = call.data.nr, .audit = call.data.arch};
  if (is_told) {
    struct notified told = {.slot = take_slot(&question), .answer = (int32_t)answer, .thread = question.thread, .call = question.call};
    memcpy(told.arguments, call.data.args, sizeof told.arguments);
    if (!message_send_notified(socket_fd, &told)) fail(STEP_INIT, NO_INDEX, "send", NULL);
  }
  if (!question.awaits) carry_out(listener, &question, answer, verdict & NOTIFY_ERRNO_MASK, socket_fd, command);
}

void notify_answer(int listener, int socket_fd, pid_t command, int value) {
  uint32_t slot = (uint32_t)value >> 16;
  uint32_t decision = (uint32_t)value & 0xffff;
  if (slot >= NOTIFY_SLOTS || !self.questions[slot].is_taken) return;
  struct question question = self.questions[slot];
  self.questions[slot].is_taken = false;
  self.taken--;
  // Every process that had the filter is gone.
  if (!question.awaits || listener < 0) return;
  uint32_t answer = decision == 0 ? NOTIFY_LOG : decision <= NOTIFY_ERRNO_MASK ? NOTIFY_ERRNO : NOTIFY_KILL;
  carry_out(listener, &question, answer, decision, socket_fd, command);
}
