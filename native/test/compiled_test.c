// What surrounds the plan of a compiled one: good, cut at every byte, of other versions, and changed by a fixed sequence of mutations under a sum that agrees.
#include "check.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../compiled.h"

#define BYTES 4096
#define MUTATIONS 300000

static uint8_t bytes[BYTES];
static size_t used;

static void put_u32(uint32_t value) {
  for (int i = 0; i < 4; i++) bytes[used++] = (uint8_t)(value >> 8 * i);
}

static void put_string(const char *text) {
  size_t length = strlen(text) + 1;
  put_u32((uint32_t)length);
  memcpy(bytes + used, text, length);
  used += length;
}

static void put_strings(const char *first, const char *second) {
  put_u32(2);
  put_string(first);
  put_string(second);
}

static void seal(uint8_t *of, size_t length) {
  uint64_t sum = UINT64_C(14695981039346656037);
  for (size_t i = 16; i < length; i++) sum = (sum ^ of[i]) * UINT64_C(1099511628211);
  for (int i = 0; i < 8; i++) of[8 + i] = (uint8_t)(sum >> 8 * i);
}

static void build(void) {
  used = 16;
  memcpy(bytes, "SBXC\1\0\0\0", 8);
  put_u32(1000);
  put_u32(100);
  put_u32(COMPILED_BOUNDS_FILES);
  put_u32(2000), put_u32(0);
  put_string("6.1");
  put_string("/src");
  put_strings("A", "LC_*");
  put_strings("HOME", "PWD");
  put_strings("B", "C");
  put_strings("/usr", "/etc/passwd");
  put_u32(1);
  put_string("memory"), put_string("/sys/fs/cgroup/memory"), put_string("/"), put_u32(COMPILED_GROUP_OWN);
  put_u32(1);
  put_u32(WORDS_YELLOW);
  put_string("skipped: x");
  put_strings("3221225534 any x86_64", "3221225534 63 uname (63 of x86_64)");
  put_string("a plan");
  seal(bytes, used);
}

// Right before a page that nobody may read.
static bool parse(const uint8_t *from, size_t length, struct compiled *compiled, const char **reason) {
  static uint8_t *area;
  if (area == NULL) {
    area = mmap(NULL, 65536 * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED || mprotect(area + 65536, 65536, PROT_NONE) < 0) abort();
  }
  uint8_t *at = area + 65536 - length;
  if (length > 0) memcpy(at, from, length);
  return compiled_parse(at, length, compiled, reason);
}

// As the performers do.
static size_t read_all(struct compiled *compiled) {
  struct strings *lists[] = {&compiled->inherited, &compiled->own, &compiled->set, &compiled->open, &compiled->calls};
  size_t length = strlen(compiled->kernel) + strlen(compiled->workspace);
  for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
    for (uint32_t i = 0; i < lists[list]->count; i++) length += strlen(read_string(&lists[list]->at));
    if (lists[list]->at.failed) abort();
  }
  for (uint32_t i = 0; i < compiled->groups.count; i++) {
    for (int string = 0; string < 3; string++) length += strlen(read_string(&compiled->groups.at));
    if (read_u32(&compiled->groups.at) > COMPILED_GROUP_TOP) abort();
  }
  if (compiled->groups.at.failed || compiled->groups.count > PLAN_CGROUPS_MAX) abort();
  for (uint32_t i = 0; i < compiled->notices.count; i++) length += read_u32(&compiled->notices.at) + strlen(read_string(&compiled->notices.at));
  if (compiled->notices.at.failed) abort();
  for (size_t i = 0; i < compiled->plan_length; i++) length += compiled->plan[i];
  return length;
}

static void good_one_is_read(void) {
  build();
  struct compiled compiled;
  const char *reason;
  CHECK(parse(bytes, used, &compiled, &reason));
  CHECK(compiled.uid == 1000 && compiled.gid == 100 && compiled.flags == COMPILED_BOUNDS_FILES && compiled.process_milliseconds == 2000);
  CHECK(strcmp(compiled.kernel, "6.1") == 0 && strcmp(compiled.workspace, "/src") == 0);
  CHECK(compiled.groups.count == 1 && compiled.inherited.count == 2 && compiled.notices.count == 1 && compiled.calls.count == 2);
  CHECK(compiled.plan_length == 11 && memcmp(compiled.plan + 4, "a plan", 7) == 0);
  CHECK(read_all(&compiled) > 0);
}

static void cut_one_is_refused(void) {
  build();
  for (size_t length = 0; length < used; length++) {
    struct compiled compiled;
    const char *reason = NULL;
    CHECK(!parse(bytes, length, &compiled, &reason) && reason != NULL);
    // With a sum of what is left, the parts tell; behind the last of them begins the plan, which is another's business.
    if (length < 16 || length >= used - 11) continue;
    uint8_t copy[BYTES];
    memcpy(copy, bytes, length);
    seal(copy, length);
    CHECK(!parse(copy, length, &compiled, &reason));
  }
}

