#ifndef SANDBOXLIB_ENTERED_H
#define SANDBOXLIB_ENTERED_H

#include <stdbool.h>

// Whether a directory may be a root that is only entered. False with errno, and `*found` is the path of what is in the way, in a buffer of this file:
// EPERM for a device, EXDEV for a mount, else what could not be looked at.
bool entered_is_harmless(int root, const char *path, const char **found);

#endif
