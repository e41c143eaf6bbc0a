// New file systems, by the mount API of Linux 5.2 where the kernel has it, else by mount(2). Part of mounts.c, and for nobody else.
#ifndef SANDBOXLIB_FILESYSTEM_H
#define SANDBOXLIB_FILESYSTEM_H

#include <stddef.h>
#include <stdint.h>

#include "steps.h"

struct mount_step {
  enum step step;
  uint32_t index;
  const char *path;  // for messages
};

// The layers of an overlay, by descriptor: those below, the uppermost first; and one above that is written to, with the directory in which the kernel
// prepares it, or -1 for both where nothing is.
struct layers {
  const int *lowers;
  size_t count;
  int upper, work;
};

_Noreturn void fail_mount(const struct mount_step *at, const char *syscall);
void descriptor_path(char buffer[32], int descriptor);
unsigned attributes_of(uint32_t flags);
unsigned long legacy_flags_of(uint32_t flags);
void attach(const struct mount_step *at, int mount_fd, int target);
// A detached file system, or -1 where the kernel has no fsopen(2).
int detached_filesystem(const struct mount_step *at, const char *type, const char *options, uint32_t flags);
// On `target`. -1: by mount(2), which gives no descriptor.
int mount_overlay(const struct mount_step *at, const struct layers *layers, uint32_t flags, int target);
// Owner and mode of a directory of the host, for one that will be seen in its place.
void take_place_of(const struct mount_step *at, int directory, int lower);
// Opens the two directories of the layer above, "upper" and "work", in the directory `place`. The former gets owner and mode of `lower`, whose place it takes.
void open_upper(const struct mount_step *at, int place, int lower, struct layers *layers);

#endif
