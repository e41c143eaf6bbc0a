// The launcher's command line, and what a process gives up before it carries out a plan. What it does with one is in supervisor.c, init.c and command.c; README.md tells the whole.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "changes.h"
#include "channel.h"
#include "compiled.h"
#include "hold.h"
#include "intake.h"
#include "lock.h"
#include "orders.h"
#include "probe.h"
#include "rendezvous.h"
#include "run.h"
#include "serve.h"
#include "status.h"
#include "sys.h"
#include "unpack.h"

#define EXIT_USAGE 125
#define SERVER_ORDERS_FD 3

static const char usage[] =
    "usage: launcher run --channel-fd N\n"
    "       launcher run (--plan-fd N | --plan-env NAME) [--status-fd N]\n"
    "       launcher serve --lanes N --streams N\n"
    "       launcher inside --socket-fd N\n"
    "       launcher inside --rendezvous PATH --network own|room\n"
    "       launcher rendezvous --directory PATH --tree PATH COMMAND [ARG...]\n"
    "       launcher changes DIRECTORY\n"
    "       launcher lock FILE\n"
    "       launcher pause\n"
    "       launcher unpack --records-fd N --directory PATH\n"
    "       launcher probe [...]\n"
    "       launcher --version\n";

static const char privileged[] =
    "the launcher has privileges that its caller lacks, and would lend them to anybody's plan; take them from its file: chmod ug-s, setcap -r";

static int refuse_usage(void) {
  (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
  return EXIT_USAGE;
}

static int refuse(enum step step, const char *syscall) {
  struct failure failure;
  failure_fill(&failure, step, NO_INDEX, errno, syscall, NULL);
  status_failed(&failure);
  return EXIT_USAGE;
}

static int refuse_plan(uint32_t index, const char *reason) {
  struct failure failure;
  failure_fill(&failure, STEP_PLAN, index, errno, NULL, NULL);
  (void)snprintf(failure.detail, sizeof failure.detail, "%s", reason);
  status_failed(&failure);
  return EXIT_USAGE;
}

// Set-user-ID, set-group-ID or capabilities of the file: nothing here needs them, and a plan may be anybody's. The kernel tells of all three by one
// flag (getauxval(3)), but sets it too where a security module changes the label at execve(2), which gives nothing; so that case looks further.
static bool has_gained_privileges(void) {
  if (getauxval(AT_SECURE) == 0) return false;
  if (getauxval(AT_UID) != getauxval(AT_EUID) || getauxval(AT_GID) != getauxval(AT_EGID)) return true;
  uint64_t effective, permitted, inheritable;
  if (sys_capget(&effective, &permitted, &inheritable) < 0) return true;
  // Of an ordinary user only ambient capabilities outlive an execve(2) by themselves, and none of them one of a file with its own.
  for (unsigned capability = 0; getauxval(AT_UID) != 0 && capability < 64; capability++) {
    bool ambient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1;
    if ((permitted >> capability & 1) != 0 && !ambient) return true;
  }
  return false;
}

// A caller may have closed 0, 1 or 2; whatever is opened next would become it.
static bool open_standard(void) {
  for (int descriptor = 0; descriptor < 3; descriptor++) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    if (open("/dev/null", O_RDWR) != descriptor) return false;
  }
  return true;
}

// Dispositions and mask may be anything here: a SIGCHLD that is ignored would take init's status from us.
static bool reset_signals(void) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal < NSIG; signal++) {
    if (sigaction(signal, &action, NULL) < 0 && errno != EINVAL) return false;
  }
  sigset_t none;
  sigemptyset(&none);
  return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

// Closes what this process inherited and the plan does not name.
static bool keep_named_descriptors(const struct run *run) {
  int kept[PLAN_DESCRIPTORS_MAX + PLAN_POD_NAMESPACES + 2];
  size_t count = 0;
  if (run->channel_fd >= 0) kept[count++] = run->channel_fd;
  if (run->status_fd >= 0 && run->status_fd != run->channel_fd) kept[count++] = run->status_fd;
  for (int i = 0; run->plan.has_join && i < PLAN_POD_NAMESPACES; i++) kept[count++] = run->plan.join[i];
  struct cursor cursor = plan_start(&run->plan);
  struct record record;
  while (plan_next(&cursor, &record)) {
    int from = record.step == STEP_DESCRIPTOR ? (int)read_u32(&record.payload) : -1;
    if (from > 2) kept[count++] = from;
  }
  qsort(kept, count, sizeof kept[0], compare);
  return descriptors_close_except(kept, count) && descriptors_close_on_exec(3);
}

