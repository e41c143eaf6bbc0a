// Passes bytes from one descriptor to another without ever blocking the supervisor, and counts them.
#ifndef SANDBOXLIB_RELAY_H
#define SANDBOXLIB_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_BYTES 65536

struct relay {
  int from;  // -1: closed or none
  int to;
  bool from_is_socket, to_is_socket, to_is_terminal;
  unsigned stream;  // not 0: the destination is the channel, where this is the command's descriptor
  bool to_is_own;  // `to` is a non-blocking descriptor of our own, which a write cannot block on
  bool splices;    // both ends are our own, and what passes need not be looked at
  bool target_is_full;  // which alone keeps it from being spliced on
  bool last;       // no writer is left: what is there now is the rest
  bool reader_gone;
  bool truncated;
  const char *lost_by;  // the call that lost some of what was to pass, or NULL
  int error;            // its errno
  uint64_t passed;   // bytes that were read
  uint64_t *budget;  // bytes that may still pass, shared between streams; NULL: no bound
  size_t start, end;
  uint8_t buffer[RELAY_BYTES];
};

// Descriptors that are not `ours` keep their flags, which the caller shares: they are used through a fresh non-blocking open of the same pipe or
// terminal where that is possible. False with errno.
bool relay_open(struct relay *relay, int from, bool from_is_ours, int to, bool to_is_ours);
// To the channel, as output of the command's descriptor `stream`; false with errno.
bool relay_open_to_channel(struct relay *relay, int from, unsigned stream);
// From memory, of at most RELAY_BYTES, to a descriptor of our own; false with errno.
bool relay_open_from_memory(struct relay *relay, const uint8_t *bytes, size_t length, int to);
// What to poll for now: fills in at most two entries and returns how many.
size_t relay_poll(const struct relay *relay, struct pollfd *entries);
// One round after poll. False when the budget is used up and there was more.
bool relay_step(struct relay *relay);
// Whether everything that was read was also passed on.
bool relay_flushed(const struct relay *relay);
bool relay_ended(const struct relay *relay);

#endif
