// Trials of id mappings: who may be who in a new user namespace (user_namespaces(7)).
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define SBX_MOUNT_ATTR_IDMAP 0x00100000  // 5.12

// The kernel takes a map in one write(2) or not at all.
static bool write_map(pid_t child, const char *file, const char *text) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
  int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  size_t length = strlen(text);
  ssize_t written = write(descriptor, text, length);
  int error = errno;
  bool closed = close(descriptor) == 0;
  errno = error;
  return written == (ssize_t)length && closed;
}

// Every id of the caller's own namespace as itself: the inside column of its own map, twice.
static bool identity_map(const char *file, char *text, size_t size) {
  char own[2048];
  if (!probe_read_file(file, own, sizeof own)) return false;
  size_t used = 0;
  const char *line = own;
  unsigned long inside;
  unsigned long outside;
  unsigned long count;
  int taken = 0;
  text[0] = '\0';
  while (sscanf(line, "%lu %lu %lu%n", &inside, &outside, &count, &taken) == 3) {
    int length = snprintf(text + used, size - used, "%lu %lu %lu\n", inside, inside, count);
    if (length < 0 || (size_t)length >= size - used) return false;
    used += (size_t)length;
    line += taken;
  }
  errno = EINVAL;
  return used > 0;
}

static bool write_identity(pid_t child, const char *file) {
  char own[32];
  char text[2048];
  (void)snprintf(own, sizeof own, "/proc/self/%s", file);
  return geteuid() == 0 && identity_map(own, text, sizeof text) && write_map(child, file, text);
}

static bool write_one(pid_t child, const char *file, unsigned id) {
  char text[32];
  (void)snprintf(text, sizeof text, "%u %u 1\n", id, id);
  return write_map(child, file, text);
}

static bool fail_map(struct probe_result *result, const char *file) {
  if (errno == ENOENT) return probe_fail(result, "map-ids", "/proc does not show %s of the child", file);
  if (errno == EPERM || errno == EACCES)
    return probe_fail(result, "map-ids", "writing %s is refused: this process has no rights over a user namespace of its own",
                      file);
  return probe_fail(result, "map-ids", "cannot write %s", file);
}

static bool map_one_gid(struct probe_result *result, pid_t child) {
  // Without this the kernel refuses gid_map to anyone without CAP_SETGID (3.19).
  if (!write_map(child, "setgroups", "deny")) return fail_map(result, "setgroups");
  return write_one(child, "gid_map", getegid()) || fail_map(result, "gid_map");
}

static bool map_one_id(struct probe_result *result, pid_t child) {
  if (!write_one(child, "uid_map", geteuid())) return fail_map(result, "uid_map");
  return map_one_gid(result, child);
}

bool probe_map_ids(struct probe_result *result, pid_t child) {
  if (!write_identity(child, "uid_map") && !write_one(child, "uid_map", geteuid())) return fail_map(result, "uid_map");
  return write_identity(child, "gid_map") || map_one_gid(result, child);
}

static uid_t outer_uid;
static gid_t outer_gid;

static bool check_single_mapping(struct probe_result *result) {
  errno = 0;
  if (getuid() != outer_uid || getgid() != outer_gid)
    return probe_fail(result, "getuid", "the mapping was accepted and does not hold: uid %u, gid %u", getuid(), getgid());
  return probe_pass(result, "uid and gid, one each");
}

bool probe_single_mapping(struct probe_result *result) {
  outer_uid = geteuid();
  outer_gid = getegid();
  return probe_in_user_namespace(result, map_one_id, check_single_mapping);
}

static bool call_setgroups(struct probe_result *result) {
  uint32_t group = getgid();
  if (sys_setgroups(1, &group) == 0) return probe_pass(result, "setgroups(2) works inside");
  if (errno == EPERM) return probe_pass(result, "denied inside, as the kernel wants it of an ordinary user");
  return probe_fail(result, "setgroups", "refused");
}

bool probe_setgroups(struct probe_result *result) { return probe_in_namespaces(result, CLONE_NEWUSER, call_setgroups); }

// The helper's first line on stderr says why it refused.
static bool fail_helper(struct probe_result *result, const char *step, int status, int output) {
  char text[160];
  ssize_t length = read(output, text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  errno = 0;
  if (WIFEXITED(status)) return probe_fail(result, step, "exit status %d: %s", WEXITSTATUS(status), text);
  return probe_fail(result, step, "ended by signal %d", WTERMSIG(status));
}

static void exec_helper(const char *helper, const char *name, pid_t child, unsigned own, const struct probe_range *range,
                        int output) {
  char pid[16];
  char id[16];
  (void)snprintf(pid, sizeof pid, "%d", (int)child);
  (void)snprintf(id, sizeof id, "%u", own);
  char inside[] = "0";
  char one[] = "1";
  char start[sizeof range->start];
  char count[sizeof range->count];
  (void)memcpy(start, range->start, sizeof start);
  (void)memcpy(count, range->count, sizeof count);
  char program[16];
  (void)snprintf(program, sizeof program, "%s", name);
  char second[] = "1";
  char *const argv[] = {program, pid, inside, id, one, second, start, count, NULL};
  char *const environment[] = {NULL};
  if (dup2(output, STDERR_FILENO) < 0) _exit(127);
  (void)execve(helper, argv, environment);
  (void)dprintf(STDERR_FILENO, "execve: %s", strerror(errno));
  _exit(127);
}

static bool run_helper(struct probe_result *result, const char *step, const char *helper, pid_t child, unsigned own,
                       const struct probe_range *range) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) < 0) return probe_fail(result, "pipe2", "no descriptor");
  pid_t self = getpid();
  pid_t runner = fork();
  // A set-user-ID helper loses this at execve(2); it ends by itself.
  if (runner == 0) probe_end_with(self);
  if (runner == 0) exec_helper(helper, step, child, own, range, output[1]);
  bool closed = close(output[1]) == 0;
  int status = 0;
  bool ended = runner > 0 && waitpid(runner, &status, 0) == runner;
  bool ok = true;
  if (!ended || !closed)
    ok = probe_fail(result, "fork", "cannot run the helper");
  else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    ok = fail_helper(result, step, status, output[0]);
  return close(output[0]) == 0 && ok;
}

