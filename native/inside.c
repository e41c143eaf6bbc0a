// What a tool starts inside of the sandbox it made: gets the plan and the command's descriptors from the supervisor, and goes on as init (init.c).
// Until then nothing of what runs here is anybody's but ours.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

#define EXIT_FAILED 125

static struct run run;
static int given[PLAN_DESCRIPTORS_MAX];
static int gate = -1;

static _Noreturn void fail_plan(const char *syscall) { fail(STEP_PLAN, NO_INDEX, syscall, NULL); }

static void read_plan(int file) {
  struct stat status;
  if (fstat(file, &status) < 0) fail_plan("fstat");
  if (status.st_size < PLAN_HEADER_BYTES || status.st_size > PLAN_BYTES_MAX) fail_plan("fstat");
  void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED) fail_plan("mmap");
  uint32_t index;
  const char *reason;
  errno = EINVAL;  // checked outside already, by the same code
  if (!plan_parse(bytes, (size_t)status.st_size, &run.plan, &index, &reason)) fail_plan("plan");
  if (!vectors_prepare(&run)) fail_plan("mmap");
  (void)close(file);
}

// In the order in which tool.c sends them: the plan, 0, 1, 2, those of the plan's records, and the size of a terminal, which only the supervisor knows.
static void receive_all(int socket_fd) {
  struct message message;
  int descriptor;
  size_t count = 0;
  while (message_receive(socket_fd, &message, &descriptor, 0) == (ssize_t)sizeof message) {
    run.columns = (unsigned short)(message.value >> 16);
    run.rows = (unsigned short)message.value;
    if (message.kind == MESSAGE_GO) return;
    errno = EBADF;
    if (descriptor < 0 || count == PLAN_DESCRIPTORS_MAX + 4) fail_plan("recvmsg");
    if (message.kind == MESSAGE_PLAN) read_plan(descriptor);
    else if (message.kind == MESSAGE_GATE) gate = descriptor;
    else if (count < 3) run.standard[count++] = descriptor;
    else given[count++ - 3] = descriptor;
  }
  // The supervisor is gone, or thought better of it.
  _exit(EXIT_FAILED);
}

// The control groups bound the command, and nothing of the tool: so it is this process that is put there, as the last that happens outside.
static void wait_at_gate(int socket_fd) {
  if (gate < 0) return;
  if (!message_send(socket_fd, MESSAGE_HERE, 0)) fail(STEP_CGROUP, NO_INDEX, "send", NULL);
  char byte;
  ssize_t got;
  do got = read(gate, &byte, 1);
  while (got < 0 && errno == EINTR);
  // The supervisor is gone, or could not.
  if (got != 1) _exit(EXIT_FAILED);
  (void)close(gate);
}

int inside_main(int socket_fd) {
  // Whatever the tool leaves open here is not for the command: the sources, this program, what its own caller left to it.
  if (!descriptors_close_except(&socket_fd, 1) || !descriptors_close_on_exec(3)) return EXIT_FAILED;
  report_use(socket_fd);
  run.channel_fd = run.status_fd = run.output_fd = run.error_fd = run.inside_fd = run.complaints_fd = -1;
  receive_all(socket_fd);
  if (run.plan.bytes == NULL) return EXIT_FAILED;
  run.given = given;
  wait_at_gate(socket_fd);
  init_inside(&run, socket_fd);
}
