// Trials of Landlock (landlock(7)), one for each ABI that brought something that a spec can ask for. Each takes something from the trial's process,
// and sees whether it is gone.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

static bool find_version(struct probe_result *result, int *version) {
  *version = sys_landlock_version();
  if (*version >= 0) return true;
  const char *because = errno == EOPNOTSUPP ? "built into the kernel and switched off at boot (lsm=)"
                        : errno == ENOSYS   ? "not before Linux 5.13, not built in, or filtered"
                                            : "refused";
  return probe_fail(result, "landlock_create_ruleset", "%s", because);
}

// Without rules: what is handled is gone.
static bool give_up(struct probe_result *result, const struct sbx_landlock_ruleset *handled, int version, const char *release) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return probe_fail(result, "prctl", "PR_SET_NO_NEW_PRIVS");
  int ruleset = sys_landlock_create_ruleset(handled);
  if (ruleset < 0) return probe_fail(result, "landlock_create_ruleset", "not before Linux %s; this is ABI %d", release, version);
  bool ok = sys_landlock_restrict_self(ruleset) == 0;
  if (!ok) return probe_fail(result, "landlock_restrict_self", "refused");
  return close(ruleset) == 0 || probe_fail(result, "close", "ruleset");
}

static bool reading_is_gone(struct probe_result *result, int version) {
  int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 && errno == EACCES) return probe_pass(result, "ABI %d", version);
  if (descriptor >= 0) (void)close(descriptor);
  errno = 0;
  return probe_fail(result, "open", "a ruleset without rules let a file be read");
}

bool probe_landlock(struct probe_result *result) {
  int version;
  const struct sbx_landlock_ruleset handled = {.handled_access_fs = SBX_LANDLOCK_FS_READ_FILE};
  if (!find_version(result, &version) || !give_up(result, &handled, version, "5.13")) return false;
  return reading_is_gone(result, version);
}

// Before that ABI a file that may only be read can still be emptied. Here is none that may be written, so reading stands for it.
bool probe_landlock_truncate(struct probe_result *result) {
  int version;
  const struct sbx_landlock_ruleset handled = {.handled_access_fs = SBX_LANDLOCK_FS_READ_FILE | SBX_LANDLOCK_FS_TRUNCATE};
  if (!find_version(result, &version) || !give_up(result, &handled, version, "6.2 (ABI 3)")) return false;
  return reading_is_gone(result, version);
}

bool probe_landlock_tcp(struct probe_result *result) {
  int version;
  const struct sbx_landlock_ruleset handled = {.handled_access_net = SBX_LANDLOCK_NET_BIND_TCP};
  if (!find_version(result, &version) || !give_up(result, &handled, version, "6.7 (ABI 4)")) return false;
  int unbound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (unbound < 0) return probe_fail(result, "socket", "no TCP here to try it on");
  const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int bound = bind(unbound, (const struct sockaddr *)&loopback, sizeof loopback);
  int error = errno;
  if (close(unbound) < 0) return probe_fail(result, "close", "socket");
  errno = bound < 0 ? error : 0;
  if (bound < 0 && error == EACCES) return probe_pass(result, "ABI %d", version);
  return probe_fail(result, "bind", "a ruleset without rules let a port be bound, or the network did not");
}

static bool connecting_is_gone(struct probe_result *result, const struct sockaddr_un *name, socklen_t size, int version) {
  int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client < 0) return probe_fail(result, "socket", "AF_UNIX");
  int connected = connect(client, (const struct sockaddr *)name, size);
  int error = errno;
  if (close(client) < 0) return probe_fail(result, "close", "socket");
  errno = connected < 0 ? error : 0;
  if (connected < 0 && error == EPERM) return probe_pass(result, "ABI %d", version);
  return probe_fail(result, "connect", "a socket made outside of the scope could be reached");
}

bool probe_landlock_scope(struct probe_result *result) {
  int version;
  if (!find_version(result, &version)) return false;
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  socklen_t size = sizeof name;
  // With the family alone the kernel chooses an abstract name (unix(7), "Autobind feature").
  if (server < 0 || bind(server, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path)) < 0 || listen(server, 1) < 0 ||
      getsockname(server, (struct sockaddr *)&name, &size) < 0)
    return probe_fail(result, "socket", "no abstract socket to try it on");
  const struct sbx_landlock_ruleset handled = {.scoped = SBX_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET};
  bool ok = give_up(result, &handled, version, "6.12 (ABI 6)") && connecting_is_gone(result, &name, size, version);
  return close(server) == 0 && ok;
}
