// What the trials of `launcher probe` share. A trial runs in a throwaway child, may do there what it likes, and says what came of it in a
// page that it shares with the parent. Nothing it does may outlive the child or be seen from outside: mounts only in a mount namespace of
// its own, settings only on itself.
#ifndef SANDBOXLIB_PROBE_TRIAL_H
#define SANDBOXLIB_PROBE_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uapi.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080  // 5.6; only for unshare(2) and clone3(2): clone(2) has the exit signal there
#endif

struct probe_result {
  bool reported;
  bool ok;
  int error;  // errno; 0 where the failure is not one of a system call
  char step[32];
  char detail[240];
};

typedef bool probe_body(struct probe_result *result);

// Both return what they record, so that a trial ends with `return probe_pass(...)`. probe_fail keeps errno as it stands at the call.
bool probe_pass(struct probe_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool probe_fail(struct probe_result *result, const char *step, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// What the caller passed on the command line for idmap.ranges. Text, because newuidmap(1) takes text; checked to be digits.
struct probe_range {
  bool given;
  char start[12];
  char count[12];
};
struct probe_options {
  const char *cgroup_memory, *cgroup_pids, *cgroup_cpu, *cgroup_cpuacct;  // directories of control groups; NULL: none can be divided
  const char *newuidmap;
  const char *newgidmap;
  struct probe_range subuid;
  struct probe_range subgid;
};
extern struct probe_options probe_options;

// Runs `body` in a child with new namespaces. With CLONE_NEWUSER the ids are mapped first, by the parent, as the launcher does it; with
// CLONE_NEWNS nothing mounted there is seen outside.
bool probe_in_namespaces(struct probe_result *result, unsigned long flags, probe_body *body);

// The same, but `map` maps the ids. It runs in the parent and returns what probe_pass or probe_fail returned, or true with nothing said.
typedef bool probe_map(struct probe_result *result, pid_t child);
bool probe_in_user_namespace(struct probe_result *result, probe_map *map, probe_body *body);

// Every id of the caller as itself for root, else the caller's one id as itself.
bool probe_map_ids(struct probe_result *result, pid_t child);

// Mounts an empty tmpfs in the caller's own mount namespace and makes it the current directory.
bool probe_enter_scratch(struct probe_result *result);

// Reads a small file; false with errno set when it cannot. Text is always ended by NUL.
bool probe_read_file(const char *path, char *text, size_t size);

// In a child just made by `parent`: it ends when that one does, so that no SIGKILL to the launcher leaves it behind. Does not return when
// that has happened already. Not for children in another pid namespace, which do not see their parent.
void probe_end_with(pid_t parent);

// Waits for a child that must exit with status 0.
bool probe_wait(struct probe_result *result, const char *step, pid_t child);

// Namespaces: probe_namespaces.c
bool probe_user_namespace(struct probe_result *result);
bool probe_mount_namespace(struct probe_result *result);
bool probe_pid_namespace(struct probe_result *result);
bool probe_network_namespace(struct probe_result *result);
bool probe_ipc_namespace(struct probe_result *result);
bool probe_uts_namespace(struct probe_result *result);
bool probe_cgroup_namespace(struct probe_result *result);
bool probe_time_namespace(struct probe_result *result);
bool probe_ambient_capabilities(struct probe_result *result);

// Id mappings: probe_idmap.c
bool probe_single_mapping(struct probe_result *result);
bool probe_setgroups(struct probe_result *result);
bool probe_mapped_ranges(struct probe_result *result);
bool probe_foreign_ids(struct probe_result *result);
bool probe_idmapped_mount(struct probe_result *result);

// File systems, each in a mount namespace: probe_mounts.c
bool probe_proc(struct probe_result *result);
bool probe_sysfs(struct probe_result *result);
bool probe_devpts(struct probe_result *result);
bool probe_mqueue(struct probe_result *result);
bool probe_tmpfs(struct probe_result *result);
bool probe_overlay(struct probe_result *result);
bool probe_overlay_readonly(struct probe_result *result);
bool probe_mount_api(struct probe_result *result);
bool probe_mount_setattr(struct probe_result *result);
bool probe_bind_readonly(struct probe_result *result);
bool probe_pivot_root(struct probe_result *result);

// Control groups: probe_cgroup.c
bool probe_cgroup_memory(struct probe_result *result);
bool probe_cgroup_pids(struct probe_result *result);
bool probe_cgroup_cpu(struct probe_result *result);
bool probe_cgroup_cpuacct(struct probe_result *result);

// Bounds without control groups: probe_sampling.c
bool probe_process_limit(struct probe_result *result);
bool probe_memory_shares(struct probe_result *result);

// Formats of programs: probe_binfmt.c
bool probe_binfmt(struct probe_result *result);

// System calls on the child itself: probe_calls.c
bool probe_openat2(struct probe_result *result);
bool probe_clone3(struct probe_result *result);
bool probe_clone3_cgroup(struct probe_result *result);
bool probe_pidfd(struct probe_result *result);
bool probe_close_range(struct probe_result *result);
bool probe_keyring(struct probe_result *result);
bool probe_no_new_privileges(struct probe_result *result);
bool probe_memfd(struct probe_result *result);
bool probe_subreaper(struct probe_result *result);
bool probe_terminal(struct probe_result *result);
bool probe_tiocsti(struct probe_result *result);
bool probe_io_uring(struct probe_result *result);

// Landlock: probe_landlock.c
bool probe_landlock(struct probe_result *result);
bool probe_landlock_truncate(struct probe_result *result);
bool probe_landlock_tcp(struct probe_result *result);
bool probe_landlock_scope(struct probe_result *result);

// Filters: probe_seccomp.c
bool probe_seccomp_filter(struct probe_result *result);
bool probe_seccomp_notify(struct probe_result *result);
bool probe_i386(struct probe_result *result);

#endif
