#include "orders.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "intake.h"
#include "plan.h"

static struct {
  uint8_t bytes[ORDER_BYTES];
  size_t used;
  uint8_t *call;
  size_t call_length, call_used;  // of a call that is on its way; 0: none is
} coming;

struct order order_parse(const uint8_t *bytes) {
  struct reader reader = {.at = bytes, .end = bytes + ORDER_BYTES, .failed = false};
  struct order order;
  order.type = read_u32(&reader);
  order.a = read_u32(&reader);
  order.b = read_u32(&reader);
  return order;
}

void orders_expect_call(uint8_t *into, size_t length) {
  coming.call = into;
  coming.call_length = length;
  coming.call_used = 0;
}

bool orders_left_whole(void) { return coming.used == 0 && coming.call_length == 0; }

static ssize_t receive(int channel) {
  if (coming.call_length == 0) return recv(channel, coming.bytes + coming.used, ORDER_BYTES - coming.used, MSG_DONTWAIT);
  return recv(channel, coming.call + coming.call_used, coming.call_length - coming.call_used, MSG_DONTWAIT);
}

enum orders_next orders_next(int channel, struct order *order) {
  for (;;) {
    ssize_t got = receive(channel);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return ORDERS_NONE;
    // ECONNRESET: the caller did not even read everything.
    if (got < 0 && errno != ECONNRESET) return ORDERS_FAILED;
    if (got <= 0) return ORDERS_END;
    if (coming.call_length != 0) {
      coming.call_used += (size_t)got;
      if (coming.call_used < coming.call_length) continue;
      coming.call_length = 0;
      return ORDERS_CALL_CAME;
    }
    coming.used += (size_t)got;
    if (coming.used < ORDER_BYTES) continue;
    coming.used = 0;
    *order = order_parse(coming.bytes);
    return ORDERS_ONE;
  }
}

static bool drop(int descriptor, size_t length) {
  uint8_t dropped[512];
  for (size_t part; length > 0; length -= part) {
    part = length < sizeof dropped ? length : sizeof dropped;
    if (!intake_read_all(descriptor, dropped, part)) return false;
  }
  return true;
}

// No order begins as a plan does.
bool orders_come_late(int lane) {
  uint8_t begin[4];
  ssize_t got;
  do got = recv(lane, begin, sizeof begin, MSG_PEEK | MSG_WAITALL);
  while (got < 0 && errno == EINTR);
  return got == (ssize_t)sizeof begin && memcmp(begin, "SBXP", sizeof begin) != 0;
}

bool orders_pass_over(int lane) {
  uint8_t bytes[ORDER_BYTES];
  if (!intake_read_all(lane, bytes, sizeof bytes)) return false;
  struct order order = order_parse(bytes);
  return order.type != ORDER_CALL || drop(lane, order.a);
}
