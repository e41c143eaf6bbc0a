#include "call.h"

#include <sys/mman.h>

#include "plan.h"

struct call *call_allocate(void) {
  void *memory = mmap(NULL, sizeof(struct call), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

const char *call_parse(struct call *call, size_t length) {
  if (length > sizeof call->bytes) return "a call that is too long";
  struct reader reader = {.at = call->bytes, .end = call->bytes + length, .failed = false};
  call->kill_signal = read_u32(&reader);
  call->grace_milliseconds = read_u32(&reader);
  uint32_t has_input = read_u32(&reader);
  call->has_input = has_input == 1;
  call->input_bytes = read_u32(&reader);
  call->input = read_bytes(&reader, call->input_bytes);
  uint32_t count = read_u32(&reader);
  if (reader.failed) return "a call that is cut off or too long";
  if (call->kill_signal == 0 || call->kill_signal > 64) return "signal out of range";
  if (call->grace_milliseconds > INT32_MAX) return "grace period out of range";
  if (has_input > 1 || call->input_bytes > PLAN_INPUT_MAX || (has_input == 0 && call->input_bytes > 0)) return "input out of range";
  if (count == 0 || count > CALL_ARGUMENTS_MAX) return "number of arguments out of range";
  for (uint32_t i = 0; i < count && !reader.failed; i++) call->arguments[i] = (char *)(uintptr_t)read_string(&reader);
  if (reader.failed || reader.at != reader.end) return "a call that is cut off or too long";
  call->arguments[count] = NULL;
  return call->arguments[0][0] == '\0' ? "the program's name is empty" : NULL;
}
