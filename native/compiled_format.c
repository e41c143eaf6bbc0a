// Reads and checks what surrounds the plan of a compiled one. Pure, as plan.c is: the fuzzer runs this too.
#include <string.h>

#include "compiled.h"

// FNV-1a: a single change always changes it. This is against damage; who can write the file can write anything.
static uint64_t sum_of(const uint8_t *bytes, size_t length) {
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < length; i++) sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
  return sum;
}

static bool skip_strings(struct reader *r, struct strings *strings) {
  strings->count = read_u32(r);
  strings->at = *r;
  for (uint32_t i = 0; i < strings->count && !r->failed; i++) (void)read_string(r);
  return !r->failed && strings->count <= COMPILED_STRINGS_MAX;
}

static bool skip_notices(struct reader *r, struct notices *notices) {
  notices->count = read_u32(r);
  notices->at = *r;
  for (uint32_t i = 0; i < notices->count && !r->failed; i++) {
    (void)read_u32(r);
    (void)read_string(r);
  }
  return !r->failed && notices->count <= COMPILED_STRINGS_MAX;
}

static bool skip_places(struct reader *r, struct places *places) {
  places->count = read_u32(r);
  places->at = *r;
  for (uint32_t i = 0; i < places->count && !r->failed; i++) {
    (void)read_string(r);
    const char *mounted = read_string(r);
    const char *root = read_string(r);
    if (read_u32(r) > COMPILED_GROUP_TOP || mounted[0] != '/' || root[0] != '/') return false;
  }
  return !r->failed && places->count <= PLAN_CGROUPS_MAX;
}

bool compiled_parse(const uint8_t *bytes, size_t length, struct compiled *compiled, const char **reason) {
  memset(compiled, 0, sizeof *compiled);
  *reason = "there is no compiled plan where it should be";
  if (length < COMPILED_HEADER_BYTES || memcmp(bytes, "SBXC", 4) != 0) return false;
  struct reader r = {.at = bytes + 4, .end = bytes + length, .failed = false};
  *reason = "of another version";
  if (read_u32(&r) != COMPILED_VERSION) return false;
  uint64_t sum = read_u64(&r);
  *reason = "its bytes are not those that were written";
  if (sum != sum_of(r.at, (size_t)(r.end - r.at))) return false;
  *reason = "its parts do not fit together";
  compiled->uid = read_u32(&r);
  compiled->gid = read_u32(&r);
  compiled->flags = read_u32(&r);
  compiled->process_milliseconds = read_u64(&r);
  compiled->kernel = read_string(&r);
  compiled->workspace = read_string(&r);
  if (r.failed || (compiled->flags & ~(uint32_t)COMPILED_FLAGS) != 0) return false;
  if (compiled->workspace[0] != '\0' && compiled->workspace[0] != '/') return false;
  if (!skip_strings(&r, &compiled->inherited) || !skip_strings(&r, &compiled->own) || !skip_strings(&r, &compiled->set)) return false;
  if (!skip_strings(&r, &compiled->open) || !skip_places(&r, &compiled->groups)) return false;
  if (!skip_notices(&r, &compiled->notices) || !skip_strings(&r, &compiled->calls)) return false;
  compiled->plan = r.at;
  compiled->plan_length = (size_t)(r.end - r.at);
  return true;
}
