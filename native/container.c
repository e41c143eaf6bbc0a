// Pid 1 of a container of an engine, as root of the host with the one capability to enter namespaces. It gets what rendezvous.c hands over, enters the
// user namespace of the room, and makes in there the namespaces of the sandbox, as the launcher does where there is no engine. Init is its child. What
// the engine made is around all of that: its pid namespace ends with this process, and nothing of it is to be seen from the sandbox.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rendezvous.h"
#include "run.h"
#include "sys.h"

#define EXIT_FAILED 125
// Of the image.
#define ROOM "/room"
#define ROOM_PROC ROOM "/proc"
#define GROUPS_MAX 65536  // NGROUPS_MAX

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

struct handed {
  int socket_fd, room, user, network;
  struct rendezvous_legacy legacy;
};

static int complain(const char *what) { return rendezvous_complain("container", what); }

static bool receive(int from, struct handed *handed) {
  int descriptors[RENDEZVOUS_DESCRIPTORS];
  struct rendezvous_legacy legacy;
  struct iovec part = {.iov_base = &legacy, .iov_len = sizeof legacy};
  union {
    char bytes[CMSG_SPACE(sizeof descriptors)];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t got;
  do got = recvmsg(from, &header, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return false;
  struct cmsghdr *rights = got == (ssize_t)sizeof legacy ? CMSG_FIRSTHDR(&header) : NULL;
  errno = EPROTO;
  if (rights == NULL || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof descriptors)) return false;
  memcpy(descriptors, CMSG_DATA(rights), sizeof descriptors);
  *handed = (struct handed){.socket_fd = descriptors[0], .room = descriptors[1], .user = descriptors[2], .network = descriptors[3], .legacy = legacy};
  return true;
}

// Of an ordinary user, who cannot give them up: a group may be denied what everybody else is granted. The kernel knows those of whoever listens
// (unix(7), SO_PEERGROUPS, 4.13), and tells them here by their numbers on the host, which the room has no numbers for.
static const char *take_groups(int from) {
  static uint32_t groups[GROUPS_MAX];
  socklen_t size = sizeof groups;
  if (getsockopt(from, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) return "getsockopt(SO_PEERGROUPS)";
  return sys_setgroups(size / sizeof groups[0], groups) < 0 ? "setgroups" : NULL;
}

// Whoever comes late finds a name that nobody listens on: then it is ours to take away.
static const char *meet(const char *path, struct handed *handed) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return "connect";
  }
  memcpy(address.sun_path, path, length + 1);
  int to = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (to < 0) return "socket";
  bool connected = connect(to, (struct sockaddr *)&address, sizeof address) == 0;
  int saved = errno;
  if (!connected && saved == ECONNREFUSED) (void)unlink(path);
  errno = saved;
  if (!connected) return "connect";
  const char *failed = receive(to, handed) ? take_groups(to) : "recvmsg";
  (void)close(to);
  return failed;
}

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

// What the caller may not exceed holds here too; what the engine allows less of stays, for nobody here may raise it.
static const char *inherit(const struct rendezvous_legacy *legacy) {
  for (int resource = 0; resource < RENDEZVOUS_RLIMITS; resource++) {
    struct sbx_rlimit present;
    if (sys_prlimit(resource, NULL, &present) < 0) return "prlimit";
    uint64_t hard = lesser(legacy->rlimits[resource].hard, present.hard);
    const struct sbx_rlimit wanted = {.soft = lesser(legacy->rlimits[resource].soft, hard), .hard = hard};
    if (sys_prlimit(resource, &wanted, NULL) < 0) return "prlimit";
  }
  // Those of the engine's control group bound it as well.
  if (sched_setaffinity(0, sizeof legacy->processors, &legacy->processors) < 0) return "sched_setaffinity";
  errno = 0;
  int nice_value = getpriority(PRIO_PROCESS, 0);
  if (errno != 0) return "getpriority";
  return nice_value < legacy->nice_value && setpriority(PRIO_PROCESS, 0, legacy->nice_value) < 0 ? "setpriority" : NULL;
}

// The network namespace first: it is none of the room's.
static const char *enter(const struct handed *handed, bool own_network) {
  if (!own_network && setns(handed->network, CLONE_NEWNET) < 0) return "setns(CLONE_NEWNET)";
  if (setns(handed->user, CLONE_NEWUSER) < 0) return "setns(CLONE_NEWUSER)";
  if (sys_setresgid(0) < 0) return "setresgid";
  if (sys_setresuid(0) < 0) return "setresuid";
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return "prctl(PR_SET_DUMPABLE)";
  int namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  return unshare(own_network ? namespaces | CLONE_NEWNET : namespaces) < 0 ? "unshare" : NULL;
}

// The room becomes the root, with a /proc of the new pid namespace; the engine's root is detached. A new proc is to be had only while another one is
// in sight that nothing is mounted over.
static const char *move_in(int room) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return "mount(MS_PRIVATE)";
  if (sys_move_mount(room, "", AT_FDCWD, ROOM, MOVE_MOUNT_F_EMPTY_PATH) < 0) return "move_mount";
  if (mount("proc", ROOM_PROC, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return "mount(proc)";
  if (chdir(ROOM) < 0) return "chdir";
  if (sys_pivot_root(".", ".") < 0) return "pivot_root";
  if (umount2(".", MNT_DETACH) < 0) return "umount2";
  return chdir("/") < 0 ? "chdir" : NULL;
}

static _Noreturn void become_init(const struct handed *handed) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) _exit(complain("prctl(PR_SET_PDEATHSIG)"));
  const char *failed = move_in(handed->room);
  // As after an execve(2), so that its files in /proc are its own (proc_pid_setgroups(5)); it gives that up before there is a command.
  if (failed == NULL && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) failed = "prctl(PR_SET_DUMPABLE)";
  _exit(failed != NULL ? complain(failed) : inside_main(handed->socket_fd));
}

static int milliseconds_of(struct timeval time) { return (int)(time.tv_sec * 1000 + time.tv_usec / 1000); }

// Nothing of the container is a child of the supervisor's, which counts what is. Init waited for all of its pid namespace.
static int follow(pid_t init, int socket_fd) {
  int status;
  struct rusage usage;
  memset(&usage, 0, sizeof usage);
  pid_t reaped;
  do reaped = wait4(init, &status, 0, &usage);
  while (reaped < 0 && errno == EINTR);
  if (reaped < 0) return complain("wait4");
  // EPIPE: nobody asks any more.
  (void)message_send(socket_fd, MESSAGE_USER_TIME, milliseconds_of(usage.ru_utime));
  (void)message_send(socket_fd, MESSAGE_SYSTEM_TIME, milliseconds_of(usage.ru_stime));
  return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

int container_main(const char *path, bool own_network) {
  struct handed handed;
  const char *failed = meet(path, &handed);
  if (failed == NULL) failed = inherit(&handed.legacy);
  if (failed == NULL) failed = enter(&handed, own_network);
  if (failed != NULL) return complain(failed);
  pid_t init = sys_clone(0);
  if (init < 0) return complain("clone");
  if (init == 0) become_init(&handed);
  return follow(init, handed.socket_fd);
}
