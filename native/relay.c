#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"

#define SPLICE_BYTES 1048576u
// Between two looks at everything else.
#define SPLICES_PER_STEP 16

static bool may_block(const struct stat *status, int descriptor) { return S_ISFIFO(status->st_mode) || isatty(descriptor); }

// O_NONBLOCK on the caller's own descriptor would change it for the caller too, so pipes and terminals are opened once more. A regular file has a
// position that must stay shared, and never blocks for long.
static int open_again(int descriptor, int mode) {
  char path[32];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  return open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool make_nonblocking(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
}

bool relay_open(struct relay *relay, int from, bool from_is_ours, int to, bool to_is_ours) {
  struct stat source, target;
  if (fstat(from, &source) < 0 || fstat(to, &target) < 0) return false;
  if ((from_is_ours && !make_nonblocking(from)) || (to_is_ours && !make_nonblocking(to))) return false;
  relay->from = from;
  relay->to = to;
  relay->from_is_socket = S_ISSOCK(source.st_mode);
  relay->to_is_socket = S_ISSOCK(target.st_mode);
  relay->to_is_terminal = isatty(to) == 1;
  relay->to_is_own = to_is_ours;
  relay->splices = from_is_ours && to_is_ours;
  if (!from_is_ours && may_block(&source, from)) {
    int own = open_again(from, O_RDONLY);
    if (own >= 0) relay->from = own;
  }
  if (!to_is_ours && may_block(&target, to)) {
    int own = open_again(to, O_WRONLY);
    if (own >= 0) relay->to = own;
    relay->to_is_own = own >= 0;
  }
  return true;
}

bool relay_open_to_channel(struct relay *relay, int from, unsigned stream) {
  if (!make_nonblocking(from)) return false;
  relay->from = from;
  relay->to = channel_descriptor();
  relay->stream = stream;
  return true;
}

bool relay_open_from_memory(struct relay *relay, const uint8_t *bytes, size_t length, int to) {
  if (!make_nonblocking(to)) return false;
  relay->to = to;
  relay->to_is_own = true;
  if (length > 0) memcpy(relay->buffer, bytes, length);
  relay->end = length;
  return true;
}

bool relay_flushed(const struct relay *relay) { return relay->start == relay->end; }
bool relay_ended(const struct relay *relay) { return relay->from < 0 && relay_flushed(relay); }

// What may pass without a look at how much it is.
static size_t splice_allowance(const struct relay *relay) {
  if (!relay->splices || relay->last || !relay_flushed(relay) || relay->from < 0) return 0;
  return relay->budget == NULL || *relay->budget > SPLICE_BYTES ? SPLICE_BYTES : (size_t)*relay->budget;
}

size_t relay_poll(const struct relay *relay, struct pollfd *entries) {
  if (!relay_flushed(relay) || (splice_allowance(relay) > 0 && relay->target_is_full)) {
    entries[0] = (struct pollfd){.fd = relay->to, .events = POLLOUT};
    return 1;
  }
  if (relay->from < 0) return 0;
  entries[0] = (struct pollfd){.fd = relay->from, .events = POLLIN};
  return 1;
}

static void close_source(struct relay *relay) {
  if (relay->from >= 0) (void)close(relay->from);
  relay->from = -1;
}

// The reader is gone: so is the reason to read on. The command learns of it by SIGPIPE at its next write.
static void lose_reader(struct relay *relay) {
  relay->reader_gone = true;
  relay->start = relay->end = 0;
  close_source(relay);
}

// A pipe without a reader, a socket without a peer, a terminal that was hung up.
static bool has_no_reader(const struct relay *relay, int error) {
  return error == EPIPE || error == ECONNRESET || (error == EIO && relay->to_is_terminal);
}

static void note_loss(struct relay *relay, const char *call) {
  relay->lost_by = call;
  relay->error = errno;
}

static ssize_t write_some(const struct relay *relay) {
  const uint8_t *bytes = relay->buffer + relay->start;
  size_t length = relay->end - relay->start;
  if (relay->stream != 0) return channel_output(relay->stream, bytes, length);
  if (relay->to_is_socket) return send(relay->to, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (!relay->to_is_own) {
    // Not ours to make non-blocking: only as much as poll(2) promises room for, PIPE_BUF.
    struct pollfd room = {.fd = relay->to, .events = POLLOUT};
    int ready = poll(&room, 1, 0);
    if (ready == 0) errno = EAGAIN;
    if (ready <= 0) return -1;
    if (length > 4096) length = 4096;
  }
  return write(relay->to, bytes, length);
}

static void flush_out(struct relay *relay) {
  while (!relay_flushed(relay)) {
    ssize_t written = write_some(relay);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return;
    if (written < 0) {
      if (!has_no_reader(relay, errno)) note_loss(relay, "write");
      lose_reader(relay);
      return;
    }
    relay->start += (size_t)written;
  }
  relay->start = relay->end = 0;
}

// False when more came than the budget allows; exactly the budget is kept.
static bool take_from_budget(struct relay *relay) {
  uint64_t got = relay->end - relay->start;
  if (relay->budget == NULL) return true;
  if (got <= *relay->budget) {
    *relay->budget -= got;
    return true;
  }
  relay->end = relay->start + (size_t)*relay->budget;
  *relay->budget = 0;
  relay->truncated = true;
  return false;
}

static ssize_t read_some(struct relay *relay) {
  if (relay->from_is_socket) return recv(relay->from, relay->buffer, sizeof relay->buffer, MSG_DONTWAIT);
  return read(relay->from, relay->buffer, sizeof relay->buffer);
}

static bool has_room(int descriptor) {
  struct pollfd room = {.fd = descriptor, .events = POLLOUT};
  return poll(&room, 1, 0) != 0;
}

// Pages are handed on, and no byte is copied. False where it does not go that way: there it is read and written, and what is really wrong shows then.
static bool splice_some(struct relay *relay) {
  relay->target_is_full = false;
  for (int round = 0; round < SPLICES_PER_STEP && splice_allowance(relay) > 0; round++) {
    ssize_t got = splice(relay->from, NULL, relay->to, NULL, splice_allowance(relay), SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      relay->target_is_full = !has_room(relay->to);
      return true;
    }
    if (got < 0) return false;
    if (got == 0) close_source(relay);
    relay->passed += (uint64_t)got;
    if (relay->budget != NULL) *relay->budget -= (uint64_t)got;
  }
  return true;
}

bool relay_step(struct relay *relay) {
  flush_out(relay);
  if (splice_allowance(relay) > 0) {
    if (!splice_some(relay)) relay->splices = false;
    // Where nothing more may pass, what comes is still to be looked for.
    else if (relay->budget == NULL || *relay->budget > 0) return true;
  }
  if (!relay_flushed(relay) || relay->from < 0) return true;
  ssize_t got;
  do got = read_some(relay);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN && !relay->last) return true;
  if (got <= 0) {
    // EIO: a terminal's master whose slaves are all closed, or a terminal that was hung up. EAGAIN: the last has been read.
    if (got < 0 && errno != EIO && errno != EAGAIN) note_loss(relay, "read");
    close_source(relay);
    return true;
  }
  relay->start = 0;
  relay->end = (size_t)got;
  relay->passed += (uint64_t)got;
  bool within = take_from_budget(relay);
  flush_out(relay);
  return within;
}
