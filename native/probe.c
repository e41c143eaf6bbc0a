// `launcher probe`: runs every trial in a throwaway child with a time limit and prints what came of it, one JSON line each. This process
// itself changes nothing but its own signal mask; children are ended by process id, never left behind.
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe_trial.h"

#define TRIAL_SECONDS 5
#define EXIT_PROBE_FAILED 125

struct probe_options probe_options;

struct trial {
  const char *facility;
  unsigned long namespaces;
  probe_body *body;
};

#define USER CLONE_NEWUSER
#define MOUNT CLONE_NEWNS

// As an ordinary caller of the launcher would use them: everything inside a new user namespace.
static const struct trial everyone[] = {
    {"namespace.user", USER, probe_user_namespace},
    {"namespace.mount", USER | MOUNT, probe_mount_namespace},
    {"namespace.pid", USER | CLONE_NEWPID, probe_pid_namespace},
    {"namespace.network", USER | CLONE_NEWNET, probe_network_namespace},
    {"namespace.ipc", USER | CLONE_NEWIPC, probe_ipc_namespace},
    {"namespace.uts", USER | CLONE_NEWUTS, probe_uts_namespace},
    {"namespace.cgroup", USER | CLONE_NEWCGROUP, probe_cgroup_namespace},
    {"namespace.time", USER, probe_time_namespace},
    {"idmap.single", 0, probe_single_mapping},
    {"idmap.setgroups", 0, probe_setgroups},
    {"idmap.ranges", 0, probe_mapped_ranges},
    {"proc.fresh", USER | MOUNT | CLONE_NEWPID, probe_proc},
    {"sysfs", USER | MOUNT | CLONE_NEWNET, probe_sysfs},
    {"devpts", USER | MOUNT, probe_devpts},
    {"mqueue", USER | MOUNT | CLONE_NEWIPC, probe_mqueue},
    {"tmpfs", USER | MOUNT, probe_tmpfs},
    {"overlay", USER | MOUNT, probe_overlay},
    {"overlay.readonly", USER | MOUNT, probe_overlay_readonly},
    {"bind.readonly", USER | MOUNT, probe_bind_readonly},
    {"mount-api", USER | MOUNT, probe_mount_api},
    {"mount_setattr", USER | MOUNT, probe_mount_setattr},
    {"pivot_root", USER | MOUNT, probe_pivot_root},
    {"binfmt_misc", 0, probe_binfmt},
    {"capabilities.ambient", USER, probe_ambient_capabilities},
    {"openat2", 0, probe_openat2},
    {"clone3", 0, probe_clone3},
    {"clone3.cgroup", 0, probe_clone3_cgroup},
    {"pidfd", 0, probe_pidfd},
    {"close_range", 0, probe_close_range},
    {"seccomp.filter", 0, probe_seccomp_filter},
    {"seccomp.notify", 0, probe_seccomp_notify},
    {"seccomp.i386", 0, probe_i386},
    {"landlock", 0, probe_landlock},
    {"landlock.truncate", 0, probe_landlock_truncate},
    {"landlock.tcp", 0, probe_landlock_tcp},
    {"landlock.scope", 0, probe_landlock_scope},
    {"keyring", 0, probe_keyring},
    {"no_new_privs", 0, probe_no_new_privileges},
    {"memfd", 0, probe_memfd},
    {"subreaper", 0, probe_subreaper},
    {"terminal", 0, probe_terminal},
    {"tiocsti", 0, probe_tiocsti},
    {"io_uring", 0, probe_io_uring},
    {"cgroup.memory", 0, probe_cgroup_memory},
    {"cgroup.pids", 0, probe_cgroup_pids},
    {"cgroup.cpu", 0, probe_cgroup_cpu},
    {"cgroup.cpuacct", 0, probe_cgroup_cpuacct},
    {"rlimit.nproc", USER, probe_process_limit},
    {"smaps_rollup", 0, probe_memory_shares},
};

