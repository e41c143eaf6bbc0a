// Plans, good and bad: every kind of record, cut at every byte, too long, in the wrong place; every reason that plan.c can give.
#include "check.h"
#include "builder.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../call.h"
#include "../filter.h"

static struct builder builder;

// The plan stands right before a page that nobody may read: a byte read too many is a crash.
static bool parse(const uint8_t *bytes, size_t length, struct plan *plan, uint32_t *index, const char **reason) {
  static uint8_t *area;
  size_t size = BUILDER_BYTES + 65536;
  if (area == NULL) {
    area = mmap(NULL, size + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED || mprotect(area + size, 65536, PROT_NONE) < 0) abort();
  }
  uint8_t *at = area + size - length;
  if (length > 0) memcpy(at, bytes, length);
  return plan_parse(at, length, plan, index, reason);
}

static bool is_refused(const char *wanted) {
  struct plan plan;
  uint32_t index;
  const char *reason = NULL;
  bool accepted = parse(builder.bytes, builder.used, &plan, &index, &reason);
  bool right = !accepted && reason != NULL && strcmp(reason, wanted) == 0;
  if (!right) (void)printf("# wanted \"%s\", got \"%s\"\n", wanted, accepted ? "accepted" : reason == NULL ? "no reason" : reason);
  return right;
}

static bool is_accepted(struct plan *plan) {
  uint32_t index;
  const char *reason = NULL;
  bool accepted = parse(builder.bytes, builder.used, plan, &index, &reason);
  if (!accepted) (void)printf("# refused at %u: %s\n", index, reason == NULL ? "(no reason)" : reason);
  return accepted;
}

static void good_plan_is_read(void) {
  build_everything(&builder, NULL);
  struct plan plan;
  CHECK(is_accepted(&plan));
  CHECK(plan.records == BUILDER_STEPS);
  CHECK(plan.wall_milliseconds == 1000 && plan.output_bytes == 4096);
  CHECK(plan.kill_signal == 15 && plan.grace_milliseconds == 2000);
  CHECK(plan.has_terminal && plan.columns == 80 && plan.rows == 24);
  CHECK(plan.has_root && plan.denies_keyrings && !plan.has_pass && plan.has_user && plan.descriptors == 1);
  CHECK(plan.argument_count == 1 && plan.environment_count == 1);
  CHECK(plan.become_uid == 0 && plan.become_gid == 0);
}

static void records_come_in_order(void) {
  build_everything(&builder, NULL);
  struct plan plan;
  CHECK(is_accepted(&plan));
  struct cursor cursor = plan_start(&plan);
  struct record record;
  size_t count = 0;
  while (plan_next(&cursor, &record) && count < BUILDER_STEPS) {
    CHECK(record.step == builder_steps[count]);
    CHECK(record.index == count);
    count++;
  }
  CHECK(count == BUILDER_STEPS);
}

static void every_cut_is_refused(void) {
  build_everything(&builder, NULL);
  size_t whole = builder.used;
  for (size_t length = 0; length < whole; length++) {
    struct plan plan;
    uint32_t index;
    const char *reason = NULL;
    // As it is, and with a header that agrees with the cut.
    CHECK(!parse(builder.bytes, length, &plan, &index, &reason) && reason != NULL);
    if (length < PLAN_HEADER_BYTES) continue;
    put_u32_at(&builder, 8, (uint32_t)length);
    CHECK(!parse(builder.bytes, length, &plan, &index, &reason) && reason != NULL);
    put_u32_at(&builder, 8, (uint32_t)whole);
  }
}

// The payload of one record loses its last bytes, or gets more.
static void each_record_has_its_length(void) {
  size_t starts[BUILDER_STEPS];
  static struct builder whole;
  build_everything(&whole, starts);
  for (size_t i = 0; i < BUILDER_STEPS; i++) {
    size_t start = starts[i], end = i + 1 < BUILDER_STEPS ? starts[i + 1] : whole.used;
    for (size_t length = 0; length <= end - start - 8 + 4; length++) {
      if (length == end - start - 8) continue;
      memset(&builder, 0, sizeof builder);
      put_bytes(&builder, whole.bytes, start + 8);
      for (size_t at = 0; at < length; at++) {
        uint8_t byte = at < end - start - 8 ? whole.bytes[start + 8 + at] : 0;
        put_bytes(&builder, &byte, 1);
      }
      put_bytes(&builder, whole.bytes + end, whole.used - end);
      builder.records = BUILDER_STEPS;
      end_plan(&builder);
      put_u32_at(&builder, start + 4, (uint32_t)length);
      struct plan plan;
      uint32_t index = 0;
      const char *reason = NULL;
      bool accepted = parse(builder.bytes, builder.used, &plan, &index, &reason);
      CHECK(!accepted && index == i);
      if (accepted || index != i) (void)printf("# record %zu of type %d with %zu bytes\n", i, builder_steps[i], length);
    }
  }
}

// Every other byte value at every place: accepted or not, but never a crash, and what is accepted can be walked.
static void every_byte_may_be_anything(void) {
  build_everything(&builder, NULL);
  for (size_t at = 0; at < builder.used; at++) {
    uint8_t kept = builder.bytes[at];
    for (unsigned value = 0; value < 256; value++) {
      builder.bytes[at] = (uint8_t)value;
      struct plan plan;
      uint32_t index;
      const char *reason = NULL;
      if (!parse(builder.bytes, builder.used, &plan, &index, &reason)) {
        if (reason == NULL) CHECK(reason != NULL);
        continue;
      }
      struct cursor cursor = plan_start(&plan);
      struct record record;
      uint32_t count = 0;
      while (plan_next(&cursor, &record)) count++;
      if (count != plan.records) CHECK(count == plan.records);
    }
    builder.bytes[at] = kept;
  }
}

static void header_is_checked(void) {
  build_everything(&builder, NULL);
  builder.bytes[0] = 'X';
  CHECK(is_refused("not a plan"));
  builder.bytes[0] = 'S';
  put_u32_at(&builder, 4, 2);
  CHECK(is_refused("a plan of another protocol: library and launcher are of different versions"));
  put_u32_at(&builder, 4, PLAN_PROTOCOL);
  put_u32_at(&builder, 8, 15);
  CHECK(is_refused("length out of range"));
  put_u32_at(&builder, 8, PLAN_BYTES_MAX + 1);
  CHECK(is_refused("length out of range"));
  put_u32_at(&builder, 8, (uint32_t)builder.used + 1);
  CHECK(is_refused("length and size disagree"));
  put_u32_at(&builder, 8, (uint32_t)builder.used);
  put_u32_at(&builder, 12, 0);
  CHECK(is_refused("number of records out of range"));
  put_u32_at(&builder, 12, PLAN_RECORDS_MAX + 1);
  CHECK(is_refused("number of records out of range"));
  builder.used = 8;
  CHECK(is_refused("shorter than its header"));
}

// A plan of the records given, each as add_record makes it.
static void build(size_t count, const enum step *steps) {
  start_plan(&builder);
  for (size_t i = 0; i < count; i++) add_record(&builder, steps[i]);
  end_plan(&builder);
}
#define BUILD(...) build(sizeof((enum step[]){__VA_ARGS__}) / sizeof(enum step), (enum step[]){__VA_ARGS__})