// With a channel its end of file is what ends us, and all that a caller that died must do is wake us, should we be stopped. Without one this signal is
// all there is; a parent that died before the call shows as a changed parent.
static bool follow_parent(pid_t parent, bool has_channel) {
  if (prctl(PR_SET_PDEATHSIG, has_channel ? SIGCONT : SIGKILL, 0, 0, 0) < 0) return false;
  if (has_channel || getppid() == parent) return true;
  errno = ESRCH;
  return false;
}

struct arguments {
  int channel_fd, plan_fd, status_fd;
  const char *plan_env;
};

static bool parse_descriptor(const char *text, int *to) {
  char *end;
  long number = strtol(text, &end, 10);
  if (end == text || *end != '\0' || number < 0 || number > PLAN_DESCRIPTOR_MAX) return false;
  *to = (int)number;
  return fcntl(*to, F_GETFD) >= 0;
}

static bool parse_arguments(int count, char **values, struct arguments *parsed) {
  *parsed = (struct arguments){.channel_fd = -1, .plan_fd = -1, .status_fd = -1};
  for (int i = 0; i < count; i += 2) {
    if (i + 1 == count) return false;
    bool ok = false;
    if (strcmp(values[i], "--channel-fd") == 0) ok = parse_descriptor(values[i + 1], &parsed->channel_fd) && parsed->channel_fd > 2;
    if (strcmp(values[i], "--plan-fd") == 0) ok = parse_descriptor(values[i + 1], &parsed->plan_fd);
    if (strcmp(values[i], "--status-fd") == 0) ok = parse_descriptor(values[i + 1], &parsed->status_fd) && parsed->status_fd > 2;
    if (strcmp(values[i], "--plan-env") == 0) {
      parsed->plan_env = values[i + 1];
      ok = true;
    }
    if (!ok) return false;
  }
  int sources = (parsed->channel_fd >= 0) + (parsed->plan_fd >= 0) + (parsed->plan_env != NULL);
  return sources == 1 && (parsed->channel_fd < 0 || parsed->status_fd < 0);
}

// No call has failed there, whatever errno is left of one.
static int refuse_plan_for_privileges(void) {
  errno = 0;
  return refuse_plan(NO_INDEX, privileged);
}

static int refuse_privileges(void) {
  (void)!write(STDERR_FILENO, privileged, sizeof privileged - 1);
  return EXIT_USAGE;
}

static int run_plan(const struct arguments *arguments, pid_t parent) {
  static struct run run;
  run.inside_fd = run.complaints_fd = -1;
  run.channel_fd = arguments->channel_fd;
  run.status_fd = arguments->status_fd;
  status_use(run.channel_fd >= 0 ? run.channel_fd : run.status_fd);
  if (has_gained_privileges()) return refuse_plan_for_privileges();
  if (!open_standard()) return refuse(STEP_DESCRIPTORS, "open");
  if (!reset_signals()) return refuse(STEP_SIGNALS, "sigaction");
  const char *reason;
  size_t length = 0;
  const uint8_t *bytes = arguments->plan_env != NULL
                             ? intake_from_environment(arguments->plan_env, &length, &reason)
                             : intake_from_descriptor(arguments->channel_fd >= 0 ? arguments->channel_fd : arguments->plan_fd, &length, &reason);
  if (bytes == NULL) return refuse_plan(NO_INDEX, reason);
  uint32_t index;
  errno = 0;
  if (!plan_parse(bytes, length, &run.plan, &index, &reason)) return refuse_plan(index, reason);
  if (run.plan.asks && run.channel_fd < 0) return refuse_plan(NO_INDEX, "a filter asks, and without a channel nobody answers");
  if (run.plan.collects && run.channel_fd < 0) return refuse_plan(NO_INDEX, "without a channel nobody collects");
  if (arguments->plan_fd > 2) (void)close(arguments->plan_fd);
  if (!keep_named_descriptors(&run)) return refuse_plan(NO_INDEX, "descriptors cannot be closed");
  if (!vectors_prepare(&run)) return refuse_plan(NO_INDEX, "no memory for the arguments");
  if (!follow_parent(parent, run.channel_fd >= 0)) return refuse(STEP_SIGNALS, "prctl(PR_SET_PDEATHSIG)");
  return supervise(&run);
}

