// Runs as the command of a sandbox that shows it nothing but the directory to write, and all the same trusts neither the stream nor what is there: every
// parent is opened beneath the directory without following a link, nothing is written through a name that existed, and what exists is only replaced.
// Nothing grows with the input: directories get their modes and times by records of their own, at the end of the stream.
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "paths.h"
#include "removal.h"
#include "status.h"

#define EXIT_UNPACK_FAILED 1
#define INPUT_BYTES (UNPACK_PAYLOAD_MAX + UNPACK_RECORD_BYTES)

struct unpacking {
  int records, root;
  // The file whose data comes, -1 for none, and the record that began it, whose text lives in `text`.
  int file;
  struct unpack_record entry;
  uint8_t text[UNPACK_PAYLOAD_MAX];
  struct unpack_counts counts;
  struct unpack_failure failure;
};

static struct unpacking state;
static uint8_t input[INPUT_BYTES];
static size_t input_start, input_end;

static bool fail_at(const char *syscall, const char *path) {
  state.failure = (struct unpack_failure){.record = state.failure.record, .syscall = syscall, .error = errno, .path = path, .detail = ""};
  return false;
}

static bool refuse(const char *reason) {
  state.failure = (struct unpack_failure){.record = state.failure.record, .syscall = "", .error = 0, .path = "", .detail = reason};
  return false;
}

static void close_keeping_errno(int descriptor) {
  int saved = errno;
  (void)close(descriptor);
  errno = saved;
}

// What is left out is told up to a bound, and counted without one.
static void leave_out(uint64_t *count, const char *what, const char *path) {
  uint64_t told = state.counts.owners + state.counts.devices + state.counts.xattrs + state.counts.modes;
  if (told < UNPACK_TOLD_MAX) status_left_out(what, errno, path);
  ++*count;
}

// Makes `need` bytes of input contiguous. False with errno 0 at the end of the stream.
static bool fill(size_t need) {
  if (input_end - input_start >= need) return true;
  memmove(input, input + input_start, input_end - input_start);
  input_end -= input_start;
  input_start = 0;
  while (input_end < need) {
    ssize_t got = read(state.records, input + input_end, sizeof input - input_end);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    input_end += (size_t)got;
  }
  return true;
}

static const uint8_t *take(size_t length) {
  const uint8_t *bytes = input + input_start;
  input_start += length;
  return bytes;
}

static bool refuse_end(void) { return errno == 0 ? refuse("the stream ends before its end record") : fail_at("read", ""); }

// An inode that a descriptor is open on. Where that is of O_PATH, which the calls for descriptors do not take, its link in /proc leads to that inode alone, also
// where it is a symlink itself; for files, of which there are the most, that would be a walk through /proc for each call.
struct inode {
  int descriptor;
  bool is_file;
  char link[40];
};

static struct inode inode_of(int descriptor, bool is_file) {
  struct inode inode = {.descriptor = descriptor, .is_file = is_file, .link = ""};
  if (!is_file) (void)snprintf(inode.link, sizeof inode.link, "/proc/self/fd/%d", descriptor);
  return inode;
}

