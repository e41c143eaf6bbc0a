// The command's process, from the clone in init to the exec: puts on what the command is to wear, the filter last. Only system calls from here on,
// no allocation; every failure ends the process with a message to the supervisor.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "landlock.h"
#include "notify.h"
#include "run.h"
#include "sys.h"

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47  // 4.3
#define PR_CAP_AMBIENT_RAISE 2
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

#define EXIT_WITHOUT_INIT 125

static void reset_signals(void) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal < NSIG; signal++) {
    // SIGKILL, SIGSTOP and the C library's own signals cannot be set, and are never anything but default at exec.
    if (sigaction(signal, &action, NULL) < 0 && errno != EINVAL) fail(STEP_SIGNALS, NO_INDEX, "sigaction", NULL);
  }
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) fail(STEP_SIGNALS, NO_INDEX, "sigprocmask", NULL);
}

static void take_terminal(int terminal) {
  if (ioctl(terminal, TIOCSCTTY, 0) < 0) fail(STEP_TERMINAL, NO_INDEX, "ioctl(TIOCSCTTY)", NULL);
  for (int target = 0; target < 3; target++) {
    if (dup2(terminal, target) < 0) fail(STEP_DESCRIPTORS, NO_INDEX, "dup2", NULL);
  }
}

// The rest is closed at once and not only by the exec: until then a path such as /proc/self/fd/3, of a working directory or a program, leads
// wherever a descriptor of init does, out of the root too (CVE-2024-21626).
static void arrange_descriptors(const struct run *run, int *socket_fd, int terminal) {
  int from[PLAN_DESCRIPTORS_MAX + 3];
  int to[PLAN_DESCRIPTORS_MAX + 3];
  size_t count = 0;
  size_t named = 0;
  for (; terminal < 0 && count < 3; count++) {
    from[count] = run->standard[count];
    to[count] = (int)count;
  }
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_DESCRIPTOR) continue;
    from[count] = (int)read_u32(&record.payload);
    to[count] = (int)read_u32(&record.payload);
    if (to[count] < 3) continue;  // already in `standard`
    if (run->given != NULL) from[count] = run->given[named++];
    count++;
  }
  bool arranged = descriptors_arrange(from, to, count, socket_fd);
  report_use(*socket_fd);
  if (!arranged) fail(STEP_DESCRIPTORS, NO_INDEX, "dup2", NULL);
}

// Out of reach of the caller's keys. A kernel without keyrings, or a surrounding filter that denies them, denies them to the command too. A full
// quota (200 keyrings for an ordinary user, keyrings(7)) is borne only under a filter of ours, which denies keyctl(2).
static void fresh_keyring(const struct run *run) {
  if (sys_join_session_keyring() >= 0 || errno == ENOSYS || errno == EPERM) return;
  if (errno == EDQUOT && run->plan.denies_keyrings) return;
  fail(STEP_KEYRING, NO_INDEX, "keyctl", NULL);
}

static void set_rlimit(struct record *record) {
  int resource = (int)read_u32(&record->payload);
  struct sbx_rlimit wanted = {.soft = read_u64(&record->payload)};
  wanted.hard = read_u64(&record->payload);
  struct sbx_rlimit present;
  if (sys_prlimit(resource, NULL, &present) < 0) fail(record->step, record->index, "prlimit", NULL);
  if (wanted.hard > present.hard) wanted.hard = present.hard;
  if (wanted.soft > wanted.hard) wanted.soft = wanted.hard;
  if (sys_prlimit(resource, &wanted, NULL) < 0) fail(record->step, record->index, "prlimit", NULL);
}

static bool is_user(uint32_t uid, uint32_t gid) {
  uid_t u[3];
  gid_t g[3];
  if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0) return false;
  return u[0] == uid && u[1] == uid && u[2] == uid && g[0] == gid && g[1] == gid && g[2] == gid;
}

// Whether there is no supplementary group to give up.
static bool has_no_group_but(gid_t gid) {
  static gid_t groups[PLAN_GROUPS_MAX];
  int count = getgroups(PLAN_GROUPS_MAX, groups);
  for (int i = 0; i < count; i++) {
    if (groups[i] != gid) return false;
  }
  return count >= 0;
}

