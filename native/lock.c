#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

// Between two tries: a wait that flock(2) does by itself would not notice that the caller is gone.
#define RETRY_MILLISECONDS 20

// Whether standard input has ended within so many milliseconds; -1 waits for ever. What comes there says nothing.
static bool has_ended(int milliseconds) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  int ready = poll(&input, 1, milliseconds);
  if (ready < 0) return errno != EINTR;
  if (ready == 0) return false;
  char buffer[64];
  ssize_t length = read(STDIN_FILENO, buffer, sizeof buffer);
  return length == 0 || (length < 0 && errno != EINTR && errno != EAGAIN);
}

enum attempt { LOCKED, TAKEN, FAILED };

// A file that was removed while it was opened locks nobody out: whoever comes next makes another one.
static enum attempt try_lock(const char *path, int *held) {
  int file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return FAILED;
  struct stat status;
  bool locked = flock(file, LOCK_EX | LOCK_NB) == 0;
  int error = errno;
  if (locked && fstat(file, &status) == 0 && status.st_nlink > 0) {
    *held = file;
    return LOCKED;
  }
  (void)close(file);
  errno = error;
  return locked || error == EWOULDBLOCK || error == EINTR ? TAKEN : FAILED;
}

static bool say_locked(void) {
  static const char word[] = "locked\n";
  return write(STDOUT_FILENO, word, sizeof word - 1) == (ssize_t)(sizeof word - 1);
}

int lock_hold(const char *path) {
  int held = -1;
  for (;;) {
    enum attempt attempt = try_lock(path, &held);
    if (attempt == LOCKED) break;
    if (attempt == FAILED) {
      (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
      return 1;
    }
    if (has_ended(RETRY_MILLISECONDS)) return 0;
  }
  if (!say_locked()) return 0;
  while (!has_ended(-1)) continue;
  // With this process the lock goes too.
  (void)close(held);
  return 0;
}
