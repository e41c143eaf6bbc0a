// Writes plans byte by byte, right or wrong ones.
#ifndef SANDBOXLIB_TEST_BUILDER_H
#define SANDBOXLIB_TEST_BUILDER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../plan.h"

#define BUILDER_BYTES (1u << 17)

struct builder {
  uint8_t bytes[BUILDER_BYTES];
  size_t used;
  size_t record;  // where the open one starts
  uint32_t records;
};

static inline void put_bytes(struct builder *b, const void *bytes, size_t count) {
  if (count > sizeof b->bytes - b->used) abort();
  if (count > 0) memcpy(b->bytes + b->used, bytes, count);
  b->used += count;
}

static inline void put_u32_at(struct builder *b, size_t at, uint32_t value) {
  for (unsigned i = 0; i < 4; i++) b->bytes[at + i] = (uint8_t)(value >> (8 * i));
}

static inline void put_u32(struct builder *b, uint32_t value) {
  put_bytes(b, "\0\0\0\0", 4);
  put_u32_at(b, b->used - 4, value);
}

static inline void put_u64(struct builder *b, uint64_t value) {
  put_u32(b, (uint32_t)value);
  put_u32(b, (uint32_t)(value >> 32));
}

static inline void put_string(struct builder *b, const char *text) {
  put_u32(b, (uint32_t)strlen(text) + 1);
  put_bytes(b, text, strlen(text) + 1);
}

static inline void start_plan(struct builder *b) {
  memset(b, 0, sizeof *b);
  put_bytes(b, "SBXP", 4);
  put_u32(b, PLAN_PROTOCOL);
  put_u32(b, 0);
  put_u32(b, 0);
}

static inline void start_record(struct builder *b, enum step step) {
  b->record = b->used;
  put_u32(b, (uint32_t)step);
  put_u32(b, 0);
  b->records++;
}

static inline void end_record(struct builder *b) { put_u32_at(b, b->record + 4, (uint32_t)(b->used - b->record - 8)); }

static inline void end_plan(struct builder *b) {
  put_u32_at(b, 8, (uint32_t)b->used);
  put_u32_at(b, 12, b->records);
}

