// Reads and checks the records of `launcher unpack`. Pure: no system call, no allocation, nothing global; this is what the fuzzer runs.
#include "unpack.h"

#include <limits.h>
#include <string.h>

// The kernel's own bounds (xattr(7)), for which there is not one header that every C library has.
#define NAME_OF_XATTR_MAX 255u
#define VALUE_OF_XATTR_MAX 65536u

static uint32_t decode_u32(const uint8_t *bytes) {
  struct reader reader = {.at = bytes, .end = bytes + 4, .failed = false};
  return read_u32(&reader);
}

const char *unpack_check_header(const uint8_t header[UNPACK_HEADER_BYTES]) {
  if (memcmp(header, "SBXU", 4) != 0) return "not a stream of records";
  if (decode_u32(header + 4) != UNPACK_PROTOCOL) return "records of another protocol: library and launcher are of different versions";
  return NULL;
}

const char *unpack_read_head(const uint8_t head[UNPACK_RECORD_BYTES], uint32_t *type, uint32_t *length) {
  *type = (uint32_t)head[0] | (uint32_t)head[1] << 8;
  *length = decode_u32(head + 4);
  if (head[2] != 0 || head[3] != 0) return "head of a record is wrong";
  return *length > UNPACK_PAYLOAD_MAX ? "record is too long" : NULL;
}

// A name of a directory entry: nothing that leads anywhere.
static bool is_name(const char *text, size_t length) {
  if (length == 0 || length > NAME_MAX) return false;
  return !(text[0] == '.' && (length == 1 || (length == 2 && text[1] == '.')));
}

// Relative and clean: what openat2(2) is asked to refuse is refused here before it.
static bool is_path(const char *path) {
  if (strlen(path) >= PATH_MAX) return false;
  for (;;) {
    size_t length = strcspn(path, "/");
    if (!is_name(path, length)) return false;
    if (path[length] == '\0') return true;
    path += length + 1;
  }
}

static const char *check_xattrs(struct reader reader, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const char *name = read_string(&reader);
    uint32_t length = read_u32(&reader);
    (void)read_bytes(&reader, length);
    if (reader.failed) break;
    if (name[0] == '\0' || strlen(name) > NAME_OF_XATTR_MAX || length > VALUE_OF_XATTR_MAX) return "extended attribute that no kernel takes";
  }
  return reader.failed || reader.at != reader.end ? "lengths do not fit" : NULL;
}

static const char *parse_entry(struct reader *r, struct unpack_record *record) {
  record->kind = read_u32(r);
  record->flags = read_u32(r);
  record->mode = read_u32(r);
  record->uid = read_u32(r);
  record->gid = read_u32(r);
  record->seconds = (int64_t)read_u64(r);
  record->nanoseconds = read_u32(r);
  record->size = read_u64(r);
  record->major = read_u32(r);
  record->minor = read_u32(r);
  record->path = read_string(r);
  record->target = read_string(r);
  record->count = read_u32(r);
  record->more = *r;
  if (r->failed) return "lengths do not fit";
  bool names_directory = record->kind == UNPACK_DIRECTORY && record->path[0] == '\0';
  if (record->kind >= UNPACK_KINDS || (record->flags & ~(uint32_t)UNPACK_ENTRY_FLAGS) != 0) return "unknown kind or flags";
  if (record->type == UNPACK_ATTRIBUTES && record->kind != UNPACK_DIRECTORY) return "attributes of what is no directory";
  if (record->mode > 07777 || record->nanoseconds > 999999999 || record->size > INT64_MAX) return "mode, time or size out of range";
  if (!names_directory && !is_path(record->path)) return "path is not relative and clean";
  if (record->kind == UNPACK_LINK && !is_path(record->target)) return "target is not relative and clean";
  if (record->kind == UNPACK_SYMLINK && (record->target[0] == '\0' || strlen(record->target) >= PATH_MAX)) return "target that no kernel takes";
  if (record->count > UNPACK_XATTRS_MAX) return "too many extended attributes";
  return check_xattrs(record->more, record->count);
}

static const char *parse_data(struct reader *r, struct unpack_record *record) {
  record->offset = read_u64(r);
  record->length = read_u32(r);
  record->data = read_bytes(r, record->length);
  if (r->failed || r->at != r->end) return "lengths do not fit";
  return record->length == 0 || record->offset > (uint64_t)INT64_MAX - record->length ? "data out of range" : NULL;
}

static const char *parse_removal(struct reader *r, struct unpack_record *record) {
  record->flags = read_u32(r);
  record->path = read_string(r);
  record->count = read_u32(r);
  record->more = *r;
  if (r->failed) return "lengths do not fit";
  bool contents = (record->flags & UNPACK_CONTENTS_ONLY) != 0;
  if ((record->flags & ~(uint32_t)UNPACK_REMOVE_FLAGS) != 0 || record->count > (contents ? UNPACK_KEPT_MAX : 0)) return "unknown flags, or too many names";
  if (!(contents && record->path[0] == '\0') && !is_path(record->path)) return "path is not relative and clean";
  struct reader names = record->more;
  for (uint32_t i = 0; i < record->count; i++) {
    const char *name = read_string(&names);
    if (names.failed) break;
    if (strchr(name, '/') != NULL || !is_name(name, strlen(name))) return "name that is kept is none";
  }
  return names.failed || names.at != names.end ? "lengths do not fit" : NULL;
}

const char *unpack_parse(uint32_t type, const uint8_t *payload, uint32_t length, struct unpack_record *record) {
  struct reader reader = {.at = payload, .end = payload + length, .failed = false};
  memset(record, 0, sizeof *record);
  record->path = record->target = "";
  record->type = (enum unpack_type)type;
  switch (type) {
    case UNPACK_ENTRY:
    case UNPACK_ATTRIBUTES: return parse_entry(&reader, record);
    case UNPACK_DATA: return parse_data(&reader, record);
    case UNPACK_REMOVE: return parse_removal(&reader, record);
    case UNPACK_END: return length == 0 ? NULL : "lengths do not fit";
    default: return "unknown record";
  }
}