// What only a caller with privilege of its own can do.
static const struct trial root_only[] = {
    {"root.idmap.ranges", 0, probe_foreign_ids},
    {"root.idmapped-mount", 0, probe_idmapped_mount},
};

static void record(struct probe_result *result, bool ok, int error, const char *step) {
  // What failed first is the reason; a later complaint is only its consequence.
  result->reported = true;
  result->ok = ok;
  result->error = error;
  (void)snprintf(result->step, sizeof result->step, "%s", step);
}

bool probe_pass(struct probe_result *result, const char *format, ...) {
  va_list arguments;
  record(result, true, 0, "");
  va_start(arguments, format);
  (void)vsnprintf(result->detail, sizeof result->detail, format, arguments);
  va_end(arguments);
  return true;
}

bool probe_fail(struct probe_result *result, const char *step, const char *format, ...) {
  va_list arguments;
  record(result, false, errno, step);
  va_start(arguments, format);
  (void)vsnprintf(result->detail, sizeof result->detail, format, arguments);
  va_end(arguments);
  return false;
}

bool probe_read_file(const char *path, char *text, size_t size) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  ssize_t length = read(descriptor, text, size - 1);
  int error = errno;
  text[length > 0 ? length : 0] = '\0';
  bool closed = close(descriptor) == 0;
  errno = error;
  return length >= 0 && closed;
}

void probe_end_with(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent) _exit(1);
}

bool probe_wait(struct probe_result *result, const char *step, pid_t child) {
  int status;
  if (waitpid(child, &status, 0) != child) return probe_fail(result, "waitpid", "lost a child");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  errno = 0;
  if (WIFSIGNALED(status)) return probe_fail(result, step, "ended by signal %d", WTERMSIG(status));
  return probe_fail(result, step, "it does not do what it should (status %d)", WEXITSTATUS(status));
}

static void run_child(struct probe_result *result, const struct trial *trial, pid_t parent) {
  probe_end_with(parent);
  // Its own group, so that whatever it starts can be ended with it.
  if (setpgid(0, 0) < 0) _exit(1);
  if (trial->namespaces == 0)
    (void)trial->body(result);
  else
    (void)probe_in_namespaces(result, trial->namespaces, trial->body);
  _exit(0);
}

static bool time_left(const struct timespec *deadline, struct timespec *left) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) < 0) return false;
  left->tv_sec = deadline->tv_sec - now.tv_sec;
  left->tv_nsec = deadline->tv_nsec - now.tv_nsec;
  if (left->tv_nsec < 0) {
    left->tv_sec -= 1;
    left->tv_nsec += 1000000000L;
  }
  return left->tv_sec >= 0;
}

// Waits until the child has ended, without collecting it: until then its number, and that of its group, belong to it. False: too late.
static bool await_end(pid_t child) {
  struct timespec deadline;
  struct timespec left;
  sigset_t ended;
  if (sigemptyset(&ended) < 0 || sigaddset(&ended, SIGCHLD) < 0) return false;
  if (clock_gettime(CLOCK_MONOTONIC, &deadline) < 0) return false;
  deadline.tv_sec += TRIAL_SECONDS;
  for (;;) {
    siginfo_t info;
    (void)memset(&info, 0, sizeof info);
    if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0) return false;
    if (info.si_pid == child) return true;
    if (!time_left(&deadline, &left)) return false;
    if (sigtimedwait(&ended, NULL, &left) < 0 && errno != EAGAIN && errno != EINTR) return false;
  }
}

// ESRCH: nobody but the zombie is left in the group, which some kernels count as nobody.
static bool end_group(pid_t child) { return kill(-child, SIGKILL) == 0 || errno == ESRCH || errno == EPERM; }

