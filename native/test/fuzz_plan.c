// The plan parser with anything as input, and, when it accepts, all readers as the performers use them. For libFuzzer; with -DSTANDALONE it has a
// main of its own, which mutates the files it is given by a fixed sequence: the same inputs in every run.
//   fuzz_plan SECONDS FILE...
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../call.h"
#include "../filter.h"
#include "../plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t consumed;

static void use_string(struct reader *r) { consumed += strlen(read_string(r)); }

static void use_bytes(struct reader *r, size_t count) {
  const uint8_t *bytes = read_bytes(r, count);
  for (size_t i = 0; bytes != NULL && i < count; i++) consumed += bytes[i];
}

static void use_numbers(struct reader *r, unsigned count) {
  while (count-- > 0) consumed += read_u32(r);
}

// One with a listener is run by init: it must end, and read nothing but the call.
static void use_filter(struct reader *r, uint32_t count, bool listens) {
  static struct sbx_sock_filter filter[PLAN_FILTER_MAX];
  memcpy(filter, read_bytes(r, (size_t)count * sizeof filter[0]), (size_t)count * sizeof filter[0]);
  for (int number = 0; listens && number < 400; number += 57) {
    struct sbx_seccomp_data call = {.nr = number, .arch = 0xc000003e, .args = {1, 2, 3, 4, 5, 6}};
    consumed += filter_run(filter, &call);
  }
}

static void use_record(struct record *record) {
  struct reader *r = &record->payload;
  uint32_t count, flags;
  switch (record->step) {
    case STEP_MAP_IDS:
      use_numbers(r, 2);
      use_string(r);
      count = read_u32(r);
      if (count > PLAN_MAPPINGS_MAX) abort();
      use_numbers(r, count * 3);
      break;
    case STEP_CGROUP:
      use_numbers(r, 2);
      use_string(r);
      count = read_u32(r);
      if (count > PLAN_CGROUP_FILES_MAX) abort();
      for (uint32_t i = 0; i < count; i++) use_numbers(r, 1), use_string(r), use_string(r);
      break;
    case STEP_ROOT:
      use_numbers(r, 2);
      use_string(r);
      use_string(r);
      count = read_u32(r);
      for (uint32_t i = 0; i < count; i++) use_numbers(r, 1), use_string(r);
      break;
    case STEP_MOUNT:
      if (read_u32(r) >= PLAN_MOUNT_KINDS) abort();
      use_numbers(r, 2);
      use_string(r), use_string(r), use_string(r);
      break;
    case STEP_HOSTNAME:
    case STEP_READONLY:
    case STEP_MASK:
    case STEP_CWD: use_string(r); break;
    case STEP_MKDIR: use_numbers(r, 1), use_string(r); break;
    case STEP_SYMLINK:
    case STEP_SYSCTL: use_string(r), use_string(r); break;
    case STEP_FILE:
      use_numbers(r, 1);
      use_string(r);
      count = read_u32(r);
      use_bytes(r, count);
      break;
    case STEP_BINFMT:
      use_numbers(r, 1);
      count = read_u32(r);
      if (count > PLAN_FORMATS_MAX) abort();
      for (uint32_t i = 0; i < count; i++) {
        use_string(r), use_string(r), use_string(r);
        for (int field = 0; field < 2; field++) {
          uint32_t length = read_u32(r);
          if (length == 0 || length > PLAN_MAGIC_MAX) abort();
          use_bytes(r, length);
        }
      }
      break;
    case STEP_USER:
      use_numbers(r, 3);
      count = read_u32(r);
      if (count > PLAN_GROUPS_MAX) abort();
      use_bytes(r, (size_t)count * 4);
      break;
    case STEP_SECCOMP:
      flags = read_u32(r);
      count = read_u32(r);
      if (count == 0 || count > PLAN_FILTER_MAX) abort();
      use_filter(r, count, (flags & (PLAN_FILTER_TELLS | PLAN_FILTER_ASKS)) != 0);
      use_numbers(r, read_u32(r));
      break;
    case STEP_LANDLOCK:
      use_numbers(r, 8);
      count = read_u32(r);
      if (count > PLAN_RULES_MAX) abort();
      for (uint32_t i = 0; i < count; i++) {
        uint32_t kind = read_u32(r);
        use_numbers(r, 2);
        if (kind == PLAN_RULE_PATH) use_string(r);
        else if (kind != PLAN_RULE_PORT || read_u32(r) > 65535) abort();
      }
      break;
    case STEP_SOURCE:
      use_numbers(r, 2);
      use_string(r);
      break;
    case STEP_CONTENT:
      use_numbers(r, 1);
      count = read_u32(r);
      use_bytes(r, count);
      break;
    case STEP_TOOL:
      if (read_u32(r) > 64) abort();
      use_numbers(r, 1);
      // fall through
    case STEP_EXEC:
      for (int vector = 0; vector < 2; vector++) {
        count = read_u32(r);
        for (uint32_t i = 0; i < count; i++) use_string(r);
      }
      break;
    default: use_bytes(r, (size_t)(r->end - r->at)); break;
  }
  // What the checks let pass, the performers read without a failure, and to its end.
  if (r->failed || r->at != r->end) abort();
}