// Pipes of the supervisor's, which had no name for this user: now the user may open them again. Without the privilege they are open, and no more.
static void own_streams(const struct run *run, const struct record *record, uid_t uid, gid_t gid) {
  for (int stream = 0; stream < 3; stream++) {
    if (!plan_pipes(&run->plan, (unsigned)stream) || fchown(stream, uid, gid) == 0 || errno == EPERM) continue;
    fail(record->step, record->index, "fchown", NULL);
  }
}

static void become_user(const struct run *run, struct record *record) {
  struct reader *r = &record->payload;
  uint32_t uid = read_u32(r);
  uint32_t gid = read_u32(r);
  bool set_groups = read_u32(r) == 1;
  uint32_t count = read_u32(r);
  static uint32_t groups[PLAN_GROUPS_MAX];
  for (uint32_t i = 0; i < count; i++) groups[i] = read_u32(r);
  if (run->given != NULL && !run->plan.maps_uid) own_streams(run, record, uid, gid);
  // Capabilities outlive the change of uid here and are dropped by their own step, which checks what is left.
  bool kept = prctl(PR_SET_SECUREBITS, SBX_SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0;
  // Inside of a tool there may be no privilege left, and none is needed: the tool has set the user. Without namespaces an ordinary caller has none, nor
  // root in a container without capabilities.
  int error = errno;
  bool powerless = !kept && (run->given != NULL || run->plan.has_domain) && error == EPERM;
  if (powerless && is_user(uid, gid) && (!set_groups || (run->plan.has_domain && count == 0 && has_no_group_but(gid)))) return;
  errno = error;
  if (!kept) fail(record->step, record->index, "prctl(PR_SET_SECUREBITS)", NULL);
  if (set_groups && sys_setgroups(count, groups) < 0) fail(record->step, record->index, "setgroups", NULL);
  if (sys_setresgid(gid) < 0) fail(record->step, record->index, "setresgid", NULL);
  if (sys_setresuid(uid) < 0) fail(record->step, record->index, "setresuid", NULL);
}

static void drop_bounding(const struct record *record, uint64_t keep) {
  for (unsigned capability = 0; capability < 64; capability++) {
    if (keep >> capability & 1) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return;  // past the last one that this kernel knows
    fail(record->step, record->index, "prctl(PR_CAPBSET_DROP)", NULL);
  }
}

// Whether a tool left this process nothing but what it may keep; then there is nothing to drop, nor the privilege to.
static bool has_only(uint64_t keep) {
  uint64_t effective, permitted, inheritable;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) return false;
  if (effective != keep || permitted != keep || inheritable != keep) return false;
  for (int capability = 0; capability < 64; capability++) {
    int bounding = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (bounding == 1 && (keep >> capability & 1) == 0) return false;
  }
  return true;
}

// Without the privilege to empty the bounding set and to lock the securebits. Neither gives anything under no_new_privs, which is set by now: an
// execve(2) permits no more than was permitted before, to uid 0 neither, and that is nothing (capabilities(7)).
static bool give_up_all(void) {
  uint64_t effective, permitted, inheritable;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || sys_capset(0, 0, 0) < 0) return false;
  return sys_capget(&effective, &permitted, &inheritable) == 0 && effective == 0 && permitted == 0 && inheritable == 0;
}

static bool may_drop_bounding(const struct record *record) {
  uint64_t effective, permitted, inheritable;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) fail(record->step, record->index, "capget", NULL);
  return (effective >> SBX_CAP_SETPCAP & 1) != 0;
}

