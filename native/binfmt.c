// Programs of another architecture: the kernel hands them to an interpreter, by a table that belongs to a user namespace (Linux 6.7; before, there
// was one for the whole machine, and a user namespace could not mount it). The table of the nearest user namespace that has one counts, so what is
// registered here holds for the sandbox and nobody else.
//
// The file system through which a table is written is mounted nowhere: only a descriptor holds it, which the command does not get. When that is
// closed, the kernel drops the registrations, so it stays open as long as the sandbox lives.
#include "binfmt.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

#define REGISTRATION_BYTES 1920  // MAX_REGISTER_LENGTH of the kernel

static int table = -1;

int binfmt_descriptor(void) { return table; }

// /proc/PID/exe of an interpreted program leads to the interpreter by the mount it was opened through. By the host's own, root in the sandbox could
// change its mode or its owner. So it is opened through a read-only mount over itself, which only this mount namespace has, and which outlives the
// namespace as long as the interpreter is open.
static void cover_readonly(const struct record *record, const char *path) {
  struct sbx_mount_attr attributes = {
      .attr_set = SBX_MOUNT_ATTR_RDONLY | SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE};
  int file = open(path, O_PATH | O_CLOEXEC);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) fail(record->step, record->index, "open", path);
  if (!S_ISREG(status.st_mode)) {
    errno = EACCES;
    fail(record->step, record->index, "open", path);
  }
  int tree = sys_open_tree(file, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  if (tree < 0) fail(record->step, record->index, "open_tree", path);
  if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes) < 0) fail(record->step, record->index, "mount_setattr", path);
  if (sys_move_mount(tree, "", file, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
    fail(record->step, record->index, "move_mount", path);
  (void)close(tree);
  (void)close(file);
}

// EPERM: a kernel before 6.7, or a filter of system calls around us; ENOSYS: one before 5.2, or such a filter; ENODEV: one without binfmt_misc.
static bool has_no_tables(uint32_t flags) {
  return (flags & PLAN_BINFMT_IF_POSSIBLE) != 0 && (errno == EPERM || errno == ENOSYS || errno == ENODEV);
}

static int open_table(const struct record *record, uint32_t flags) {
  int context = sys_fsopen("binfmt_misc");
  if (context < 0 && has_no_tables(flags)) return -1;
  if (context < 0) fail(record->step, record->index, "fsopen", "binfmt_misc");
  if (sys_fsconfig_create(context) < 0) {
    if (!has_no_tables(flags)) fail(record->step, record->index, "fsconfig", "binfmt_misc");
    (void)close(context);
    return -1;
  }
  int mounted = sys_fsmount(context, SBX_MOUNT_ATTR_NOSUID | SBX_MOUNT_ATTR_NODEV | SBX_MOUNT_ATTR_NOEXEC);
  if (mounted < 0) fail(record->step, record->index, "fsmount", "binfmt_misc");
  (void)close(context);
  return mounted;
}

struct registration {
  char text[REGISTRATION_BYTES];
  size_t used;
};

static void add_field(struct registration *line, const char *text) {
  int length = snprintf(line->text + line->used, sizeof line->text - line->used, "%s%c", text, BINFMT_SEPARATOR);
  line->used += length > 0 ? (size_t)length : 0;
}

// Bytes that may be anything, as \xNN.
static void add_bytes(struct registration *line, const uint8_t *bytes, size_t count) {
  char text[PLAN_MAGIC_MAX * 4 + 1];
  for (size_t i = 0; i < count; i++) (void)snprintf(text + 4 * i, 5, "\\x%02x", bytes[i]);
  add_field(line, text);
}

// Documentation/admin-guide/binfmt-misc.rst: separator, name, M for magic, offset, magic, mask, interpreter and flags. The lengths were checked
// with the plan.
static void register_format(const struct record *record, struct reader *r, int registry) {
  struct registration line = {.text = {BINFMT_SEPARATOR}, .used = 1};
  add_field(&line, read_string(r));
  const char *interpreter = read_string(r);
  const char *flags = read_string(r);
  uint32_t length = read_u32(r);
  const uint8_t *magic = read_bytes(r, length);
  length = read_u32(r);
  const uint8_t *mask = read_bytes(r, length);
  add_field(&line, "M");
  add_field(&line, "0");
  add_bytes(&line, magic, length);
  add_bytes(&line, mask, length);
  add_field(&line, interpreter);
  add_field(&line, flags);
  line.used--;  // no separator after the flags
  cover_readonly(record, interpreter);
  // The interpreter is opened by this write, with the rights of who opened the registry.
  ssize_t written = write(registry, line.text, line.used);
  if (written != (ssize_t)line.used) fail(record->step, record->index, "write", interpreter);
}

static void register_formats(const struct record *record, struct reader *r, uint32_t count, int mounted) {
  int registry = openat(mounted, "register", O_WRONLY | O_CLOEXEC);
  if (registry < 0) fail(record->step, record->index, "openat", "binfmt_misc");
  for (uint32_t i = 0; i < count; i++) register_format(record, r, registry);
  (void)close(registry);
}

// Preconditions: the mount namespace is private; and where there is anything to be registered, uid 0 and gid 0 are mapped in this user namespace,
// for the registry belongs to them.
static int make_table(struct record *record) {
  struct reader *r = &record->payload;
  uint32_t flags = read_u32(r);
  uint32_t count = read_u32(r);
  int mounted = open_table(record, flags);
  if (count > 0) register_formats(record, r, count, mounted);
  return mounted;
}

void binfmt_inside(const struct plan *plan, struct record *record) {
  if (!plan->binfmt_around) table = make_table(record);
}

static bool find_record(const struct plan *plan, struct record *record) {
  struct cursor cursor = plan_start(plan);
  while (plan_next(&cursor, record)) {
    if (record->step == STEP_BINFMT) return true;
  }
  return false;
}

// In a process of its own, whose mount namespace ends with it; its descriptors are the supervisor's.
static _Noreturn void make_table_around(struct record *record, int socket_fd, pid_t supervisor) {
  report_use(socket_fd);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != supervisor) _exit(125);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail(record->step, record->index, "mount", "/");
  int made = make_table(record);
  _exit(message_send(socket_fd, MESSAGE_TABLE, made) ? 0 : 125);
}

