// Reads and checks plans. Pure: no system call, no allocation, nothing global; this is what the fuzzer runs.
#include "plan.h"

#include <limits.h>
#include <string.h>

#include "filter.h"

#define AS_CASE(name, number, text) \
  case STEP_##name:                 \
    return text;
const char *step_name(enum step step) {
  switch (step) { RECORD_STEPS(AS_CASE) FIXED_STEPS(AS_CASE) }
  return "unknown";
}
#undef AS_CASE

static const uint8_t *take(struct reader *reader, size_t count) {
  if (reader->failed || (size_t)(reader->end - reader->at) < count) {
    reader->failed = true;
    return NULL;
  }
  const uint8_t *bytes = reader->at;
  reader->at += count;
  return bytes;
}

static uint32_t decode_u32(const uint8_t *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint32_t read_u32(struct reader *reader) {
  const uint8_t *bytes = take(reader, 4);
  return bytes == NULL ? 0 : decode_u32(bytes);
}

uint64_t read_u64(struct reader *reader) {
  uint64_t low = read_u32(reader);
  uint64_t high = read_u32(reader);
  return high << 32 | low;
}

const uint8_t *read_bytes(struct reader *reader, size_t count) { return take(reader, count); }

const char *read_string(struct reader *reader) {
  uint32_t length = read_u32(reader);
  const uint8_t *bytes = length == 0 ? NULL : take(reader, length);
  if (bytes == NULL || memchr(bytes, 0, length) != bytes + length - 1) {
    reader->failed = true;
    return "";
  }
  return (const char *)bytes;
}

uint32_t plan_length(const uint8_t header[PLAN_HEADER_BYTES], const char **reason) {
  if (memcmp(header, "SBXP", 4) != 0) {
    *reason = "not a plan";
    return 0;
  }
  if (decode_u32(header + 4) != PLAN_PROTOCOL) {
    *reason = "a plan of another protocol: library and launcher are of different versions";
    return 0;
  }
  uint32_t length = decode_u32(header + 8);
  if (length < PLAN_HEADER_BYTES || length > PLAN_BYTES_MAX) {
    *reason = "length out of range";
    return 0;
  }
  return length;
}

bool plan_pipes(const struct plan *plan, unsigned stream) {
  if (plan->has_terminal) return false;
  return (plan->pipes >> stream & 1) != 0 || (stream > 0 && plan->output_bytes != UINT64_MAX);
}

struct cursor plan_start(const struct plan *plan) {
  return (struct cursor){.plan = plan, .offset = PLAN_HEADER_BYTES, .index = 0};
}

bool plan_next(struct cursor *cursor, struct record *record) {
  const struct plan *plan = cursor->plan;
  if (cursor->index >= plan->records || plan->length - cursor->offset < 8) return false;
  const uint8_t *head = plan->bytes + cursor->offset;
  uint32_t type = (uint32_t)head[0] | (uint32_t)head[1] << 8;
  uint32_t length = decode_u32(head + 4);
  if (head[2] != 0 || head[3] != 0 || length > plan->length - cursor->offset - 8) return false;
  record->step = (enum step)type;
  record->index = cursor->index;
  record->payload = (struct reader){.at = head + 8, .end = head + 8 + length, .failed = false};
  cursor->offset += 8 + (size_t)length;
  cursor->index++;
  return true;
}

// One function for each kind of record: reads all of it and says what is wrong with the values, NULL when nothing is. Whether every byte was
// there, and none too many, is checked once by the caller.

#define NEW_MOUNT 0x00020000u
#define NEW_USER 0x10000000u
#define NEW_PID 0x20000000u
#define NAMESPACE_FLAGS (0x00020000u | 0x02000000u | 0x04000000u | 0x08000000u | 0x10000000u | 0x20000000u | 0x40000000u)

// What is held for others: all but the mounts.
#define POD_NAMESPACES (NAMESPACE_FLAGS & ~NEW_MOUNT)

static const char *check_namespaces(struct plan *plan, struct reader *r) {
  if (plan->has_namespaces) return "more than one namespaces record";
  plan->has_namespaces = true;
  plan->namespaces = read_u32(r);
  if ((plan->namespaces & ~NAMESPACE_FLAGS) != 0) return "unknown namespace flags";
  return NULL;
}

static const char *check_map_ids(struct plan *plan, struct reader *r) {
  uint32_t kind = read_u32(r);
  if (kind > PLAN_MAP_GID) return "unknown kind of ids";
  if (read_u32(r) > 1) return "setgroups is neither 0 nor 1";
  const char *helper = read_string(r);
  if (helper[0] != '\0' && helper[0] != '/') return "the helper's path is not absolute";
  uint32_t count = read_u32(r);
  if (count == 0 || count > PLAN_MAPPINGS_MAX) return "number of id mappings out of range";
  bool *seen = kind == PLAN_MAP_UID ? &plan->maps_uid : &plan->maps_gid;
  if (*seen) return "ids mapped twice";
  *seen = true;
  uint32_t become = UINT32_MAX;
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    uint32_t inside = read_u32(r);
    uint32_t outside = read_u32(r);
    uint32_t size = read_u32(r);
    if (size == 0 || inside > UINT32_MAX - size || outside > UINT32_MAX - size) return "id mapping out of range";
    if (i == 0 || inside == 0) become = inside;
  }
  if (kind == PLAN_MAP_UID) plan->become_uid = become;
  else plan->become_gid = become;
  return NULL;
}

