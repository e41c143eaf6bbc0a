// A tree may be deeper than this process may have descriptors, and deeper than its stack. So a directory that is not empty is emptied by moving those
// below it up, beside it, where their turn comes: each move makes the whole less deep.
#include "removal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

#define ENTRIES_BYTES 8192
#define NAME_AT 19  // in struct linux_dirent64, getdents(2)

struct listing {
  int directory;  // readable
  uint8_t entries[ENTRIES_BYTES] __attribute__((aligned(8)));
  size_t length, at;
};

static bool listing_open(struct listing *listing, int parent, const char *name) {
  listing->directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  listing->length = listing->at = 0;
  return listing->directory >= 0;
}

static void listing_close(const struct listing *listing) {
  int saved = errno;
  (void)close(listing->directory);
  errno = saved;
}

// The next name; NULL at the end with errno 0, or for a failure.
static const char *listing_next(struct listing *listing) {
  for (;;) {
    if (listing->at == listing->length) {
      long got = sys_getdents(listing->directory, listing->entries, sizeof listing->entries);
      if (got <= 0) {
        if (got == 0) errno = 0;
        return NULL;
      }
      listing->length = (size_t)got;
      listing->at = 0;
    }
    const uint8_t *entry = listing->entries + listing->at;
    uint16_t size;
    memcpy(&size, entry + 16, sizeof size);
    listing->at += size;
    const char *name = (const char *)entry + NAME_AT;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return name;
  }
}

static bool is_kept(const char *name, const char *const *kept, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(name, kept[i]) == 0) return true;
  }
  return false;
}

// Removes a file, or a directory that is empty. Linux says EISDIR for unlink(2) of a directory; POSIX, and some file systems, EPERM.
static bool remove_simple(int parent, const char *name) {
  if (unlinkat(parent, name, 0) == 0) return true;
  return (errno == EISDIR || errno == EPERM) && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

// Gives what lies in `from` a name in `to` that nothing has: so nothing is lost where the tree has such names itself.
static bool move_up(int from, const char *name, int to) {
  static uint32_t number;
  char fresh[40];
  struct stat status;
  do (void)snprintf(fresh, sizeof fresh, ".sandboxlib-removed-%u", number++);
  while (fstatat(to, fresh, &status, AT_SYMLINK_NOFOLLOW) == 0);
  return errno == ENOENT && renameat(from, name, to, fresh) == 0;
}

// Empties `name` of `parent` into `parent`, and removes it.
static bool dissolve(int parent, const char *name) {
  struct listing listing;
  if (!listing_open(&listing, parent, name)) return false;
  bool ok = true;
  bool again = true;
  // A directory that is changed while it is read may leave out entries: it is read until it has none.
  while (ok && again) {
    again = false;
    if (lseek(listing.directory, 0, SEEK_SET) < 0) ok = false;
    listing.length = listing.at = 0;
    for (const char *below; ok && (below = listing_next(&listing)) != NULL; again = true) {
      ok = remove_simple(listing.directory, below) || (errno == ENOTEMPTY && move_up(listing.directory, below, parent));
    }
    if (ok && errno != 0) ok = false;
  }
  listing_close(&listing);
  return ok && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

bool removal_empty(int directory, const char *const *kept, size_t count) {
  struct listing listing;
  if (!listing_open(&listing, directory, ".")) return false;
  bool ok = true;
  bool again = true;
  while (ok && again) {
    again = false;
    if (lseek(listing.directory, 0, SEEK_SET) < 0) ok = false;
    listing.length = listing.at = 0;
    for (const char *name; ok && (name = listing_next(&listing)) != NULL;) {
      if (is_kept(name, kept, count)) continue;
      again = true;
      ok = remove_simple(listing.directory, name) || (errno == ENOTEMPTY && dissolve(listing.directory, name));
    }
    if (ok && errno != 0) ok = false;
  }
  listing_close(&listing);
  return ok;
}

bool removal_remove(int parent, const char *name) {
  if (remove_simple(parent, name)) return true;
  if (errno != ENOTEMPTY) return false;
  int directory = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return false;
  bool empty = removal_empty(directory, NULL, 0);
  int saved = errno;
  (void)close(directory);
  errno = saved;
  return empty && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}
