#include "channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define QUEUE_BYTES 262144
// What output may not take, so that there is room for a line.
#define RESERVE_BYTES 65536
// Less than this is not worth a wake-up of the caller.
#define WORTH_SENDING_BYTES 32768

// As long for every frame: the number is padded with blanks, which JSON allows.
#define FRAME_FORMAT "{\"event\":\"output\",\"stream\":%u,\"bytes\":%8zu}\n"
#define FRAME_HEAD_BYTES 47

static struct {
  int descriptor;
  bool in_use, gone, urgent;
  size_t start, end;
  uint8_t bytes[QUEUE_BYTES];
} queue;

void channel_use(int descriptor) {
  queue.descriptor = descriptor;
  queue.in_use = true;
}

bool channel_in_use(void) { return queue.in_use; }
int channel_descriptor(void) { return queue.descriptor; }

static size_t waiting(void) { return queue.end - queue.start; }

// The caller is gone, which the supervisor learns of by the end of the socket too; or it must learn that something is missing, by the end of the lane.
static void give_up(void) {
  queue.gone = true;
  queue.start = queue.end = 0;
}

static void send_some(int flags) {
  while (waiting() > 0) {
    ssize_t sent = send(queue.descriptor, queue.bytes + queue.start, waiting(), MSG_NOSIGNAL | flags);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN && flags != 0) return;
    if (sent < 0) {
      give_up();
      return;
    }
    queue.start += (size_t)sent;
  }
  queue.start = queue.end = 0;
  queue.urgent = false;
}

static size_t room(void) {
  if (queue.start > 0) {
    memmove(queue.bytes, queue.bytes + queue.start, waiting());
    queue.end = waiting();
    queue.start = 0;
  }
  return sizeof queue.bytes - queue.end;
}

static void add(const void *bytes, size_t length) {
  memcpy(queue.bytes + queue.end, bytes, length);
  queue.end += length;
}

ssize_t channel_output(unsigned stream, const uint8_t *bytes, size_t length) {
  errno = EPIPE;
  if (queue.gone) return -1;
  size_t free = room();
  errno = EAGAIN;
  if (free <= RESERVE_BYTES + FRAME_HEAD_BYTES) return -1;
  free -= RESERVE_BYTES + FRAME_HEAD_BYTES;
  if (length > free) length = free;
  char head[FRAME_HEAD_BYTES + 1];
  int written = snprintf(head, sizeof head, FRAME_FORMAT, stream, length);
  errno = EINVAL;
  if (written != FRAME_HEAD_BYTES) return -1;
  add(head, FRAME_HEAD_BYTES);
  add(bytes, length);
  return (ssize_t)length;
}

void channel_say(const char *line, size_t length) {
  if (queue.gone || length > RESERVE_BYTES) return;
  if (room() < length) send_some(0);
  if (queue.gone) return;
  add(line, length);
  queue.urgent = true;
  send_some(MSG_DONTWAIT);
}

static bool is_due(void) { return waiting() > 0 && (queue.urgent || waiting() >= WORTH_SENDING_BYTES); }

size_t channel_poll(struct pollfd *entries) {
  if (!is_due()) return 0;
  entries[0] = (struct pollfd){.fd = queue.descriptor, .events = POLLOUT};
  return 1;
}

void channel_step(void) {
  if (is_due()) send_some(MSG_DONTWAIT);
}

bool channel_finish(void) {
  send_some(0);
  return !queue.gone;
}
