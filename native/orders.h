// What a caller orders by the channel, after the plan: records of three numbers, and the bytes of a call.
#ifndef SANDBOXLIB_ORDERS_H
#define SANDBOXLIB_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_BYTES 12u

// LEND is one to a server.
enum order_type { ORDER_TERMINATE = 1, ORDER_KILL, ORDER_RESIZE, ORDER_SIGNAL, ORDER_FORWARD, ORDER_ANSWER, ORDER_CALL, ORDER_LEND };

struct order {
  uint32_t type, a, b;
};

// The bytes of one, of which ORDER_BYTES are there. Pure.
struct order order_parse(const uint8_t *bytes);

enum orders_next { ORDERS_NONE, ORDERS_ONE, ORDERS_CALL_CAME, ORDERS_END, ORDERS_FAILED };

// Without blocking. ORDERS_CALL_CAME: what orders_expect_call() waited for is whole. ORDERS_FAILED with errno.
enum orders_next orders_next(int channel, struct order *order);
// What comes next is no order, but `length` bytes for `into`, which stays.
void orders_expect_call(uint8_t *into, size_t length);
// Whether what is still to be read from the channel begins with a whole order, or with a plan.
bool orders_left_whole(void);

// On a lane an order may stand before the plan, for a run that had ended before it came. Both block until enough is there; the first takes nothing.
bool orders_come_late(int lane);
bool orders_pass_over(int lane);

#endif