static void keep_capabilities(const struct run *run, struct record *record) {
  uint64_t keep = read_u64(&record->payload);
  if (run->given != NULL && has_only(keep)) return;
  if (run->plan.has_domain && keep == 0 && !may_drop_bounding(record)) {
    if (!give_up_all()) fail(record->step, record->index, "capset", NULL);
    return;
  }
  drop_bounding(record, keep);
  // The securebits need one capability more than may be kept, and the ambient set must come before they lock it.
  uint64_t meanwhile = keep | 1ULL << SBX_CAP_SETPCAP;
  if (sys_capset(meanwhile, meanwhile, keep) < 0) fail(record->step, record->index, "capset", NULL);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_CAP_AMBIENT)", NULL);
  for (unsigned capability = 0; capability < 64; capability++) {
    if ((keep >> capability & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_CAP_AMBIENT)", NULL);
  }
  // With these locked, uid 0 gains nothing at exec, and none of it can be taken back.
  unsigned bits = SBX_SECBIT_NOROOT | SBX_SECBIT_NO_SETUID_FIXUP | SBX_SECBIT_NO_CAP_AMBIENT_RAISE | SBX_SECBIT_LOCKS;
  if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0) fail(record->step, record->index, "prctl(PR_SET_SECUREBITS)", NULL);
  if (sys_capset(keep, keep, keep) < 0) fail(record->step, record->index, "capset", NULL);
  uint64_t effective, permitted, inheritable;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) fail(record->step, record->index, "capget", NULL);
  if (effective != keep || permitted != keep || inheritable != keep) {
    errno = EPERM;
    fail(record->step, record->index, "capget", NULL);
  }
}

static void change_directory(const struct run *run, struct record *record) {
  const char *path = run->directory != NULL ? run->directory : read_string(&record->payload);
  if (chdir(path) < 0) fail(record->step, record->index, "chdir", path);
  // ENOENT: the directory is not below the root ("(unreachable)", getcwd(2)), or was removed. A long path is none the worse.
  char where[PATH_MAX];
  if (getcwd(where, sizeof where) == NULL && errno != ERANGE && errno != ENAMETOOLONG) fail(record->step, record->index, "getcwd", path);
}

static void install_filter(struct record *record) {
  uint32_t flags = read_u32(&record->payload);
  uint32_t count = read_u32(&record->payload);
  static struct sbx_sock_filter filter[PLAN_FILTER_MAX];
  // A copy, because the plan aligns nothing.
  memcpy(filter, read_bytes(&record->payload, (size_t)count * sizeof filter[0]), (size_t)count * sizeof filter[0]);
  uint32_t places = read_u32(&record->payload);
  uint64_t pass = 0;
  if (places > 0 && sys_draw_pass(&pass) < 0) fail(record->step, record->index, "getrandom", NULL);
  // The high half and the low half by turns.
  for (uint32_t i = 0; i < places; i++) filter[read_u32(&record->payload)].k = (uint32_t)(i % 2 == 0 ? pass >> 32 : pass);
  int listener;
  bool installed = notify_install(filter, (uint16_t)count, (flags & PLAN_FILTER_TELLS) != 0, (flags & PLAN_FILTER_ASKS) != 0, &listener);
  if (!installed) fail(record->step, record->index, "seccomp", NULL);
  if (places > 0) sys_use_pass(pass);
  if (listener >= 0 && !report_listener(listener)) fail(record->step, record->index, "sendmsg", NULL);
}

// What kept a program from running, found by looking at it. Only for the message: every answer is still a refusal.
struct diagnosis {
  enum exec_reason reason;
  char interpreter[REPORT_DETAIL_BYTES];
};

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#define OTHER_MACHINE EM_386
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#define OTHER_MACHINE EM_ARM
#else
#error "unknown architecture"
#endif

static void read_script_interpreter(const char *head, size_t length, struct diagnosis *found) {
  size_t start = 2;
  while (start < length && (head[start] == ' ' || head[start] == '\t')) start++;
  size_t end = start;
  while (end < length && strchr(" \t\n\r", head[end]) == NULL && head[end] != '\0') end++;
  size_t size = end - start < sizeof found->interpreter - 1 ? end - start : sizeof found->interpreter - 1;
  memcpy(found->interpreter, head + start, size);
  found->interpreter[size] = '\0';
}

static void read_elf_interpreter(int file, const Elf64_Ehdr *header, struct diagnosis *found) {
  for (unsigned i = 0; i < header->e_phnum && i < 64; i++) {
    Elf64_Phdr segment;
    off_t at = (off_t)(header->e_phoff + (Elf64_Off)i * sizeof segment);
    if (sys_pread(file, &segment, sizeof segment, at) != (ssize_t)sizeof segment) return;
    if (segment.p_type != PT_INTERP) continue;
    size_t size = segment.p_filesz < sizeof found->interpreter - 1 ? (size_t)segment.p_filesz : sizeof found->interpreter - 1;
    ssize_t got = sys_pread(file, found->interpreter, size, (off_t)segment.p_offset);
    found->interpreter[got > 0 ? got : 0] = '\0';
    return;
  }
}