struct answer {
  struct message message;
  struct failure failure;
};

static bool take_answer(int socket_fd, const struct record *record, struct failure *failure) {
  static struct answer answer;
  ssize_t got = recv(socket_fd, &answer, sizeof answer, MSG_DONTWAIT);
  if (got == (ssize_t)sizeof answer.message && answer.message.kind == MESSAGE_TABLE) return answer.message.value >= 0;
  if (got == (ssize_t)sizeof answer && answer.message.kind == MESSAGE_FAILED) *failure = answer.failure;
  else failure_fill(failure, record->step, record->index, 0, "clone", NULL);
  return false;
}

// CLONE_FILES: what the other process opens is open here, and stays so when it is gone. Its answer waits in the socket by then.
static bool run_beside(struct record *record, struct failure *failure) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    failure_fill(failure, record->step, record->index, errno, "socketpair", NULL);
    return false;
  }
  pid_t self = getpid();
  pid_t beside = sys_clone(CLONE_NEWNS | CLONE_FILES);
  if (beside == 0) make_table_around(record, ends[1], self);
  bool ok = beside > 0;
  if (!ok) failure_fill(failure, record->step, record->index, errno, "clone", NULL);
  while (ok && waitpid(beside, NULL, 0) < 0 && errno == EINTR) continue;
  ok = ok && take_answer(ends[0], record, failure);
  (void)close(ends[0]);
  (void)close(ends[1]);
  return ok;
}

bool binfmt_around(const struct plan *plan, struct failure *failure) {
  struct record record;
  if (!plan->binfmt_around || !find_record(plan, &record)) return true;
  return userns_enter(&record, failure) && run_beside(&record, failure);
}