static bool map_ranges(struct probe_result *result, pid_t child) {
  return run_helper(result, "newuidmap", probe_options.newuidmap, child, geteuid(), &probe_options.subuid) &&
         run_helper(result, "newgidmap", probe_options.newgidmap, child, getegid(), &probe_options.subgid);
}

static bool become_second_id(struct probe_result *result) {
  if (sys_setgroups(0, NULL) < 0) return probe_fail(result, "setgroups", "inside");
  if (sys_setresgid(1) < 0) return probe_fail(result, "setresgid", "the second id inside");
  if (sys_setresuid(1) < 0) return probe_fail(result, "setresuid", "the second id inside");
  return true;
}

static bool become_mapped_id(struct probe_result *result) {
  return become_second_id(result) &&
         probe_pass(result, "through %s and %s", probe_options.newuidmap, probe_options.newgidmap);
}

bool probe_mapped_ranges(struct probe_result *result) {
  errno = ENOENT;
  if (probe_options.newuidmap == NULL) return probe_fail(result, "newuidmap", "newuidmap(1) is not installed");
  if (probe_options.newgidmap == NULL) return probe_fail(result, "newgidmap", "newgidmap(1) is not installed");
  if (!probe_options.subuid.given) return probe_fail(result, "subuid", "the caller has no range in /etc/subuid");
  if (!probe_options.subgid.given) return probe_fail(result, "subgid", "the caller has no range in /etc/subgid");
  return probe_in_user_namespace(result, map_ranges, become_mapped_id);
}

// Root writes any range itself. In a container it may have the uid and not the capabilities, or not the ids.
static bool map_foreign_ids(struct probe_result *result, pid_t child) {
  static const char map[] = "0 0 1\n1 100000 65536\n";
  if (!write_map(child, "uid_map", map)) return fail_map(result, "uid_map");
  return write_map(child, "gid_map", map) || fail_map(result, "gid_map");
}

static bool become_foreign_id(struct probe_result *result) {
  return become_second_id(result) && probe_pass(result, "written without a helper");
}

bool probe_foreign_ids(struct probe_result *result) {
  return probe_in_user_namespace(result, map_foreign_ids, become_foreign_id);
}

// A user namespace that lives as long as this child, for its map alone.
static void hold_namespace(const int hold[2]) {
  char byte;
  (void)close(hold[1]);
  _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
}

static int open_user_namespace(pid_t holder) {
  char path[64];
  if (!write_map(holder, "uid_map", "0 100000 65536\n") || !write_map(holder, "gid_map", "0 100000 65536\n")) return -1;
  (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)holder);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static bool idmap_scratch(struct probe_result *result, int user_namespace) {
  struct sbx_mount_attr attributes = {.attr_set = SBX_MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace};
  if (mkdir("tree", 0755) < 0) return probe_fail(result, "mkdir", "in the scratch tmpfs");
  int tree = sys_open_tree(AT_FDCWD, "tree", OPEN_TREE_CLONE);
  if (tree < 0) return probe_fail(result, "open_tree", "cannot take a copy of a mount");
  if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes) < 0)
    return probe_fail(result, "mount_setattr", "MOUNT_ATTR_IDMAP on tmpfs");
  struct stat mapped;
  if (fstat(tree, &mapped) < 0) return probe_fail(result, "fstat", "the idmapped mount");
  errno = 0;
  if (mapped.st_uid != 100000) return probe_fail(result, "fstat", "the mount shows uid %u, not 100000", mapped.st_uid);
  return probe_pass(result, "on tmpfs");
}

static bool idmap_mount(struct probe_result *result) {
  int hold[2];
  if (!probe_enter_scratch(result)) return false;
  if (pipe2(hold, O_CLOEXEC) < 0) return probe_fail(result, "pipe2", "no descriptor");
  pid_t holder = sys_clone(CLONE_NEWUSER);
  if (holder < 0) return probe_fail(result, "clone", "no user namespace to map by");
  if (holder == 0) hold_namespace(hold);
  int user_namespace = open_user_namespace(holder);
  if (user_namespace < 0)
    (void)probe_fail(result, "map-ids", "cannot map ids 100000 to 165535");
  else
    (void)idmap_scratch(result, user_namespace);
  if (close(hold[1]) < 0 || !probe_wait(result, "holder", holder)) return false;
  return result->ok;
}

bool probe_idmapped_mount(struct probe_result *result) { return probe_in_namespaces(result, CLONE_NEWNS, idmap_mount); }