static void diagnose_file(int file, int error, struct diagnosis *found) {
  union {
    char bytes[256];
    Elf64_Ehdr elf;
  } head;
  memset(&head, 0, sizeof head);
  ssize_t length = sys_pread(file, head.bytes, sizeof head.bytes, 0);
  bool script = length > 2 && head.bytes[0] == '#' && head.bytes[1] == '!';
  bool elf = length >= (ssize_t)sizeof head.elf && memcmp(head.bytes, ELFMAG, SELFMAG) == 0;
  if (script) read_script_interpreter(head.bytes, (size_t)length, found);
  if (elf && head.elf.e_ident[EI_CLASS] == ELFCLASS64) read_elf_interpreter(file, &head.elf, found);
  bool foreign = elf && head.elf.e_machine != OWN_MACHINE;
  if (error == ENOENT) found->reason = script || elf ? EXEC_MISSING_INTERPRETER : EXEC_NOT_FOUND;
  else if (error == ENOEXEC) found->reason = foreign ? EXEC_WRONG_ARCHITECTURE : EXEC_NOT_A_PROGRAM;
  // A 32-bit program of this machine's other ABI whose loader is not there.
  if (error == ENOENT && foreign && head.elf.e_machine != OTHER_MACHINE) found->reason = EXEC_WRONG_ARCHITECTURE;
}

static void diagnose(const char *path, int error, struct diagnosis *found) {
  memset(found, 0, sizeof *found);
  found->reason = EXEC_OTHER;
  if (error == ENOENT || error == ENOTDIR) found->reason = EXEC_NOT_FOUND;
  else if (error == EACCES || error == EPERM) found->reason = EXEC_NOT_EXECUTABLE;
  else if (error == ENOEXEC) found->reason = EXEC_NOT_A_PROGRAM;
  else if (error == ETXTBSY) found->reason = EXEC_TEXT_BUSY;
  else if (error == ELOOP) found->reason = EXEC_INTERPRETER_LOOP;
  else if (error == E2BIG || error == ENAMETOOLONG) found->reason = EXEC_TOO_LONG;
  struct stat status;
  if (sys_fstatat(path, &status, 0) < 0) return;
  if (S_ISDIR(status.st_mode)) {
    found->reason = EXEC_DIRECTORY;
    return;
  }
  int file = S_ISREG(status.st_mode) ? sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
  if (file < 0) return;
  diagnose_file(file, error, found);
  (void)sys_close(file);
}

static _Noreturn void fail_exec(uint32_t index, const char *path, int error) {
  struct failure failure;
  struct diagnosis found;
  diagnose(path, error, &found);
  failure_fill(&failure, STEP_EXEC, index, error, "execve", path);
  failure.reason = found.reason;
  memcpy(failure.detail, found.interpreter, sizeof failure.detail);
  fail_with(&failure);
}