// EPERM: not privileged. EINVAL: the user namespace has no such id.
static bool set_owner(const struct inode *inode, const struct unpack_record *entry, bool *lacks) {
  if (fchownat(inode->descriptor, "", entry->uid, entry->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0) return true;
  if ((errno != EPERM && errno != EINVAL) || (entry->flags & UNPACK_OWNER_MAY_LACK) == 0) return fail_at("fchownat", entry->path);
  leave_out(&state.counts.owners, "owner", entry->path);
  *lacks = true;
  return true;
}

// A program that is set-user-ID or set-group-ID of somebody who was not meant is worse than one that is not.
static bool set_mode(const struct inode *inode, const struct unpack_record *entry, bool lacks_owner) {
  mode_t mode = entry->mode;
  if (lacks_owner && entry->kind != UNPACK_DIRECTORY && (mode & (S_ISUID | S_ISGID)) != 0) {
    mode &= ~(mode_t)(S_ISUID | S_ISGID);
    errno = EPERM;
    leave_out(&state.counts.modes, "mode", entry->path);
  }
  int done = inode->is_file ? fchmod(inode->descriptor, mode) : chmod(inode->link, mode);
  return done == 0 || fail_at("chmod", entry->path);
}

static bool set_xattrs(const struct inode *inode, const struct unpack_record *entry) {
  struct reader reader = entry->more;
  for (uint32_t i = 0; i < entry->count; i++) {
    const char *name = read_string(&reader);
    uint32_t length = read_u32(&reader);
    const uint8_t *value = read_bytes(&reader, length);
    int done = inode->is_file ? fsetxattr(inode->descriptor, name, value, length, 0) : setxattr(inode->link, name, value, length, 0);
    if (done == 0) continue;
    bool refused = errno == EPERM || errno == EACCES || errno == EOPNOTSUPP || errno == EINVAL;
    if (!refused || (entry->flags & UNPACK_XATTRS_MAY_LACK) == 0) return fail_at("setxattr", entry->path);
    leave_out(&state.counts.xattrs, name, entry->path);
  }
  return true;
}

// In this order: chown(2) takes set-user-ID bits and security.capability away, and all of it changes times.
static bool set_attributes(int descriptor, const struct unpack_record *entry) {
  struct inode inode = inode_of(descriptor, entry->kind == UNPACK_FILE);
  bool lacks_owner = false;
  if (!set_owner(&inode, entry, &lacks_owner)) return false;
  if (entry->kind != UNPACK_SYMLINK && !set_mode(&inode, entry, lacks_owner)) return false;
  if (!set_xattrs(&inode, entry)) return false;
  struct timespec times[2] = {{.tv_sec = (time_t)entry->seconds, .tv_nsec = (long)entry->nanoseconds}};
  times[1] = times[0];
  int done = inode.is_file ? futimens(descriptor, times) : utimensat(AT_FDCWD, inode.link, times, 0);
  return done == 0 || fail_at("utimensat", entry->path);
}

// Of what has that name already: a directory gives way only where the record says so.
static bool clear_place(int parent, const char *name, const struct unpack_record *entry) {
  struct stat status;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return fail_at("fstatat", entry->path);
  if (!S_ISDIR(status.st_mode)) return unlinkat(parent, name, 0) == 0 || fail_at("unlinkat", entry->path);
  if ((entry->flags & UNPACK_REPLACES_DIRECTORY) != 0) return removal_remove(parent, name) || fail_at("unlinkat", entry->path);
  errno = EISDIR;
  return fail_at("unlinkat", entry->path);
}

static bool is_directory(int parent, const char *name) {
  struct stat status;
  return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

static int make_link(int parent, const char *name, const struct unpack_record *entry) {
  const char *last = strrchr(entry->target, '/');
  char above[PATH_MAX];
  size_t length = last == NULL ? 0 : (size_t)(last - entry->target);
  memcpy(above, entry->target, length);
  above[length] = '\0';
  int directory = path_open_beneath(state.root, above);
  if (directory < 0) return -1;
  // Without AT_SYMLINK_FOLLOW a symlink gets another name itself.
  int made = linkat(directory, last == NULL ? entry->target : last + 1, parent, name, 0);
  close_keeping_errno(directory);
  return made;
}

// Makes what the entry names where nothing is; for a file the descriptor, else 0; -1 with errno.
static int make(int parent, const char *name, const struct unpack_record *entry) {
  dev_t device = makedev(entry->major, entry->minor);
  switch ((enum unpack_kind)entry->kind) {
    case UNPACK_DIRECTORY: return mkdirat(parent, name, 0700);
    case UNPACK_FILE: return openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    case UNPACK_SYMLINK: return symlinkat(entry->target, parent, name);
    case UNPACK_LINK: return make_link(parent, name, entry);
    case UNPACK_FIFO: return mknodat(parent, name, S_IFIFO | 0600, 0);
    case UNPACK_CHARACTER: return mknodat(parent, name, S_IFCHR | 0600, device);
    case UNPACK_BLOCK: return mknodat(parent, name, S_IFBLK | 0600, device);
    case UNPACK_KINDS: break;
  }
  errno = EINVAL;
  return -1;
}

static const char *call_of(uint32_t kind) {
  static const char *const calls[UNPACK_KINDS] = {"mkdirat", "openat", "symlinkat", "linkat", "mknodat", "mknodat", "mknodat"};
  return calls[kind];
}

// As `make`, but -2 where a failure was told, and -3 where the entry is left out.
static int make_in_place(int parent, const char *name, const struct unpack_record *entry) {
  int made = make(parent, name, entry);
  if (made < 0 && errno == EEXIST) {
    if (entry->kind == UNPACK_DIRECTORY && is_directory(parent, name)) return 0;
    if (!clear_place(parent, name, entry)) return -2;
    made = make(parent, name, entry);
  }
  if (made >= 0) return made;
  bool device = entry->kind == UNPACK_CHARACTER || entry->kind == UNPACK_BLOCK;
  if (device && errno == EPERM && (entry->flags & UNPACK_DEVICE_MAY_LACK) != 0) {
    leave_out(&state.counts.devices, "device", entry->path);
    return -3;
  }
  (void)fail_at(call_of(entry->kind), entry->path);
  return -2;
}

// The attributes of what was just made under a name: whatever else may have come there since is not followed.
static bool set_attributes_of(int parent, const char *name, const struct unpack_record *entry) {
  int descriptor = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return fail_at("openat", entry->path);
  bool ok = set_attributes(descriptor, entry);
  (void)close(descriptor);
  return ok;
}

static bool begin_file(int descriptor, const struct unpack_record *entry) {
  state.file = descriptor;
  state.entry = *entry;
  // The payload is overwritten by the next record: what is needed at the end of the file moves, and the pointers with it.
  size_t length = (size_t)(entry->more.end - (const uint8_t *)entry->path);
  memcpy(state.text, entry->path, length);
  state.entry.path = (const char *)state.text;
  state.entry.target = "";
  state.entry.more.at = state.text + (entry->more.at - (const uint8_t *)entry->path);
  state.entry.more.end = state.text + length;
  return true;
}

static bool perform_entry(const struct unpack_record *entry) {
  state.counts.entries++;
  // The directory itself is there.
  if (entry->path[0] == '\0') return true;
  const char *name;
  int parent = path_make_parent_beneath(state.root, entry->path, &name);
  if (parent < 0) return fail_at("openat2", entry->path);
  int made = make_in_place(parent, name, entry);
  bool ok = made != -2;
  if (made >= 0 && entry->kind == UNPACK_FILE) ok = begin_file(made, entry);
  bool attributes = made >= 0 && entry->kind >= UNPACK_SYMLINK && entry->kind != UNPACK_LINK;
  if (ok && attributes) ok = set_attributes_of(parent, name, entry);
  (void)close(parent);
  return ok;
}

static bool end_file(void) {
  if (state.file < 0) return true;
  int file = state.file;
  state.file = -1;
  bool ok = ftruncate(file, (off_t)state.entry.size) == 0 || fail_at("ftruncate", state.entry.path);
  ok = ok && set_attributes(file, &state.entry);
  // Where storage is remote, or full, only this tells.
  if (close(file) < 0 && ok) ok = fail_at("close", state.entry.path);
  return ok;
}

static bool perform_data(const struct unpack_record *data) {
  if (state.file < 0) return refuse("data without a file");
  if (data->offset + data->length > state.entry.size) return refuse("data beyond the size of its file");
  const uint8_t *from = data->data;
  off_t offset = (off_t)data->offset;
  for (size_t rest = data->length; rest > 0;) {
    ssize_t written = pwrite(state.file, from, rest, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_at("pwrite", state.entry.path);
    from += written;
    offset += written;
    rest -= (size_t)written;
  }
  state.counts.bytes += data->length;
  return true;
}

static bool perform_attributes(const struct unpack_record *entry) {
  int directory = path_open_beneath(state.root, entry->path);
  if (directory < 0) return fail_at("openat2", entry->path);
  bool ok = set_attributes(directory, entry);
  (void)close(directory);
  return ok;
}

static bool empty(const struct unpack_record *removal) {
  static const char *kept[UNPACK_KEPT_MAX];
  struct reader names = removal->more;
  for (uint32_t i = 0; i < removal->count; i++) kept[i] = read_string(&names);
  int directory = path_open_beneath(state.root, removal->path);
  if (directory < 0) return false;
  bool ok = removal_empty(directory, kept, removal->count);
  close_keeping_errno(directory);
  return ok;
}

static bool remove_one(const struct unpack_record *removal) {
  const char *slash = strrchr(removal->path, '/');
  char above[PATH_MAX];
  size_t length = slash == NULL ? 0 : (size_t)(slash - removal->path);
  memcpy(above, removal->path, length);
  above[length] = '\0';
  int parent = path_open_beneath(state.root, above);
  if (parent < 0) return false;
  bool ok = removal_remove(parent, slash == NULL ? removal->path : slash + 1);
  close_keeping_errno(parent);
  return ok;
}

static bool perform_removal(const struct unpack_record *removal) {
  bool ok = (removal->flags & UNPACK_CONTENTS_ONLY) != 0 ? empty(removal) : remove_one(removal);
  if (ok || (errno == ENOENT && (removal->flags & UNPACK_MAY_BE_ABSENT) != 0)) return true;
  return fail_at("unlinkat", removal->path);
}

static bool perform(const struct unpack_record *record) {
  if (record->type == UNPACK_DATA) return perform_data(record);
  if (!end_file()) return false;
  switch (record->type) {
    case UNPACK_ENTRY: return perform_entry(record);
    case UNPACK_ATTRIBUTES: return perform_attributes(record);
    case UNPACK_REMOVE: return perform_removal(record);
    case UNPACK_DATA:
    case UNPACK_END: break;
  }
  return true;
}

static bool next_record(struct unpack_record *record) {
  uint32_t type, length;
  if (!fill(UNPACK_RECORD_BYTES)) return refuse_end();
  const char *reason = unpack_read_head(take(UNPACK_RECORD_BYTES), &type, &length);
  if (reason != NULL) return refuse(reason);
  if (!fill(length)) return refuse_end();
  reason = unpack_parse(type, take(length), length, record);
  return reason == NULL || refuse(reason);
}

static bool unpack(const char *directory) {
  state.root = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (state.root < 0) return fail_at("open", directory);
  if (!fill(UNPACK_HEADER_BYTES)) return refuse_end();
  const char *reason = unpack_check_header(take(UNPACK_HEADER_BYTES));
  if (reason != NULL) return refuse(reason);
  struct unpack_record record;
  for (;; state.failure.record++) {
    if (!next_record(&record) || !perform(&record)) return false;
    if (record.type == UNPACK_END) return input_start == input_end || refuse("bytes after the end record");
  }
}

int unpack_main(int records, const char *directory) {
  state.records = records;
  state.file = -1;
  status_use(STDOUT_FILENO);
  if (unpack(directory)) {
    status_unpacked(&state.counts);
    return 0;
  }
  status_unpack_failed(&state.failure);
  return EXIT_UNPACK_FAILED;
}