static const char *check_limit_wall(struct plan *plan, struct reader *r) {
  plan->wall_milliseconds = read_u64(r);
  if (plan->wall_milliseconds == 0 || plan->wall_milliseconds > (uint64_t)INT64_MAX / 1000000) return "wall clock bound out of range";
  return NULL;
}

static const char *check_limit_output(struct plan *plan, struct reader *r) {
  plan->output_bytes = read_u64(r);
  return plan->output_bytes == UINT64_MAX ? "output bound out of range" : NULL;
}

static const char *check_termination(struct plan *plan, struct reader *r) {
  uint32_t signal = read_u32(r);
  if (signal == 0 || signal > 64) return "signal out of range";
  plan->kill_signal = (int)signal;
  plan->grace_milliseconds = read_u32(r);
  return NULL;
}

static const char *check_terminal(struct plan *plan, struct reader *r) {
  plan->has_terminal = true;
  plan->columns = read_u32(r);
  plan->rows = read_u32(r);
  if (plan->columns > UINT16_MAX || plan->rows > UINT16_MAX) return "terminal size out of range";
  return NULL;
}

static const char *check_pipes(struct plan *plan, struct reader *r) {
  if (plan->has_pipes) return "more than one pipes record";
  plan->has_pipes = true;
  plan->pipes = read_u32(r);
  return plan->pipes > 7 ? "pipes for other streams than 0, 1 and 2" : NULL;
}

static const char *check_descriptor(struct plan *plan, struct reader *r) {
  uint32_t from = read_u32(r);
  uint32_t to = read_u32(r);
  if (from == 1 && to == 2) {
    plan->error_to_output = true;
    return NULL;
  }
  if (from < 3 || to < 3 || from > PLAN_DESCRIPTOR_MAX || to > PLAN_DESCRIPTOR_MAX) return "descriptor out of range";
  if (++plan->descriptors > PLAN_DESCRIPTORS_MAX) return "too many descriptors";
  return NULL;
}

static const char *check_hold(struct plan *plan, struct reader *r) {
  (void)r;
  if (plan->holds) return "more than one hold record";
  plan->holds = true;
  return NULL;
}

static const char *check_join(struct plan *plan, struct reader *r) {
  if (plan->has_join) return "more than one join record";
  plan->has_join = true;
  for (int i = 0; i < PLAN_POD_NAMESPACES; i++) {
    uint32_t from = read_u32(r);
    if (from < 3 || from > PLAN_DESCRIPTOR_MAX) return "descriptor of a namespace out of range";
    plan->join[i] = (int)from;
  }
  plan->become_uid = read_u32(r);
  plan->become_gid = read_u32(r);
  return plan->become_uid == UINT32_MAX || plan->become_gid == UINT32_MAX ? "id out of range" : NULL;
}

// Of a tree that is there by then: its place among them, in decimal.
static bool names_tree(const struct plan *plan, const char *text) {
  uint32_t number = 0;
  size_t digits = 0;
  for (; text[digits] >= '0' && text[digits] <= '9' && digits < 5; digits++) number = number * 10 + (uint32_t)(text[digits] - '0');
  return digits > 0 && text[digits] == '\0' && number < plan->trees;
}

// `name`, then a number to the base of 8 or 10, then the end or a comma, which is skipped.
static bool take_number(const char **text, const char *name, uint32_t base, uint32_t max, uint32_t *value) {
  size_t length = strlen(name);
  if (strncmp(*text, name, length) != 0) return false;
  const char *at = *text + length;
  uint64_t number = 0;
  const char *first = at;
  for (; *at >= '0' && (uint32_t)(*at - '0') < base && at - first < 11; at++) number = number * base + (uint32_t)(*at - '0');
  if (at == first || number > max || (*at != '\0' && *at != ',')) return false;
  *value = (uint32_t)number;
  *text = *at == ',' ? at + 1 : at;
  return *at == '\0' || at[1] != '\0';
}

bool plan_ownership(const char *text, struct ownership *ownership) {
  ownership->uid = ownership->gid = UINT32_MAX;
  if (!take_number(&text, "mode=", 8, 01777, &ownership->mode)) return false;
  if (*text == '\0') return true;
  if (!take_number(&text, "uid=", 10, UINT32_MAX - 1, &ownership->uid)) return false;
  return take_number(&text, "gid=", 10, UINT32_MAX - 1, &ownership->gid) && *text == '\0';
}

static bool is_absolute(const char *path) { return path[0] == '/'; }

static const char *check_hostname(struct plan *plan, struct reader *r) {
  (void)plan;
  size_t length = strlen(read_string(r));
  return length == 0 || length > 64 ? "hostname length out of range" : NULL;
}

// In memory: bounds of its own, or none where it is a part of the disk.
static const char *check_layer_above(struct plan *plan, bool captured, const char *options) {
  if (captured && !is_absolute(options)) return "the directory of the layer above is not absolute";
  if (captured && plan->has_disk && ++plan->captures > PLAN_CAPTURES_MAX) return "too many captures with a disk";
  if (!captured && options[0] == '\0' && !plan->has_disk) return "a part of a disk that is not there";
  return NULL;
}

