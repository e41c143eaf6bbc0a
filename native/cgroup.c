#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

#define TEXT_BYTES 4096
#define NAME_BYTES 64
#define CHARGED_AT_ONCE (64 * 4096)  // the kernel's MEMCG_CHARGE_BATCH: a charge that fails stops short of the bound by no more
#define LISTED_MAX 256
#define PAUSE_NS 1000000L    // between two tries to remove
#define PATIENT_TRIES 100    // before what is still inside is killed
#define SUPERVISOR_TRIES 5000
#define KEEPER_TRIES 60000

struct group {
  uint32_t index;  // of its record
  uint32_t holds;  // PLAN_CGROUP_*
  uint32_t own;    // processes in it that are not the command's
  const char *parent_path;
  int parent, directory;  // -1: none
  int memory_events, pids_events;
};

static struct {
  struct group groups[PLAN_CGROUPS_MAX];
  size_t count;
  char name[NAME_BYTES];
  pid_t keeper;       // 0: none
  int keeper_leash;  // it acts when this end closes
} self = {.keeper_leash = -1};

static bool is_unified(const struct group *group) { return (group->holds & PLAN_CGROUP_UNIFIED) != 0; }

static void pause_a_moment(void) {
  struct timespec moment = {.tv_sec = 0, .tv_nsec = PAUSE_NS};
  (void)nanosleep(&moment, NULL);
}

static void close_if_open(int *descriptor) {
  if (*descriptor >= 0) (void)close(*descriptor);
  *descriptor = -1;
}

