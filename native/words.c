// What `run-sandbox` says of a failure or an end, in the very words of src/backends/launcher/failure.ts and src/cli: a compiled plan has nobody else to
// say it. test/cli/compile.test.ts compares the two.
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiled.h"

// Room for a path, a detail and what is said around them.
#define LINE_BYTES 8192
// Under the audit architecture of x86-64, in the numbers of its other ABI.
#define X32_BIT 0x40000000

static const struct compiled *spoken_for;
static bool coloured;

void words_use(const struct compiled *compiled) {
  const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
  // Asked now: the variables are wiped before anything can fail.
  coloured = (no_colour == NULL || no_colour[0] == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0) && isatty(STDERR_FILENO);
  spoken_for = compiled;
}

static void write_all(const char *text, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDERR_FILENO, text, length);
    if (written < 0 && errno == EINTR) continue;
    // Somebody who shares the descriptor made it non-blocking.
    struct pollfd entry = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (written < 0 && errno == EAGAIN && poll(&entry, 1, -1) >= 0) continue;
    if (written <= 0) return;
    text += written;
    length -= (size_t)written;
  }
}

void words_say(int style, const char *format, ...) {
  static char line[LINE_BYTES];
  int used = style != WORDS_PLAIN && coloured ? snprintf(line, sizeof line, "\x1b[%dmrun-sandbox:\x1b[39m ", style)
                                              : snprintf(line, sizeof line, "run-sandbox: ");
  va_list arguments;
  va_start(arguments, format);
  int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, arguments);
  va_end(arguments);
  size_t length = (size_t)used + (more < 0 ? 0 : (size_t)more);
  if (length > sizeof line - 2) length = sizeof line - 2;
  line[length] = '\n';
  write_all(line, length + 1);
}

void words_notices(const struct compiled *compiled) {
  struct notices notices = compiled->notices;
  for (uint32_t i = 0; i < notices.count; i++) {
    int style = (int)read_u32(&notices.at);
    words_say(style, "%s", read_string(&notices.at));
  }
}

static const char *verb_of(enum step step) {
  switch (step) {
    case STEP_PLAN: return "the launcher refused";
    case STEP_NAMESPACES: return "cannot make";
    case STEP_MAP_IDS: return "cannot map ids for";
    case STEP_ROOT: return "cannot make a root of";
    case STEP_MOUNT: return "cannot mount";
    case STEP_READONLY: return "cannot make read-only";
    case STEP_MASK: return "cannot mask";
    case STEP_MKDIR: return "cannot make directory";
    case STEP_SYMLINK: return "cannot make symlink";
    case STEP_FILE: return "cannot make file";
    case STEP_SYSCTL: return "cannot set";
    case STEP_PIVOT: return "cannot enter";
    case STEP_CWD: return "cannot enter directory";
    case STEP_USER: return "cannot become";
    case STEP_SECCOMP: return "cannot install";
    case STEP_LANDLOCK: return "cannot restrict by Landlock";
    case STEP_CAPABILITIES: return "cannot drop";
    case STEP_TERMINAL: return "cannot open";
    case STEP_BINFMT: return "cannot register the format of programs with";
    case STEP_LOST: return "lost";
    case STEP_CAPTURE: return "cannot keep any of the changes, because of";
    default: return NULL;
  }
}

static const char *object_of(const struct failure *failure) {
  if (failure->path[0] != '\0') return failure->path;
  switch (failure->step) {
    case STEP_PLAN: return "the plan";
    case STEP_NAMESPACES: return "the namespaces";
    case STEP_MAP_IDS: return "the user namespace";
    case STEP_PIVOT: return "the new root";
    case STEP_USER: return "the user";
    case STEP_SECCOMP: return "the seccomp filter";
    case STEP_LANDLOCK: return "the command";
    case STEP_CAPABILITIES: return "the capabilities";
    case STEP_TERMINAL: return "a terminal";
    case STEP_BINFMT: return "binfmt_misc";
    case STEP_LOST: return "the sandbox, which something outside of it ended";
    case STEP_CAPTURE: return "the directory that they are in";
    default: return "the sandbox";
  }
}

static bool is_call(const struct failure *failure, const char *name) { return strcmp(failure->syscall, name) == 0; }

static const char *remedy_for(const struct failure *failure) {
  enum step step = failure->step;
  int error = failure->error;
  bool is_link = error == ELOOP || error == ENOTDIR;
  if (step == STEP_CWD && error == ENOENT) return "mount that directory, or give a cwd that exists inside";
  if (step == STEP_NAMESPACES || step == STEP_MAP_IDS) return "see \"run-sandbox doctor\"";
  if (step == STEP_MOUNT && error == ENOENT) return "the source is gone, or the mount point is not in the root";
  if ((step == STEP_MOUNT || step == STEP_ROOT) && is_call(failure, "fsconfig") && error == EINVAL)
    return "overlayfs takes it neither as a layer below nor, where changes are captured, $XDG_STATE_HOME as one above, which must not be an overlay or a network file system itself; with limits.diskBytes (--disk) it may be, or set XDG_STATE_HOME elsewhere; the kernel's log says which";
  if (step == STEP_ROOT && is_call(failure, "fstatat") && error == EPERM)
    return "it is a device, which a root that is only entered would let the command open: remove it, or use a backend that mounts the root";
  if (step == STEP_ROOT && is_call(failure, "fstatat") && error == EXDEV)
    return "another file system is mounted there, and shows the command more than the root: unmount it, or use a backend that mounts the root";
  if (step == STEP_LANDLOCK && failure->path[0] != '\0' && error == ENOENT) return "name a path that is there, inside the sandbox";
  if (step == STEP_LANDLOCK && is_link) return "there is a symlink, or a file, in its path: name what that leads to";
  if (step == STEP_SECCOMP && error == ENOMEM)
    return "with the filters that this process is under already there would be more than 32768 instructions: write a shorter profile, or start it under fewer filters";
  if (step == STEP_CAPTURE && (error == ENOSPC || error == EDQUOT))
    return "make room where changes are kept, set XDG_STATE_HOME to a directory elsewhere, or lower limits.diskBytes";
  if (step == STEP_CAPTURE && error == EFBIG)
    return "it is larger than the file system of the changes, or a bound of the caller on files, allows: set XDG_STATE_HOME to a directory elsewhere";
  if (is_call(failure, "open") && is_link)
    return "there is a symlink, or a file, in its path that was not there when the spec was checked: see who changes it";
  return NULL;
}

