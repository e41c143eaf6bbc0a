// The socket to the caller where the output of the command goes by it too, between the status lines (record `collect`). What is said waits in a
// queue and is sent without blocking; a few words are not sent alone, for nobody acts on output before the end.
#ifndef SANDBOXLIB_CHANNEL_H
#define SANDBOXLIB_CHANNEL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// From now on everything goes by the queue.
void channel_use(int descriptor);
bool channel_in_use(void);
// The descriptor, to be polled for room by who was refused.
int channel_descriptor(void);
// Output of the command's descriptor `stream`. As write(2): how much of it was taken, or -1 with errno, EAGAIN where there is no room now.
ssize_t channel_output(unsigned stream, const uint8_t *bytes, size_t length);
// A status line. Blocks only where the caller has not read some hundred kilobytes of what was said before.
void channel_say(const char *line, size_t length);
// What to poll for; returns how many entries, at most one.
size_t channel_poll(struct pollfd *entries);
// One round after poll.
void channel_step(void);
// The last: waits until all has been sent, or nobody reads. False where something was not.
bool channel_finish(void);

#endif