// Those below the source of the overlay that follows, the uppermost first.
static const char *check_layer(struct plan *plan, struct reader *r) {
  if (++plan->layers > PLAN_LAYERS_MAX) return "too many layers";
  return is_absolute(read_string(r)) ? NULL : "the layer is not absolute";
}

static bool take_layers(struct plan *plan) {
  bool any = plan->layers > 0;
  plan->layers = 0;
  return any;
}

static const char *check_root(struct plan *plan, struct reader *r) {
  if (plan->has_root) return "more than one root";
  plan->has_root = true;
  uint32_t kind = read_u32(r);
  if (kind > PLAN_ROOT_CAPTURE) return "unknown kind of root";
  plan->root_kind = kind;
  bool is_overlay = kind == PLAN_ROOT_OVERLAY || kind == PLAN_ROOT_SCRATCH || kind == PLAN_ROOT_CAPTURE;
  uint32_t layers = plan->layers;
  if (take_layers(plan) && !is_overlay) return "layers of what is no overlay";
  if (read_u32(r) > 1) return "unknown flags of the root";
  const char *source = read_string(r);
  if (kind != PLAN_ROOT_TMPFS && !is_absolute(source)) return "the root's source is not absolute";
  const char *options = read_string(r);
  if (kind == PLAN_ROOT_SCRATCH || kind == PLAN_ROOT_CAPTURE) {
    const char *reason = check_layer_above(plan, kind == PLAN_ROOT_CAPTURE, options);
    if (reason != NULL) return reason;
  }
  uint32_t count = read_u32(r);
  if (count > PLAN_RECORDS_MAX) return "skeleton too large";
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    uint32_t entry = read_u32(r);
    if (entry >= PLAN_SKELETON_KINDS) return "unknown kind in the skeleton";
    if (!is_absolute(read_string(r))) return "a path of the skeleton is not absolute";
    if (entry == PLAN_SKELETON_LIKE && read_u32(r) > layers) return "a directory of the skeleton is like one of a layer that is not there";
    if (entry == PLAN_SKELETON_CONTENT) (void)read_bytes(r, read_u32(r));
  }
  return NULL;
}

static const char *check_mount(struct plan *plan, struct reader *r) {
  uint32_t kind = read_u32(r);
  uint32_t flags = read_u32(r);
  uint32_t source_kind = read_u32(r);
  const char *source = read_string(r);
  const char *destination = read_string(r);
  const char *options = read_string(r);
  if (kind >= PLAN_MOUNT_KINDS) return "unknown kind of mount";
  if ((flags & ~(uint32_t)PLAN_MOUNT_FLAGS) != 0) return "unknown mount flags";
  if (source_kind > PLAN_SOURCE_FILE) return "unknown kind of source";
  if (kind == PLAN_MOUNT_BIND && !is_absolute(source)) return "the source is not absolute";
  if (kind == PLAN_MOUNT_TREE && !names_tree(plan, source)) return "no such tree";
  struct ownership ownership;
  if (kind == PLAN_MOUNT_DISK && !plan->has_disk) return "a directory of a disk that is not there";
  if (kind == PLAN_MOUNT_DISK && !r->failed && !plan_ownership(options, &ownership)) return "not the ownership of a directory";
  if ((flags & PLAN_MOUNT_REMOUNT) != 0 && kind != PLAN_MOUNT_TMPFS) return "a remount of what is no tmpfs";
  if ((flags & PLAN_MOUNT_CAPTURES) != 0 && kind != PLAN_MOUNT_OVERLAY) return "a capture of what is no overlay";
  if (kind == PLAN_MOUNT_OVERLAY && !is_absolute(source)) return "the source is not absolute";
  bool has_layers = take_layers(plan);
  if (has_layers && kind != PLAN_MOUNT_OVERLAY) return "layers of what is no overlay";
  if (has_layers && (flags & PLAN_MOUNT_IF_EXISTS) != 0) return "layers of what may not exist";
  bool is_view = kind == PLAN_MOUNT_OVERLAY;
  if (is_view && (flags & PLAN_MOUNT_READONLY) != 0) {
    if (!has_layers) return "an overlay of one layer";
    if ((flags & PLAN_MOUNT_CAPTURES) != 0) return "a capture of what is read-only";
  } else if (is_view) {
    const char *reason = check_layer_above(plan, (flags & PLAN_MOUNT_CAPTURES) != 0, options);
    if (reason != NULL) return reason;
  }
  if (!is_absolute(destination)) return "the destination is not absolute";
  if (kind == PLAN_MOUNT_PROC) plan->joins_proc = true;
  return NULL;
}

// Before the root, which it lies beside.
static const char *check_disk(struct plan *plan, struct reader *r) {
  if (plan->has_disk) return "more than one disk";
  if (plan->has_root) return "a disk after the root";
  plan->has_disk = true;
  (void)read_string(r);
  return NULL;
}

static const char *check_path(struct plan *plan, struct reader *r) {
  (void)plan;
  return is_absolute(read_string(r)) ? NULL : "the path is not absolute";
}

static const char *check_mode_and_path(struct plan *plan, struct reader *r) {
  if (read_u32(r) > 01777) return "mode out of range";
  return check_path(plan, r);
}