static ssize_t read_text(int directory, const char *file, char text[TEXT_BYTES]) {
  int descriptor = openat(directory, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return -1;
  size_t used = 0;
  ssize_t got = 1;
  while (got > 0 && used < TEXT_BYTES - 1) {
    got = read(descriptor, text + used, TEXT_BYTES - 1 - used);
    if (got < 0 && errno == EINTR) got = 1;
    else if (got > 0) used += (size_t)got;
  }
  (void)close(descriptor);
  text[used] = '\0';
  return got < 0 ? -1 : (ssize_t)used;
}

static bool write_text(int directory, const char *file, const char *text) {
  int descriptor = openat(directory, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return false;
  ssize_t written;
  do written = write(descriptor, text, strlen(text));
  while (written < 0 && errno == EINTR);
  int error = errno;
  (void)close(descriptor);
  errno = error;
  return written == (ssize_t)strlen(text);
}

static int64_t number_at(const char *text) {
  char *end;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  return end == text || errno != 0 || number < 0 ? -1 : (int64_t)number;
}

// The whole file is one number, or, with a key, one of its lines is "key number". -1: it is not there.
static int64_t read_number(int directory, const char *file, const char *key) {
  char text[TEXT_BYTES];
  if (read_text(directory, file, text) <= 0) return -1;
  if (key == NULL) return number_at(text);
  size_t length = strlen(key);
  for (const char *line = text; line != NULL && *line != '\0';) {
    if (strncmp(line, key, length) == 0 && line[length] == ' ') return number_at(line + length + 1);
    line = strchr(line, '\n');
    if (line != NULL) line++;
  }
  return -1;
}

static const struct group *group_that(uint32_t holds) {
  for (size_t i = 0; i < self.count; i++) {
    if ((self.groups[i].holds & holds) != 0 && self.groups[i].directory >= 0) return &self.groups[i];
  }
  return NULL;
}

// A path is the plan's, and a plan may be wrong: nothing is made anywhere but in a tree of control groups.
static int open_parent(const char *path, uint32_t holds) {
  int parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (parent < 0) return -1;
  struct statfs info;
  unsigned long expected = (holds & PLAN_CGROUP_UNIFIED) != 0 ? SBX_CGROUP2_SUPER_MAGIC : SBX_CGROUP_SUPER_MAGIC;
  if (fstatfs(parent, &info) == 0 && (unsigned long)info.f_type == expected) return parent;
  (void)close(parent);
  errno = ENODEV;
  return -1;
}

// Which of those that the group lists are still the same when each has been taken hold of: their numbers cannot be somebody else's by then.
static void kill_members(const struct group *group) {
  if (is_unified(group) && write_text(group->directory, "cgroup.kill", "1")) return;  // Linux 5.14
  char text[TEXT_BYTES];
  int held[LISTED_MAX];
  int64_t pids[LISTED_MAX];
  size_t count = 0;
  if (read_text(group->directory, "cgroup.procs", text) <= 0) return;
  for (const char *line = text; line != NULL && *line != '\0' && count < LISTED_MAX;) {
    pids[count] = number_at(line);
    held[count] = pids[count] <= 0 ? -1 : (int)syscall(SYS_pidfd_open, (pid_t)pids[count], 0);
    if (held[count] >= 0) count++;
    line = strchr(line, '\n');
    if (line != NULL) line++;
  }
  bool listed = read_text(group->directory, "cgroup.procs", text) > 0;
  for (size_t i = 0; i < count; i++) {
    bool same = false;
    for (const char *line = text; listed && line != NULL && *line != '\0';) {
      if (number_at(line) == pids[i]) same = true;
      line = strchr(line, '\n');
      if (line != NULL) line++;
    }
    if (same) (void)syscall(SYS_pidfd_send_signal, held[i], SIGKILL, NULL, 0);
    (void)close(held[i]);
  }
}

// A process leaves its group a moment after it can be waited for no more.
static bool remove_group(const struct group *group, unsigned tries) {
  for (unsigned attempt = 0; attempt < tries; attempt++) {
    if (unlinkat(group->parent, self.name, AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
    if (errno != EBUSY && errno != EINTR) return false;
    if (attempt >= PATIENT_TRIES) kill_members(group);
    pause_a_moment();
  }
  return false;
}

// A process of ours outside of the sandbox that does nothing until the supervisor is gone, and then removes what that could not remove: only so does
// a SIGKILL to it leave no directory behind.
static _Noreturn void keep(int leash) {
  sigset_t all;
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, NULL);
  // Not of the terminal, nor of a group that is signalled as a whole. It is no leader of a group yet, so that this cannot fail.
  (void)setsid();
  (void)close(0);
  (void)close(1);
  (void)close(2);
  int kept[PLAN_CGROUPS_MAX + 1];
  size_t count = 0;
  for (size_t i = 0; i < self.count; i++) kept[count++] = self.groups[i].parent;
  kept[count++] = leash;
  // In ascending order already: they were opened one after another.
  if (!descriptors_close_except(kept, count)) _exit(1);
  char byte;
  ssize_t got;
  do got = read(leash, &byte, 1);
  while (got < 0 && errno == EINTR);
  for (size_t i = 0; i < self.count; i++) {
    struct group *group = &self.groups[i];
    group->directory = openat(group->parent, self.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    (void)remove_group(group, KEEPER_TRIES);
  }
  _exit(0);
}

// Its end sends no signal and is not among what wait4(2) waits for without __WCLONE: whoever waits for "all children" means those of the sandbox.
static bool start_keeper(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  self.keeper = sys_clone_silent();
  if (self.keeper == 0) {
    (void)close(ends[1]);
    keep(ends[0]);
  }
  (void)close(ends[0]);
  self.keeper_leash = ends[1];
  return self.keeper > 0;
}

static bool name_groups(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) < 0) return false;
  (void)snprintf(self.name, sizeof self.name, "sandboxlib-%llx%08lx-%d", (unsigned long long)now.tv_sec, now.tv_nsec, (int)getpid());
  return true;
}

static bool refuse(struct failure *failure, const struct group *group, const char *file, const char *syscall) {
  char path[PATH_MAX];
  int error = errno;
  (void)snprintf(path, sizeof path, "%s%s%s%s%s", group->parent_path, self.name[0] == '\0' ? "" : "/", self.name, file == NULL ? "" : "/",
                 file == NULL ? "" : file);
  failure_fill(failure, STEP_CGROUP, group->index, error, syscall, path);
  return false;
}

// A file tells again only when it has been read, a counter too.
static void read_away(int descriptor) {
  char text[TEXT_BYTES];
  ssize_t got;
  (void)lseek(descriptor, 0, SEEK_SET);
  do got = read(descriptor, text, sizeof text);
  while (got < 0 && errno == EINTR);
}

// v1 tells of memory by an event counter that is registered; v2 by a poll(2) of the file itself.
static const char *watch_memory(struct group *group) {
  if (is_unified(group)) {
    group->memory_events = openat(group->directory, "memory.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (group->memory_events >= 0) read_away(group->memory_events);
    return group->memory_events < 0 ? "memory.events" : NULL;
  }
  int counter = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int control = openat(group->directory, "memory.oom_control", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  char text[32];
  (void)snprintf(text, sizeof text, "%d %d", counter, control);
  bool registered = counter >= 0 && control >= 0 && write_text(group->directory, "cgroup.event_control", text);
  int error = errno;
  close_if_open(&control);
  errno = error;
  group->memory_events = counter;
  return registered ? NULL : "cgroup.event_control";
}

static const char *watch_pids(struct group *group) {
  group->pids_events = openat(group->directory, "pids.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (group->pids_events >= 0) read_away(group->pids_events);
  return group->pids_events < 0 ? "pids.events" : NULL;
}

// Where the processes of a parent go that hands its controllers on. It stays: they live there from then on.
#define CALLERS "sandboxlib-callers"
#define VACATE_TRIES 1000

// One at a time, by the same text that the kernel lists: it may be many processes, and each moves only once.
static const char *move_members(const struct group *group, int callers) {
  char text[TEXT_BYTES];
  if (read_text(group->parent, "cgroup.procs", text) < 0) return "read(cgroup.procs)";
  for (char *line = text; *line != '\0';) {
    char *end = strchr(line, '\n');
    if (end == NULL) break;
    *end = '\0';
    // ESRCH: it has ended meanwhile.
    if (!write_text(callers, "cgroup.procs", line) && errno != ESRCH) return "write(cgroup.procs)";
    line = end + 1;
  }
  return NULL;
}

// Other callers may be doing the same, and what they start may be born here still: EBUSY until the last has moved.
static const char *vacate(const struct group *group) {
  if (mkdirat(group->parent, CALLERS, 0755) < 0 && errno != EEXIST) return "mkdirat";
  int callers = openat(group->parent, CALLERS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (callers < 0) return "openat";
  const char *failed = "write(cgroup.subtree_control)";
  for (unsigned attempt = 0; attempt < VACATE_TRIES && failed != NULL; attempt++) {
    failed = move_members(group, callers);
    if (failed != NULL) break;
    if (!write_text(group->parent, "cgroup.subtree_control", "+memory +pids")) failed = "write(cgroup.subtree_control)";
    if (failed != NULL && errno != EBUSY) break;
  }
  // Not every host has it to hand on; a plan that needs it names a file of it.
  if (failed == NULL) (void)write_text(group->parent, "cgroup.subtree_control", "+cpu");
  int error = errno;
  (void)close(callers);
  errno = error;
  return failed;
}

static bool make_group(struct group *group, struct record *record, struct failure *failure) {
  const char *occupied = (group->holds & PLAN_CGROUP_VACATE) != 0 ? vacate(group) : NULL;
  if (occupied != NULL) return refuse(failure, group, CALLERS, occupied);
  if (mkdirat(group->parent, self.name, 0755) < 0) return refuse(failure, group, NULL, "mkdirat");
  group->directory = openat(group->parent, self.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (group->directory < 0) return refuse(failure, group, NULL, "openat");
  uint32_t count = read_u32(&record->payload);
  for (uint32_t i = 0; i < count; i++) {
    bool optional = read_u32(&record->payload) != 0;
    const char *file = read_string(&record->payload);
    const char *value = read_string(&record->payload);
    if (write_text(group->directory, file, value) || (optional && errno == ENOENT)) continue;
    return refuse(failure, group, file, "write");
  }
  const char *unwatched = (group->holds & PLAN_CGROUP_MEMORY) != 0 ? watch_memory(group) : NULL;
  if (unwatched == NULL && (group->holds & PLAN_CGROUP_PIDS) != 0) unwatched = watch_pids(group);
  return unwatched == NULL || refuse(failure, group, unwatched, "open");
}

static bool open_groups(const struct plan *plan, struct failure *failure) {
  struct cursor cursor = plan_start(plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_CGROUP) continue;
    struct group *group = &self.groups[self.count];
    *group = (struct group){.index = record.index, .parent = -1, .directory = -1, .memory_events = -1, .pids_events = -1};
    group->holds = read_u32(&record.payload);
    group->own = read_u32(&record.payload);
    group->parent_path = read_string(&record.payload);
    if (plan->group_parents[self.count] != NULL) group->parent_path = plan->group_parents[self.count];
    group->parent = open_parent(group->parent_path, group->holds);
    if (group->parent < 0) return refuse(failure, group, NULL, "open");
    self.count++;
  }
  return true;
}

bool cgroups_make(const struct plan *plan, struct failure *failure) {
  if (!open_groups(plan, failure)) return false;
  if (self.count == 0) return true;
  if (!name_groups()) return refuse(failure, &self.groups[0], NULL, "clock_gettime");
  // Before there is anything to remove.
  if (!start_keeper()) return refuse(failure, &self.groups[0], NULL, "clone");
  struct cursor cursor = plan_start(plan);
  struct record record;
  size_t next = 0;
  while (plan_next(&cursor, &record)) {
    if (record.step != STEP_CGROUP) continue;
    (void)read_u32(&record.payload);
    (void)read_u32(&record.payload);
    (void)read_string(&record.payload);
    if (!make_group(&self.groups[next++], &record, failure)) return false;
  }
  return true;
}

bool cgroups_join(pid_t process, struct failure *failure) {
  char text[16];
  (void)snprintf(text, sizeof text, "%d", (int)process);
  for (size_t i = 0; i < self.count; i++) {
    if (!write_text(self.groups[i].directory, "cgroup.procs", text)) return refuse(failure, &self.groups[i], "cgroup.procs", "write");
  }
  return true;
}

size_t cgroups_poll(struct pollfd *entries) {
  size_t count = 0;
  for (size_t i = 0; i < self.count; i++) {
    const struct group *group = &self.groups[i];
    short events = is_unified(group) ? POLLPRI : POLLIN;
    if (group->memory_events >= 0) entries[count++] = (struct pollfd){.fd = group->memory_events, .events = events};
    if (group->pids_events >= 0 && is_unified(group)) entries[count++] = (struct pollfd){.fd = group->pids_events, .events = POLLPRI};
  }
  return count;
}

// pids.events of v1 exists and never tells (Linux 6.11 and later: the kernel notifies another file).
bool cgroups_need_asking(void) {
  const struct group *pids = group_that(PLAN_CGROUP_PIDS);
  return pids != NULL && !is_unified(pids);
}

bool cgroups_told(const struct pollfd *entries, size_t count) {
  bool told = false;
  for (size_t i = 0; i < count; i++) {
    if (entries[i].revents == 0) continue;
    read_away(entries[i].fd);
    told = true;
  }
  return told;
}

// A kill for want of memory counts, whoever is short of it: the host's own want, and that of a group around, are no bound of this group's.
static bool memory_met(const struct group *group) {
  if (is_unified(group))
    return read_number(group->directory, "memory.events", "oom_kill") > 0 && read_number(group->directory, "memory.events", "oom") > 0;
  if (read_number(group->directory, "memory.oom_control", "oom_kill") <= 0) return false;
  // memory.failcnt stays 0 on some kernels (6.18).
  int64_t bound = read_number(group->directory, "memory.limit_in_bytes", NULL);
  int64_t peak = read_number(group->directory, "memory.max_usage_in_bytes", NULL);
  return bound >= 0 && peak >= bound - CHARGED_AT_ONCE;
}

enum end_cause cgroups_met(void) {
  const struct group *memory = group_that(PLAN_CGROUP_MEMORY);
  if (memory != NULL && memory_met(memory)) return CAUSE_MEMORY;
  const struct group *pids = group_that(PLAN_CGROUP_PIDS);
  if (pids != NULL && read_number(pids->directory, "pids.events", "max") > 0) return CAUSE_PIDS;
  return CAUSE_COMMAND;
}

bool cgroups_processor_time(int64_t *user_us, int64_t *system_us) {
  const struct group *group = group_that(PLAN_CGROUP_PROCESSOR_TIME);
  if (group == NULL) return false;
  if (is_unified(group)) {
    *user_us = read_number(group->directory, "cpu.stat", "user_usec");
    *system_us = read_number(group->directory, "cpu.stat", "system_usec");
  } else {
    *user_us = read_number(group->directory, "cpuacct.usage_user", NULL) / 1000;
    *system_us = read_number(group->directory, "cpuacct.usage_sys", NULL) / 1000;
  }
  return *user_us >= 0 && *system_us >= 0;
}

int64_t cgroups_memory_peak(void) {
  const struct group *group = group_that(PLAN_CGROUP_MEMORY);
  if (group == NULL) return -1;
  return read_number(group->directory, is_unified(group) ? "memory.peak" : "memory.max_usage_in_bytes", NULL);
}

int64_t cgroups_pids_peak(void) {
  const struct group *group = group_that(PLAN_CGROUP_PIDS);
  int64_t peak = group == NULL ? -1 : read_number(group->directory, "pids.peak", NULL);
  // None at all where the sandbox failed before there was a command.
  return peak < (int64_t)(group == NULL ? 0 : group->own) ? -1 : peak - (int64_t)group->own;
}

pid_t cgroups_keeper(void) { return self.keeper; }

static void close_group(struct group *group) {
  close_if_open(&group->memory_events);
  close_if_open(&group->pids_events);
  close_if_open(&group->directory);
  close_if_open(&group->parent);
}

void cgroups_forget(void) {
  for (size_t i = 0; i < self.count; i++) close_group(&self.groups[i]);
  self.count = 0;
  close_if_open(&self.keeper_leash);
}

static void end_keeper(void) {
  if (self.keeper <= 0) return;
  (void)kill(self.keeper, SIGKILL);
  while (waitpid(self.keeper, NULL, (int)__WCLONE) < 0 && errno == EINTR) continue;
  self.keeper = 0;
  close_if_open(&self.keeper_leash);
}

void cgroups_remove(void) {
  bool removed = true;
  for (size_t i = 0; i < self.count; i++) {
    struct group *group = &self.groups[i];
    if (self.name[0] != '\0' && !remove_group(group, SUPERVISOR_TRIES)) removed = false;
    close_group(group);
  }
  self.count = 0;
  // What resists it goes on trying when we are gone.
  if (removed) end_keeper();
}

// By a child, which ends there: a group whose parent may hold no process itself (v2) cannot be left again.
static const char *try_inside(int parent, const char *name, const char *file, const char *value) {
  int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (directory < 0) return "openat";
  const char *failed = write_text(directory, file, value) ? NULL : "write";
  pid_t child = failed == NULL ? sys_clone(0) : -1;
  if (child == 0) _exit(write_text(directory, "cgroup.procs", "0") ? 0 : errno);
  if (failed == NULL && child < 0) failed = "clone";
  int error = errno;
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (status != 0) {
    failed = "write(cgroup.procs)";
    error = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  }
  (void)close(directory);
  errno = error;
  return failed;
}

const char *cgroup_try(const char *parent_path, const char *file, const char *value) {
  struct group group = {.holds = PLAN_CGROUP_UNIFIED, .parent_path = parent_path, .directory = -1};
  group.parent = open_parent(parent_path, group.holds);
  if (group.parent < 0 && errno == ENODEV) group.parent = open_parent(parent_path, group.holds = 0);
  if (group.parent < 0) return "open";
  if (!name_groups()) return "clock_gettime";
  if (mkdirat(group.parent, self.name, 0755) < 0) return "mkdirat";
  const char *failed = try_inside(group.parent, self.name, file, value);
  int error = errno;
  if (!remove_group(&group, PATIENT_TRIES) && failed == NULL) failed = "rmdir";
  else errno = error;
  return failed;
}
