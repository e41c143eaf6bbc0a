// Trials of control groups: one is made where a sandbox's would be, bounded, joined by a child, and removed.
#include <errno.h>
#include <string.h>

#include "cgroup.h"
#include "probe_trial.h"

struct attempt {
  const char *file, *value;          // of v1
  const char *unified, *any;         // of v2
};

static bool probe_group(struct probe_result *result, const char *parent, const char *name, const struct attempt *attempt) {
  errno = 0;
  if (parent == NULL) return probe_fail(result, "find", "no tree with the controller %s can be divided", name);
  const char *failed = cgroup_try(parent, attempt->file, attempt->value);
  // The names differ between the versions, and the tree says which it is.
  if (failed != NULL && strcmp(failed, "write") == 0 && errno == ENOENT) failed = cgroup_try(parent, attempt->unified, attempt->any);
  // A group of v2 that holds processes hands no controller on. That it would is what its delegation says; trying it would move them.
  bool occupied = failed != NULL && strcmp(failed, "write") == 0 && errno == ENOENT && cgroup_try(parent, "cgroup.max.depth", "0") == NULL;
  if (occupied) return probe_pass(result, "below %s, when its processes have moved", parent);
  if (failed != NULL) return probe_fail(result, failed, "below %s", parent);
  return probe_pass(result, "below %s", parent);
}

bool probe_cgroup_memory(struct probe_result *result) {
  static const struct attempt attempt = {"memory.limit_in_bytes", "16777216", "memory.max", "16777216"};
  return probe_group(result, probe_options.cgroup_memory, "memory", &attempt);
}

bool probe_cgroup_pids(struct probe_result *result) {
  static const struct attempt attempt = {"pids.max", "16", "pids.max", "16"};
  return probe_group(result, probe_options.cgroup_pids, "pids", &attempt);
}

bool probe_cgroup_cpu(struct probe_result *result) {
  static const struct attempt attempt = {"cpu.cfs_quota_us", "100000", "cpu.max", "100000 100000"};
  return probe_group(result, probe_options.cgroup_cpu, "cpu", &attempt);
}

// Counts by itself. What is written says only that the group is ours to write.
bool probe_cgroup_cpuacct(struct probe_result *result) {
  static const struct attempt attempt = {"cpuacct.usage", "0", "cgroup.max.depth", "0"};
  return probe_group(result, probe_options.cgroup_cpuacct, "cpuacct", &attempt);
}