static bool run_trial(struct probe_result *result, const struct trial *trial) {
  pid_t self = getpid();
  (void)memset(result, 0, sizeof *result);
  pid_t child = fork();
  if (child < 0) return (void)probe_fail(result, "fork", "no process to try it in"), true;
  if (child == 0) run_child(result, trial, self);
  bool in_time = await_end(child);
  int status;
  if (!end_group(child) || (!in_time && kill(child, SIGKILL) < 0)) return false;
  if (waitpid(child, &status, 0) != child) return false;
  errno = 0;
  if (!in_time)
    (void)probe_fail(result, "timeout", "no answer within %d seconds", TRIAL_SECONDS);
  else if (WIFSIGNALED(status))
    (void)probe_fail(result, "signal", "ended by signal %d", WTERMSIG(status));
  else if (!result->reported)
    (void)probe_fail(result, "child", "ended without a word (status %d)", WEXITSTATUS(status));
  // Orphans of the trial came here, killed: this process is their subreaper.
  while (waitpid(-1, NULL, 0) > 0) continue;
  return errno == ECHILD;
}

static const char *error_name(int error) {
  static const struct {
    int number;
    const char *name;
  } names[] = {{EPERM, "EPERM"},     {ENOENT, "ENOENT"},   {ESRCH, "ESRCH"},     {EINTR, "EINTR"},   {EIO, "EIO"},
               {ENXIO, "ENXIO"},     {E2BIG, "E2BIG"},     {ENOEXEC, "ENOEXEC"}, {EBADF, "EBADF"},   {ECHILD, "ECHILD"},
               {EAGAIN, "EAGAIN"},   {ENOMEM, "ENOMEM"},   {EACCES, "EACCES"},   {EFAULT, "EFAULT"}, {EBUSY, "EBUSY"},
               {EEXIST, "EEXIST"},   {EXDEV, "EXDEV"},     {ENODEV, "ENODEV"},   {ENOTDIR, "ENOTDIR"}, {EISDIR, "EISDIR"},
               {EINVAL, "EINVAL"},   {ENFILE, "ENFILE"},   {EMFILE, "EMFILE"},   {ENOTTY, "ENOTTY"}, {EFBIG, "EFBIG"},
               {ENOSPC, "ENOSPC"},   {ESPIPE, "ESPIPE"},   {EROFS, "EROFS"},     {EMLINK, "EMLINK"}, {EPIPE, "EPIPE"},
               {ERANGE, "ERANGE"},   {ENOSYS, "ENOSYS"},   {ELOOP, "ELOOP"},     {EUSERS, "EUSERS"}, {ENOTSUP, "EOPNOTSUPP"},
               {ENOKEY, "ENOKEY"},   {EDQUOT, "EDQUOT"},   {EOVERFLOW, "EOVERFLOW"}, {ETIMEDOUT, "ETIMEDOUT"},
               {ENAMETOOLONG, "ENAMETOOLONG"}, {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EADDRNOTAVAIL, "EADDRNOTAVAIL"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (names[i].number == error) return names[i].name;
  return NULL;
}

// Details may hold what another program said.
static void escape(const char *text, char *json, size_t size) {
  size_t used = 0;
  for (; *text != '\0' && used + 3 < size; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\') json[used++] = '\\';
    json[used++] = byte >= 0x20 && byte < 0x7f ? *text : '?';
  }
  json[used] = '\0';
}

static int format_error(const struct probe_result *result, char *text, size_t size) {
  const char *name = error_name(result->error);
  if (result->ok) return snprintf(text, size, "%s", "");
  if (result->error == 0) return snprintf(text, size, ",\"step\":\"%s\"", result->step);
  if (name == NULL) return snprintf(text, size, ",\"errno\":\"%d\",\"step\":\"%s\"", result->error, result->step);
  return snprintf(text, size, ",\"errno\":\"%s\",\"step\":\"%s\"", name, result->step);
}

static bool write_all(const char *text, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text += written;
    length -= (size_t)written;
  }
  return true;
}

static bool print(const char *facility, const struct probe_result *result) {
  char detail[2 * sizeof result->detail];
  char error[96];
  char line[1024];
  escape(result->detail, detail, sizeof detail);
  if (format_error(result, error, sizeof error) < 0) return false;
  int length = snprintf(line, sizeof line, "{\"facility\":\"%s\",\"ok\":%s%s,\"detail\":\"%s\"}\n", facility,
                        result->ok ? "true" : "false", error, detail);
  return length > 0 && (size_t)length < sizeof line && write_all(line, (size_t)length);
}

static bool run_trials(struct probe_result *result, const struct trial *trials, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!run_trial(result, &trials[i]) || !print(trials[i].facility, result)) return false;
  return true;
}