// As run-sandbox itself: its words, no caller that it ends with, and whatever follows on the command line is the command's.
static int run_compiled(int count, char **values) {
  static const struct speaker speaker = {.failed = words_failed, .ended = words_ended};
  static struct compiled compiled;
  static struct run run;
  run.inside_fd = run.complaints_fd = run.channel_fd = run.status_fd = -1;
  words_use(&compiled);
  status_speak_by(&speaker);
  if (has_gained_privileges()) return refuse_plan_for_privileges();
  if (!open_standard()) return refuse(STEP_DESCRIPTORS, "open");
  if (!reset_signals()) return refuse(STEP_SIGNALS, "sigaction");
  const char *reason;
  uint32_t index;
  if (!compiled_read(&compiled, &reason)) {
    words_say(WORDS_RED, "%s is damaged: %s; compile it again", values[0] == NULL ? "this program" : values[0], reason);
    return EXIT_USAGE;
  }
  if (compiled_objections(&compiled) > 0) return EXIT_USAGE;
  errno = 0;
  if (!plan_parse(compiled.plan, compiled.plan_length, &run.plan, &index, &reason)) return refuse_plan(index, reason);
  if (run.plan.asks || run.plan.has_tool) return refuse_plan(NO_INDEX, "it needs a library beside it");
  if (!keep_named_descriptors(&run)) return refuse_plan(NO_INDEX, "descriptors cannot be closed");
  if (!vectors_prepare(&run)) return refuse_plan(NO_INDEX, "no memory for the arguments");
  if (!compiled_groups(&compiled, &run.plan, &reason) || !compiled_call(&compiled, &run, count, values, &reason)) {
    words_say(WORDS_RED, "%s", reason);
    return EXIT_USAGE;
  }
  words_notices(&compiled);
  return supervise(&run);
}

// An order that crosses the last status line must find somebody: a caller that writes to a closed socket loses what it has not read yet. So this
// end is closed after the caller's, which closes when it has read everything, or when it is gone.
static void outlast_caller(int channel_fd) {
  char dropped[512];
  if (shutdown(channel_fd, SHUT_WR) < 0) return;
  for (;;) {
    ssize_t got = recv(channel_fd, dropped, sizeof dropped, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) return;
  }
}

static int run_on_lane(int lane) {
  const struct arguments arguments = {.channel_fd = lane, .plan_fd = -1, .status_fd = -1};
  // And no more, for with the next plan there come streams, which only the server can give.
  if (orders_come_late(lane)) return orders_pass_over(lane) ? 0 : EXIT_USAGE;
  (void)run_plan(&arguments, getppid());
  bool told = !channel_in_use() || channel_finish();
  return told && orders_left_whole() ? 0 : EXIT_USAGE;
}

static bool parse_count(const char *text, unsigned long most, size_t *to) {
  char *end;
  unsigned long number = strtoul(text, &end, 10);
  if (end == text || *end != '\0' || number > most) return false;
  *to = number;
  return true;
}

static bool parse_served(char **values, struct served *served) {
  *served = (struct served){.orders_fd = SERVER_ORDERS_FD, .first = SERVER_ORDERS_FD + 1};
  if (strcmp(values[0], "--lanes") != 0 || strcmp(values[2], "--streams") != 0) return false;
  return parse_count(values[1], SERVE_LANES_MAX, &served->lanes) && served->lanes > 0 &&
         parse_count(values[3], SERVE_STREAMS_MAX, &served->streams);
}

