// The sandbox's own loopback, by one rtnetlink(7) request: the kernel gives it 127.0.0.1 and ::1 as it comes up.
#include "network.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SBX_NETLINK_ROUTE 0
#define SBX_RTM_NEWLINK 16
#define SBX_NLM_F_REQUEST 1
#define SBX_NLM_F_ACK 4
#define SBX_NLMSG_ERROR 2
#define SBX_IFF_UP 1
#define LOOPBACK_INDEX 1  // the first device of every network namespace

struct netlink_header {
  uint32_t length;
  uint16_t type;
  uint16_t flags;
  uint32_t sequence;
  uint32_t port;
};

struct link_request {
  struct netlink_header header;
  uint8_t family;
  uint8_t pad;
  uint16_t type;
  int32_t index;
  uint32_t flags;
  uint32_t change;
};

struct link_answer {
  struct netlink_header header;
  int32_t error;
  struct netlink_header request;
};

static int request_up(int socket_fd) {
  struct link_request request = {
      .header = {.length = sizeof request, .type = SBX_RTM_NEWLINK, .flags = SBX_NLM_F_REQUEST | SBX_NLM_F_ACK, .sequence = 1},
      .index = LOOPBACK_INDEX,
      .flags = SBX_IFF_UP,
      .change = SBX_IFF_UP};
  if (send(socket_fd, &request, sizeof request, 0) != (ssize_t)sizeof request) return -1;
  struct link_answer answer;
  memset(&answer, 0, sizeof answer);
  ssize_t got;
  do got = recv(socket_fd, &answer, sizeof answer, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  if (answer.header.type != SBX_NLMSG_ERROR || answer.error != 0) {
    errno = answer.error < 0 ? -answer.error : EPROTO;
    return -1;
  }
  return 0;
}

int loopback_up(void) {
  int socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, SBX_NETLINK_ROUTE);
  if (socket_fd < 0) return -1;
  int result = request_up(socket_fd);
  int saved = errno;
  (void)close(socket_fd);
  errno = saved;
  return result;
}