static const char *check_symlink(struct plan *plan, struct reader *r) {
  if (read_string(r)[0] == '\0') return "the target is empty";
  return check_path(plan, r);
}

static const char *check_file(struct plan *plan, struct reader *r) {
  const char *reason = check_mode_and_path(plan, r);
  (void)read_bytes(r, read_u32(r));
  return reason;
}

static const char *check_sysctl(struct plan *plan, struct reader *r) {
  // In the initial user namespace these would be settings of the host.
  if ((plan->namespaces & NEW_USER) == 0 && !plan->has_tool) return "sysctl without a user namespace";
  // Any proc will do, because the kernel looks at who asks; but in a root of its own there is no other.
  if (!plan->joins_proc && !plan->has_tool && plan->root_kind != PLAN_ROOT_HOST) return "sysctl before a fresh proc";
  const char *name = read_string(r);
  if (strncmp(name, "user/max_", 9) != 0 || strstr(name, "..") != NULL) return "not a sysctl of the user namespace";
  (void)read_string(r);
  return NULL;
}

// What binfmt_misc takes for a name: the name of a file in its table. The separator of a registration is BINFMT_SEPARATOR.
static bool is_format_name(const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length > PLAN_FORMAT_NAME_MAX || name[0] == '.') return false;
  for (; *name != '\0'; name++) {
    bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9');
    if (!letter && strchr("-_.", *name) == NULL) return false;
  }
  return true;
}

// F: the interpreter is opened at registration, so that it need not be inside, nor can anything inside take its place. C would take credentials
// from the program and is not for us.
static bool are_format_flags(const char *flags) { return strspn(flags, "FOP") == strlen(flags) && strchr(flags, 'F') != NULL; }

static const char *check_format(struct reader *r) {
  if (!is_format_name(read_string(r))) return "not a name for a format";
  const char *interpreter = read_string(r);
  if (!is_absolute(interpreter)) return "the interpreter is not absolute";
  if (strlen(interpreter) > PLAN_INTERPRETER_MAX || strchr(interpreter, BINFMT_SEPARATOR) != NULL) return "not a path for an interpreter";
  if (!are_format_flags(read_string(r))) return "unknown flags of a format, or none that opens the interpreter";
  uint32_t magic = read_u32(r);
  (void)read_bytes(r, magic);
  uint32_t mask = read_u32(r);
  (void)read_bytes(r, mask);
  if (magic == 0 || magic > PLAN_MAGIC_MAX || magic != mask) return "length of magic or mask out of range";
  return NULL;
}

static const char *check_binfmt(struct plan *plan, struct reader *r) {
  if (plan->has_binfmt) return "more than one binfmt record";
  plan->has_binfmt = true;
  // In the caller's user namespace the table would be the caller's, or the host's.
  if ((plan->namespaces & 0x10000000u) == 0) return "binfmt without a user namespace";
  uint32_t flags = read_u32(r);
  uint32_t count = read_u32(r);
  if ((flags & ~(uint32_t)PLAN_BINFMT_FLAGS) != 0) return "unknown flags of a table of formats";
  if (count > PLAN_FORMATS_MAX) return "number of formats out of range";
  // What is registered is needed, and must not be left out in silence.
  if ((flags & PLAN_BINFMT_IF_POSSIBLE) != 0 && (count > 0 || flags != PLAN_BINFMT_IF_POSSIBLE)) return "formats that may be left out";
  plan->binfmt_around = (flags & PLAN_BINFMT_AROUND) != 0;
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    const char *reason = check_format(r);
    if (reason != NULL && !r->failed) return reason;
  }
  return NULL;
}

// A file of the group itself.
static bool is_file_name(const char *name) { return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL; }

static const char *check_cgroup(struct plan *plan, struct reader *r) {
  if (++plan->cgroups > PLAN_CGROUPS_MAX) return "too many control groups";
  uint32_t holds = read_u32(r);
  if ((holds & ~(uint32_t)PLAN_CGROUP_FLAGS) != 0) return "unknown flags of a control group";
  if ((holds & PLAN_CGROUP_PROCESSOR_TIME) != 0) plan->counts_processor_time = true;
  (void)read_u32(r);
  if (!is_absolute(read_string(r)) && !r->failed) return "path is not absolute";
  uint32_t count = read_u32(r);
  if (count > PLAN_CGROUP_FILES_MAX) return "number of files of a control group out of range";
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    if (read_u32(r) > 1) return "a file of a control group is neither optional nor not";
    if (!is_file_name(read_string(r)) && !r->failed) return "not the name of a file of a control group";
    (void)read_string(r);
  }
  return NULL;
}

static const char *check_limit_cpu(struct plan *plan, struct reader *r) {
  if (plan->cpu_milliseconds != 0) return "more than one bound on processor time";
  plan->cpu_milliseconds = read_u64(r);
  if (plan->cpu_milliseconds == 0 || plan->cpu_milliseconds > (uint64_t)INT64_MAX / 1000000) return "processor time bound out of range";
  return NULL;
}

