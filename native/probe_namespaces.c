// Trials of what each new namespace is for: not only that clone(2) takes the flag.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "probe_trial.h"
#include "sys.h"

#define CAP_OF_NO_USE_HERE 35  // CAP_WAKE_ALARM
#define CAP_NET_BIND_SERVICE_NUMBER 10
#define IOCTL_SIOCSIFFLAGS 0x8914UL  // netdevice(7)
#define IOCTL_SIOCGIFFLAGS 0x8913UL

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47  // 4.3
#endif
#ifndef PR_CAP_AMBIENT_RAISE
#define PR_CAP_AMBIENT_RAISE 2
#endif

// AppArmor of Ubuntu 23.10 and later lets an unconfined program make the namespace and then denies every capability in it. Dropping
// something from the bounding set is the least that needs one (CAP_SETPCAP), and touches only this process.
bool probe_user_namespace(struct probe_result *result) {
  if (prctl(PR_CAPBSET_DROP, CAP_OF_NO_USE_HERE, 0, 0, 0) < 0)
    return probe_fail(result, "capability",
                      "the namespace comes without capabilities: a security module such as AppArmor denies them");
  return probe_pass(result, "with capabilities inside");
}

bool probe_mount_namespace(struct probe_result *result) {
  if (!probe_enter_scratch(result)) return false;
  return probe_pass(result, "private, a tmpfs could be mounted");
}

bool probe_pid_namespace(struct probe_result *result) {
  errno = 0;
  if (getpid() != 1) return probe_fail(result, "getpid", "the first process is %d, not 1", (int)getpid());
  return probe_pass(result, "the first process is 1");
}

static bool raise_loopback(struct probe_result *result, int descriptor) {
  struct ifreq request;
  (void)memset(&request, 0, sizeof request);
  (void)memcpy(request.ifr_name, "lo", sizeof "lo");
  if (syscall(SYS_ioctl, descriptor, IOCTL_SIOCGIFFLAGS, &request) < 0)
    return probe_fail(result, "SIOCGIFFLAGS", "no loopback");
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (syscall(SYS_ioctl, descriptor, IOCTL_SIOCSIFFLAGS, &request) < 0)
    return probe_fail(result, "SIOCSIFFLAGS", "cannot bring the loopback up");
  return probe_pass(result, "with a loopback of its own");
}

bool probe_network_namespace(struct probe_result *result) {
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return probe_fail(result, "socket", "no socket to set the loopback up by");
  bool ok = raise_loopback(result, descriptor);
  return close(descriptor) == 0 && ok;
}

// System V queues belong to their namespace and end with it; IPC_EXCL finds out one that is not empty.
bool probe_ipc_namespace(struct probe_result *result) {
  int queue = msgget(0x53425850, IPC_CREAT | IPC_EXCL | 0600);
  if (queue >= 0) return probe_pass(result, "with message queues of its own");
  if (errno == ENOSYS) return probe_pass(result, "this kernel has no System V queues to keep apart");
  return probe_fail(result, "msgget", "the namespace is not empty or not usable");
}

bool probe_uts_namespace(struct probe_result *result) {
  char name[64];
  if (sethostname("probe", sizeof "probe" - 1) < 0) return probe_fail(result, "sethostname", "inside");
  if (gethostname(name, sizeof name) < 0) return probe_fail(result, "gethostname", "inside");
  errno = 0;
  if (strcmp(name, "probe") != 0) return probe_fail(result, "gethostname", "the host name did not change");
  return probe_pass(result, "with a host name of its own");
}

bool probe_cgroup_namespace(struct probe_result *result) {
  char text[4096];
  if (!probe_read_file("/proc/self/cgroup", text, sizeof text))
    return probe_pass(result, "/proc shows no cgroups to compare");
  for (const char *line = text; *line != '\0';) {
    const char *end = strchr(line, '\n');
    if (end == NULL) end = line + strlen(line);
    errno = 0;
    if (end - line < 2 || strncmp(end - 2, ":/", 2) != 0)
      return probe_fail(result, "cgroup", "the own cgroup is not the root of the namespace");
    line = *end == '\0' ? end : end + 1;
  }
  return probe_pass(result, "the own cgroup is its root");
}

static void check_boot_clock(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_BOOTTIME, &now) < 0) _exit(1);
  _exit(now.tv_sec >= 1000000000L ? 0 : 2);
}

static bool shift_clock(struct probe_result *result) {
  static const char offset[] = "boottime 1000000000 0\n";
  int descriptor = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return probe_fail(result, "open", "/proc/self/timens_offsets");
  bool written = write(descriptor, offset, sizeof offset - 1) == (ssize_t)(sizeof offset - 1);
  if (!written) (void)probe_fail(result, "write", "/proc/self/timens_offsets");
  return close(descriptor) == 0 && written;
}

// unshare(2) puts only later children into the new namespace.
bool probe_time_namespace(struct probe_result *result) {
  if (unshare(CLONE_NEWTIME) < 0)
    return probe_fail(result, "unshare", errno == EINVAL ? "not in this kernel (5.6)" : "refused");
  if (!shift_clock(result)) return false;
  pid_t child = fork();
  if (child < 0) return probe_fail(result, "fork", "into the time namespace");
  if (child == 0) check_boot_clock();
  if (!probe_wait(result, "clock_gettime", child)) return false;
  return probe_pass(result, "with a boot clock of its own");
}

bool probe_ambient_capabilities(struct probe_result *result) {
  uint64_t effective;
  uint64_t permitted;
  uint64_t inheritable;
  uint64_t one = UINT64_C(1) << CAP_NET_BIND_SERVICE_NUMBER;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) return probe_fail(result, "capget", "own capabilities");
  errno = 0;
  if ((permitted & one) == 0) return probe_fail(result, "capget", "CAP_NET_BIND_SERVICE is not there to be raised");
  if (sys_capset(effective, permitted, inheritable | one) < 0) return probe_fail(result, "capset", "inheritable");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE_NUMBER, 0, 0) < 0)
    return probe_fail(result, "prctl", "PR_CAP_AMBIENT_RAISE (4.3)");
  return probe_pass(result, "kept across execve(2)");
}
