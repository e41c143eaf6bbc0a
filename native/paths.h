// Paths that come from outside, resolved inside the new root and used as descriptors: a symlink in a hostile root leads nowhere but into it.
#ifndef SANDBOXLIB_PATHS_H
#define SANDBOXLIB_PATHS_H

#include <sys/types.h>

// Each returns an O_PATH | O_CLOEXEC descriptor, or -1 with errno. `root` stands for "/" of `path`, for absolute symlinks too.
int path_open(int root, const char *path);
// From "/", where a symlink anywhere in the path is an error (ELOOP, ENOTDIR): for what was resolved before.
int path_open_without_links(const char *path);
// Makes the directory and its missing parents; an existing one is left as it is.
int path_make_directory(int root, const char *path, mode_t mode);
// The directory that holds the last component, made where missing; `name` points at that component within `path`.
int path_open_parent(int root, const char *path, const char **name);
// An empty file and its missing parents; an existing one is opened as it is.
int path_make_file(int root, const char *path, mode_t mode);

// For a tree that is being unpacked: `path` is relative, without "." and "..", and no symlink counts anywhere in it: one is an error (ELOOP), as is
// another file system (EXDEV). "" is `root` itself.
int path_open_beneath(int root, const char *path);
// The directory that is to hold the last component, made where missing, as others above it; `name` points at that component within `path`.
int path_make_parent_beneath(int root, const char *path, const char **name);

#endif