// All that it counts in must hold it in nanoseconds, bytes, or processes.
static const char *check_collect(struct plan *plan, struct reader *r) {
  if (plan->collects) return "more than one collect record";
  plan->collects = true;
  uint32_t flags = read_u32(r);
  if ((flags & ~(uint32_t)PLAN_COLLECT_FLAGS) != 0) return "unknown flags of collect";
  plan->has_input = (flags & PLAN_COLLECT_INPUT) != 0;
  plan->waits = (flags & PLAN_COLLECT_WAITS) != 0;
  plan->waits_filtered = (flags & PLAN_COLLECT_FILTERED) != 0;
  if (plan->waits_filtered && !plan->waits) return "unknown flags of collect";
  plan->input_bytes = read_u32(r);
  if (plan->input_bytes > PLAN_INPUT_MAX || (!plan->has_input && plan->input_bytes > 0)) return "input out of range";
  plan->input = read_bytes(r, plan->input_bytes);
  return NULL;
}

static const char *check_sampling(struct plan *plan, struct reader *r) {
  if (plan->has_sampling) return "more than one sampling";
  plan->has_sampling = true;
  plan->sampled_cpu_milliseconds = read_u64(r);
  plan->sampled_memory_bytes = read_u64(r);
  plan->sampled_processes = read_u64(r);
  if (plan->sampled_cpu_milliseconds > (uint64_t)INT64_MAX / 1000000) return "processor time bound out of range";
  if (plan->sampled_memory_bytes > (uint64_t)INT64_MAX || plan->sampled_processes > (uint64_t)INT32_MAX) return "sampled bound out of range";
  bool any = plan->sampled_cpu_milliseconds != 0 || plan->sampled_memory_bytes != 0 || plan->sampled_processes != 0;
  return any || r->failed ? NULL : "sampling without a bound";
}

static const char *check_nothing(struct plan *plan, struct reader *r) {
  (void)plan;
  (void)r;
  return NULL;
}

static const char *check_rlimit(struct plan *plan, struct reader *r) {
  (void)plan;
  if (read_u32(r) > 15) return "unknown resource";
  uint64_t soft = read_u64(r);
  return soft > read_u64(r) ? "soft limit above the hard one" : NULL;
}

static const char *check_umask(struct plan *plan, struct reader *r) {
  (void)plan;
  return read_u32(r) > 0777 ? "umask out of range" : NULL;
}

static const char *check_user(struct plan *plan, struct reader *r) {
  if (plan->has_user) return "more than one user";
  plan->has_user = true;
  plan->uid = read_u32(r);
  plan->gid = read_u32(r);
  if (plan->uid == UINT32_MAX || plan->gid == UINT32_MAX) return "id out of range";
  uint32_t setgroups = read_u32(r);
  uint32_t count = read_u32(r);
  if (setgroups > 1 || count > PLAN_GROUPS_MAX) return "groups out of range";
  if (setgroups == 0 && count > 0) return "groups that are not to be set";
  (void)read_bytes(r, (size_t)count * 4);
  return NULL;
}

static const char *check_capabilities(struct plan *plan, struct reader *r) {
  (void)plan;
  (void)read_u64(r);
  return NULL;
}

// A copy, because the plan aligns nothing.
static bool is_runnable(const uint8_t *filter, size_t count) {
  static struct sbx_sock_filter aligned[PLAN_FILTER_MAX];
  memcpy(aligned, filter, count * sizeof aligned[0]);
  return filter_is_runnable(aligned, count);
}

static const char *check_seccomp(struct plan *plan, struct reader *r) {
  uint32_t flags = read_u32(r);
  if ((flags & ~(PLAN_FILTER_DENIES_KEYRINGS | PLAN_FILTER_TELLS | PLAN_FILTER_ASKS)) != 0) return "unknown flags of a filter";
  uint32_t count = read_u32(r);
  if (count == 0 || count > PLAN_FILTER_MAX) return "filter length out of range";
  const uint8_t *filter = read_bytes(r, (size_t)count * sizeof(struct sbx_sock_filter));
  uint32_t places = read_u32(r);
  if (places > count || places % 2 != 0) return "number of places of the pass out of range";
  if (places > 0 && plan->has_pass) return "more than one filter with a pass";
  if (places > 0) plan->has_pass = true;
  bool listens = (flags & (PLAN_FILTER_TELLS | PLAN_FILTER_ASKS)) != 0;
  if (listens && plan->has_listener) return "more than one filter with a listener";
  if (listens && !r->failed && !is_runnable(filter, count)) return "a filter with a listener has instructions that init cannot run";
  if (listens) plan->has_listener = true;
  if ((flags & PLAN_FILTER_ASKS) != 0) plan->asks = true;
  for (uint32_t i = 0; i < places && !r->failed; i++) {
    uint32_t place = read_u32(r);
    if (place >= count) return "a place of the pass is out of the filter";
    struct sbx_sock_filter instruction;
    if (!r->failed) memcpy(&instruction, filter + place * sizeof instruction, sizeof instruction);
    if (!r->failed && instruction.code != SBX_BPF_XOR_K) return "a place of the pass is no place for it";
  }
  if ((flags & PLAN_FILTER_DENIES_KEYRINGS) != 0) plan->denies_keyrings = true;
  return NULL;
}

