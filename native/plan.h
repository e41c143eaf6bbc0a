// A plan: a flat list of records, read whole, checked whole, then performed. README.md has the format byte by byte.
#ifndef SANDBOXLIB_PLAN_H
#define SANDBOXLIB_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "steps.h"
#include "uapi.h"

#define PLAN_PROTOCOL 1
#define PLAN_HEADER_BYTES 16
#define PLAN_BYTES_MAX (16u * 1024 * 1024)
#define PLAN_RECORDS_MAX 65536u
#define PLAN_MAPPINGS_MAX 340u     // the kernel's own bound, user_namespaces(7)
#define PLAN_DESCRIPTORS_MAX 256u
#define PLAN_DESCRIPTOR_MAX 65535u  // highest descriptor number that a plan may ask for
#define PLAN_GROUPS_MAX 65536u     // NGROUPS_MAX
#define PLAN_FILTER_MAX 4096u      // BPF_MAXINSNS
#define PLAN_FILTER_DENIES_KEYRINGS 1u
#define PLAN_FILTER_TELLS 2u
#define PLAN_FILTER_ASKS 4u
#define PLAN_RULES_MAX 4096u        // of Landlock
#define PLAN_SOURCES_MAX 4096u
#define PLAN_TREES_MAX 4096u
enum { PLAN_SKELETON_DIRECTORY, PLAN_SKELETON_FILE, PLAN_SKELETON_LIKE, PLAN_SKELETON_CONTENT, PLAN_SKELETON_KINDS };
#define PLAN_CAPTURES_MAX 64u       // with a disk: each takes two descriptors
#define PLAN_LAYERS_MAX 490u        // overlayfs takes 500, and some are ours
// Descriptors that a tool inherits: the way to the supervisor, this program, and from here on the sources that the plan names.
#define PLAN_TOOL_SOCKET 3
#define PLAN_TOOL_LAUNCHER 4
#define PLAN_SOURCE_FIRST 10u
#define PLAN_INPUT_MAX 65536u       // what a relay holds
#define PLAN_CGROUPS_MAX 4u
#define PLAN_CGROUP_FILES_MAX 16u
#define PLAN_FORMATS_MAX 16u
#define PLAN_FORMAT_NAME_MAX 63u
#define PLAN_MAGIC_MAX 128u         // with its mask, written out as \xNN, it fits into one registration
#define PLAN_INTERPRETER_MAX 255u   // BINPRM_BUF_SIZE less the NUL

// Of a pod: the user namespace, in which all others are, and what its apps share in it.
enum { PLAN_POD_USER, PLAN_POD_PID, PLAN_POD_NETWORK, PLAN_POD_IPC, PLAN_POD_UTS, PLAN_POD_CGROUP, PLAN_POD_NAMESPACES };
enum { PLAN_MAP_UID = 0, PLAN_MAP_GID = 1 };
enum { PLAN_ROOT_TMPFS = 0, PLAN_ROOT_BIND = 1, PLAN_ROOT_OVERLAY = 2, PLAN_ROOT_HOST = 3, PLAN_ROOT_CHROOT = 4, PLAN_ROOT_SCRATCH = 5, PLAN_ROOT_CAPTURE = 6 };
enum { PLAN_MOUNT_BIND = 0, PLAN_MOUNT_TMPFS, PLAN_MOUNT_PROC, PLAN_MOUNT_DEVPTS, PLAN_MOUNT_MQUEUE, PLAN_MOUNT_SYSFS, PLAN_MOUNT_TREE, PLAN_MOUNT_DISK, PLAN_MOUNT_OVERLAY, PLAN_MOUNT_KINDS };
// What a control group bounds or counts; UNIFIED: it is one of version 2; VACATE: its parent's
// processes move below it first.
enum { PLAN_CGROUP_MEMORY = 1, PLAN_CGROUP_PIDS = 2, PLAN_CGROUP_PROCESSOR_TIME = 4, PLAN_CGROUP_UNIFIED = 8, PLAN_CGROUP_VACATE = 16, PLAN_CGROUP_FLAGS = 31 };
// INPUT: the command finds something on its descriptor 0. WAITS: the record exec names no command, which comes by an order. FILTERED: the filters
// allow recvmsg(2), dup2(2) and close(2), and are installed before the wait.
enum { PLAN_COLLECT_INPUT = 1, PLAN_COLLECT_WAITS = 2, PLAN_COLLECT_FILTERED = 4, PLAN_COLLECT_FLAGS = 7 };
enum { PLAN_BINFMT_AROUND = 1, PLAN_BINFMT_IF_POSSIBLE = 2, PLAN_BINFMT_FLAGS = 3 };
// Between the fields of a registration with binfmt_misc: nothing that stands in a path.
#define BINFMT_SEPARATOR '\x01'
enum { PLAN_RULE_PATH = 0, PLAN_RULE_PORT = 1 };
// SIGNALS: a domain of Landlock around init and the command, out of which no signal goes.
enum { PLAN_DOMAIN_SIGNALS = 1, PLAN_DOMAIN_FLAGS = 1 };
enum { PLAN_SOURCE_ANY = 0, PLAN_SOURCE_DIRECTORY = 1, PLAN_SOURCE_FILE = 2 };
enum {
  PLAN_MOUNT_READONLY = 1,
  PLAN_MOUNT_RECURSIVE = 2,
  PLAN_MOUNT_NOSUID = 4,
  PLAN_MOUNT_NODEV = 8,
  PLAN_MOUNT_NOEXEC = 16,
  PLAN_MOUNT_CREATE = 32,
  PLAN_MOUNT_IF_EXISTS = 64,
  PLAN_MOUNT_SOURCE_IN_ROOT = 128,
  PLAN_MOUNT_SOURCE_OF_ROOT = 256,
  PLAN_MOUNT_SOURCE_WITHOUT_LINKS = 512,
  PLAN_MOUNT_REMOUNT = 1024,  // of a tmpfs that a tool made: gives it its bounds
  PLAN_MOUNT_CAPTURES = 2048,  // of an overlay: the options are a directory of the host, with the directories of the layer above
  PLAN_MOUNT_FLAGS = 4095
};