static void others_are_refused(void) {
  struct compiled compiled;
  const char *reason;
  build();
  bytes[0] = 'X';
  CHECK(!parse(bytes, used, &compiled, &reason) && strstr(reason, "no compiled plan") != NULL);
  build();
  bytes[4] = 2;
  CHECK(!parse(bytes, used, &compiled, &reason) && strstr(reason, "version") != NULL);
  build();
  bytes[24] = 0xff;
  CHECK(!parse(bytes, used, &compiled, &reason) && strstr(reason, "not those that were written") != NULL);
  seal(bytes, used);
  CHECK(!parse(bytes, used, &compiled, &reason) && strstr(reason, "do not fit") != NULL);
}

static bool is_parent(const char *text, const char *controller, const char *mounted, const char *root, uint32_t which, const char *wanted) {
  used = 0;
  put_string(controller), put_string(mounted), put_string(root), put_u32(which);
  struct reader place = {.at = bytes, .end = bytes + used, .failed = false};
  static char parent[PATH_MAX];
  bool found = compiled_group_parent(text, &place, parent);
  if (found && wanted != NULL && strcmp(parent, wanted) != 0) (void)printf("# %s, not %s\n", parent, wanted);
  return wanted == NULL ? !found : found && strcmp(parent, wanted) == 0;
}

static void groups_are_those_of_the_caller(void) {
  static const char text[] = "5:memory:/a/b\n4:cpu,cpuacct:/\n3:pids:/docker/1/x:y\n1:name=systemd:/s\n0::/user.slice/session-1.scope\n";
  CHECK(is_parent(text, "memory", "/m", "/", COMPILED_GROUP_OWN, "/m/a/b"));
  CHECK(is_parent(text, "memory", "/m", "/", COMPILED_GROUP_ABOVE, "/m/a"));
  CHECK(is_parent(text, "memory", "/m", "/", COMPILED_GROUP_TOP, "/m"));
  CHECK(is_parent(text, "cpuacct", "/c", "/", COMPILED_GROUP_OWN, "/c"));
  CHECK(is_parent(text, "cpu", "/c", "/", COMPILED_GROUP_ABOVE, "/c"));
  CHECK(is_parent(text, "", "/u", "/", COMPILED_GROUP_ABOVE, "/u/user.slice"));
  CHECK(is_parent(text, "", "/u", "/", COMPILED_GROUP_OWN, "/u/user.slice/session-1.scope"));
  // A part of the tree, as in a container; a part that this process is not in is taken for the whole.
  CHECK(is_parent(text, "pids", "/p", "/docker/1", COMPILED_GROUP_OWN, "/p/x:y"));
  CHECK(is_parent(text, "pids", "/p", "/docker/1/x:y", COMPILED_GROUP_OWN, "/p"));
  CHECK(is_parent(text, "pids", "/p", "/docker/12", COMPILED_GROUP_OWN, "/p/docker/1/x:y"));
  CHECK(is_parent(text, "cpus", "/c", "/", COMPILED_GROUP_OWN, NULL));
  CHECK(is_parent(text, "systemd", "/c", "/", COMPILED_GROUP_OWN, NULL));
  CHECK(is_parent("", "memory", "/m", "/", COMPILED_GROUP_OWN, NULL));
  CHECK(is_parent("5:memory:", "memory", "/m", "/", COMPILED_GROUP_OWN, NULL));
  CHECK(is_parent("5:memory\n::\n", "memory", "/m", "/", COMPILED_GROUP_OWN, NULL));
}

static uint64_t state = 0x9e3779b97f4a7c15u;
static uint32_t next(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

static void mutations_do_no_harm(void) {
  static const uint32_t odd[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, 65536, 65537};
  size_t accepted = 0, total = 0;
  for (int round = 0; round < MUTATIONS; round++) {
    build();
    size_t length = next(4) == 0 ? 16 + next((uint32_t)used - 16) : used;
    for (uint32_t changes = 1 + next(3); changes > 0 && length > 24; changes--) {
      uint32_t at = 16 + next((uint32_t)length - 20);
      uint32_t value = odd[next(sizeof odd / sizeof odd[0])];
      if (next(2) == 0) memcpy(bytes + at, &value, sizeof value);
      else bytes[at] = (uint8_t)next(256);
    }
    seal(bytes, length);
    struct compiled compiled;
    const char *reason = NULL;
    if (parse(bytes, length, &compiled, &reason)) accepted++, total += read_all(&compiled);
    else if (reason == NULL) abort();
  }
  CHECK(accepted > 1000 && total > 0);
}

int main(void) {
  TEST(good_one_is_read, "what surrounds a plan is read");
  TEST(cut_one_is_refused, "cut at any byte it is refused");
  TEST(others_are_refused, "another word, version or sum is refused");
  TEST(groups_are_those_of_the_caller, "control groups are those of the caller of now");
  TEST(mutations_do_no_harm, "mutations under a sum that agrees do no harm");
  return tests_end();
}