// What is not handled is not restricted, so that to allow it would say nothing.
static const char *check_rule(struct reader *r, const uint64_t handled[]) {
  uint32_t kind = read_u32(r);
  if (kind > PLAN_RULE_PORT) return "unknown kind of a rule";
  uint64_t access = read_u64(r);
  if (access == 0 || (access & ~handled[kind]) != 0) return "a rule allows nothing, or what is not handled";
  if (kind == PLAN_RULE_PORT) return read_u32(r) > UINT16_MAX ? "port out of range" : NULL;
  return is_absolute(read_string(r)) ? NULL : "a path of a rule is not absolute";
}

static const char *check_landlock(struct plan *plan, struct reader *r) {
  if (plan->has_landlock) return "more than one landlock record";
  plan->has_landlock = true;
  uint64_t paths = read_u64(r);
  uint64_t wished = read_u64(r);
  uint64_t ports = read_u64(r);
  uint64_t scopes = read_u64(r);
  if (paths == 0 && wished != 0) return "rights of paths that are only wished for";
  if (paths == 0 && ports == 0 && scopes == 0 && !r->failed) return "a landlock record that handles nothing";
  uint32_t count = read_u32(r);
  if (count > PLAN_RULES_MAX) return "number of rules out of range";
  const uint64_t handled[] = {[PLAN_RULE_PATH] = paths | wished, [PLAN_RULE_PORT] = ports};
  for (uint32_t i = 0; i < count && !r->failed; i++) {
    const char *reason = check_rule(r, handled);
    if (reason != NULL && !r->failed) return reason;
  }
  return NULL;
}

static const char *check_vectors(struct reader *r, uint32_t *arguments, uint32_t *environment, bool by_path, bool is_told_later) {
  *arguments = read_u32(r);
  if ((*arguments == 0) != is_told_later || *arguments > PLAN_BYTES_MAX / 5) return "number of arguments out of range";
  for (uint32_t i = 0; i < *arguments && !r->failed; i++) {
    const char *argument = read_string(r);
    if (i == 0 && argument[0] == '\0') return "the program's name is empty";
    if (i == 0 && by_path && !is_absolute(argument)) return "the tool's path is not absolute";
  }
  *environment = read_u32(r);
  if (*environment > PLAN_BYTES_MAX / 5) return "size of the environment out of range";
  for (uint32_t i = 0; i < *environment && !r->failed; i++) {
    const char *entry = read_string(r);
    if (entry[0] == '=' || strchr(entry, '=') == NULL) return "an environment entry is not NAME=value";
  }
  return NULL;
}

static const char *check_exec(struct plan *plan, struct reader *r) {
  return check_vectors(r, &plan->argument_count, &plan->environment_count, false, plan->waits);
}

static const char *check_tool(struct plan *plan, struct reader *r) {
  if (plan->has_root && plan->root_kind != PLAN_ROOT_HOST) return "a root of its own and a tool";
  if (plan->has_disk) return "a disk before a tool";
  if (plan->has_root && (plan->namespaces & NEW_MOUNT) == 0) return "a tool's room needs a mount namespace";
  plan->has_tool = true;
  // Inside it begins anew: with what the tool made, or with a root in that.
  plan->has_root = false;
  plan->root_kind = PLAN_ROOT_TMPFS;
  plan->trees = 0;
  plan->tool_end_signal = read_u32(r);
  if (plan->tool_end_signal > 64) return "signal out of range";
  plan->tool_traces = read_u32(r) == 1;
  return check_vectors(r, &plan->tool_argument_count, &plan->tool_environment_count, true, false);
}

static const char *check_source(struct plan *plan, struct reader *r) {
  if (++plan->sources > PLAN_SOURCES_MAX) return "too many sources";
  uint32_t number = read_u32(r);
  if (number < PLAN_SOURCE_FIRST || number > PLAN_DESCRIPTOR_MAX) return "descriptor of a source out of range";
  if (read_u32(r) > PLAN_SOURCE_FILE) return "unknown kind of source";
  return check_path(plan, r);
}

static const char *check_content(struct plan *plan, struct reader *r) {
  if (++plan->sources > PLAN_SOURCES_MAX) return "too many sources";
  uint32_t number = read_u32(r);
  if (number < PLAN_SOURCE_FIRST || number > PLAN_DESCRIPTOR_MAX) return "descriptor of a content out of range";
  (void)read_bytes(r, read_u32(r));
  return NULL;
}

static const char *check_tree(struct plan *plan, struct reader *r) {
  if (++plan->trees > PLAN_TREES_MAX) return "too many trees";
  if (read_u32(r) > PLAN_SOURCE_FILE) return "unknown kind of source";
  return check_path(plan, r);
}

static const char *check_user_namespace(struct plan *plan, struct reader *r) {
  if (!plan->has_tool) return "a second user namespace without a tool";
  if (read_u32(r) == UINT32_MAX || read_u32(r) == UINT32_MAX) return "id out of range";
  return NULL;
}

static const char *check_pivot(struct plan *plan, struct reader *r) {
  (void)r;
  plan->has_pivot = true;
  return NULL;
}

static const char *check_domain(struct plan *plan, struct reader *r) {
  uint32_t flags = read_u32(r);
  if ((flags & ~(uint32_t)PLAN_DOMAIN_FLAGS) != 0) return "unknown domain flags";
  plan->has_domain = true;
  plan->closes_signals = (flags & PLAN_DOMAIN_SIGNALS) != 0;
  return NULL;
}

