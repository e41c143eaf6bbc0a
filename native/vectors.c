// The vectors of execve(2), made before any clone: they point into the plan.
#include <stdint.h>
#include <sys/mman.h>

#include "call.h"
#include "run.h"

static char **allocate(size_t count) {
  void *memory = mmap(NULL, count * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static char **strings_of(struct reader *payload) {
  uint32_t count = read_u32(payload);
  char **strings = allocate((size_t)count + 1);
  if (strings == NULL) return NULL;
  for (uint32_t i = 0; i < count; i++) strings[i] = (char *)(uintptr_t)read_string(payload);
  return strings;
}

static bool read_vectors(struct record *record, char ***arguments, char ***environment) {
  *arguments = strings_of(&record->payload);
  *environment = strings_of(&record->payload);
  return *arguments != NULL && *environment != NULL;
}

bool vectors_prepare(struct run *run) {
  run->call = run->plan.waits ? call_allocate() : NULL;
  if (run->plan.waits && run->call == NULL) return false;
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    if (record.step == STEP_EXEC && !read_vectors(&record, &run->arguments, &run->environment)) return false;
    if (record.step == STEP_EXEC && run->call != NULL) run->arguments = run->call->arguments;
    if (record.step != STEP_TOOL) continue;
    (void)read_u32(&record.payload);  // in the plan already, as is the next
    (void)read_u32(&record.payload);
    if (!read_vectors(&record, &run->tool_arguments, &run->tool_environment)) return false;
  }
  return true;
}
