#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "notify.h"
#include "plan.h"

#define LINE_BYTES 32768  // holds a failure with every character of its path escaped

static int status_descriptor = -1;
static char line[LINE_BYTES];
static size_t used;

static const struct speaker *spoken_by;

void status_use(int descriptor) { status_descriptor = descriptor; }

void status_speak_by(const struct speaker *speaker) { spoken_by = speaker; }

static void add(const char *text) {
  size_t length = strlen(text);
  if (length > sizeof line - 1 - used) length = sizeof line - 1 - used;
  memcpy(line + used, text, length);
  used += length;
  line[used] = '\0';
}

static void add_number(long long number) {
  char text[24];
  (void)snprintf(text, sizeof text, "%lld", number);
  add(text);
}

static void add_milliseconds(int64_t microseconds) {
  char text[32];
  (void)snprintf(text, sizeof text, "%lld.%03lld", (long long)(microseconds / 1000), (long long)(microseconds % 1000));
  add(text);
}

// A byte that is no printable ASCII is escaped by its value: paths need not be UTF-8, and a reader gets them back byte by byte.
static void add_string(const char *text) {
  add("\"");
  for (; *text != '\0'; text++) {
    unsigned char byte = (unsigned char)*text;
    char escaped[8] = {(char)byte, '\0'};
    if (byte == '"' || byte == '\\') (void)snprintf(escaped, sizeof escaped, "\\%c", byte);
    else if (byte < 0x20 || byte >= 0x7f) (void)snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    add(escaped);
  }
  add("\"");
}

static void member(const char *name, const char *value) {
  add(",\"");
  add(name);
  add("\":");
  add_string(value);
}