static const char *check_record(struct plan *plan, struct record *record) {
  struct reader *r = &record->payload;
  switch (record->step) {
    case STEP_NAMESPACES: return check_namespaces(plan, r);
    case STEP_MAP_IDS: return check_map_ids(plan, r);
    case STEP_LIMIT_WALL: return check_limit_wall(plan, r);
    case STEP_LIMIT_OUTPUT: return check_limit_output(plan, r);
    case STEP_TERMINATION: return check_termination(plan, r);
    case STEP_TERMINAL: return check_terminal(plan, r);
    case STEP_DESCRIPTOR: return check_descriptor(plan, r);
    case STEP_CGROUP: return check_cgroup(plan, r);
    case STEP_LIMIT_CPU: return check_limit_cpu(plan, r);
    case STEP_PIPES: return check_pipes(plan, r);
    case STEP_SAMPLING: return check_sampling(plan, r);
    case STEP_COLLECT: return check_collect(plan, r);
    case STEP_HOLD: return check_hold(plan, r);
    case STEP_JOIN: return check_join(plan, r);
    case STEP_HOSTNAME: return check_hostname(plan, r);
    case STEP_LOOPBACK: return check_nothing(plan, r);
    case STEP_ROOT: return check_root(plan, r);
    case STEP_MOUNT: return check_mount(plan, r);
    case STEP_READONLY: return check_path(plan, r);
    case STEP_MASK: return check_path(plan, r);
    case STEP_MKDIR: return check_mode_and_path(plan, r);
    case STEP_SYMLINK: return check_symlink(plan, r);
    case STEP_FILE: return check_file(plan, r);
    case STEP_SYSCTL: return check_sysctl(plan, r);
    case STEP_PIVOT: return check_pivot(plan, r);
    case STEP_SOURCE: return check_source(plan, r);
    case STEP_CONTENT: return check_content(plan, r);
    case STEP_TREE: return check_tree(plan, r);
    case STEP_LAYER: return check_layer(plan, r);
    case STEP_DISK: return check_disk(plan, r);
    case STEP_USER_NAMESPACE: return check_user_namespace(plan, r);
    case STEP_DOMAIN: return check_domain(plan, r);
    case STEP_TOOL: return check_tool(plan, r);
    case STEP_BINFMT: return check_binfmt(plan, r);
    case STEP_RLIMIT: return check_rlimit(plan, r);
    case STEP_UMASK: return check_umask(plan, r);
    case STEP_USER: return check_user(plan, r);
    case STEP_CAPABILITIES: return check_capabilities(plan, r);
    case STEP_CWD: return check_path(plan, r);
    case STEP_SECCOMP: return check_seccomp(plan, r);
    case STEP_EXEC: return check_exec(plan, r);
    case STEP_LANDLOCK: return check_landlock(plan, r);
    case STEP_PLAN:
    case STEP_CLONE:
    case STEP_SESSION:
    case STEP_SIGNALS:
    case STEP_SCHEDULING:
    case STEP_DESCRIPTORS:
    case STEP_KEYRING:
    case STEP_NO_NEW_PRIVILEGES:
    case STEP_RELAY:
    case STEP_FORK:
    case STEP_INIT:
    case STEP_LOST:
    case STEP_CAPTURE: break;
  }
  return "unknown type";
}

static uint32_t phase_of(enum step step) { return (uint32_t)step / 20; }

// What is done after a tool is done inside of what it makes.
static bool may_follow_tool(enum step step) {
  switch (step) {
    case STEP_HOSTNAME:
    case STEP_LOOPBACK:
    case STEP_DISK:
    case STEP_ROOT:
    case STEP_LAYER:
    case STEP_MOUNT:
    case STEP_READONLY:
    case STEP_MASK:
    case STEP_MKDIR:
    case STEP_SYMLINK:
    case STEP_FILE:
    case STEP_SYSCTL:
    case STEP_PIVOT:
    case STEP_USER_NAMESPACE: return true;
    default: return false;
  }
}

// Order between records: phases never go back, the root comes before any path, the pivot or the tool ends what is done outside, exec ends the plan.
static const char *check_order(const struct plan *plan, const struct record *record, enum step previous) {
  enum step step = record->step;
  if (record->index == 0 && step != STEP_NAMESPACES) return "the first record is not namespaces";
  if (record->index > 0 && phase_of(step) < phase_of(previous)) return "a record after those of a later phase";
  if (previous == STEP_EXEC) return "a record after exec";
  if (previous == STEP_LAYER && step != STEP_LAYER && step != STEP_ROOT && step != STEP_MOUNT) return "a layer of nothing";
  bool leaves_root = step == STEP_USER_NAMESPACE;
  if (previous == STEP_PIVOT && phase_of(step) == phase_of(STEP_PIVOT) && !leaves_root) return "a record after pivot";
  bool same_phase = phase_of(step) == phase_of(STEP_TOOL);
  if (same_phase && (previous == STEP_DOMAIN || (step == STEP_DOMAIN && phase_of(previous) == phase_of(step)))) return "another record of init beside domain";
  if (plan->has_tool && same_phase && !may_follow_tool(step)) return "a record that cannot be performed inside of a tool";
  bool names_path = step >= STEP_MOUNT && step <= STEP_PIVOT;
  if (names_path && !plan->has_root) return "a record that needs a root before the root";
  if (plan->root_kind == PLAN_ROOT_CHROOT && names_path && step != STEP_PIVOT) return "a mount in a root that is only entered";
  bool first_of_command = phase_of(step) == phase_of(STEP_EXEC) && phase_of(previous) != phase_of(step);
  if (first_of_command && previous != STEP_PIVOT && previous != STEP_DOMAIN && !plan->has_tool) return "no pivot";
  return NULL;
}

