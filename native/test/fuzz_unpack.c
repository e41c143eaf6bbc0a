// Feeds streams of `launcher unpack` to their parser and reads through everything that it accepts. With libFuzzer (-fsanitize=fuzzer) it searches for itself;
// with -DSTANDALONE it mutates the files that it is given, by a fixed sequence: the same inputs in every run.
//   fuzz_unpack SECONDS FILE...
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t consumed;

static void use_xattrs(const struct unpack_record *record) {
  struct reader reader = record->more;
  for (uint32_t i = 0; i < record->count; i++) {
    consumed += strlen(read_string(&reader));
    uint32_t length = read_u32(&reader);
    const uint8_t *bytes = read_bytes(&reader, length);
    for (uint32_t at = 0; bytes != NULL && at < length; at++) consumed += bytes[at];
  }
  if (reader.failed || reader.at != reader.end) abort();
}

static void use_names(const struct unpack_record *record) {
  struct reader reader = record->more;
  for (uint32_t i = 0; i < record->count; i++) {
    const char *name = read_string(&reader);
    if (strchr(name, '/') != NULL || strcmp(name, "..") == 0) abort();
    consumed += strlen(name);
  }
  if (reader.failed) abort();
}

static void use_path(const char *path) {
  if (path[0] == '/' || strstr(path, "//") != NULL || strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../") != NULL) abort();
  size_t length = strlen(path);
  if (length >= 3 && strcmp(path + length - 3, "/..") == 0) abort();
  consumed += length;
}

static void use_record(const struct unpack_record *record) {
  use_path(record->path);
  switch (record->type) {
    case UNPACK_ENTRY:
    case UNPACK_ATTRIBUTES:
      if (record->kind >= UNPACK_KINDS || record->mode > 07777) abort();
      if (record->kind == UNPACK_LINK) use_path(record->target);
      consumed += strlen(record->target);
      use_xattrs(record);
      break;
    case UNPACK_DATA:
      for (uint32_t i = 0; i < record->length; i++) consumed += record->data[i];
      break;
    case UNPACK_REMOVE: use_names(record); break;
    case UNPACK_END: break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < UNPACK_HEADER_BYTES || unpack_check_header(data) != NULL) return 0;
  size_t at = UNPACK_HEADER_BYTES;
  while (size - at >= UNPACK_RECORD_BYTES) {
    uint32_t type, length;
    if (unpack_read_head(data + at, &type, &length) != NULL) return 0;
    at += UNPACK_RECORD_BYTES;
    if (length > size - at) return 0;
    struct unpack_record record;
    // As the launcher does, one record alone in its bytes: the sanitizer watches their end.
    uint8_t *payload = malloc(length == 0 ? 1 : length);
    if (payload == NULL) return 0;
    memcpy(payload, data + at, length);
    if (unpack_parse(type, payload, length, &record) == NULL) use_record(&record);
    free(payload);
    at += length;
  }
  return 0;
}

#ifdef STANDALONE
static uint64_t state = 88172645463325252u;

static size_t next(size_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (size_t)(state % below);
}

static void mutate(uint8_t *bytes, size_t length) {
  for (size_t count = 1 + next(4); count > 0 && length > 0; count--) {
    size_t at = next(length);
    // Lengths and paths are where something may go wrong: small numbers, large ones, and what separates names.
    static const uint8_t likely[] = {0, 1, 0x7f, 0x80, 0xff, '/', '.'};
    bytes[at] = next(2) == 0 ? likely[next(sizeof likely)] : (uint8_t)next(256);
  }
}

int main(int count, char **arguments) {
  if (count < 3) return 125;
  time_t end = time(NULL) + atoi(arguments[1]);
  unsigned long inputs = 0;
  while (time(NULL) < end) {
    for (int i = 2; i < count; i++) {
      static uint8_t seed[1u << 17], mutated[1u << 17];
      FILE *file = fopen(arguments[i], "r");
      if (file == NULL) return 125;
      size_t length = fread(seed, 1, sizeof seed, file);
      if (fclose(file) != 0) return 125;
      for (int round = 0; round < 1000; round++, inputs++) {
        memcpy(mutated, seed, length);
        mutate(mutated, length);
        (void)LLVMFuzzerTestOneInput(mutated, length);
      }
    }
  }
  (void)printf("%lu inputs\n", inputs);
  return fflush(stdout) == 0 ? 0 : 125;
}
#endif
