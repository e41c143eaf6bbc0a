// What a tool writes to its stdout and stderr: kept, the end of it, to say why it failed. Nothing of the command's is ever among it.
#ifndef SANDBOXLIB_COMPLAINTS_H
#define SANDBOXLIB_COMPLAINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "report.h"

struct complaints {
  int from;  // -1: closed or none
  size_t used;
  char text[2 * REPORT_DETAIL_BYTES];
};

// Makes `from` non-blocking; false with errno.
bool complaints_open(struct complaints *complaints, int from);
// Takes what is there now.
void complaints_read(struct complaints *complaints);
// The failure of `tool`, which ended with the wait status and no word from an init inside of it.
void complaints_fill(struct complaints *complaints, struct failure *failure, const char *tool, int status);

#endif