// A sandbox of our own rests on a pid and a mount namespace; a tool makes its own, and what we do before it needs a mount namespace where it
// mounts; a root that is only entered has neither, and a domain has nothing of its own.
static const char *check_isolation(const struct plan *plan) {
  bool mounts_root = plan->has_pivot && plan->root_kind != PLAN_ROOT_CHROOT && plan->root_kind != PLAN_ROOT_HOST;
  if (plan->has_disk && !mounts_root) return "a disk without a root that is mounted";
  bool own_mounts = (plan->namespaces & NEW_MOUNT) != 0;
  if (plan->has_tool) {
    if (plan->holds || plan->has_join) return "namespaces of a pod, and a tool";
    if (plan->root_kind == PLAN_ROOT_CHROOT) return "a root that is only entered, and a tool";
    bool own_root = plan->has_root && plan->root_kind != PLAN_ROOT_HOST;
    return own_root == plan->has_pivot ? NULL : "a root inside of a tool without its pivot, or a pivot without a root";
  }
  if (plan->sources > 0 || plan->trees > 0) return "sources without a tool";
  if (plan->has_sampling && (plan->namespaces & NEW_PID) == 0) return "sampling without a pid namespace";
  if (plan->holds && (plan->namespaces & POD_NAMESPACES) != POD_NAMESPACES) return "namespaces to be held that are not its own";
  if (plan->has_join) {
    if (plan->has_sampling || plan->has_binfmt) return "a record that is of a whole user namespace, in one that is joined";
    return plan->namespaces == NEW_MOUNT ? NULL : "a mount namespace of its own, and no other, goes with join";
  }
  if (plan->has_domain) return plan->namespaces == 0 ? NULL : "a domain and namespaces";
  if (plan->root_kind == PLAN_ROOT_HOST) return "the host's root without a tool";
  if (plan->root_kind == PLAN_ROOT_CHROOT) return plan->namespaces == 0 ? NULL : "a root that is only entered, and namespaces";
  if (!own_mounts || (plan->namespaces & NEW_PID) == 0) return "a pid and a mount namespace are needed";
  return NULL;
}

static const char *check_whole(const struct plan *plan, size_t offset, enum step last) {
  if (offset != plan->length) return "length and records disagree";
  if (last != STEP_EXEC) return "no exec";
  if (!plan->has_user) return "no user";
  if (plan->collects && plan->has_terminal) return "a terminal whose output is collected";
  // Where init alone can end everything it must not wait for anything else.
  if (plan->waits && (plan->has_tool || plan->has_domain || (plan->namespaces & NEW_PID) == 0)) return "a command that is waited for without a pid namespace";
  if (plan->has_input != (plan->collects && (plan->pipes & 1) != 0)) return "input without its pipe, or a pipe that is collected from";
  if (plan->cpu_milliseconds != 0 && !plan->counts_processor_time) return "a bound on processor time that no control group counts";
  bool user_namespace = (plan->namespaces & NEW_USER) != 0;
  if (user_namespace != plan->maps_uid || user_namespace != plan->maps_gid) return "id mappings and user namespace disagree";
  return check_isolation(plan);
}

bool plan_parse(const uint8_t *bytes, size_t length, struct plan *plan, uint32_t *index, const char **reason) {
  memset(plan, 0, sizeof *plan);
  plan->output_bytes = UINT64_MAX;
  plan->kill_signal = 15;
  plan->grace_milliseconds = 2000;
  *index = 0;
  if (length < PLAN_HEADER_BYTES) {
    *reason = "shorter than its header";
    return false;
  }
  uint32_t announced = plan_length(bytes, reason);
  if (announced == 0) return false;
  if (announced != length) {
    *reason = "length and size disagree";
    return false;
  }
  plan->bytes = bytes;
  plan->length = length;
  plan->records = decode_u32(bytes + 12);
  if (plan->records == 0 || plan->records > PLAN_RECORDS_MAX) {
    *reason = "number of records out of range";
    return false;
  }
  struct cursor cursor = plan_start(plan);
  struct record record;
  enum step previous = STEP_NAMESPACES;
  while (cursor.index < plan->records) {
    *index = cursor.index;
    if (!plan_next(&cursor, &record)) {
      *reason = "a record is cut off";
      return false;
    }
    *reason = check_order(plan, &record, previous);
    if (*reason == NULL) *reason = check_record(plan, &record);
    if (*reason == NULL && record.payload.failed) *reason = "a record is too short or a string is not one";
    if (*reason == NULL && record.payload.at != record.payload.end) *reason = "a record is too long";
    if (*reason != NULL) return false;
    previous = record.step;
  }
  *reason = check_whole(plan, cursor.offset, previous);
  return *reason == NULL;
}