static void exec_failed(const struct failure *failure, const char *error) {
  const char *path = failure->path[0] == '\0' ? "the command" : failure->path;
  const char *interpreter = failure->detail[0] == '\0' ? "(unnamed)" : failure->detail;
  bool confined = (spoken_for->flags & COMPILED_NAMES_PATHS) != 0;
  const char *said = "cannot be executed", *remedy = NULL;
  char text[REPORT_DETAIL_BYTES + 64];
  switch (failure->reason) {
    case EXEC_NOT_FOUND: said = "not found in the sandbox"; break;
    case EXEC_NOT_EXECUTABLE:
      said = "permission denied";
      remedy = confined ? "landlock.paths must cover it, and its loader or interpreter, with rox or rwx; and it must be executable"
                        : "make it executable, or run it by its interpreter";
      break;
    case EXEC_DIRECTORY: said = "is a directory"; break;
    case EXEC_MISSING_INTERPRETER:
      (void)snprintf(text, sizeof text, "its interpreter %s is not in the sandbox", interpreter);
      said = text;
      remedy = "mount it, or use a root that has it";
      break;
    case EXEC_WRONG_ARCHITECTURE:
      said = "is a program for another architecture";
      remedy = "name it: architecture in the spec, --architecture on the command line, such as 'arm64'";
      break;
    case EXEC_NOT_A_PROGRAM:
      said = "is not a program";
      remedy = "a script needs a first line such as #!/bin/sh";
      break;
    case EXEC_TEXT_BUSY:
      said = "is open for writing";
      remedy = "close it first";
      break;
    case EXEC_INTERPRETER_LOOP: said = "its interpreter or a symbolic link leads round in a circle"; break;
    case EXEC_TOO_LONG:
      said = "arguments and environment are too long together";
      remedy = "pass data by a file or by stdin";
      break;
    case EXEC_NONE:
    case EXEC_OTHER: break;
  }
  words_say(WORDS_RED, "%s: %s (%s from execve(2))%s%s", path, said, error, remedy == NULL ? "" : "; ", remedy == NULL ? "" : remedy);
}

void words_failed(const struct failure *failure) {
  char buffer[32];
  const char *error = failure->error == 0 ? "failed" : error_name(failure->error, buffer, sizeof buffer);
  if (failure->step == STEP_EXEC && failure->reason != EXEC_NONE) {
    exec_failed(failure, error);
    return;
  }
  char what[64], place[48] = "", source[64] = "";
  const char *verb = verb_of(failure->step), *remedy = remedy_for(failure);
  (void)snprintf(what, sizeof what, "cannot do step %s of", step_name(failure->step));
  if (failure->index != NO_INDEX) (void)snprintf(place, sizeof place, "[%u]", failure->index);
  if (failure->syscall[0] != '\0')
    (void)snprintf(source, sizeof source, " from %s%s", failure->syscall, strchr(failure->syscall, '(') == NULL ? "(2)" : "");
  bool detailed = failure->step != STEP_EXEC && failure->detail[0] != '\0';
  words_say(WORDS_RED, "%s %s: %s%s, step %s%s%s%s%s%s", verb == NULL ? what : verb, object_of(failure), error, source, step_name(failure->step), place,
            detailed ? ": " : "", detailed ? failure->detail : "", remedy == NULL ? "" : "; ", remedy == NULL ? "" : remedy);
}

// Names of system calls are many, so that only a plan whose filter ends the command brings them along.
static const char *find_call(const char *key) {
  struct strings calls = spoken_for->calls;
  for (uint32_t i = 0; i < calls.count; i++) {
    const char *known = read_string(&calls.at);
    if (strncmp(known, key, strlen(key)) == 0) return known + strlen(key);
  }
  return NULL;
}

static void say_denied(const struct denied *call) {
  static const char said[] = "was ended by its seccomp filter for calling";
  char key[48];
  (void)snprintf(key, sizeof key, "%u %d ", call->audit, call->number);
  const char *name = find_call(key);
  bool is_x32 = call->number > 0 && (call->number & X32_BIT) != 0;
  (void)snprintf(key, sizeof key, "%u %s ", call->audit, is_x32 ? "x32" : "any");
  const char *abi = find_call(key);
  if (name != NULL) words_say(WORDS_RED, "%s %s", said, name);
  else if (abi != NULL) words_say(WORDS_RED, "%s %d of %s", said, call->number, abi);
  else words_say(WORDS_RED, "%s %d of AUDIT_ARCH 0x%x", said, call->number, call->audit);
}

void words_ended(const struct ending *ending) {
  if (limit_name(ending->cause) != NULL) {
    words_say(WORDS_RED, "ended by its limit %s", limit_name(ending->cause));
    return;
  }
  if (ending->cause == CAUSE_COMMAND && ending->denied && ending->exited) say_denied(&ending->denied_call);
}
