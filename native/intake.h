// The ways a plan comes in. What is in it plan.c tells.
#ifndef SANDBOXLIB_INTAKE_H
#define SANDBOXLIB_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Blocks until `length` bytes are there; false with errno, EPIPE for an end before that.
bool intake_read_all(int descriptor, uint8_t *to, size_t length);
// A plan as it is, and no byte that follows it. NULL, with why and with errno where a call failed.
const uint8_t *intake_from_descriptor(int descriptor, size_t *length, const char **reason);
// A plan in base64 in the variables NAME0, NAME1, ...; NULL with why.
const uint8_t *intake_from_environment(const char *name, size_t *length, const char **reason);

#endif
