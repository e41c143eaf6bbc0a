// The plan that this program carries: found in its own file, held against this host, and completed by the words and variables of this call.
#include "compiled.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

extern char **environ;

// Whoever appends a plan finds this by its mark and writes into it where that begins (src/backends/launcher/compiled.ts). So a program that carries
// none asks no file whether it does, and one that is cut short still knows that it should have one. volatile: no compiler may believe the zeros.
static const volatile struct {
  char mark[16];
  uint8_t offset[8];
  uint8_t length[8];
} place = {.mark = "SBX-COMPILED-AT:"};

static uint64_t number_in(const volatile uint8_t bytes[8]) {
  uint64_t number = 0;
  for (int i = 7; i >= 0; i--) number = number << 8 | bytes[i];
  return number;
}

bool compiled_is(void) { return number_in(place.offset) != 0; }

static void *allocate(size_t length) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static bool read_at(int file, uint8_t *to, size_t length, uint64_t offset) {
  while (length > 0) {
    ssize_t got = pread(file, to, length, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    length -= (size_t)got;
    offset += (uint64_t)got;
  }
  return true;
}

bool compiled_read(struct compiled *compiled, const char **reason) {
  uint64_t offset = number_in(place.offset), length = number_in(place.length);
  *reason = "its own file cannot be read: /proc must be mounted, and the file readable";
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  struct stat status;
  bool whole = fstat(file, &status) == 0 && length <= COMPILED_BYTES_MAX && offset <= INT64_MAX - length &&
               status.st_size == (off_t)(offset + length);
  uint8_t *bytes = whole ? allocate(length) : NULL;
  bool got = bytes != NULL && read_at(file, bytes, length, offset);
  (void)close(file);
  if (!whole) *reason = "it is longer or shorter than it was written";
  return got && compiled_parse(bytes, length, compiled, reason);
}

static bool kernel_has(const char *file_system) {
  char text[4096], line[64];
  int file = open("/proc/filesystems", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  size_t used = 0;
  ssize_t got = 1;
  while (got > 0 && used < sizeof text - 1) {
    got = read(file, text + used, sizeof text - 1 - used);
    if (got > 0) used += (size_t)got;
  }
  (void)close(file);
  text[used] = '\0';
  (void)snprintf(line, sizeof line, "\t%s\n", file_system);
  return strstr(text, line) != NULL;
}

static bool is_series(const char *release, const char *series) {
  size_t length = strlen(series);
  return strncmp(release, series, length) == 0 && (release[length] < '0' || release[length] > '9');
}

// As the host view takes them at first: a file that everybody may read, a directory that everybody may enter too. One that is gone is for the mount to tell.
static bool is_open(const char *path) {
  struct stat status;
  if (stat(path, &status) < 0) return true;
  mode_t needed = S_ISDIR(status.st_mode) ? 05 : 04;
  return (status.st_mode & needed) == needed;
}

// What a plan takes for granted, and no step of it would fail for. The launch itself finds the rest, by name.
unsigned compiled_objections(const struct compiled *compiled) {
  static const char again[] = "compile it again here, with run-sandbox compile";
  unsigned count = 0;
  uid_t uid = getuid();
  gid_t gid = getgid();
  if (uid != compiled->uid || geteuid() != uid) {
    words_say(WORDS_RED, "this plan was compiled for uid %u, and this is uid %u; compile it as that user", compiled->uid, (unsigned)uid);
    count++;
  }
  if (gid != compiled->gid || getegid() != gid) {
    words_say(WORDS_RED, "this plan was compiled for gid %u, and this is gid %u; compile it as that group", compiled->gid, (unsigned)gid);
    count++;
  }
  struct utsname name;
  if (uname(&name) < 0 || !is_series(name.release, compiled->kernel)) {
    words_say(WORDS_RED, "this plan was compiled for Linux %s, and this is %s; %s", compiled->kernel, name.release, again);
    count++;
  }
  // A table of formats that came later would not be hidden from the command.
  if ((compiled->flags & COMPILED_KNOWS_FORMATS) == 0 && kernel_has("binfmt_misc")) {
    words_say(WORDS_RED, "this plan was compiled for a kernel without binfmt_misc, and this one has it; %s", again);
    count++;
  }
  struct strings open = compiled->open;
  for (uint32_t i = 0; i < open.count; i++) {
    const char *path = read_string(&open.at);
    if (is_open(path)) continue;
    words_say(WORDS_RED, "%s was for everybody to read when this plan was compiled, and is not any more; %s", path, again);
    count++;
  }
  return count;
}

static bool has_string(struct strings strings, const char *text, size_t length) {
  for (uint32_t i = 0; i < strings.count; i++) {
    const char *string = read_string(&strings.at);
    if (strlen(string) == length && memcmp(string, text, length) == 0) return true;
  }
  return false;
}

static bool is_inherited(const struct compiled *compiled, const char *name, size_t length) {
  if (has_string(compiled->set, name, length)) return false;
  struct strings inherited = compiled->inherited;
  for (uint32_t i = 0; i < inherited.count; i++) {
    const char *pattern = read_string(&inherited.at);
    size_t size = strlen(pattern);
    if (size == length && memcmp(pattern, name, length) == 0) return true;
    if (size == 0 || pattern[size - 1] != '*' || size - 1 > length) continue;
    if (memcmp(pattern, name, size - 1) == 0 && !has_string(compiled->own, name, length)) return true;
  }
  return false;
}

static size_t count_of(char **strings) {
  size_t count = 0;
  while (strings[count] != NULL) count++;
  return count;
}

static char **find_variable(char **environment, const char *name, size_t length) {
  for (; *environment != NULL; environment++) {
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') break;
  }
  return environment;
}

static char *copy_of(const char *text) {
  size_t length = strlen(text) + 1;
  char *copy = allocate(length);
  if (copy != NULL) memcpy(copy, text, length);
  return copy;
}

// Init and the command are copies of this process: of the caller's variables they hold what the command gets, and no more.
static bool take_variables(const struct compiled *compiled, struct run *run) {
  size_t before = count_of(run->environment);
  char **environment = allocate((before + count_of(environ) + 1) * sizeof *environment);
  if (environment == NULL) return false;
  memcpy(environment, run->environment, before * sizeof *environment);
  for (char **entry = environ; *entry != NULL; entry++) {
    const char *equals = strchr(*entry, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - *entry);
    if (length > 0 && is_inherited(compiled, *entry, length)) {
      char *copy = copy_of(*entry);
      if (copy == NULL) return false;
      *find_variable(environment, *entry, length) = copy;
    }
  }
  for (char **entry = environ; *entry != NULL; entry++) explicit_bzero(*entry, strlen(*entry));
  run->environment = environment;
  return true;
}

static bool take_words(const struct compiled *compiled, struct run *run, int count, char **values) {
  size_t before = (compiled->flags & COMPILED_TAKES_COMMAND) != 0 ? 0 : count_of(run->arguments);
  size_t more = (size_t)(count - 1);
  char **arguments = allocate((before + more + 1) * sizeof *arguments);
  if (arguments == NULL) return false;
  memcpy(arguments, run->arguments, before * sizeof *arguments);
  memcpy(arguments + before, values + 1, more * sizeof *arguments);
  run->arguments = arguments;
  return true;
}

// The workspace is at its own path inside, and whoever is in it, or below, wants to work there: make SHELL=... and cd mean nothing else.
static void take_directory(const struct compiled *compiled, struct run *run) {
  static char where[PATH_MAX];
  size_t length = strlen(compiled->workspace);
  if (length == 0 || getcwd(where, sizeof where) == NULL || strncmp(where, compiled->workspace, length) != 0) return;
  if (where[length] == '\0' || where[length] == '/') run->directory = where;
}

bool compiled_call(const struct compiled *compiled, struct run *run, int count, char **values, const char **reason) {
  run->compiled = compiled;
  *reason = "no command given, and none was compiled in: name it after this program";
  if ((compiled->flags & COMPILED_TAKES_COMMAND) != 0 && (count < 2 || values[1][0] == '\0')) return false;
  *reason = "no memory for the arguments";
  if (!take_words(compiled, run, count, values) || !take_variables(compiled, run)) return false;
  take_directory(compiled, run);
  return true;
}

// RLIMIT_CPU sends SIGXCPU at the soft limit and SIGKILL at the hard one; anybody may send SIGKILL, so the clock must agree.
static bool met_processor_time(const struct compiled *compiled, const struct ending *ending, int signal) {
  if (compiled->process_milliseconds == 0) return false;
  int64_t bound_us = (int64_t)((compiled->process_milliseconds + 999) / 1000) * 1000000;
  return signal == SIGXCPU || (signal == SIGKILL && ending->user_us + ending->system_us >= bound_us);
}

void compiled_judge(const struct compiled *compiled, struct ending *ending) {
  if (ending->cause != CAUSE_COMMAND || ending->denied || !ending->exited || !WIFSIGNALED(ending->wait_status)) return;
  int signal = WTERMSIG(ending->wait_status);
  if (met_processor_time(compiled, ending, signal)) ending->cause = CAUSE_PROCESS_CPU;
  else if ((compiled->flags & COMPILED_BOUNDS_FILES) != 0 && signal == SIGXFSZ) ending->cause = CAUSE_FILE;
}