// The same bytes as a call: what is accepted is whole.
static void try_call(const uint8_t *data, size_t size) {
  static struct call call;
  if (size > sizeof call.bytes) return;
  memcpy(call.bytes, data, size);
  if (call_parse(&call, size) != NULL) return;
  for (char **argument = call.arguments; *argument != NULL; argument++) consumed += strlen(*argument);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct plan plan;
  try_call(data, size);
  uint32_t index;
  const char *reason = NULL;
  if (!plan_parse(data, size, &plan, &index, &reason)) {
    if (reason == NULL) abort();
    return 0;
  }
  struct cursor cursor = plan_start(&plan);
  struct record record;
  uint32_t count = 0;
  while (plan_next(&cursor, &record)) {
    use_record(&record);
    count++;
  }
  if (count != plan.records || !plan.has_user || (plan.argument_count == 0) != plan.waits) abort();
  // A root is entered, or a tool makes one, or it is the host's and nothing is made.
  if (!plan.has_root && !plan.has_tool && !plan.has_domain) abort();
  if (plan.has_domain && (plan.has_root || plan.has_tool || plan.namespaces != 0)) abort();
  if (plan.has_tool && plan.tool_argument_count == 0) abort();
  return 0;
}

#ifdef STANDALONE
#define INPUT_BYTES 65536

static uint64_t state = 0x9e3779b97f4a7c15u;
static uint32_t next(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

static size_t mutate(uint8_t *bytes, size_t length) {
  static const uint32_t odd[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, 340, 341, 4096, 4097, 65536, 65537};
  for (uint32_t rounds = 1 + next(4); rounds > 0 && length > 8; rounds--) {
    uint32_t at = next((uint32_t)length - 4);
    uint32_t value = odd[next(sizeof odd / sizeof odd[0])];
    switch (next(6)) {
      case 0: bytes[at] = (uint8_t)next(256); break;
      case 1: bytes[at] ^= (uint8_t)(1u << next(8)); break;
      case 2: memcpy(bytes + at, &value, sizeof value); break;
      case 3: length = at + 4; break;
      case 4:
        // A piece twice.
        if (length + 64 < INPUT_BYTES && at + 64 < length) {
          memmove(bytes + at + 64, bytes + at, length - at);
          length += 64;
        }
        break;
      default:
        // A piece less.
        if (at + 16 < length) {
          memmove(bytes + at, bytes + at + 16, length - at - 16);
          length -= 16;
        }
    }
  }
  // Mostly a header that agrees, or nothing behind it would be looked at.
  if (length >= 12 && next(8) != 0) {
    uint32_t announced = (uint32_t)length;
    memcpy(bytes + 8, &announced, sizeof announced);
  }
  return length;
}

int main(int count, char **arguments) {
  if (count < 3) return 125;
  time_t end = time(NULL) + atoi(arguments[1]);
  unsigned long inputs = 0;
  while (time(NULL) < end) {
    for (int i = 2; i < count; i++) {
      static uint8_t seed[INPUT_BYTES];
      FILE *file = fopen(arguments[i], "r");
      if (file == NULL) return 125;
      size_t length = fread(seed, 1, sizeof seed - 128, file);
      (void)fclose(file);
      for (int round = 0; round < 1000; round++, inputs++) {
        // On the heap and of its exact size, for the sanitizer to watch its end.
        uint8_t *input = malloc(INPUT_BYTES);
        if (input == NULL) return 125;
        memcpy(input, seed, length);
        size_t mutated = mutate(input, length);
        uint8_t *exact = malloc(mutated == 0 ? 1 : mutated);
        if (exact == NULL) return 125;
        memcpy(exact, input, mutated);
        (void)LLVMFuzzerTestOneInput(exact, mutated);
        free(exact);
        free(input);
      }
    }
  }
  (void)printf("%lu inputs\n", inputs);
  return fflush(stdout) == 0 ? 0 : 125;
}
#endif