static const char *search_path_of(char *const *environment) {
  for (; *environment != NULL; environment++) {
    if (strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

// execvp(3) with the command's own PATH, inside the root: the first that runs wins, a denied one is remembered, and an empty entry is the
// current directory. Unlike there a file that is no program is not given to a shell.
static _Noreturn void exec_searching(const struct run *run, uint32_t index) {
  static char candidate[REPORT_PATH_BYTES];
  static char denied[REPORT_PATH_BYTES];
  const char *name = run->arguments[0];
  const char *path = search_path_of(run->environment);
  size_t name_length = strlen(name);
  denied[0] = '\0';
  for (;;) {
    size_t length = strcspn(path, ":");
    if (length + name_length + 2 <= sizeof candidate) {
      memcpy(candidate, path, length);
      size_t used = length;
      if (used > 0) candidate[used++] = '/';
      memcpy(candidate + used, name, name_length + 1);
      (void)sys_execve(candidate, run->arguments, run->environment);
      struct stat status;
      bool absent = errno == ENOTDIR || errno == ENAMETOOLONG || (errno == ENOENT && sys_fstatat(candidate, &status, AT_SYMLINK_NOFOLLOW) < 0);
      if (errno == EACCES) memcpy(denied, candidate, used + name_length + 1);
      else if (!absent) fail_exec(index, candidate, errno);
    }
    if (path[length] == '\0') break;
    path += length + 1;
  }
  if (denied[0] != '\0') fail_exec(index, denied, EACCES);
  struct failure failure;
  failure_fill(&failure, STEP_EXEC, index, ENOENT, "execve", name);
  failure.reason = EXEC_NOT_FOUND;
  fail_with(&failure);
}

static _Noreturn void execute(const struct run *run, uint32_t index) {
  const char *name = run->arguments[0];
  if (strchr(name, '/') == NULL) exec_searching(run, index);
  (void)sys_execve(name, run->arguments, run->environment);
  fail_exec(index, name, errno);
}

// Where init is not pid 1, its end is not by itself the end of the command. Asked for once no step changes ids or capabilities any more, for such a
// change takes it back (prctl(2)), and before the filter, which need not allow the call.
static void die_with_init(pid_t init) {
  static bool asked;
  if (init == 1 || asked) return;
  asked = true;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) fail(STEP_INIT, NO_INDEX, "prctl(PR_SET_PDEATHSIG)", NULL);
  if (getppid() != init) _exit(EXIT_WITHOUT_INIT);
}

// Where the sandbox was prepared ahead of its command. Init waits too, for this process (CLONE_VFORK), so that nobody else reads the socket.
static void wait_for_call(const struct run *run, int socket_fd) {
  static bool called;
  struct message message;
  ssize_t got;
  int input;
  if (run->call == NULL || called) return;
  do got = message_receive(socket_fd, &message, &input, 0);
  while (got == (ssize_t)sizeof message && message.kind != MESSAGE_CALL);
  if (got < 0) fail(STEP_INIT, NO_INDEX, "recvmsg", NULL);
  // The supervisor is gone.
  if (got != (ssize_t)sizeof message) _exit(EXIT_WITHOUT_INIT);
  called = true;
  if (!run->call->has_input) return;
  // Without a descriptor left for it the command would read nothing, and go on.
  if (input < 0 || dup2(input, STDIN_FILENO) < 0 || close(input) < 0) fail(STEP_DESCRIPTORS, NO_INDEX, "dup2", NULL);
}

static void perform(const struct run *run, pid_t init, int socket_fd, struct record *record) {
  // A filter need not allow it to wait.
  bool last = record->step == STEP_EXEC || (record->step == STEP_SECCOMP && !run->plan.waits_filtered);
  if (last) wait_for_call(run, socket_fd);
  if (record->step == STEP_SECCOMP || record->step == STEP_EXEC) die_with_init(init);
  switch (record->step) {
    case STEP_RLIMIT: set_rlimit(record); break;
    case STEP_UMASK: (void)umask((mode_t)read_u32(&record->payload)); break;
    case STEP_USER: become_user(run, record); break;
    case STEP_CAPABILITIES: keep_capabilities(run, record); break;
    case STEP_CWD: change_directory(run, record); break;
    case STEP_LANDLOCK: landlock_restrict(record); break;
    case STEP_SECCOMP: install_filter(record); break;
    case STEP_EXEC: execute(run, record->index);
    default: break;  // of an earlier phase
  }
}

_Noreturn void command_main(const struct run *run, int socket_fd, pid_t init, int terminal) {
  report_use(socket_fd);
  if (setsid() < 0) fail(STEP_SESSION, NO_INDEX, "setsid", NULL);
  if (terminal >= 0) take_terminal(terminal);
  arrange_descriptors(run, &socket_fd, terminal);
  fresh_keyring(run);
  reset_signals();
  // Before the filter, which an unprivileged process could not install without it; and for every command, whatever the plan says.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(STEP_NO_NEW_PRIVILEGES, NO_INDEX, "prctl(PR_SET_NO_NEW_PRIVS)", NULL);
  (void)umask(022);
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) perform(run, init, socket_fd, &record);
  errno = EINVAL;
  fail(STEP_EXEC, NO_INDEX, "execve", NULL);
}