// One good record of every kind.
static inline void add_record(struct builder *b, enum step step) {
  start_record(b, step);
  switch (step) {
    case STEP_NAMESPACES: put_u32(b, 0x7e020000u); break;
    case STEP_MAP_IDS:
      put_u32(b, PLAN_MAP_UID);
      put_u32(b, 0);
      put_string(b, "");
      put_u32(b, 1);
      put_u32(b, 0);
      put_u32(b, 1000);
      put_u32(b, 1);
      break;
    case STEP_LIMIT_WALL: put_u64(b, 1000); break;
    case STEP_LIMIT_OUTPUT: put_u64(b, 4096); break;
    case STEP_TERMINATION: put_u32(b, 15), put_u32(b, 2000); break;
    case STEP_TERMINAL: put_u32(b, 80), put_u32(b, 24); break;
    case STEP_DESCRIPTOR: put_u32(b, 4), put_u32(b, 3); break;
    case STEP_CGROUP:
      put_u32(b, PLAN_CGROUP_FLAGS);
      put_u32(b, 1);
      put_string(b, "/sys/fs/cgroup");
      put_u32(b, 1);
      put_u32(b, 0);
      put_string(b, "pids.max");
      put_string(b, "16");
      break;
    case STEP_LIMIT_CPU: put_u64(b, 1000); break;
    case STEP_PIPES: put_u32(b, 7); break;
    case STEP_SAMPLING: put_u64(b, 1000), put_u64(b, 1 << 20), put_u64(b, 16); break;
    case STEP_HOLD: break;
    case STEP_JOIN:
      for (uint32_t i = 0; i < PLAN_POD_NAMESPACES; i++) put_u32(b, 3 + i);
      put_u32(b, 0), put_u32(b, 0);
      break;
    case STEP_HOSTNAME: put_string(b, "sandbox"); break;
    case STEP_DISK: put_string(b, "size=1m,mode=0755"); break;
    case STEP_ROOT:
      put_u32(b, PLAN_ROOT_OVERLAY);
      put_u32(b, 1);
      put_string(b, "/srv/root");
      put_string(b, "size=1m");
      put_u32(b, 1);
      put_u32(b, 1);
      put_string(b, "/etc/hosts");
      break;
    case STEP_MOUNT:
      put_u32(b, PLAN_MOUNT_PROC);
      put_u32(b, PLAN_MOUNT_NOSUID);
      put_u32(b, PLAN_SOURCE_ANY);
      put_string(b, "");
      put_string(b, "/proc");
      put_string(b, "");
      break;
    case STEP_READONLY:
    case STEP_MASK:
    case STEP_CWD: put_string(b, "/tmp"); break;
    case STEP_MKDIR: put_u32(b, 0755), put_string(b, "/etc"); break;
    case STEP_SYMLINK: put_string(b, "usr/bin"), put_string(b, "/bin"); break;
    case STEP_FILE: put_u32(b, 0644), put_string(b, "/etc/hosts"), put_u32(b, 3), put_bytes(b, "abc", 3); break;
    case STEP_SYSCTL: put_string(b, "user/max_user_namespaces"), put_string(b, "0"); break;
    case STEP_BINFMT:
      put_u32(b, 1);
      put_u32(b, 1);
      put_string(b, "arm64");
      put_string(b, "/usr/bin/qemu");
      put_string(b, "POF");
      put_u32(b, 4), put_bytes(b, "\x7f" "ELF", 4);
      put_u32(b, 4), put_bytes(b, "\xff\xff\xff\xff", 4);
      break;
    case STEP_RLIMIT: put_u32(b, 7), put_u64(b, 64), put_u64(b, UINT64_MAX); break;
    case STEP_UMASK: put_u32(b, 022); break;
    case STEP_USER: put_u32(b, 0), put_u32(b, 0), put_u32(b, 1), put_u32(b, 1), put_u32(b, 5); break;
    case STEP_CAPABILITIES: put_u64(b, 0); break;
    case STEP_SECCOMP: put_u32(b, 7), put_u32(b, 1), put_bytes(b, "\x06\0\0\0\0\0\xff\x7f", 8), put_u32(b, 0); break;
    case STEP_LANDLOCK:
      put_u64(b, 12), put_u64(b, 1u << 15), put_u64(b, 3), put_u64(b, 1);
      put_u32(b, 2);
      put_u32(b, PLAN_RULE_PATH), put_u64(b, 4 | 1u << 15), put_string(b, "/usr");
      put_u32(b, PLAN_RULE_PORT), put_u64(b, 2), put_u32(b, 443);
      break;
    case STEP_SOURCE: put_u32(b, 10), put_u32(b, PLAN_SOURCE_DIRECTORY), put_string(b, "/srv"); break;
    case STEP_LAYER: put_string(b, "/srv/layer"); break;
    case STEP_TREE: put_u32(b, PLAN_SOURCE_DIRECTORY), put_string(b, "/srv"); break;
    case STEP_USER_NAMESPACE: put_u32(b, 1000), put_u32(b, 1000); break;
    case STEP_DOMAIN: put_u32(b, PLAN_DOMAIN_SIGNALS); break;
    case STEP_CONTENT: put_u32(b, 11), put_u32(b, 3), put_bytes(b, "abc", 3); break;
    case STEP_TOOL: put_u32(b, 9), put_u32(b, 0), put_u32(b, 1), put_string(b, "/usr/bin/bwrap"), put_u32(b, 1), put_string(b, "LISTEN_PID="); break;
    case STEP_EXEC: put_u32(b, 1), put_string(b, "/bin/true"), put_u32(b, 1), put_string(b, "HOME=/root"); break;
    default: break;  // no payload
  }
  end_record(b);
}

static const enum step builder_steps[] = {
    STEP_NAMESPACES, STEP_MAP_IDS, STEP_MAP_IDS, STEP_LIMIT_WALL, STEP_LIMIT_OUTPUT, STEP_TERMINATION, STEP_TERMINAL, STEP_DESCRIPTOR, STEP_CGROUP, STEP_LIMIT_CPU, STEP_PIPES, STEP_SAMPLING, STEP_HOLD,
    STEP_HOSTNAME,   STEP_LOOPBACK, STEP_DISK, STEP_LAYER, STEP_ROOT, STEP_MOUNT,      STEP_READONLY,     STEP_MASK,        STEP_MKDIR,    STEP_SYMLINK,
    STEP_FILE,       STEP_SYSCTL,  STEP_BINFMT, STEP_PIVOT, STEP_RLIMIT,     STEP_UMASK,        STEP_USER,        STEP_CAPABILITIES, STEP_CWD,
    STEP_LANDLOCK,   STEP_SECCOMP, STEP_EXEC};
#define BUILDER_STEPS (sizeof builder_steps / sizeof builder_steps[0])

// A plan with one of every kind; `starts`, where given, gets where each record starts.
static inline void build_everything(struct builder *b, size_t starts[BUILDER_STEPS]) {
  start_plan(b);
  for (size_t i = 0; i < BUILDER_STEPS; i++) {
    if (starts != NULL) starts[i] = b->used;
    add_record(b, builder_steps[i]);
    // The second one maps gids.
    if (i == 2) put_u32_at(b, b->record + 8, PLAN_MAP_GID);
  }
  end_plan(b);
}

#endif
