#include "terminal.h"

#include <termios.h>
#include <unistd.h>

static struct termios original;
static bool raw;

bool terminal_size(struct winsize *size) {
  for (int descriptor = 0; descriptor < 3; descriptor++) {
    if (ioctl(descriptor, TIOCGWINSZ, size) == 0 && size->ws_col > 0 && size->ws_row > 0) return true;
  }
  return false;
}

bool terminal_make_raw(void) {
  if (raw || !isatty(STDIN_FILENO)) return true;
  if (tcgetattr(STDIN_FILENO, &original) < 0) return false;
  struct termios wanted = original;
  cfmakeraw(&wanted);
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &wanted) < 0) return false;
  raw = true;
  return true;
}

void terminal_restore(void) {
  if (!raw) return;
  raw = false;
  // Should this fail the terminal is gone, and nobody is left to tell.
  (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
}
