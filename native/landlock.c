// Landlock, as the last but one thing that the command puts on: only its filter comes after. A kernel that knows less than the record needs ends the
// process; what the record only wishes for is left out where the kernel does not know it.
#include "landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paths.h"
#include "run.h"
#include "sys.h"

// What means something for a file that is no directory; the kernel takes no other right for it.
#define RIGHTS_OF_FILE                                                                                            \
  (SBX_LANDLOCK_FS_EXECUTE | SBX_LANDLOCK_FS_WRITE_FILE | SBX_LANDLOCK_FS_READ_FILE | SBX_LANDLOCK_FS_TRUNCATE | \
   SBX_LANDLOCK_FS_IOCTL_DEV)
#define ABI_OF_IOCTL_DEV 5

static _Noreturn void fail_rule(const struct record *record, const char *syscall, const char *path) {
  fail(record->step, record->index, syscall, path);
}

// A symlink is refused, wherever in the path: an earlier run may have left one in a directory that it could write to, and would lead the right elsewhere.
static void allow_path(const struct record *record, int ruleset, uint64_t access, const char *path) {
  int place = path_open_without_links(path);
  if (place < 0) fail_rule(record, "open", path);
  struct stat status;
  if (fstat(place, &status) < 0) fail_rule(record, "fstat", path);
  if (!S_ISDIR(status.st_mode)) access &= RIGHTS_OF_FILE;
  // A kernel that knows only rights that are no rights of a file: nothing is to be allowed.
  if (access != 0 && sys_landlock_allow_path(ruleset, access, place) < 0) fail_rule(record, "landlock_add_rule", path);
  if (close(place) < 0) fail_rule(record, "close", path);
}

static uint64_t known_of(uint64_t wished, int version) {
  return version >= ABI_OF_IOCTL_DEV ? wished : wished & ~SBX_LANDLOCK_FS_IOCTL_DEV;
}

// In a domain that says nothing of files the right to move them from one directory to another counts as taken away, as soon as one below it says anything of
// files (landlock(7), LANDLOCK_ACCESS_FS_REFER): it is given back for all of them.
static bool leave_moves(int ruleset, const char **syscall) {
  *syscall = "openat";
  int root = openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return false;
  *syscall = "landlock_add_rule";
  bool allowed = sys_landlock_allow_path(ruleset, SBX_LANDLOCK_FS_REFER, root) == 0;
  (void)close(root);
  return allowed;
}

bool landlock_close_signals(const char **syscall) {
  const struct sbx_landlock_ruleset wanted = {.handled_access_fs = SBX_LANDLOCK_FS_REFER, .scoped = SBX_LANDLOCK_SCOPE_SIGNAL};
  *syscall = "landlock_create_ruleset";
  int ruleset = sys_landlock_create_ruleset(&wanted);
  if (ruleset < 0 || !leave_moves(ruleset, syscall)) return false;
  *syscall = "landlock_restrict_self";
  return sys_landlock_restrict_self(ruleset) == 0 && close(ruleset) == 0;
}

void landlock_restrict(struct record *record) {
  struct reader *r = &record->payload;
  int version = sys_landlock_version();
  if (version < 0) fail_rule(record, "landlock_create_ruleset", NULL);
  struct sbx_landlock_ruleset wanted = {.handled_access_fs = read_u64(r)};
  wanted.handled_access_fs |= known_of(read_u64(r), version);
  wanted.handled_access_net = read_u64(r);
  wanted.scoped = read_u64(r);
  // E2BIG or EINVAL: an ABI that does not know all of it.
  int ruleset = sys_landlock_create_ruleset(&wanted);
  if (ruleset < 0) fail_rule(record, "landlock_create_ruleset", NULL);
  uint32_t count = read_u32(r);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t kind = read_u32(r);
    uint64_t access = read_u64(r);
    if (kind == PLAN_RULE_PATH) allow_path(record, ruleset, access & wanted.handled_access_fs, read_string(r));
    else if (sys_landlock_allow_port(ruleset, access, read_u32(r)) < 0) fail_rule(record, "landlock_add_rule", NULL);
  }
  if (sys_landlock_restrict_self(ruleset) < 0) fail_rule(record, "landlock_restrict_self", NULL);
  if (close(ruleset) < 0) fail_rule(record, "close", NULL);
}
