#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "run.h"
#include "sys.h"

static struct termios original;
static bool raw;
static pid_t keeper;  // 0: none
static int leash = -1;  // the keeper acts when this end closes

static bool is_as(const struct termios *a, const struct termios *b) {
  return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag;
}

// Does nothing until the supervisor is gone. Of another session, so that no job control keeps it from the terminal; and where a shell has set the terminal
// up again already, that is not undone.
static _Noreturn void keep(int end, const struct termios *wanted) {
  sigset_t all;
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, NULL);
  (void)setsid();
  (void)close(STDOUT_FILENO);
  (void)close(STDERR_FILENO);
  if (!descriptors_close_except(&end, 1)) _exit(1);
  char byte;
  ssize_t got;
  do got = read(end, &byte, 1);
  while (got < 0 && errno == EINTR);
  struct termios present;
  if (tcgetattr(STDIN_FILENO, &present) == 0 && is_as(&present, wanted)) (void)tcsetattr(STDIN_FILENO, TCSANOW, &original);
  _exit(0);
}

static bool start_keeper(const struct termios *wanted) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  pid_t cloned = sys_clone_silent();
  if (cloned == 0) {
    (void)close(ends[1]);
    keep(ends[0], wanted);
  }
  (void)close(ends[0]);
  leash = ends[1];
  keeper = cloned < 0 ? 0 : cloned;
  return cloned > 0;
}

static void end_keeper(void) {
  if (keeper == 0) return;
  (void)kill(keeper, SIGKILL);
  while (waitpid(keeper, NULL, (int)__WCLONE) < 0 && errno == EINTR) continue;
  keeper = 0;
  (void)close(leash);
}

pid_t terminal_keeper(void) { return keeper; }

bool terminal_size(struct winsize *size) {
  for (int descriptor = 0; descriptor < 3; descriptor++) {
    if (ioctl(descriptor, TIOCGWINSZ, size) == 0 && size->ws_col > 0 && size->ws_row > 0) return true;
  }
  return false;
}

bool terminal_make_raw(bool alone) {
  if (raw || !isatty(STDIN_FILENO)) return true;
  if (tcgetattr(STDIN_FILENO, &original) < 0) return false;
  struct termios wanted = original;
  cfmakeraw(&wanted);
  if (alone && !start_keeper(&wanted)) return false;
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &wanted) < 0) return false;
  raw = true;
  return true;
}

void terminal_restore(void) {
  if (!raw) return;
  raw = false;
  // Should this fail the terminal is gone, and nobody is left to tell.
  (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
  end_keeper();
}