// The caller may be gone, or not read: nothing of the sandbox depends on a status line.
static void write_line(int descriptor) {
  size_t at = 0;
  while (at < used) {
    ssize_t written = send(descriptor, line + at, used - at, MSG_NOSIGNAL);
    if (written < 0 && errno == ENOTSOCK) written = write(descriptor, line + at, used - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;
    at += (size_t)written;
  }
}

static void begin(const char *event) {
  used = 0;
  add("{\"event\":");
  add_string(event);
}

static void finish(void) {
  add("}\n");
  if (channel_in_use()) channel_say(line, used);
  else write_line(status_descriptor);
}

void status_started(pid_t init, const int *held) {
  if (status_descriptor < 0) return;
  begin("started");
  add(",\"pid\":");
  add_number(init);
  add(",\"supervisor\":");
  add_number(getpid());
  for (int i = 0; held != NULL && i < PLAN_POD_NAMESPACES; i++) {
    add(i == 0 ? ",\"namespaces\":[" : ",");
    add_number(held[i]);
  }
  if (held != NULL) add("]");
  finish();
}

static const char *answer_name(int answer) {
  switch (answer) {
    case NOTIFY_LOG: return "log";
    case NOTIFY_ERRNO: return "errno";
    case NOTIFY_ASK: return "ask";
    default: return "kill";
  }
}

static void add_call(const struct denied *call) {
  add("\"number\":");
  add_number(call->number);
  add(",\"audit\":");
  add_number(call->audit);
}

void status_notified(const struct notified *notified) {
  if (status_descriptor < 0) return;
  begin("syscall");
  add(",\"slot\":");
  add_number(notified->slot);
  member("answer", answer_name(notified->answer));
  if (notified->thread != 0) {
    add(",\"pid\":");
    add_number(notified->thread);
  }
  add(",");
  add_call(&notified->call);
  add(",\"args\":[");
  for (int i = 0; i < 6; i++) {
    char text[24];
    // Text, because a number of JSON is a double to most readers.
    (void)snprintf(text, sizeof text, "%s\"0x%llx\"", i == 0 ? "" : ",", (unsigned long long)notified->arguments[i]);
    add(text);
  }
  add("]");
  finish();
}

static void tell_person(const struct failure *failure) {
  char buffer[32];
  used = 0;
  add("run-sandbox launcher: ");
  add(step_name(failure->step));
  if (failure->index != NO_INDEX) {
    add("[");
    add_number(failure->index);
    add("]");
  }
  if (failure->path[0] != '\0') {
    add(" ");
    add_string(failure->path);
  }
  if (failure->error != 0) {
    add(": ");
    add(error_name(failure->error, buffer, sizeof buffer));
  }
  if (failure->syscall[0] != '\0') {
    add(" from ");
    add(failure->syscall);
  }
  if (failure->reason != EXEC_NONE) {
    add(" (");
    add(exec_reason_name(failure->reason));
    add(")");
  }
  if (failure->detail[0] != '\0') {
    add(": ");
    add_string(failure->detail);
  }
  add("\n");
  write_line(STDERR_FILENO);
}

void status_failed(const struct failure *failure) {
  if (spoken_by != NULL) {
    spoken_by->failed(failure);
    return;
  }
  if (status_descriptor < 0) {
    tell_person(failure);
    return;
  }
  char buffer[32];
  begin("failed");
  member("step", step_name(failure->step));
  if (failure->index != NO_INDEX) {
    add(",\"index\":");
    add_number(failure->index);
  }
  if (failure->syscall[0] != '\0') member("syscall", failure->syscall);
  if (failure->error != 0) member("errno", error_name(failure->error, buffer, sizeof buffer));
  if (failure->path[0] != '\0') member("path", failure->path);
  if (failure->reason != EXEC_NONE) member("reason", exec_reason_name(failure->reason));
  if (failure->detail[0] != '\0') member(failure->step == STEP_EXEC ? "interpreter" : "detail", failure->detail);
  finish();
}

const char *limit_name(enum end_cause cause) {
  switch (cause) {
    case CAUSE_WALL: return "wallMs";
    case CAUSE_OUTPUT: return "outputBytes";
    case CAUSE_CPU: return "cpuMs";
    case CAUSE_MEMORY: return "memoryBytes";
    case CAUSE_PIDS: return "pids";
    case CAUSE_PROCESS_CPU: return "processCpuMs";
    case CAUSE_FILE: return "fileBytes";
    case CAUSE_COMMAND:
    case CAUSE_TERMINATED:
    case CAUSE_SIGNALLED: break;
  }
  return NULL;
}

static const char *cause_name(enum end_cause cause) {
  if (limit_name(cause) != NULL) return "limit";
  return cause == CAUSE_TERMINATED ? "terminated" : cause == CAUSE_SIGNALLED ? "signalled" : "command";
}

static void count_member(const char *name, int64_t count) {
  if (count < 0) return;
  add(",\"");
  add(name);
  add("\":");
  add_number(count);
}

void status_ended(const struct ending *ending) {
  if (spoken_by != NULL) spoken_by->ended(ending);
  if (status_descriptor < 0) return;
  char buffer[32];
  begin("ended");
  member("cause", cause_name(ending->cause));
  if (limit_name(ending->cause) != NULL) member("limit", limit_name(ending->cause));
  if (ending->cause == CAUSE_SIGNALLED) member("by", signal_name(ending->by, buffer, sizeof buffer));
  if (ending->exited && WIFEXITED(ending->wait_status)) {
    add(",\"code\":");
    add_number(WEXITSTATUS(ending->wait_status));
  }
  if (ending->exited && WIFSIGNALED(ending->wait_status)) {
    member("signal", signal_name(WTERMSIG(ending->wait_status), buffer, sizeof buffer));
  }
  if (ending->denied && ending->exited) {
    add(",\"denied\":{");
    add_call(&ending->denied_call);
    add("}");
  }
  add(",\"stdoutTruncated\":");
  add(ending->output_truncated ? "true" : "false");
  add(",\"stderrTruncated\":");
  add(ending->error_truncated ? "true" : "false");
  add(",\"wallMs\":");
  add_milliseconds(ending->wall_us);
  add(",\"cpuUserMs\":");
  add_milliseconds(ending->user_us);
  add(",\"cpuSystemMs\":");
  add_milliseconds(ending->system_us);
  if (ending->output_pending || ending->error_pending) {
    add(",\"outputPending\":[");
    if (ending->output_pending) add_number(STDOUT_FILENO);
    if (ending->output_pending && ending->error_pending) add(",");
    if (ending->error_pending) add_number(STDERR_FILENO);
    add("]");
  }
  count_member("outputBytes", ending->output_bytes);
  count_member("memoryBytes", ending->memory_peak);
  count_member("pids", ending->pids_peak);
  if (ending->counted) {
    count_member("maxResidentBytes", ending->counts.resident_bytes);
    count_member("readBytes", ending->counts.read_bytes);
    count_member("writtenBytes", ending->counts.written_bytes);
    count_member("voluntaryContextSwitches", ending->counts.voluntary_switches);
    count_member("involuntaryContextSwitches", ending->counts.involuntary_switches);
  }
  finish();
}

void status_delivered(int stream) {
  if (status_descriptor < 0) return;
  begin("delivered");
  count_member("stream", stream);
  finish();
}

void status_left_out(const char *what, int error, const char *path) {
  char buffer[32];
  begin("left-out");
  member("what", what);
  member("errno", error_name(error, buffer, sizeof buffer));
  member("path", path);
  finish();
}

void status_unpacked(const struct unpack_counts *counts) {
  begin("unpacked");
  count_member("entries", (int64_t)counts->entries);
  count_member("bytes", (int64_t)counts->bytes);
  count_member("owners", (int64_t)counts->owners);
  count_member("devices", (int64_t)counts->devices);
  count_member("xattrs", (int64_t)counts->xattrs);
  count_member("modes", (int64_t)counts->modes);
  finish();
}

void status_unpack_failed(const struct unpack_failure *failure) {
  char buffer[32];
  begin("failed");
  count_member("record", (int64_t)failure->record);
  if (failure->syscall[0] != '\0') member("syscall", failure->syscall);
  if (failure->error != 0) member("errno", error_name(failure->error, buffer, sizeof buffer));
  if (failure->path[0] != '\0') member("path", failure->path);
  if (failure->detail[0] != '\0') member("detail", failure->detail);
  finish();
}
