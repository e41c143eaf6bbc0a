// Removal of trees, of any depth, with a handful of descriptors and without following a link.
#ifndef SANDBOXLIB_REMOVAL_H
#define SANDBOXLIB_REMOVAL_H

#include <stdbool.h>
#include <stddef.h>

// All that is in the directory but those of the `count` names that follow one another at `kept`, each with its NUL. False with errno.
bool removal_empty(int directory, const char *const *kept, size_t count);
// The entry itself, with all that is in it where it is a directory.
bool removal_remove(int parent, const char *name);

#endif
