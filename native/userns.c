// Id maps of init's user namespace, written from outside by the supervisor (user_namespaces(7)): directly, or where the caller has only
// subordinate ids by newuidmap(1) and newgidmap(1), which check /etc/subuid and /etc/subgid.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

#define NUMBER_BYTES 12

static bool refuse(struct failure *failure, const struct record *record, const char *syscall, const char *path) {
  failure_fill(failure, record->step, record->index, errno, syscall, path);
  return false;
}

static bool write_file(const char *path, const char *text, size_t length) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t written = write(file, text, length);
  int saved = errno;
  (void)close(file);
  errno = written >= 0 && (size_t)written != length ? EIO : saved;
  return written == (ssize_t)length;
}

static bool write_directly(struct record *record, pid_t pid, bool uids, struct failure *failure) {
  char path[64];
  char text[PLAN_MAPPINGS_MAX * 3 * NUMBER_BYTES];
  size_t used = 0;
  uint32_t count = read_u32(&record->payload);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t inside = read_u32(&record->payload);
    uint32_t outside = read_u32(&record->payload);
    uint32_t size = read_u32(&record->payload);
    int length = snprintf(text + used, sizeof text - used, "%u %u %u\n", inside, outside, size);
    if (length < 0 || (size_t)length >= sizeof text - used) {
      errno = EOVERFLOW;
      return refuse(failure, record, "snprintf", NULL);
    }
    used += (size_t)length;
  }
  (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, uids ? "uid_map" : "gid_map");
  return write_file(path, text, used) || refuse(failure, record, "write", path);
}

// Everything that the helper's process needs, made before the fork.
struct helper {
  char numbers[PLAN_MAPPINGS_MAX * 3 + 1][NUMBER_BYTES];
  char *arguments[PLAN_MAPPINGS_MAX * 3 + 3];
};

static void prepare_helper(struct helper *helper, const char *path, struct record *record, pid_t pid) {
  size_t numbers = 0, arguments = 0;
  helper->arguments[arguments++] = (char *)(uintptr_t)path;
  (void)snprintf(helper->numbers[numbers], NUMBER_BYTES, "%d", (int)pid);
  helper->arguments[arguments++] = helper->numbers[numbers++];
  uint32_t count = read_u32(&record->payload) * 3;
  for (uint32_t i = 0; i < count; i++) {
    (void)snprintf(helper->numbers[numbers], NUMBER_BYTES, "%u", read_u32(&record->payload));
    helper->arguments[arguments++] = helper->numbers[numbers++];
  }
  helper->arguments[arguments] = NULL;
}

static _Noreturn void exec_helper(const struct helper *helper, int said) {
  char *environment[] = {NULL};
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  if (dup2(said, STDERR_FILENO) < 0) _exit(127);
  execve(helper->arguments[0], helper->arguments, environment);
  _exit(127);
}

// What the helper said on stderr becomes the failure's detail: it names the range that it refused.
static void read_said(int said, char *text, size_t size) {
  size_t used = 0;
  while (used + 1 < size) {
    ssize_t got = read(said, text + used, size - 1 - used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    used += (size_t)got;
  }
  text[used] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

static bool write_by_helper(struct record *record, const char *path, pid_t pid, struct failure *failure) {
  static struct helper helper;
  prepare_helper(&helper, path, record, pid);
  int said[2];
  if (pipe2(said, O_CLOEXEC) < 0) return refuse(failure, record, "pipe2", path);
  pid_t child = sys_clone(0);
  if (child == 0) exec_helper(&helper, said[1]);
  int saved = errno;
  (void)close(said[1]);
  errno = saved;
  char text[REPORT_DETAIL_BYTES] = "";
  int status = -1;
  if (child > 0) {
    read_said(said[0], text, sizeof text);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    errno = WIFEXITED(status) && WEXITSTATUS(status) == 127 ? ENOENT : EPERM;
  }
  saved = errno;
  (void)close(said[0]);
  if (child > 0 && status == 0) return true;
  errno = saved;
  (void)refuse(failure, record, child < 0 ? "clone" : "execve", path);
  memcpy(failure->detail, text, sizeof text);
  return false;
}

bool userns_enter(const struct record *record, struct failure *failure) {
  char uids[32], gids[32];
  (void)snprintf(uids, sizeof uids, "0 %u 1", (unsigned)geteuid());
  (void)snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getegid());
  if (unshare(CLONE_NEWUSER) < 0) return refuse(failure, record, "unshare", NULL);
  const struct {
    const char *path;
    const char *text;
  } files[] = {{"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", uids}, {"/proc/self/gid_map", gids}};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    if (!write_file(files[i].path, files[i].text, strlen(files[i].text))) return refuse(failure, record, "write", files[i].path);
  }
  return true;
}

bool map_ids(struct record *record, pid_t pid, struct failure *failure) {
  struct reader *r = &record->payload;
  bool uids = read_u32(r) == PLAN_MAP_UID;
  bool deny = read_u32(r) == 1;
  const char *helper = read_string(r);
  if (deny) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
    if (!write_file(path, "deny", 4)) return refuse(failure, record, "write", path);
  }
  return helper[0] == '\0' ? write_directly(record, pid, uids, failure) : write_by_helper(record, helper, pid, failure);
}

static void map_self(const struct record *record, const char *path, uint32_t inside, uint32_t outside) {
  char text[3 * NUMBER_BYTES];
  int length = snprintf(text, sizeof text, "%u %u 1", inside, outside);
  if (length < 0 || !write_file(path, text, (size_t)length)) fail(record->step, record->index, "write", path);
}

// The mounts and the other namespaces stay those of the user namespace around it: the capabilities that this one brings along say nothing there.
void userns_rename(struct record *record) {
  uint32_t uid = read_u32(&record->payload);
  uint32_t gid = read_u32(&record->payload);
  uint32_t outer_uid = geteuid();
  uint32_t outer_gid = getegid();
  if (unshare(CLONE_NEWUSER) < 0) fail(record->step, record->index, "unshare", NULL);
  // Who writes a gid map alone must give up setgroups(2) first.
  if (!write_file("/proc/self/setgroups", "deny", 4)) fail(record->step, record->index, "write", "/proc/self/setgroups");
  map_self(record, "/proc/self/uid_map", uid, outer_uid);
  map_self(record, "/proc/self/gid_map", gid, outer_gid);
}
