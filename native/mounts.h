// The second phase of a plan: init builds the root out of mounts, by descriptor, and moves into it.
#ifndef SANDBOXLIB_MOUNTS_H
#define SANDBOXLIB_MOUNTS_H

#include "plan.h"

// Makes this mount namespace private, so that nothing of what follows is seen outside, nor the reverse.
void mounts_begin(void);
void mounts_root(struct record *record);
void mounts_tree(struct record *record);
void mounts_layer(struct record *record);
void mounts_disk(struct record *record);
void mounts_mount(struct record *record);
void mounts_readonly(struct record *record);
void mounts_mask(struct record *record);
void mounts_mkdir(struct record *record);
void mounts_symlink(struct record *record);
void mounts_file(struct record *record);
void mounts_sysctl(struct record *record);
// After this the old root is gone from this mount namespace.
void mounts_pivot(struct record *record);

#endif
