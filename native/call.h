// A call on a sandbox that was prepared before anybody knew the command (record `collect`, PLAN_COLLECT_WAITS): what it says lies in memory that the
// supervisor shares with the command's process, until that becomes the command.
#ifndef SANDBOXLIB_CALL_H
#define SANDBOXLIB_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALL_BYTES_MAX 196608u
#define CALL_ARGUMENTS_MAX 4096u

struct call {
  uint32_t kill_signal;
  uint32_t grace_milliseconds;
  bool has_input;
  const uint8_t *input;  // in `bytes`; what the command finds on its descriptor 0, which has /dev/null else
  uint32_t input_bytes;
  char *arguments[CALL_ARGUMENTS_MAX + 1];  // NULL-terminated, pointing into `bytes`
  uint8_t bytes[CALL_BYTES_MAX];
};

// Shared with what is cloned later; NULL where there is no memory.
struct call *call_allocate(void);
// Reads the first `length` of `bytes`: u32 signal, u32 milliseconds, u32 whether there is input, blob input, u32 count, strings. NULL, or what is wrong with them. Pure.
const char *call_parse(struct call *call, size_t length);

#endif