// A window on bytes of the plan; `failed` sticks, so that a decoder may check once at its end.
struct reader {
  const uint8_t *at;
  const uint8_t *end;
  bool failed;
};

uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
// Points into the plan; "" after a failure, so that it may always be passed on.
const char *read_string(struct reader *reader);
const uint8_t *read_bytes(struct reader *reader, size_t count);

struct record {
  enum step step;
  uint32_t index;
  struct reader payload;
};

struct plan {
  const uint8_t *bytes;
  size_t length;
  uint32_t records;
  // Found while checking, because they are needed before their record is performed.
  uint32_t namespaces;
  bool has_namespaces;
  uint64_t wall_milliseconds;  // 0: no bound
  uint64_t output_bytes;       // UINT64_MAX: no bound
  uint64_t cpu_milliseconds;   // 0: no bound
  uint64_t sampled_cpu_milliseconds, sampled_memory_bytes, sampled_processes;  // 0: no bound
  bool has_sampling;
  uint32_t cgroups;
  // In place of the parents of the records, in their order; NULL: as the record has it. Not of the plan: compiled_groups.c.
  const char *group_parents[PLAN_CGROUPS_MAX];
  bool counts_processor_time;  // one of them does
  int kill_signal;
  uint32_t grace_milliseconds;
  bool has_terminal;
  bool has_pipes;
  uint32_t pipes;  // bit n: descriptor n, of 0 to 2, reaches the command by a pipe of the supervisor's
  bool collects;         // output goes by the channel, and the caller hears of nothing but the end
  bool has_input;
  bool waits;            // for its command, when all else is done
  bool waits_filtered;   // the filters too
  const uint8_t *input;  // what the command finds on its descriptor 0
  uint32_t input_bytes;
  uint32_t columns, rows;
  bool has_root, denies_keyrings, has_pass, has_listener, asks, has_pivot, has_landlock;
  uint32_t root_kind;  // 0, PLAN_ROOT_TMPFS, where there is none
  bool joins_proc;  // a fresh proc is mounted
  bool has_binfmt, binfmt_around;
  bool has_domain;  // no namespace at all: the command runs in the view of the caller
  bool closes_signals;
  uint32_t uid, gid;
  bool has_user;
  uint32_t become_uid, become_gid;  // ids that init takes in its new user namespace
  bool maps_uid, maps_gid;
  bool holds;  // the namespaces, for others to join
  bool has_join;
  int join[PLAN_POD_NAMESPACES];  // descriptors of namespaces, in the order of the enumeration
  uint32_t descriptors;
  bool error_to_output;  // descriptor 1 becomes 2 as well
  uint32_t argument_count, environment_count;
  // Where another program makes the sandbox, and our init runs inside it.
  bool has_tool;
  uint32_t tool_end_signal;  // 0: none
  bool tool_traces;
  uint32_t tool_argument_count, tool_environment_count;
  uint32_t sources, trees;
  uint32_t layers;  // that no overlay has taken yet
  uint32_t captures;  // where there is a disk
  bool has_disk;
};

struct cursor {
  const struct plan *plan;
  size_t offset;
  uint32_t index;
};

// Whether there is a pipe of the supervisor's between the command and its descriptor `stream`, of 0 to 2: where output is counted, and where the plan
// says so. What a caller gives may be sockets, and no program can open /dev/stdin or /dev/stdout again where they lead to one (ENXIO, open(2)).
bool plan_pipes(const struct plan *plan, unsigned stream);

struct cursor plan_start(const struct plan *plan);
// The next record, false at the end. The plan must have been checked.
bool plan_next(struct cursor *cursor, struct record *record);

// Of a directory on the disk: "mode=0700,uid=1000,gid=1000", where uid and gid may be absent (UINT32_MAX). False for anything else.
struct ownership {
  uint32_t mode, uid, gid;
};
bool plan_ownership(const char *text, struct ownership *ownership);

// Checks the whole plan and fills `plan` in. On failure names the record in `index` and the reason.
bool plan_parse(const uint8_t *bytes, size_t length, struct plan *plan, uint32_t *index, const char **reason);
// The length that a header announces; 0 when it is no header of ours.
uint32_t plan_length(const uint8_t header[PLAN_HEADER_BYTES], const char **reason);

#endif