static bool parse_number(const char *from, const char *end, char *text, size_t size) {
  size_t length = (size_t)(end - from);
  if (length == 0 || length >= size || strspn(from, "0123456789") < length) return false;
  (void)memcpy(text, from, length);
  text[length] = '\0';
  return true;
}

static bool parse_range(const char *text, struct probe_range *range) {
  const char *colon = strchr(text, ':');
  if (colon == NULL || !parse_number(text, colon, range->start, sizeof range->start)) return false;
  range->given = parse_number(colon + 1, text + strlen(text), range->count, sizeof range->count);
  return range->given;
}

static bool parse_option(const char *name, const char *value) {
  if (strcmp(name, "--subuid") == 0) return parse_range(value, &probe_options.subuid);
  if (strcmp(name, "--subgid") == 0) return parse_range(value, &probe_options.subgid);
  if (value[0] != '/') return false;
  if (strcmp(name, "--newuidmap") == 0) return (probe_options.newuidmap = value) != NULL;
  if (strcmp(name, "--newgidmap") == 0) return (probe_options.newgidmap = value) != NULL;
  if (strcmp(name, "--cgroup-memory") == 0) return (probe_options.cgroup_memory = value) != NULL;
  if (strcmp(name, "--cgroup-pids") == 0) return (probe_options.cgroup_pids = value) != NULL;
  if (strcmp(name, "--cgroup-cpu") == 0) return (probe_options.cgroup_cpu = value) != NULL;
  if (strcmp(name, "--cgroup-cpuacct") == 0) return (probe_options.cgroup_cpuacct = value) != NULL;
  return false;
}

static int refuse_arguments(void) {
  static const char usage[] = "launcher probe: usage: launcher probe [--newuidmap PATH] [--newgidmap PATH] [--subuid START:COUNT] "
                              "[--subgid START:COUNT] [--cgroup-memory DIRECTORY] [--cgroup-pids DIRECTORY] "
                              "[--cgroup-cpu DIRECTORY] [--cgroup-cpuacct DIRECTORY]\n";
  ssize_t written = write(STDERR_FILENO, usage, sizeof usage - 1);
  (void)written;
  return EXIT_PROBE_FAILED;
}

// A caller may have set SIGCHLD to be ignored, which would make children vanish unseen.
static bool prepare(void) {
  struct sigaction standard = {.sa_handler = SIG_DFL};
  sigset_t ended;
  return sigaction(SIGCHLD, &standard, NULL) == 0 && sigemptyset(&ended) == 0 && sigaddset(&ended, SIGCHLD) == 0 &&
         sigprocmask(SIG_BLOCK, &ended, NULL) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
}

int probe_main(int argc, char *const argv[]) {
  for (int i = 0; i < argc; i += 2)
    if (i + 1 >= argc || !parse_option(argv[i], argv[i + 1])) return refuse_arguments();
  struct probe_result *result =
      mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (result == MAP_FAILED || !prepare()) return EXIT_PROBE_FAILED;
  bool ok = run_trials(result, everyone, sizeof everyone / sizeof everyone[0]);
  if (ok && geteuid() == 0) ok = run_trials(result, root_only, sizeof root_only / sizeof root_only[0]);
  if (munmap(result, sizeof *result) < 0) ok = false;
  return ok ? 0 : EXIT_PROBE_FAILED;
}
