// `launcher unpack`: a stream of records becomes files beneath one directory. Which records there are, and what may be left out, is decided by
// whoever writes the stream; README.md has it byte by byte.
#ifndef SANDBOXLIB_UNPACK_H
#define SANDBOXLIB_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"

#define UNPACK_PROTOCOL 1
#define UNPACK_HEADER_BYTES 8
#define UNPACK_RECORD_BYTES 8          // of the head of a record
#define UNPACK_PAYLOAD_MAX (1u << 18)  // what the kernel takes of extended attributes fits, and so does a chunk of data
#define UNPACK_XATTRS_MAX 256u
#define UNPACK_KEPT_MAX 4096u
#define UNPACK_TOLD_MAX 100u           // of what was left out, line by line; all of it is counted

enum unpack_type { UNPACK_ENTRY = 1, UNPACK_DATA, UNPACK_ATTRIBUTES, UNPACK_REMOVE, UNPACK_END };
enum unpack_kind { UNPACK_DIRECTORY = 0, UNPACK_FILE, UNPACK_SYMLINK, UNPACK_LINK, UNPACK_FIFO, UNPACK_CHARACTER, UNPACK_BLOCK, UNPACK_KINDS };
// Of an entry: what may be left out where the kernel refuses it, and what may give way.
enum {
  UNPACK_OWNER_MAY_LACK = 1,
  UNPACK_DEVICE_MAY_LACK = 2,
  UNPACK_XATTRS_MAY_LACK = 4,
  UNPACK_REPLACES_DIRECTORY = 8,  // with all that is in it
  UNPACK_ENTRY_FLAGS = 15
};
// Of a removal.
enum { UNPACK_MAY_BE_ABSENT = 1, UNPACK_CONTENTS_ONLY = 2, UNPACK_REMOVE_FLAGS = 3 };

// All text points into the payload.
struct unpack_record {
  enum unpack_type type;
  uint32_t kind, flags, mode, uid, gid, major, minor, nanoseconds;
  int64_t seconds;
  uint64_t size;    // of a file
  uint64_t offset;  // of data
  const char *path;
  const char *target;
  struct reader more;  // the extended attributes, or the names that are kept
  uint32_t count;
  const uint8_t *data;
  uint32_t length;
};

// Pure. `payload` is read whole; on failure the reason, else NULL.
const char *unpack_check_header(const uint8_t header[UNPACK_HEADER_BYTES]);
const char *unpack_read_head(const uint8_t head[UNPACK_RECORD_BYTES], uint32_t *type, uint32_t *length);
const char *unpack_parse(uint32_t type, const uint8_t *payload, uint32_t length, struct unpack_record *record);

// Reads `records`, writes beneath the directory, tells on stdout; the exit status.
int unpack_main(int records, const char *directory);

#endif
