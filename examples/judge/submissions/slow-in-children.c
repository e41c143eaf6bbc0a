// Each child stays far below the bound; together they do not, and nobody waits for them.
#include <signal.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    if (fork() == 0) {
      struct timespec used = {0, 0};
      while (used.tv_nsec < 20000000) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
      _exit(0);
    }
    usleep(25000);
  }
}
