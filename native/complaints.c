#include "complaints.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool complaints_open(struct complaints *complaints, int from) {
  complaints->from = from;
  int flags = fcntl(from, F_GETFL);
  return flags >= 0 && fcntl(from, F_SETFL, flags | O_NONBLOCK) == 0;
}

// The last words say most: where there is no room, the first ones go.
static void make_room(struct complaints *complaints) {
  size_t kept = REPORT_DETAIL_BYTES - 1;
  if (complaints->used <= kept) return;
  memmove(complaints->text, complaints->text + complaints->used - kept, kept);
  complaints->used = kept;
}

void complaints_read(struct complaints *complaints) {
  while (complaints->from >= 0) {
    if (complaints->used == sizeof complaints->text) make_room(complaints);
    ssize_t got = read(complaints->from, complaints->text + complaints->used, sizeof complaints->text - complaints->used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      (void)close(complaints->from);
      complaints->from = -1;
      return;
    }
    complaints->used += (size_t)got;
  }
}

void complaints_fill(struct complaints *complaints, struct failure *failure, const char *tool, int status) {
  complaints_read(complaints);
  failure_fill(failure, STEP_TOOL, NO_INDEX, 0, NULL, tool);
  make_room(complaints);
  size_t length = complaints->used;
  while (length > 0 && (complaints->text[length - 1] == '\n' || complaints->text[length - 1] == '\r')) length--;
  for (size_t i = 0; i < length; i++) failure->detail[i] = complaints->text[i] == '\0' ? '?' : complaints->text[i];
  failure->detail[length] = '\0';
  if (length > 0) return;
  if (WIFSIGNALED(status)) (void)snprintf(failure->detail, sizeof failure->detail, "it was ended by signal %d, without a word", WTERMSIG(status));
  else (void)snprintf(failure->detail, sizeof failure->detail, "it ended with status %d, without a word", WEXITSTATUS(status));
}