static void order_is_checked(void) {
  BUILD(STEP_MAP_IDS);
  CHECK(is_refused("the first record is not namespaces"));
  BUILD(STEP_NAMESPACES, STEP_NAMESPACES);
  CHECK(is_refused("more than one namespaces record"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_LIMIT_WALL);
  CHECK(is_refused("a record after those of a later phase"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_MOUNT);
  CHECK(is_refused("a record after pivot"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_USER, STEP_EXEC, STEP_UMASK);
  CHECK(is_refused("a record after exec"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_USER, STEP_EXEC, STEP_EXEC);
  CHECK(is_refused("a record after exec"));
  static const enum step needing[] = {STEP_MOUNT, STEP_READONLY, STEP_MASK, STEP_MKDIR, STEP_SYMLINK, STEP_FILE, STEP_SYSCTL, STEP_PIVOT};
  for (size_t i = 0; i < sizeof needing / sizeof needing[0]; i++) {
    BUILD(STEP_NAMESPACES, needing[i]);
    CHECK(is_refused("a record that needs a root before the root"));
  }
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_ROOT);
  CHECK(is_refused("more than one root"));
  BUILD(STEP_NAMESPACES, STEP_USER, STEP_EXEC);
  CHECK(is_refused("no pivot"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_USER, STEP_EXEC);
  CHECK(is_refused("no pivot"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_USER);
  CHECK(is_refused("no exec"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_EXEC);
  CHECK(is_refused("no user"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_USER, STEP_EXEC);
  CHECK(is_refused("id mappings and user namespace disagree"));
  BUILD(STEP_NAMESPACES, STEP_MAP_IDS, STEP_ROOT, STEP_PIVOT, STEP_USER, STEP_EXEC);
  CHECK(is_refused("id mappings and user namespace disagree"));
  BUILD(STEP_NAMESPACES, STEP_MAP_IDS, STEP_MAP_IDS);
  CHECK(is_refused("ids mapped twice"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_SYSCTL);
  CHECK(is_refused("sysctl before a fresh proc"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_USER, STEP_USER);
  CHECK(is_refused("more than one user"));
  BUILD(STEP_NAMESPACES, (enum step)19);
  CHECK(is_refused("unknown type"));
  BUILD(STEP_NAMESPACES, STEP_LOST);
  CHECK(is_refused("unknown type"));
}

static void length_and_records_agree(void) {
  build_everything(&builder, NULL);
  put_u32(&builder, 0);
  put_u32_at(&builder, 8, (uint32_t)builder.used);
  CHECK(is_refused("length and records disagree"));
  BUILD(STEP_NAMESPACES);
  put_u32_at(&builder, 12, 2);
  CHECK(is_refused("a record is cut off"));
  BUILD(STEP_NAMESPACES);
  put_u32_at(&builder, PLAN_HEADER_BYTES + 4, 5);
  CHECK(is_refused("a record is cut off"));
}

// A plan whose last record is still open, for a payload of the test's own.
static void open_record(enum step step, const enum step *before, size_t count) {
  start_plan(&builder);
  for (size_t i = 0; i < count; i++) add_record(&builder, before[i]);
  start_record(&builder, step);
}
#define SUPERVISOR(kind) open_record(kind, (enum step[]){STEP_NAMESPACES}, 1)
#define INIT(kind) open_record(kind, (enum step[]){STEP_NAMESPACES, STEP_ROOT}, 2)
#define COMMAND(kind) open_record(kind, (enum step[]){STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT}, 3)

static bool close_and_refuse(const char *reason) {
  end_record(&builder);
  end_plan(&builder);
  return is_refused(reason);
}

static void namespaces_are_checked(void) {
  static const struct {
    uint32_t flags;
    const char *reason;
  } cases[] = {{0x20020001u, "unknown namespace flags"},
               {0x20020080u, "unknown namespace flags"},
               {0x20020000u | 0x80000000u, "unknown namespace flags"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    start_plan(&builder);
    start_record(&builder, STEP_NAMESPACES);
    put_u32(&builder, cases[i].flags);
    CHECK(close_and_refuse(cases[i].reason));
  }
}

static void put_root_of(uint32_t kind) {
  start_record(&builder, STEP_ROOT);
  put_u32(&builder, kind);
  put_u32(&builder, 0);
  put_string(&builder, "/srv/root");
  put_string(&builder, "");
  put_u32(&builder, 0);
  end_record(&builder);
}

static void end_with_command(void);
static void start_with_ids(void);

// A whole plan without a user namespace: `root` is its kind, or -1 for none; the tool comes where `tool` says so.
static void build_sandbox(uint32_t namespaces, int root, bool pivot, bool tool) {
  start_plan(&builder);
  start_record(&builder, STEP_NAMESPACES);
  put_u32(&builder, namespaces);
  end_record(&builder);
  if (root >= 0) put_root_of((uint32_t)root);
  if (pivot) add_record(&builder, STEP_PIVOT);
  if (tool) add_record(&builder, STEP_TOOL);
  add_record(&builder, STEP_USER);
  add_record(&builder, STEP_EXEC);
  end_plan(&builder);
}

static void isolation_is_checked(void) {
  static const uint32_t mount = 0x00020000u, pid = 0x20000000u;
  static const struct {
    uint32_t namespaces;
    int root;
    bool pivot, tool;
    const char *reason;  // NULL: accepted
  } cases[] = {{mount | pid, PLAN_ROOT_BIND, true, false, NULL},
               {0, PLAN_ROOT_BIND, true, false, "a pid and a mount namespace are needed"},
               {pid, PLAN_ROOT_BIND, true, false, "a pid and a mount namespace are needed"},
               {mount, PLAN_ROOT_BIND, true, false, "a pid and a mount namespace are needed"},
               {mount | pid, PLAN_ROOT_BIND, false, false, "no pivot"},
               {0, PLAN_ROOT_CHROOT, true, false, NULL},
               {mount | pid, PLAN_ROOT_CHROOT, true, false, "a root that is only entered, and namespaces"},
               {mount | pid, PLAN_ROOT_HOST, true, false, "the host's root without a tool"},
               {0, -1, false, true, NULL},
               {mount, PLAN_ROOT_HOST, false, true, NULL},
               {0, PLAN_ROOT_HOST, false, true, "a tool's room needs a mount namespace"},
               {mount | pid, PLAN_ROOT_BIND, false, true, "a root of its own and a tool"},
               {mount | pid, PLAN_ROOT_BIND, true, true, "a record after pivot"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan;
    build_sandbox(cases[i].namespaces, cases[i].root, cases[i].pivot, cases[i].tool);
    if (cases[i].reason != NULL) CHECK(is_refused(cases[i].reason));
    else CHECK(is_accepted(&plan) && plan.has_tool == cases[i].tool);
  }
}

// The processes of a sandbox are those of its pid namespace.
static void sampling_needs_a_pid_namespace(void) {
  start_plan(&builder);
  start_record(&builder, STEP_NAMESPACES), put_u32(&builder, 0), end_record(&builder);
  add_record(&builder, STEP_SAMPLING);
  start_record(&builder, STEP_DOMAIN), put_u32(&builder, 0), end_record(&builder);
  add_record(&builder, STEP_USER);
  add_record(&builder, STEP_EXEC);
  end_plan(&builder);
  CHECK(is_refused("sampling without a pid namespace"));
}

static void put_join(uint32_t first, uint32_t uid) {
  start_record(&builder, STEP_JOIN);
  for (uint32_t i = 0; i < PLAN_POD_NAMESPACES; i++) put_u32(&builder, first + i);
  put_u32(&builder, uid);
  put_u32(&builder, 7);
  end_record(&builder);
}

// Who joins has mounts of its own and nothing else; who holds has all the rest.
static void pods_are_checked(void) {
  static const uint32_t mount = 0x00020000u, pid = 0x20000000u, user = 0x10000000u;
  static const uint32_t most = 0x02000000u | 0x04000000u | 0x08000000u | 0x20000000u | 0x40000000u;
  static const struct {
    uint32_t namespaces, first, uid;
    unsigned times;
    bool tool;
    const char *reason;  // NULL: accepted
  } cases[] = {{mount, 3, 5, 1, false, NULL},
               {mount, 2, 5, 1, false, "descriptor of a namespace out of range"},
               {mount, PLAN_DESCRIPTOR_MAX, 5, 1, false, "descriptor of a namespace out of range"},
               {mount, 3, UINT32_MAX, 1, false, "id out of range"},
               {mount, 3, 5, 2, false, "more than one join record"},
               {mount | pid, 3, 5, 1, false, "a mount namespace of its own, and no other, goes with join"},
               {0, 3, 5, 1, false, "a mount namespace of its own, and no other, goes with join"},
               {mount, 3, 5, 1, true, "namespaces of a pod, and a tool"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan;
    start_plan(&builder);
    start_record(&builder, STEP_NAMESPACES), put_u32(&builder, cases[i].namespaces), end_record(&builder);
    for (unsigned time = 0; time < cases[i].times; time++) put_join(cases[i].first, cases[i].uid);
    if (cases[i].tool) add_record(&builder, STEP_TOOL);
    else put_root_of(PLAN_ROOT_BIND), add_record(&builder, STEP_PIVOT);
    add_record(&builder, STEP_USER), add_record(&builder, STEP_EXEC);
    end_plan(&builder);
    if (cases[i].reason != NULL) CHECK(is_refused(cases[i].reason));
    else CHECK(is_accepted(&plan) && plan.has_join && plan.join[5] == 8 && plan.become_uid == 5 && plan.become_gid == 7);
  }
  static const struct {
    uint32_t namespaces;
    unsigned times;
    const char *reason;
  } holders[] = {{mount | most, 1, "namespaces to be held that are not its own"}, {mount | most, 2, "more than one hold record"}};
  for (size_t i = 0; i < sizeof holders / sizeof holders[0]; i++) {
    start_plan(&builder);
    start_record(&builder, STEP_NAMESPACES), put_u32(&builder, holders[i].namespaces), end_record(&builder);
    for (unsigned time = 0; time < holders[i].times; time++) add_record(&builder, STEP_HOLD);
    put_root_of(PLAN_ROOT_BIND);
    end_with_command();
    CHECK(is_refused(holders[i].reason));
  }
  struct plan plan;
  start_with_ids();
  put_u32_at(&builder, PLAN_HEADER_BYTES + 8, mount | most | user);
  add_record(&builder, STEP_HOLD);
  put_root_of(PLAN_ROOT_BIND);
  end_with_command();
  CHECK(is_accepted(&plan) && plan.holds);
}

// A domain stands for all that init does elsewhere, and has nothing of its own.
static void domains_are_checked(void) {
  static const uint32_t mount = 0x00020000u, pid = 0x20000000u;
  static const char *const beside = "another record of init beside domain";
  static const struct {
    uint32_t namespaces, flags;
    enum step before, after;  // STEP_NAMESPACES: none
    const char *reason;       // NULL: accepted
  } cases[] = {{0, 0, STEP_NAMESPACES, STEP_NAMESPACES, NULL},
               {0, PLAN_DOMAIN_SIGNALS, STEP_NAMESPACES, STEP_NAMESPACES, NULL},
               {0, 2, STEP_NAMESPACES, STEP_NAMESPACES, "unknown domain flags"},
               {mount | pid, 0, STEP_NAMESPACES, STEP_NAMESPACES, "a domain and namespaces"},
               {pid, PLAN_DOMAIN_SIGNALS, STEP_NAMESPACES, STEP_NAMESPACES, "a domain and namespaces"},
               {0, 0, STEP_HOSTNAME, STEP_NAMESPACES, beside},
               {0, 0, STEP_NAMESPACES, STEP_HOSTNAME, beside},
               {0, 0, STEP_NAMESPACES, STEP_DOMAIN, beside},
               {0, 0, STEP_NAMESPACES, STEP_TOOL, beside},
               {0, 0, STEP_TOOL, STEP_NAMESPACES, beside}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan;
    start_plan(&builder);
    start_record(&builder, STEP_NAMESPACES), put_u32(&builder, cases[i].namespaces), end_record(&builder);
    if (cases[i].before != STEP_NAMESPACES) add_record(&builder, cases[i].before);
    start_record(&builder, STEP_DOMAIN), put_u32(&builder, cases[i].flags), end_record(&builder);
    if (cases[i].after != STEP_NAMESPACES) add_record(&builder, cases[i].after);
    add_record(&builder, STEP_USER);
    add_record(&builder, STEP_EXEC);
    end_plan(&builder);
    if (cases[i].reason != NULL) CHECK(is_refused(cases[i].reason));
    else CHECK(is_accepted(&plan) && plan.has_domain && plan.closes_signals == (cases[i].flags == PLAN_DOMAIN_SIGNALS));
  }
}

// Inside of a tool: a root of its own and its pivot belong together; what is mounted over the tool's own root needs none.
static void roots_inside_are_checked(void) {
  static const char *const lone = "a root inside of a tool without its pivot, or a pivot without a root";
  static const struct {
    int root;
    bool pivot;
    const char *reason;  // NULL: accepted
  } cases[] = {{-1, false, NULL},
               {PLAN_ROOT_HOST, false, NULL},
               {PLAN_ROOT_TMPFS, true, NULL},
               {PLAN_ROOT_BIND, true, NULL},
               {PLAN_ROOT_OVERLAY, true, NULL},
               {PLAN_ROOT_TMPFS, false, lone},
               {PLAN_ROOT_BIND, false, lone},
               {PLAN_ROOT_HOST, true, lone},
               {PLAN_ROOT_CHROOT, true, "a root that is only entered, and a tool"},
               {-1, true, "a record that needs a root before the root"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    start_plan(&builder);
    start_record(&builder, STEP_NAMESPACES);
    put_u32(&builder, 0);
    end_record(&builder);
    add_record(&builder, STEP_TOOL);
    if (cases[i].root >= 0) put_root_of((uint32_t)cases[i].root);
    if (cases[i].pivot) add_record(&builder, STEP_PIVOT);
    add_record(&builder, STEP_USER_NAMESPACE);
    add_record(&builder, STEP_USER);
    add_record(&builder, STEP_EXEC);
    end_plan(&builder);
    struct plan plan;
    if (cases[i].reason != NULL) CHECK(is_refused(cases[i].reason));
    else CHECK(is_accepted(&plan) && plan.has_pivot == cases[i].pivot);
  }
}

static void trees_are_checked(void) {
  static const struct {
    const char *number, *reason;
  } cases[] = {{"1", "no such tree"}, {"", "no such tree"}, {"0x0", "no such tree"}, {"-1", "no such tree"}, {"4294967296", "no such tree"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    open_record(STEP_MOUNT, (enum step[]){STEP_NAMESPACES, STEP_TREE, STEP_ROOT}, 3);
    put_u32(&builder, PLAN_MOUNT_TREE), put_u32(&builder, 0), put_u32(&builder, 0);
    put_string(&builder, cases[i].number), put_string(&builder, "/a"), put_string(&builder, "");
    CHECK(close_and_refuse(cases[i].reason));
  }
  SUPERVISOR(STEP_TREE), put_u32(&builder, 3), put_string(&builder, "/a");
  CHECK(close_and_refuse("unknown kind of source"));
  SUPERVISOR(STEP_TREE), put_u32(&builder, 0), put_string(&builder, "a");
  CHECK(close_and_refuse("the path is not absolute"));
  SUPERVISOR(STEP_USER_NAMESPACE), put_u32(&builder, 1), put_u32(&builder, 1);
  CHECK(close_and_refuse("a second user namespace without a tool"));
  open_record(STEP_USER_NAMESPACE, (enum step[]){STEP_NAMESPACES, STEP_TOOL}, 2);
  put_u32(&builder, 1), put_u32(&builder, UINT32_MAX);
  CHECK(close_and_refuse("id out of range"));
}

static void put_tool(const char *path) {
  SUPERVISOR(STEP_TOOL);
  put_u32(&builder, 9), put_u32(&builder, 0);
  put_u32(&builder, path == NULL ? 0 : 1);
  if (path != NULL) put_string(&builder, path);
}

static void tools_are_checked(void) {
  put_tool(NULL);
  CHECK(close_and_refuse("number of arguments out of range"));
  put_tool("");
  CHECK(close_and_refuse("the program's name is empty"));
  put_tool("bwrap");
  CHECK(close_and_refuse("the tool's path is not absolute"));
  put_tool("/usr/bin/bwrap");
  put_u32(&builder, 1), put_string(&builder, "PATH");
  CHECK(close_and_refuse("an environment entry is not NAME=value"));
  SUPERVISOR(STEP_TOOL);
  put_u32(&builder, 65), put_u32(&builder, 0);
  CHECK(close_and_refuse("signal out of range"));
  static const struct {
    uint32_t number, kind;
    const char *path, *reason;
  } sources[] = {{9, 0, "/srv", "descriptor of a source out of range"},
                 {65536, 0, "/srv", "descriptor of a source out of range"},
                 {10, 3, "/srv", "unknown kind of source"},
                 {10, 0, "srv", "the path is not absolute"}};
  for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
    SUPERVISOR(STEP_SOURCE);
    put_u32(&builder, sources[i].number), put_u32(&builder, sources[i].kind), put_string(&builder, sources[i].path);
    CHECK(close_and_refuse(sources[i].reason));
  }
  SUPERVISOR(STEP_CONTENT);
  put_u32(&builder, 9), put_u32(&builder, 0);
  CHECK(close_and_refuse("descriptor of a content out of range"));
  static const enum step outside[] = {STEP_BINFMT, STEP_SOURCE, STEP_CONTENT, STEP_TREE, STEP_TOOL};
  for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
    start_plan(&builder);
    add_record(&builder, STEP_NAMESPACES);
    add_record(&builder, STEP_TOOL);
    add_record(&builder, outside[i]);
    end_plan(&builder);
    CHECK(is_refused("a record that cannot be performed inside of a tool"));
  }
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  add_record(&builder, STEP_SOURCE);
  add_record(&builder, STEP_ROOT);
  add_record(&builder, STEP_PIVOT);
  add_record(&builder, STEP_USER);
  add_record(&builder, STEP_MAP_IDS);
  end_plan(&builder);
  CHECK(is_refused("a record after those of a later phase"));
}

static void put_mapping(uint32_t kind, uint32_t deny, const char *helper, uint32_t count) {
  SUPERVISOR(STEP_MAP_IDS);
  put_u32(&builder, kind);
  put_u32(&builder, deny);
  put_string(&builder, helper);
  put_u32(&builder, count);
}

static void put_range(uint32_t inside, uint32_t outside, uint32_t size) {
  put_u32(&builder, inside);
  put_u32(&builder, outside);
  put_u32(&builder, size);
}

static void id_maps_are_checked(void) {
  put_mapping(2, 0, "", 0);
  CHECK(close_and_refuse("unknown kind of ids"));
  put_mapping(0, 2, "", 0);
  CHECK(close_and_refuse("setgroups is neither 0 nor 1"));
  put_mapping(0, 0, "newuidmap", 0);
  CHECK(close_and_refuse("the helper's path is not absolute"));
  put_mapping(0, 0, "", 0);
  CHECK(close_and_refuse("number of id mappings out of range"));
  put_mapping(0, 0, "", PLAN_MAPPINGS_MAX + 1);
  CHECK(close_and_refuse("number of id mappings out of range"));
  static const uint32_t ranges[][3] = {{0, 0, 0}, {UINT32_MAX, 0, 1}, {0, UINT32_MAX, 1}, {1, 0, UINT32_MAX}, {0, 1, UINT32_MAX}};
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    put_mapping(0, 0, "", 1);
    put_range(ranges[i][0], ranges[i][1], ranges[i][2]);
    CHECK(close_and_refuse("id mapping out of range"));
  }
  put_mapping(0, 0, "", 2);
  put_range(0, 0, 1);
  CHECK(close_and_refuse("id mapping out of range"));
}

static void supervisor_values_are_checked(void) {
  SUPERVISOR(STEP_LIMIT_WALL), put_u64(&builder, 0);
  CHECK(close_and_refuse("wall clock bound out of range"));
  SUPERVISOR(STEP_LIMIT_WALL), put_u64(&builder, UINT64_MAX);
  CHECK(close_and_refuse("wall clock bound out of range"));
  SUPERVISOR(STEP_LIMIT_OUTPUT), put_u64(&builder, UINT64_MAX);
  CHECK(close_and_refuse("output bound out of range"));
  SUPERVISOR(STEP_TERMINATION), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("signal out of range"));
  SUPERVISOR(STEP_TERMINATION), put_u32(&builder, 65), put_u32(&builder, 0);
  CHECK(close_and_refuse("signal out of range"));
  SUPERVISOR(STEP_TERMINAL), put_u32(&builder, 65536), put_u32(&builder, 1);
  CHECK(close_and_refuse("terminal size out of range"));
  static const uint32_t descriptors[][2] = {{0, 3}, {3, 2}, {2, 1}, {1, 3}, {2, 2}, {65536, 3}, {3, 65536}, {UINT32_MAX, 3}};
  for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
    SUPERVISOR(STEP_DESCRIPTOR), put_u32(&builder, descriptors[i][0]), put_u32(&builder, descriptors[i][1]);
    CHECK(close_and_refuse("descriptor out of range"));
  }
  SUPERVISOR(STEP_PIPES), put_u32(&builder, 8);
  CHECK(close_and_refuse("pipes for other streams than 0, 1 and 2"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES), add_record(&builder, STEP_PIPES), add_record(&builder, STEP_PIPES);
  end_plan(&builder);
  CHECK(is_refused("more than one pipes record"));
  SUPERVISOR(STEP_LIMIT_CPU), put_u64(&builder, 0);
  CHECK(close_and_refuse("processor time bound out of range"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  for (unsigned i = 0; i <= PLAN_DESCRIPTORS_MAX; i++) add_record(&builder, STEP_DESCRIPTOR);
  end_plan(&builder);
  CHECK(is_refused("too many descriptors"));
}

static void put_collect(uint32_t flags, uint32_t bytes) {
  static const uint8_t input[PLAN_INPUT_MAX + 1];
  SUPERVISOR(STEP_COLLECT);
  put_u32(&builder, flags);
  put_u32(&builder, bytes);
  put_bytes(&builder, input, bytes);
}

static void collecting_is_checked(void) {
  put_collect(PLAN_COLLECT_FLAGS + 1, 0);
  CHECK(close_and_refuse("unknown flags of collect"));
  put_collect(PLAN_COLLECT_FILTERED, 0);
  CHECK(close_and_refuse("unknown flags of collect"));
  put_collect(PLAN_COLLECT_INPUT, PLAN_INPUT_MAX + 1);
  CHECK(close_and_refuse("input out of range"));
  put_collect(0, 1);
  CHECK(close_and_refuse("input out of range"));
  put_collect(0, 0), end_record(&builder);
  start_record(&builder, STEP_COLLECT), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("more than one collect record"));
}

// signal, milliseconds, and so many arguments, each of them `argument`.
static size_t put_call(struct call *call, uint32_t signal, uint32_t milliseconds, uint32_t count, const char *argument) {
  memset(&builder, 0, sizeof builder);
  put_u32(&builder, signal), put_u32(&builder, milliseconds), put_u32(&builder, 1), put_string(&builder, "in"), put_u32(&builder, count);
  for (uint32_t i = 0; i < count && i <= CALL_ARGUMENTS_MAX; i++) put_string(&builder, argument);
  memcpy(call->bytes, builder.bytes, builder.used);
  return builder.used;
}

static bool call_is(struct call *call, size_t length, const char *wanted) {
  const char *got = call_parse(call, length);
  bool right = wanted == NULL ? got == NULL : got != NULL && strcmp(got, wanted) == 0;
  if (!right) (void)printf("# wanted \"%s\", got \"%s\"\n", wanted == NULL ? "(none)" : wanted, got == NULL ? "(none)" : got);
  return right;
}

static void calls_are_checked(void) {
  struct call *call = call_allocate();
  if (call == NULL) abort();
  size_t length = put_call(call, 9, 5, 3, "/bin/true");
  CHECK(call_is(call, length, NULL));
  CHECK(call->kill_signal == 9 && call->grace_milliseconds == 5 && call->arguments[3] == NULL);
  CHECK(call->has_input && call->input_bytes == 3 && memcmp(call->input, "in", 3) == 0);
  CHECK(strcmp(call->arguments[0], "/bin/true") == 0 && strcmp(call->arguments[2], "/bin/true") == 0);
  for (size_t cut = 0; cut < length; cut++) CHECK(call_is(call, cut, "a call that is cut off or too long"));
  CHECK(call_is(call, length + 1, "a call that is cut off or too long"));
  CHECK(call_is(call, CALL_BYTES_MAX + 1, "a call that is too long"));
  CHECK(call_is(call, put_call(call, 0, 0, 1, "x"), "signal out of range"));
  CHECK(call_is(call, put_call(call, 65, 0, 1, "x"), "signal out of range"));
  CHECK(call_is(call, put_call(call, 15, UINT32_MAX, 1, "x"), "grace period out of range"));
  CHECK(call_is(call, put_call(call, 15, 0, 0, "x"), "number of arguments out of range"));
  CHECK(call_is(call, put_call(call, 15, 0, CALL_ARGUMENTS_MAX + 1, "x"), "number of arguments out of range"));
  CHECK(call_is(call, put_call(call, 15, 0, CALL_ARGUMENTS_MAX, "x"), NULL));
  static const uint32_t wrong[][2] = {{2, 0}, {0, 1}, {1, PLAN_INPUT_MAX + 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    memset(&builder, 0, sizeof builder);
    put_u32(&builder, 15), put_u32(&builder, 0), put_u32(&builder, wrong[i][0]), put_u32(&builder, wrong[i][1]);
    memset(call->bytes, 0, sizeof call->bytes);
    memcpy(call->bytes, builder.bytes, builder.used);
    CHECK(call_is(call, builder.used + wrong[i][1] + 4, "input out of range"));
  }
  CHECK(call_is(call, put_call(call, 15, 0, 1, ""), "the program's name is empty"));
  CHECK(munmap(call, sizeof *call) == 0);
}

static void put_cgroup(uint32_t flags, const char *parent, uint32_t count) {
  SUPERVISOR(STEP_CGROUP);
  put_u32(&builder, flags);
  put_u32(&builder, 1);
  put_string(&builder, parent);
  put_u32(&builder, count);
}

static void put_cgroup_file(uint32_t optional, const char *name) {
  put_u32(&builder, optional);
  put_string(&builder, name);
  put_string(&builder, "1");
}

static void control_groups_are_checked(void) {
  put_cgroup(PLAN_CGROUP_FLAGS + 1, "/sys", 0);
  CHECK(close_and_refuse("unknown flags of a control group"));
  put_cgroup(0, "sys", 0);
  CHECK(close_and_refuse("path is not absolute"));
  put_cgroup(0, "/sys", PLAN_CGROUP_FILES_MAX + 1);
  CHECK(close_and_refuse("number of files of a control group out of range"));
  put_cgroup(0, "/sys", 1), put_cgroup_file(2, "pids.max");
  CHECK(close_and_refuse("a file of a control group is neither optional nor not"));
  static const char *const names[] = {"", ".", "..", "../pids.max", "a/b", "/pids.max"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    put_cgroup(0, "/sys", 1), put_cgroup_file(0, names[i]);
    CHECK(close_and_refuse("not the name of a file of a control group"));
  }
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  for (unsigned i = 0; i <= PLAN_CGROUPS_MAX; i++) add_record(&builder, STEP_CGROUP);
  end_plan(&builder);
  CHECK(is_refused("too many control groups"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  add_record(&builder, STEP_SAMPLING);
  add_record(&builder, STEP_SAMPLING);
  end_plan(&builder);
  CHECK(is_refused("more than one sampling"));
  SUPERVISOR(STEP_SAMPLING), put_u64(&builder, 0), put_u64(&builder, 0), put_u64(&builder, 0);
  CHECK(close_and_refuse("sampling without a bound"));
  SUPERVISOR(STEP_SAMPLING), put_u64(&builder, UINT64_MAX), put_u64(&builder, 0), put_u64(&builder, 0);
  CHECK(close_and_refuse("processor time bound out of range"));
  SUPERVISOR(STEP_SAMPLING), put_u64(&builder, 0), put_u64(&builder, UINT64_MAX), put_u64(&builder, 0);
  CHECK(close_and_refuse("sampled bound out of range"));
  SUPERVISOR(STEP_SAMPLING), put_u64(&builder, 0), put_u64(&builder, 0), put_u64(&builder, UINT32_MAX);
  CHECK(close_and_refuse("sampled bound out of range"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  add_record(&builder, STEP_LIMIT_CPU);
  add_record(&builder, STEP_LIMIT_CPU);
  end_plan(&builder);
  CHECK(is_refused("more than one bound on processor time"));
}

static void put_root(uint32_t kind, uint32_t flags, const char *source, uint32_t count) {
  SUPERVISOR(STEP_ROOT);
  put_u32(&builder, kind);
  put_u32(&builder, flags);
  put_string(&builder, source);
  put_string(&builder, "");
  put_u32(&builder, count);
}

static void put_mount(uint32_t kind, uint32_t flags, uint32_t source_kind, const char *source, const char *destination) {
  INIT(STEP_MOUNT);
  put_u32(&builder, kind);
  put_u32(&builder, flags);
  put_u32(&builder, source_kind);
  put_string(&builder, source);
  put_string(&builder, destination);
  put_string(&builder, "");
}

static void init_values_are_checked(void) {
  SUPERVISOR(STEP_HOSTNAME), put_string(&builder, "");
  CHECK(close_and_refuse("hostname length out of range"));
  SUPERVISOR(STEP_HOSTNAME), put_string(&builder, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
  CHECK(close_and_refuse("hostname length out of range"));
  put_root(PLAN_ROOT_CAPTURE + 1, 0, "/", 0);
  CHECK(close_and_refuse("unknown kind of root"));
  put_root(PLAN_ROOT_SCRATCH, 0, "/srv", 0);
  CHECK(close_and_refuse("a part of a disk that is not there"));
  put_root(PLAN_ROOT_CAPTURE, 0, "/srv", 0);
  CHECK(close_and_refuse("the directory of the layer above is not absolute"));
  put_root(PLAN_ROOT_BIND, 2, "/", 0);
  CHECK(close_and_refuse("unknown flags of the root"));
  put_root(PLAN_ROOT_BIND, 0, "srv", 0);
  CHECK(close_and_refuse("the root's source is not absolute"));
  put_root(PLAN_ROOT_OVERLAY, 0, "/srv", PLAN_RECORDS_MAX + 1);
  CHECK(close_and_refuse("skeleton too large"));
  put_root(PLAN_ROOT_OVERLAY, 0, "/srv", 1), put_u32(&builder, PLAN_SKELETON_KINDS), put_string(&builder, "/a");
  CHECK(close_and_refuse("unknown kind in the skeleton"));
  put_root(PLAN_ROOT_OVERLAY, 0, "/srv", 1), put_u32(&builder, PLAN_SKELETON_LIKE), put_string(&builder, "/a"), put_u32(&builder, 1);
  CHECK(close_and_refuse("a directory of the skeleton is like one of a layer that is not there"));
  put_root(PLAN_ROOT_OVERLAY, 0, "/srv", 1), put_u32(&builder, 0), put_string(&builder, "a");
  CHECK(close_and_refuse("a path of the skeleton is not absolute"));
  put_mount(PLAN_MOUNT_KINDS, 0, 0, "/a", "/b");
  CHECK(close_and_refuse("unknown kind of mount"));
  put_mount(0, PLAN_MOUNT_FLAGS + 1, 0, "/a", "/b");
  CHECK(close_and_refuse("unknown mount flags"));
  put_mount(0, 0, 3, "/a", "/b");
  CHECK(close_and_refuse("unknown kind of source"));
  put_mount(PLAN_MOUNT_BIND, 0, 0, "a", "/b");
  CHECK(close_and_refuse("the source is not absolute"));
  put_mount(PLAN_MOUNT_OVERLAY, 0, 0, "a", "/b");
  CHECK(close_and_refuse("the source is not absolute"));
  put_mount(PLAN_MOUNT_OVERLAY, 0, 0, "/a", "/b");
  CHECK(close_and_refuse("a part of a disk that is not there"));
  put_mount(PLAN_MOUNT_OVERLAY, PLAN_MOUNT_CAPTURES, 0, "/a", "/b");
  CHECK(close_and_refuse("the directory of the layer above is not absolute"));
  put_mount(PLAN_MOUNT_BIND, PLAN_MOUNT_CAPTURES, 0, "/a", "/b");
  CHECK(close_and_refuse("a capture of what is no overlay"));
  put_mount(PLAN_MOUNT_TMPFS, 0, 0, "", "b");
  CHECK(close_and_refuse("the destination is not absolute"));
  static const enum step paths[] = {STEP_READONLY, STEP_MASK};
  for (size_t i = 0; i < 2; i++) {
    INIT(paths[i]), put_string(&builder, "a");
    CHECK(close_and_refuse("the path is not absolute"));
  }
  INIT(STEP_MKDIR), put_u32(&builder, 02000), put_string(&builder, "/a");
  CHECK(close_and_refuse("mode out of range"));
  INIT(STEP_MKDIR), put_u32(&builder, 0755), put_string(&builder, "a");
  CHECK(close_and_refuse("the path is not absolute"));
  INIT(STEP_SYMLINK), put_string(&builder, ""), put_string(&builder, "/a");
  CHECK(close_and_refuse("the target is empty"));
  INIT(STEP_SYMLINK), put_string(&builder, "a"), put_string(&builder, "a");
  CHECK(close_and_refuse("the path is not absolute"));
  INIT(STEP_FILE), put_u32(&builder, 04755), put_string(&builder, "/a"), put_u32(&builder, 0);
  CHECK(close_and_refuse("mode out of range"));
  static const char *const sysctls[] = {"kernel/hostname", "user/../kernel/x", "user/max_/../../kernel/x", ""};
  for (size_t i = 0; i < sizeof sysctls / sizeof sysctls[0]; i++) {
    open_record(STEP_SYSCTL, (enum step[]){STEP_NAMESPACES, STEP_ROOT, STEP_MOUNT}, 3);
    put_string(&builder, sysctls[i]), put_string(&builder, "0");
    CHECK(close_and_refuse("not a sysctl of the user namespace"));
  }
  open_record(STEP_SYSCTL, (enum step[]){STEP_NAMESPACES, STEP_ROOT, STEP_MOUNT}, 3);
  put_u32_at(&builder, PLAN_HEADER_BYTES + 8, 0x20020000u);
  put_string(&builder, "user/max_user_namespaces"), put_string(&builder, "0");
  CHECK(close_and_refuse("sysctl without a user namespace"));
  // Not a mount of ours, but the bounds of one that a tool made: only a tmpfs has any.
  INIT(STEP_MOUNT);
  put_u32(&builder, PLAN_MOUNT_PROC), put_u32(&builder, PLAN_MOUNT_REMOUNT), put_u32(&builder, 0);
  put_string(&builder, ""), put_string(&builder, "/proc"), put_string(&builder, "");
  CHECK(close_and_refuse("a remount of what is no tmpfs"));
}

static void put_formats(uint32_t around, uint32_t count) {
  INIT(STEP_BINFMT);
  put_u32(&builder, around);
  put_u32(&builder, count);
}

static void put_format(const char *name, const char *interpreter, const char *flags, uint32_t magic, uint32_t mask) {
  static const uint8_t zeros[PLAN_MAGIC_MAX + 1];
  put_formats(0, 1);
  put_string(&builder, name);
  put_string(&builder, interpreter);
  put_string(&builder, flags);
  put_u32(&builder, magic);
  put_bytes(&builder, zeros, magic);
  put_u32(&builder, mask);
  put_bytes(&builder, zeros, mask);
}

static void put_disk_mount(const char *options) {
  open_record(STEP_MOUNT, (enum step[]){STEP_NAMESPACES, STEP_DISK, STEP_ROOT}, 3);
  put_u32(&builder, PLAN_MOUNT_DISK), put_u32(&builder, 0), put_u32(&builder, 0);
  put_string(&builder, ""), put_string(&builder, "/tmp"), put_string(&builder, options);
}

static void put_view(uint32_t kind, uint32_t flags, const char *options) {
  put_u32(&builder, kind), put_u32(&builder, flags), put_u32(&builder, PLAN_SOURCE_DIRECTORY);
  put_string(&builder, "/srv"), put_string(&builder, "/mnt"), put_string(&builder, options);
}

// What comes before a root whose sandbox has a user namespace.
static void start_with_ids(void) {
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  add_record(&builder, STEP_MAP_IDS);
  add_record(&builder, STEP_MAP_IDS);
  put_u32_at(&builder, builder.record + 8, PLAN_MAP_GID);
}

static void end_with_command(void) {
  add_record(&builder, STEP_PIVOT), add_record(&builder, STEP_USER), add_record(&builder, STEP_EXEC);
  end_plan(&builder);
}

static void layers_are_checked(void) {
  struct plan plan;
  static const char of_nothing[] = "a layer of nothing";
  start_with_ids();
  add_record(&builder, STEP_LAYER), add_record(&builder, STEP_LAYER), add_record(&builder, STEP_ROOT);
  end_with_command();
  CHECK(is_accepted(&plan));
  BUILD(STEP_NAMESPACES, STEP_LAYER, STEP_HOSTNAME);
  CHECK(is_refused(of_nothing));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_LAYER, STEP_PIVOT);
  CHECK(is_refused(of_nothing));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_LAYER, STEP_MOUNT);
  CHECK(is_refused("layers of what is no overlay"));
  INIT(STEP_LAYER), put_string(&builder, "srv");
  CHECK(close_and_refuse("the layer is not absolute"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES);
  for (uint32_t i = 0; i <= PLAN_LAYERS_MAX; i++) add_record(&builder, STEP_LAYER);
  end_plan(&builder);
  CHECK(is_refused("too many layers"));

  start_with_ids();
  add_record(&builder, STEP_DISK), add_record(&builder, STEP_ROOT);
  for (uint32_t i = 0; i <= PLAN_CAPTURES_MAX; i++) {
    start_record(&builder, STEP_MOUNT);
    put_view(PLAN_MOUNT_OVERLAY, PLAN_MOUNT_CAPTURES, "/kept");
    end_record(&builder);
  }
  end_with_command();
  CHECK(is_refused("too many captures with a disk"));

  INIT(STEP_MOUNT), put_view(PLAN_MOUNT_OVERLAY, PLAN_MOUNT_READONLY, "");
  CHECK(close_and_refuse("an overlay of one layer"));
  struct {
    uint32_t flags;
    const char *reason;
  } cases[] = {{PLAN_MOUNT_READONLY, NULL},
               {PLAN_MOUNT_READONLY | PLAN_MOUNT_CAPTURES, "a capture of what is read-only"},
               {PLAN_MOUNT_READONLY | PLAN_MOUNT_IF_EXISTS, "layers of what may not exist"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    start_with_ids();
    add_record(&builder, STEP_ROOT), add_record(&builder, STEP_LAYER);
    start_record(&builder, STEP_MOUNT);
    put_view(PLAN_MOUNT_OVERLAY, cases[i].flags, "");
    end_record(&builder);
    end_with_command();
    CHECK(cases[i].reason == NULL ? is_accepted(&plan) : is_refused(cases[i].reason));
  }
}

static void disks_are_checked(void) {
  BUILD(STEP_NAMESPACES, STEP_DISK, STEP_DISK);
  CHECK(is_refused("more than one disk"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_DISK);
  CHECK(is_refused("a disk after the root"));
  INIT(STEP_MOUNT);
  put_u32(&builder, PLAN_MOUNT_DISK), put_u32(&builder, 0), put_u32(&builder, 0);
  put_string(&builder, ""), put_string(&builder, "/tmp"), put_string(&builder, "mode=0755");
  CHECK(close_and_refuse("a directory of a disk that is not there"));
  static const char *const wrong[] = {"", "mode=", "mode=8", "mode=02000", "mode=0755,", "mode=0755,uid=1", "mode=0755,uid=1,", "mode=0755,uid=1,gid=",
                                      "mode=0755,uid=1,gid=4294967295", "mode=0755,uid=99999999999,gid=1", "mode=0755,gid=1,uid=1",
                                      "mode=0755,uid=1,gid=1,", "mode=0755,uid=1,gid=1x", "uid=1,gid=1", "mode=0000000000755"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    put_disk_mount(wrong[i]);
    CHECK(close_and_refuse("not the ownership of a directory"));
  }
  BUILD(STEP_NAMESPACES, STEP_DISK, STEP_TOOL);
  CHECK(is_refused("a disk before a tool"));
  struct ownership found;
  CHECK(plan_ownership("mode=01777", &found) && found.mode == 01777 && found.uid == UINT32_MAX && found.gid == UINT32_MAX);
  CHECK(plan_ownership("mode=0700,uid=1000,gid=0", &found) && found.mode == 0700 && found.uid == 1000 && found.gid == 0);
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES), add_record(&builder, STEP_TOOL), add_record(&builder, STEP_DISK);
  add_record(&builder, STEP_USER), add_record(&builder, STEP_EXEC);
  end_plan(&builder);
  CHECK(is_refused("id mappings and user namespace disagree") || is_refused("a disk without a root that is mounted"));
}

static void formats_are_checked(void) {
  put_formats(4, 0);
  CHECK(close_and_refuse("unknown flags of a table of formats"));
  put_formats(PLAN_BINFMT_IF_POSSIBLE, 1);
  CHECK(close_and_refuse("formats that may be left out"));
  put_formats(PLAN_BINFMT_IF_POSSIBLE | PLAN_BINFMT_AROUND, 0);
  CHECK(close_and_refuse("formats that may be left out"));
  put_formats(0, PLAN_FORMATS_MAX + 1);
  CHECK(close_and_refuse("number of formats out of range"));
  static const char *const names[] = {"", ".", "..", ".hidden", "a/b", "a:b", "a b", "a\nb", "a\x01" "b",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    put_format(names[i], "/q", "F", 1, 1);
    CHECK(close_and_refuse("not a name for a format"));
  }
  put_format("a", "q", "F", 1, 1);
  CHECK(close_and_refuse("the interpreter is not absolute"));
  put_format("a", "/q\x01" "F", "F", 1, 1);
  CHECK(close_and_refuse("not a path for an interpreter"));
  char longest[PLAN_INTERPRETER_MAX + 2];
  memset(longest, 'q', sizeof longest - 1);
  longest[0] = '/', longest[sizeof longest - 1] = '\0';
  put_format("a", longest, "F", 1, 1);
  CHECK(close_and_refuse("not a path for an interpreter"));
  static const char *const flags[] = {"", "OP", "FC", "F\n", "Fx"};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    put_format("a", "/q", flags[i], 1, 1);
    CHECK(close_and_refuse("unknown flags of a format, or none that opens the interpreter"));
  }
  static const uint32_t lengths[][2] = {{0, 0}, {1, 2}, {2, 1}, {PLAN_MAGIC_MAX + 1, PLAN_MAGIC_MAX + 1}};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    put_format("a", "/q", "F", lengths[i][0], lengths[i][1]);
    CHECK(close_and_refuse("length of magic or mask out of range"));
  }
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_BINFMT, STEP_BINFMT);
  CHECK(is_refused("more than one binfmt record"));
  BUILD(STEP_NAMESPACES, STEP_ROOT, STEP_PIVOT, STEP_BINFMT);
  CHECK(is_refused("a record after pivot"));
  put_formats(0, 0);
  put_u32_at(&builder, PLAN_HEADER_BYTES + 8, 0x20020000u);
  CHECK(close_and_refuse("binfmt without a user namespace"));
}

// Two exclusive-ors and a return.
static void put_filter_with_places(uint32_t places) {
  put_u32(&builder, 0), put_u32(&builder, 3), put_bytes(&builder, "\xa4\0\0\0\0\0\0\0\xa4\0\0\0\0\0\0\0\x06\0\0\0\0\0\xff\x7f", 24), put_u32(&builder, places);
}

static void places_of_the_pass_are_checked(void) {
  COMMAND(STEP_SECCOMP), put_filter_with_places(1), put_u32(&builder, 0);
  CHECK(close_and_refuse("number of places of the pass out of range"));
  COMMAND(STEP_SECCOMP), put_filter_with_places(4), put_u32(&builder, 0);
  CHECK(close_and_refuse("number of places of the pass out of range"));
  COMMAND(STEP_SECCOMP), put_filter_with_places(2), put_u32(&builder, 0), put_u32(&builder, 3);
  CHECK(close_and_refuse("a place of the pass is out of the filter"));
  COMMAND(STEP_SECCOMP), put_filter_with_places(2), put_u32(&builder, 0), put_u32(&builder, 2);
  CHECK(close_and_refuse("a place of the pass is no place for it"));
}

static void filters_that_init_runs_are_checked(void) {
  static const struct {
    bool runnable;
    struct sbx_sock_filter filter[3];
  } cases[] = {
      {true, {{.code = SBX_BPF_LD_W_ABS, .k = 60}, {.code = SBX_BPF_JEQ_K, .k = 1}, {.code = SBX_BPF_RET_K}}},
      {true, {{.code = SBX_BPF_JA, .k = 1}, {.code = SBX_BPF_TAX}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_LD_W_ABS, .k = 64}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_LD_W_ABS, .k = 2}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_JA, .k = 2}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_JA, .k = UINT32_MAX}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_RET_K}, {.code = SBX_BPF_JGT_K, .jt = 1}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_JSET_K, .jf = 2}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      // A division by nothing, scratch memory that nobody wrote, a fall off the end.
      {false, {{.code = 0x34}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = 0x60, .k = 15}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}}},
      {false, {{.code = SBX_BPF_RET_K}, {.code = SBX_BPF_RET_K}, {.code = SBX_BPF_TAX}}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(filter_is_runnable(cases[i].filter, 3) == cases[i].runnable);
    COMMAND(STEP_SECCOMP), put_u32(&builder, PLAN_FILTER_ASKS), put_u32(&builder, 3);
    put_bytes(&builder, cases[i].filter, sizeof cases[i].filter), put_u32(&builder, 0);
    if (!cases[i].runnable) CHECK(close_and_refuse("a filter with a listener has instructions that init cannot run"));
  }
  CHECK(!filter_is_runnable(cases[0].filter, 0));
}

static void filters_run_as_in_the_kernel(void) {
  const struct sbx_seccomp_data call = {.nr = 7, .arch = 0xc000003e, .args = {0x1234, 0xffffffff00000001}};
  struct sbx_sock_filter filter[] = {{.code = SBX_BPF_LD_W_ABS, .k = 28}, {.code = SBX_BPF_XOR_K, .k = 0xfffffff0},
                                     {.code = SBX_BPF_TAX},               {.code = SBX_BPF_LD_W_ABS, .k = 16},
                                     {.code = SBX_BPF_AND_K, .k = 0xff0}, {.code = SBX_BPF_OR_X},
                                     {.code = SBX_BPF_JEQ_K, .k = 0x23f}, {.code = SBX_BPF_RET_K, .k = 2},
                                     {.code = SBX_BPF_RET_K, .k = 1}};
  filter[6].jt = 1;
  CHECK(filter_is_runnable(filter, sizeof filter / sizeof filter[0]));
  CHECK(filter_run(filter, &call) == 1);
  static const struct {
    uint16_t code;
    uint32_t k;
    bool yes;
  } jumps[] = {{SBX_BPF_JEQ_K, 7, true},  {SBX_BPF_JEQ_K, 8, false}, {SBX_BPF_JGT_K, 6, true},  {SBX_BPF_JGT_K, 7, false},
               {SBX_BPF_JGE_K, 7, true},  {SBX_BPF_JGE_K, 8, false}, {SBX_BPF_JSET_K, 9, true}, {SBX_BPF_JSET_K, 8, false}};
  for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
    const struct sbx_sock_filter jump[] = {{.code = SBX_BPF_LD_W_ABS}, {.code = jumps[i].code, .jt = 1, .k = jumps[i].k}, {.code = SBX_BPF_RET_K, .k = 0}, {.code = SBX_BPF_RET_K, .k = 1}};
    CHECK(filter_run(jump, &call) == (jumps[i].yes ? 1u : 0u));
  }
}

static void command_values_are_checked(void) {
  COMMAND(STEP_RLIMIT), put_u32(&builder, 16), put_u64(&builder, 0), put_u64(&builder, 0);
  CHECK(close_and_refuse("unknown resource"));
  COMMAND(STEP_RLIMIT), put_u32(&builder, 0), put_u64(&builder, 2), put_u64(&builder, 1);
  CHECK(close_and_refuse("soft limit above the hard one"));
  COMMAND(STEP_UMASK), put_u32(&builder, 01000);
  CHECK(close_and_refuse("umask out of range"));
  COMMAND(STEP_USER), put_u32(&builder, UINT32_MAX), put_u32(&builder, 0), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("id out of range"));
  COMMAND(STEP_USER), put_u32(&builder, 0), put_u32(&builder, UINT32_MAX), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("id out of range"));
  COMMAND(STEP_USER), put_u32(&builder, 0), put_u32(&builder, 0), put_u32(&builder, 2), put_u32(&builder, 0);
  CHECK(close_and_refuse("groups out of range"));
  COMMAND(STEP_USER), put_u32(&builder, 0), put_u32(&builder, 0), put_u32(&builder, 1), put_u32(&builder, PLAN_GROUPS_MAX + 1);
  CHECK(close_and_refuse("groups out of range"));
  COMMAND(STEP_USER), put_u32(&builder, 0), put_u32(&builder, 0), put_u32(&builder, 0), put_u32(&builder, 1), put_u32(&builder, 5);
  CHECK(close_and_refuse("groups that are not to be set"));
  COMMAND(STEP_CWD), put_string(&builder, "tmp");
  CHECK(close_and_refuse("the path is not absolute"));
  COMMAND(STEP_SECCOMP), put_u32(&builder, 8);
  CHECK(close_and_refuse("unknown flags of a filter"));
  COMMAND(STEP_SECCOMP), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("filter length out of range"));
  COMMAND(STEP_SECCOMP), put_u32(&builder, 0), put_u32(&builder, PLAN_FILTER_MAX + 1);
  CHECK(close_and_refuse("filter length out of range"));
  places_of_the_pass_are_checked();
  filters_that_init_runs_are_checked();
  filters_run_as_in_the_kernel();
  COMMAND(STEP_EXEC), put_u32(&builder, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("number of arguments out of range"));
  COMMAND(STEP_EXEC), put_u32(&builder, UINT32_MAX), put_u32(&builder, 0);
  CHECK(close_and_refuse("number of arguments out of range"));
  COMMAND(STEP_EXEC), put_u32(&builder, 1), put_string(&builder, ""), put_u32(&builder, 0);
  CHECK(close_and_refuse("the program's name is empty"));
  COMMAND(STEP_EXEC), put_u32(&builder, 1), put_string(&builder, "a"), put_u32(&builder, UINT32_MAX);
  CHECK(close_and_refuse("size of the environment out of range"));
  COMMAND(STEP_EXEC), put_u32(&builder, 1), put_string(&builder, "a"), put_u32(&builder, 1), put_string(&builder, "=a");
  CHECK(close_and_refuse("an environment entry is not NAME=value"));
  COMMAND(STEP_EXEC), put_u32(&builder, 1), put_string(&builder, "a"), put_u32(&builder, 1), put_string(&builder, "HOME");
  CHECK(close_and_refuse("an environment entry is not NAME=value"));
}

// Handled: a right of paths, one that is wished for, a right of ports, no scope.
static void put_handled(uint64_t paths, uint64_t wished, uint64_t ports, uint64_t scopes) {
  COMMAND(STEP_LANDLOCK);
  put_u64(&builder, paths), put_u64(&builder, wished), put_u64(&builder, ports), put_u64(&builder, scopes);
}

static void put_rule(uint32_t kind, uint64_t access) {
  put_handled(4, 8, 1, 0);
  put_u32(&builder, 1), put_u32(&builder, kind), put_u64(&builder, access);
}

static void landlock_is_checked(void) {
  put_handled(0, 0, 0, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("a landlock record that handles nothing"));
  put_handled(0, 1, 1, 0), put_u32(&builder, 0);
  CHECK(close_and_refuse("rights of paths that are only wished for"));
  put_handled(4, 0, 0, 0), put_u32(&builder, PLAN_RULES_MAX + 1);
  CHECK(close_and_refuse("number of rules out of range"));
  put_rule(2, 4);
  CHECK(close_and_refuse("unknown kind of a rule"));
  put_rule(PLAN_RULE_PATH, 0), put_string(&builder, "/usr");
  CHECK(close_and_refuse("a rule allows nothing, or what is not handled"));
  put_rule(PLAN_RULE_PATH, 1), put_string(&builder, "/usr");
  CHECK(close_and_refuse("a rule allows nothing, or what is not handled"));
  put_rule(PLAN_RULE_PORT, 4), put_u32(&builder, 80);
  CHECK(close_and_refuse("a rule allows nothing, or what is not handled"));
  put_rule(PLAN_RULE_PATH, 12), put_string(&builder, "usr");
  CHECK(close_and_refuse("a path of a rule is not absolute"));
  put_rule(PLAN_RULE_PORT, 1), put_u32(&builder, 65536);
  CHECK(close_and_refuse("port out of range"));
  start_plan(&builder);
  add_record(&builder, STEP_NAMESPACES), add_record(&builder, STEP_ROOT), add_record(&builder, STEP_PIVOT);
  add_record(&builder, STEP_LANDLOCK), add_record(&builder, STEP_LANDLOCK);
  end_plan(&builder);
  CHECK(is_refused("more than one landlock record"));
}

static void strings_are_checked(void) {
  static const struct {
    const char *bytes;
    size_t count;
  } cases[] = {{"\0\0\0\0", 4},                       // no room for the NUL
               {"\1\0\0\0/", 5},                      // no NUL
               {"\3\0\0\0/\0a", 7},                   // not at the end
               {"\3\0\0\0/\0\0", 7},                  // two of them
               {"\xff\xff\xff\xff/\0", 6},            // longer than the plan
               {"\xff\xff\xff\x7f/\0", 6}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    COMMAND(STEP_CWD);
    put_bytes(&builder, cases[i].bytes, cases[i].count);
    end_record(&builder);
    end_plan(&builder);
    struct plan plan;
    uint32_t index;
    const char *reason = NULL;
    CHECK(!parse(builder.bytes, builder.used, &plan, &index, &reason));
    CHECK(index == 3);
  }
}

static void readers_stay_failed(void) {
  static const uint8_t bytes[] = {1, 0, 0, 0, 0, 2};
  struct reader reader = {.at = bytes, .end = bytes + sizeof bytes};
  CHECK(strcmp(read_string(&reader), "") == 0 && !reader.failed);
  CHECK(read_u32(&reader) == 0 && reader.failed);
  CHECK(read_bytes(&reader, 1) == NULL);
  CHECK(read_u64(&reader) == 0);
  CHECK(strcmp(read_string(&reader), "") == 0);
  struct reader numbers = {.at = (const uint8_t *)"\1\2\3\4\5\6\7\x88", .end = NULL};
  numbers.end = numbers.at + 8;
  CHECK(read_u64(&numbers) == 0x8807060504030201u && !numbers.failed);
}

static void steps_have_names(void) {
  CHECK(strcmp(step_name(STEP_NAMESPACES), "namespaces") == 0);
  CHECK(strcmp(step_name(STEP_LOST), "lost") == 0);
  CHECK(strcmp(step_name((enum step)99), "unknown") == 0);
}

// For the fuzzer: one plan with everything, one for each record alone behind what it needs, and one without namespaces.
static int write_corpus(const char *directory) {
  for (size_t i = 0; i <= BUILDER_STEPS + 1; i++) {
    if (i > BUILDER_STEPS) {
      start_plan(&builder);
      start_record(&builder, STEP_NAMESPACES), put_u32(&builder, 0), end_record(&builder);
      add_record(&builder, STEP_DOMAIN);
      add_record(&builder, STEP_USER);
      add_record(&builder, STEP_EXEC);
      end_plan(&builder);
    } else if (i == BUILDER_STEPS) {
      build_everything(&builder, NULL);
    } else if (i == 0) {
      // With a tool, which no other plan may have beside a root of its own.
      start_plan(&builder);
      add_record(&builder, STEP_NAMESPACES);
      add_record(&builder, STEP_SOURCE);
      add_record(&builder, STEP_CONTENT);
      add_record(&builder, STEP_TREE);
      add_record(&builder, STEP_TOOL);
      add_record(&builder, STEP_LOOPBACK);
      add_record(&builder, STEP_ROOT);
      add_record(&builder, STEP_PIVOT);
      add_record(&builder, STEP_USER_NAMESPACE);
      add_record(&builder, STEP_USER);
      add_record(&builder, STEP_EXEC);
      end_plan(&builder);
    } else {
      start_plan(&builder);
      add_record(&builder, STEP_NAMESPACES);
      if (builder_steps[i] > STEP_ROOT) add_record(&builder, STEP_ROOT);
      if (builder_steps[i] >= STEP_RLIMIT) add_record(&builder, STEP_PIVOT);
      if (builder_steps[i] != STEP_NAMESPACES) add_record(&builder, builder_steps[i]);
      end_plan(&builder);
    }
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%zu", directory, i);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(builder.bytes, 1, builder.used, file) != builder.used || fclose(file) != 0) {
      perror(path);
      return 1;
    }
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count == 3 && strcmp(arguments[1], "--corpus") == 0) return write_corpus(arguments[2]);
  TEST(good_plan_is_read, "plan: one record of every kind is read");
  TEST(records_come_in_order, "plan: records come in their order");
  TEST(every_cut_is_refused, "plan: cut at any byte it is refused");
  TEST(each_record_has_its_length, "plan: a record with a byte too few or too many is refused by its index");
  TEST(every_byte_may_be_anything, "plan: no byte value anywhere does harm");
  TEST(header_is_checked, "plan: the header is checked");
  TEST(order_is_checked, "plan: the order of records is checked");
  TEST(length_and_records_agree, "plan: length and records must agree");
  TEST(namespaces_are_checked, "plan: namespaces are checked");
  TEST(isolation_is_checked, "plan: a sandbox rests on namespaces, a tool, or a root that is only entered");
  TEST(sampling_needs_a_pid_namespace, "plan: sampling needs a pid namespace");
  TEST(pods_are_checked, "plan: who joins a pod has no namespaces of its own, who holds one has all");
  TEST(domains_are_checked, "plan: a domain stands alone");
  TEST(roots_inside_are_checked, "plan: a root inside of a tool has its pivot");
  TEST(trees_are_checked, "plan: trees are checked, and that there are as many as are mounted");
  TEST(tools_are_checked, "plan: tools and what they find open are checked");
  TEST(id_maps_are_checked, "plan: id maps are checked");
  TEST(supervisor_values_are_checked, "plan: values for the supervisor are checked");
  TEST(control_groups_are_checked, "plan: control groups are checked");
  TEST(init_values_are_checked, "plan: values for init are checked");
  TEST(layers_are_checked, "plan: layers come before the overlay that has them");
  TEST(disks_are_checked, "plan: a disk comes before the root, and its directories say whose they are");
  TEST(formats_are_checked, "plan: formats of programs are checked");
  TEST(collecting_is_checked, "plan: what is collected is checked");
  TEST(calls_are_checked, "call: a call is checked, cut at every byte");
  TEST(command_values_are_checked, "plan: values for the command are checked");
  TEST(landlock_is_checked, "plan: what Landlock is to take away and give back is checked");
  TEST(strings_are_checked, "plan: strings end with their only NUL");
  TEST(readers_stay_failed, "plan: a reader that failed stays failed");
  TEST(steps_have_names, "plan: steps have names");
  return tests_end();
}