static int serve_lanes(const struct served *served, pid_t parent) {
  int sockets[1 + SERVE_LANES_MAX + SERVE_STREAMS_MAX];
  size_t count = 1 + served->lanes + served->streams;
  if (has_gained_privileges()) return refuse_privileges();
  for (size_t i = 0; i < count; i++) {
    sockets[i] = served->orders_fd + (int)i;
    if (fcntl(sockets[i], F_GETFD) < 0) return refuse_usage();
  }
  if (!open_standard() || !reset_signals() || !descriptors_close_except(sockets, count)) return EXIT_USAGE;
  return follow_parent(parent, true) ? serve(served, run_on_lane) : EXIT_USAGE;
}

// Both ends of a rendezvous; -1 where the arguments name none.
static int meet(int count, char **values) {
  bool inside = count == 4 && strcmp(values[0], "--rendezvous") == 0 && strcmp(values[2], "--network") == 0;
  bool own = inside && strcmp(values[3], "own") == 0;
  bool outside = count > 4 && strcmp(values[0], "--directory") == 0 && strcmp(values[2], "--tree") == 0;
  if (!outside && !own && !(inside && strcmp(values[3], "room") == 0)) return -1;
  if (has_gained_privileges()) return refuse_privileges();
  if (!open_standard() || !reset_signals()) return EXIT_USAGE;
  return outside ? rendezvous_main(values[1], values[3], values + 4) : container_main(values[1], own);
}

int main(int count, char **values) {
  pid_t parent = getppid();
  (void)umask(0);  // modes in a plan are exact
  if (compiled_is()) return run_compiled(count, values);
  if (count == 2 && strcmp(values[1], "--version") == 0) {
    return printf("{\"launcher\":\"sandboxlib\",\"protocol\":%d}\n", PLAN_PROTOCOL) < 0 || fflush(stdout) != 0 ? EXIT_USAGE : 0;
  }
  if (count >= 2 && strcmp(values[1], "probe") == 0) {
    if (has_gained_privileges()) return refuse_privileges();
    return open_standard() && reset_signals() ? probe_main(count - 2, values + 2) : EXIT_USAGE;
  }
  if (count == 3 && strcmp(values[1], "changes") == 0) {
    if (has_gained_privileges()) return refuse_privileges();
    return open_standard() && reset_signals() ? changes_list(values[2]) : EXIT_USAGE;
  }
  if (count == 3 && strcmp(values[1], "lock") == 0) {
    if (has_gained_privileges()) return refuse_privileges();
    return open_standard() && reset_signals() ? lock_hold(values[2]) : EXIT_USAGE;
  }
  if (count == 2 && strcmp(values[1], "pause") == 0) hold_pause();
  int records;
  if (count == 6 && strcmp(values[1], "unpack") == 0 && strcmp(values[2], "--records-fd") == 0 && strcmp(values[4], "--directory") == 0) {
    if (has_gained_privileges()) return refuse_privileges();
    return parse_descriptor(values[3], &records) && open_standard() && reset_signals() ? unpack_main(records, values[5]) : EXIT_USAGE;
  }
  if (count == 6 && strcmp(values[1], "serve") == 0) {
    struct served served;
    return parse_served(values + 2, &served) ? serve_lanes(&served, parent) : refuse_usage();
  }
  int socket_fd;
  if (count == 4 && strcmp(values[1], "inside") == 0 && strcmp(values[2], "--socket-fd") == 0) {
    return parse_descriptor(values[3], &socket_fd) && open_standard() && reset_signals() ? inside_main(socket_fd) : EXIT_USAGE;
  }
  if (count >= 2 && (strcmp(values[1], "inside") == 0 || strcmp(values[1], "rendezvous") == 0)) {
    int met = meet(count - 2, values + 2);
    return met < 0 ? refuse_usage() : met;
  }
  struct arguments arguments;
  if (count < 2 || strcmp(values[1], "run") != 0 || !parse_arguments(count - 2, values + 2, &arguments)) return refuse_usage();
  int status = run_plan(&arguments, parent);
  if (channel_in_use()) (void)channel_finish();
  if (arguments.channel_fd >= 0) outlast_caller(arguments.channel_fd);
  return status;
}
