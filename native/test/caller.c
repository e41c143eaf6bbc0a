// The smallest thing that runs a sandbox as the library does, at the other end of the channel:
//   caller LAUNCHER PLAN
// Hands over the plan, reads every status line, and ends with the launcher's exit status. To be killed by the thousand.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK_BYTES 65536
#define FAILED 120
#define CHANNEL 3

static char bytes[CHUNK_BYTES];

static _Noreturn void exec_launcher(const char *launcher, int channel) {
  char *environment[] = {NULL};
  int own = fcntl(channel, F_DUPFD_CLOEXEC, CHANNEL + 1);
  if (own < 0 || dup2(own, CHANNEL) < 0) _exit(FAILED);
  execle(launcher, launcher, "run", "--channel-fd", "3", (char *)NULL, environment);
  _exit(FAILED);
}

// The other side may be killed at any moment: whatever fails then, its exit status tells more.
static void pass_on(int from, int to) {
  ssize_t got;
  while ((got = read(from, bytes, sizeof bytes)) > 0) {
    for (ssize_t done = 0; done < got;) {
      ssize_t put = write(to, bytes + done, (size_t)(got - done));
      if (put < 0) return;
      done += put;
    }
  }
}

int main(int count, char **arguments) {
  if (count != 3) {
    (void)fputs("usage: caller LAUNCHER PLAN\n", stderr);
    return FAILED;
  }
  int ends[2];
  int plan = open(arguments[2], O_RDONLY | O_CLOEXEC);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (plan < 0 || nowhere < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) return FAILED;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return FAILED;
  pid_t child = fork();
  if (child < 0) return FAILED;
  if (child == 0) exec_launcher(arguments[1], ends[1]);
  if (close(ends[1]) < 0) return FAILED;
  pass_on(plan, ends[0]);
  pass_on(ends[0], nowhere);
  if (close(ends[0]) < 0) return FAILED;
  int status;
  if (waitpid(child, &status, 0) != child) return FAILED;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
