#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plan.h"

bool intake_read_all(int descriptor, uint8_t *to, size_t length) {
  while (length > 0) {
    ssize_t got = read(descriptor, to, length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) {
      errno = EPIPE;
      return false;
    }
    to += got;
    length -= (size_t)got;
  }
  return true;
}

static void *allocate(size_t length) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

const uint8_t *intake_from_descriptor(int descriptor, size_t *length, const char **reason) {
  uint8_t header[PLAN_HEADER_BYTES];
  *reason = "the plan cannot be read";
  if (!intake_read_all(descriptor, header, sizeof header)) return NULL;
  errno = 0;
  uint32_t announced = plan_length(header, reason);
  if (announced == 0) return NULL;
  *reason = "the plan cannot be read";
  uint8_t *bytes = allocate(announced);
  if (bytes == NULL) return NULL;
  memcpy(bytes, header, sizeof header);
  if (!intake_read_all(descriptor, bytes + sizeof header, announced - sizeof header)) return NULL;
  *length = announced;
  return bytes;
}

static int base64_value(char character) {
  if (character >= 'A' && character <= 'Z') return character - 'A';
  if (character >= 'a' && character <= 'z') return character - 'a' + 26;
  if (character >= '0' && character <= '9') return character - '0' + 52;
  return character == '+' ? 62 : character == '/' ? 63 : -1;
}

struct decoder {
  uint8_t *bytes;
  size_t length, capacity;
  uint32_t bits;
  unsigned count;
};

static bool decode_base64(struct decoder *decoder, const char *text) {
  for (; *text != '\0' && *text != '='; text++) {
    int value = base64_value(*text);
    if (value < 0 || decoder->length == decoder->capacity) return false;
    decoder->bits = decoder->bits << 6 | (uint32_t)value;
    decoder->count += 6;
    if (decoder->count < 8) continue;
    decoder->count -= 8;
    decoder->bytes[decoder->length++] = (uint8_t)(decoder->bits >> decoder->count);
  }
  return true;
}

// NAME0, NAME1, ...: one string of the environment holds at most 128 KiB (execve(2)).
const uint8_t *intake_from_environment(const char *name, size_t *length, const char **reason) {
  struct decoder decoder = {.bytes = allocate(PLAN_BYTES_MAX), .capacity = PLAN_BYTES_MAX};
  *reason = "no memory for the plan";
  if (decoder.bytes == NULL) return NULL;
  *reason = "the plan in the environment is missing or not base64";
  for (unsigned part = 0;; part++) {
    char variable[128];
    (void)snprintf(variable, sizeof variable, "%s%u", name, part);
    const char *text = getenv(variable);
    if (text == NULL) break;
    if (!decode_base64(&decoder, text)) return NULL;
  }
  *length = decoder.length;
  return decoder.length > 0 ? decoder.bytes : NULL;
}
