// One look goes through all processes, as the kernel lists them in the order of their numbers (proc(5)): none that is there from its beginning to its end
// is left out, whoever its parent is. It is no snapshot. What keeps it from saying too much:
//
// Processor time is counted in two ways, and each is a lower bound. Own times of different processes never overlap: the sum of what each was last seen
// with, whether it is still there or not. And what a process has waited for is in its cutime: there the sum of an earlier look counts, over those that
// are still there after the next one began to list them, for what was counted twice, by itself and by its parent, was of one that is gone.
//
// Threads: of each process the lesser number of two looks in succession.
//
// Memory: resident pages are cheap to ask for, but those of a file count, and those that processes share count for each. Only where they come to the
// bound is each process asked for its share of every page (smaps_rollup, which walks its tables), twice, one after the other, and the lesser counts.
#include "sampling.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define PROCESSES_MAX 16384  // of those beyond, nothing counts
#define PROCESSES_PER_STEP 64
#define ENTRIES_BYTES 4096
#define STAT_BYTES 1024
#define SCHEDSTAT_BYTES 64
#define ROLLUP_BYTES 4096
#define SMAPS_BYTES 8192
#define SMAPS_PER_PROCESS (1024 * 1024)  // of its text: who has more mappings than that has the rest unseen
#define MICROSECONDS_PER_SECOND 1000000
#define PAUSE_MIN_NS INT64_C(2000000)
#define PAUSE_MAX_NS INT64_C(50000000)
#define PROCESSOR_PAUSE_MAX_NS INT64_C(10000000)  // what nobody waits for counts only as far as it was seen
#define MEMORY_PAUSE_MAX_NS INT64_C(20000000)
#define MEMORY_BYTES_PER_SECOND INT64_C(8000000000)  // as fast as a processor can take it
#define PROCESS_NS INT64_C(100000)                    // as fast as one can be made
#define LOOK_SHARE 4     // one part of work, so many of pause
#define WEIGHING_SHARE 8

struct process {
  pid_t pid;
  uint32_t threads;
  uint64_t start;
  int64_t own_us, all_us;  // without and with the children it has waited for
  int64_t bytes;
};

struct table {
  size_t count;
  struct process processes[PROCESSES_MAX];
};

enum state { STATE_LIST, STATE_WEIGH };

static struct {
  int proc;
  dev_t shared_memory;  // the file system of what is shared without a name
  int64_t processor_us, memory_bytes;
  uint64_t processes;
  int64_t next_ns;  // 0: not at work
  enum state state;
  // The look that is going on.
  int64_t spent_ns;
  size_t compared;  // of the former look
  bool overflowed;
  int64_t own_us, all_us, confirmed_us, resident_bytes;
  uint64_t threads, confirmed_threads;
  long entries_length;
  size_t entries_at;  // of the list; its length is -1 between two looks
  struct table *now, *before;
  int64_t departed_us;
  // Weighing, of the processes in `before`.
  size_t weighed;
  bool again;
  int64_t weighed_bytes, heaviest_bytes, weigh_after_ns, weighing_ns;
  long page_bytes;
} self;

static struct table tables[2];
static char entries[ENTRIES_BYTES];

static int64_t now_ns(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) < 0) return 0;
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

int sampling_open_proc(void) {
  int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) return -1;
  struct statfs status;
  char self_link[16] = "";
  bool is_own = fstatfs(proc, &status) == 0 && status.f_type == SBX_PROC_MAGIC && getpid() == 1;
  if (is_own) is_own = readlinkat(proc, "self", self_link, sizeof self_link - 1) > 0 && strcmp(self_link, "1") == 0;
  if (is_own) return proc;
  (void)close(proc);
  errno = ENOTSUP;
  return -1;
}

// Memory without a name, of mmap(2) and memfd_create(2), lies on a file system of the kernel's own. That of a tmpfs of the host's is none of the sandbox's.
static bool find_shared_memory(void) {
  int file = sys_memfd_create("sampling");
  if (file < 0) return false;
  struct stat status;
  bool found = fstat(file, &status) == 0;
  (void)close(file);
  self.shared_memory = status.st_dev;
  return found;
}

bool sampling_start(const struct plan *plan, int proc) {
  self.proc = proc;
  self.processor_us = (int64_t)plan->sampled_cpu_milliseconds * 1000;
  self.memory_bytes = (int64_t)plan->sampled_memory_bytes;
  self.processes = plan->sampled_processes;
  self.now = &tables[0];
  self.before = &tables[1];
  self.page_bytes = sysconf(_SC_PAGESIZE);
  self.entries_length = -1;
  if (self.memory_bytes > 0 && !find_shared_memory()) return false;
  self.next_ns = now_ns();
  return true;
}

void sampling_stop(void) { self.next_ns = 0; }

int64_t sampling_next_ns(void) { return self.next_ns; }

// -1 with errno ENOENT where the process is gone.
static int open_of(pid_t pid, const char *file) {
  char path[40];
  (void)snprintf(path, sizeof path, "%d/%s", (int)pid, file);
  int opened = openat(self.proc, path, O_RDONLY | O_CLOEXEC);
  if (opened < 0 && errno == ESRCH) errno = ENOENT;
  return opened;
}

static ssize_t read_of(pid_t pid, const char *file, char *text, size_t size) {
  int opened = open_of(pid, file);
  if (opened < 0) return -1;
  ssize_t got;
  do got = read(opened, text, size - 1);
  while (got < 0 && errno == EINTR);
  int error = errno == ESRCH ? ENOENT : errno;
  (void)close(opened);
  text[got > 0 ? got : 0] = '\0';
  errno = error;
  return got;
}

// The fields of a stat after the name, which may hold anything: the third is the first here (proc_pid_stat(5)).
enum { FIELD_UTIME = 14, FIELD_STIME, FIELD_CUTIME, FIELD_CSTIME, FIELD_THREADS = 20, FIELD_START = 22, FIELD_RSS = 24, FIELDS = 25 };

static bool parse_stat(const char *text, long long fields[FIELDS]) {
  const char *at = strrchr(text, ')');
  // " S", the state, which is no number.
  if (at == NULL || strlen(at) < 4) return false;
  at += 3;
  for (int field = 4; field < FIELDS; field++) {
    char *end;
    fields[field] = strtoll(at, &end, 10);
    if (end == at) return false;
    at = end;
  }
  return true;
}

static int64_t microseconds(long long ticks) {
  long per_second = sysconf(_SC_CLK_TCK);
  return (int64_t)ticks * (MICROSECONDS_PER_SECOND / per_second);
}

// Stat counts in hundredths of a second. Where the kernel has it, this is the time of the first thread in nanoseconds: less than that of all, or as much.
static int64_t time_of_first_thread(pid_t pid) {
  char text[SCHEDSTAT_BYTES];
  if (read_of(pid, "schedstat", text, sizeof text) <= 0) return 0;
  return (int64_t)(strtoll(text, NULL, 10) / 1000);
}

// False with errno ENOENT where it is gone.
static bool look_at(pid_t pid, struct process *process) {
  char text[STAT_BYTES];
  long long fields[FIELDS];
  ssize_t got = read_of(pid, "stat", text, sizeof text);
  if (got < 0) return false;
  if (got == 0 || !parse_stat(text, fields)) {
    errno = got == 0 ? ENOENT : EBADMSG;
    return false;
  }
  // Of init only what it waited for is the command's.
  bool is_init = pid == 1;
  int64_t own = is_init ? 0 : microseconds(fields[FIELD_UTIME] + fields[FIELD_STIME]);
  if (!is_init && self.processor_us > 0) own = greater(own, time_of_first_thread(pid));
  *process = (struct process){
      .pid = pid,
      .threads = is_init ? 0 : (uint32_t)fields[FIELD_THREADS],
      .start = (uint64_t)fields[FIELD_START],
      .own_us = own,
      .all_us = own + microseconds(fields[FIELD_CUTIME] + fields[FIELD_CSTIME]),
      .bytes = is_init ? 0 : (int64_t)fields[FIELD_RSS] * self.page_bytes,
  };
  return true;
}

static void depart(const struct process *process) {
  // Where not all fit in, one that is not listed may still be there, and be counted again.
  if (!self.overflowed) self.departed_us += process->own_us;
}

// Both looks are in the order of the numbers.
static void compare(const struct process *process) {
  while (self.compared < self.before->count && self.before->processes[self.compared].pid < process->pid)
    depart(&self.before->processes[self.compared++]);
  if (self.compared == self.before->count || self.before->processes[self.compared].pid != process->pid) return;
  const struct process *former = &self.before->processes[self.compared++];
  if (former->start != process->start) {
    depart(former);
    return;
  }
  self.confirmed_us += former->all_us;
  self.confirmed_threads += former->threads < process->threads ? former->threads : process->threads;
}

static void count(const struct process *process) {
  self.own_us += process->own_us;
  self.all_us += process->all_us;
  self.threads += process->threads;
  self.resident_bytes += process->bytes;
  compare(process);
  self.now->processes[self.now->count++] = *process;
}

// 0: it is none of a process.
static pid_t number_of(const char *name) {
  char *end;
  if (name[0] < '1' || name[0] > '9') return 0;
  long number = strtol(name, &end, 10);
  return *end == '\0' && number <= INT_MAX ? (pid_t)number : 0;
}

// 0 at the end of the list, -1 with errno.
static int next_number(pid_t *pid) {
  for (;;) {
    if (self.entries_at >= (size_t)self.entries_length) {
      self.entries_length = sys_getdents(self.proc, entries, sizeof entries);
      self.entries_at = 0;
      if (self.entries_length <= 0) return (int)self.entries_length;
    }
    struct sbx_dirent head;
    memcpy(&head, entries + self.entries_at, sizeof head);
    *pid = number_of(entries + self.entries_at + sizeof head);
    self.entries_at += head.length;
    if (*pid != 0) return 1;
  }
}

static const char *begin_look(void) {
  self.spent_ns = 0;
  self.compared = 0;
  self.overflowed = false;
  self.own_us = self.all_us = self.confirmed_us = self.resident_bytes = 0;
  self.threads = self.confirmed_threads = 0;
  self.entries_length = 0;
  self.entries_at = 0;
  self.now->count = 0;
  return lseek(self.proc, 0, SEEK_SET) < 0 ? "lseek" : NULL;
}

static int64_t processor_time(void) { return greater(self.confirmed_us, self.departed_us + self.own_us); }

// No bound can be met before that, as fast as this machine is; and a busy sandbox costs only so much more.
static int64_t pause_ns(void) {
  int64_t pause = PAUSE_MAX_NS;
  if (self.processor_us > 0) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t left_us = self.processor_us - greater(self.all_us, processor_time());
    pause = lesser(lesser(pause, PROCESSOR_PAUSE_MAX_NS), left_us * 1000 / (processors < 1 ? 1 : processors));
  }
  if (self.memory_bytes > 0) {
    int64_t left = self.memory_bytes - (self.resident_bytes < self.memory_bytes ? self.resident_bytes : self.weighed_bytes);
    pause = lesser(pause, lesser(MEMORY_PAUSE_MAX_NS, left / (MEMORY_BYTES_PER_SECOND / 1000000000)));
  }
  if (self.processes > 0) {
    int64_t left = (int64_t)self.processes - (int64_t)self.threads;
    pause = lesser(pause, left > PAUSE_MAX_NS / PROCESS_NS ? PAUSE_MAX_NS : left * PROCESS_NS);
  }
  return greater(greater(pause, PAUSE_MIN_NS), self.spent_ns * LOOK_SHARE);
}

static void begin_to_weigh(void) {
  self.state = STATE_WEIGH;
  self.weighed = 0;
  self.again = false;
  self.weighed_bytes = 0;
  self.heaviest_bytes = 0;
  self.weighing_ns = 0;
}

static enum end_cause end_look(int64_t now) {
  while (self.compared < self.before->count) depart(&self.before->processes[self.compared++]);
  struct table *swap = self.before;
  self.before = self.now;
  self.now = swap;
  self.entries_length = -1;
  self.next_ns = now + pause_ns();
  if (self.processor_us > 0 && processor_time() >= self.processor_us) return CAUSE_CPU;
  if (self.processes > 0 && self.confirmed_threads > self.processes) return CAUSE_PIDS;
  bool heavy = self.memory_bytes > 0 && self.resident_bytes >= self.memory_bytes;
  if (heavy && now >= self.weigh_after_ns) {
    begin_to_weigh();
    self.next_ns = now;
  }
  return CAUSE_COMMAND;
}

static const char *list_step(int64_t now, enum end_cause *met) {
  const char *failed = self.entries_length < 0 ? begin_look() : NULL;
  if (failed != NULL) return failed;
  for (size_t i = 0; i < PROCESSES_PER_STEP; i++) {
    pid_t pid;
    int got = next_number(&pid);
    if (got < 0) return "getdents64";
    if (got == 0) {
      int64_t end = now_ns();
      self.spent_ns += end - now;
      *met = end_look(end);
      return NULL;
    }
    struct process process;
    if (self.now->count == PROCESSES_MAX) self.overflowed = true;
    else if (look_at(pid, &process)) count(&process);
    else if (errno != ENOENT) return "read(stat)";
  }
  self.spent_ns += now_ns() - now;
  return NULL;
}

// "Pss_Anon:   12 kB" on a line of its own, in bytes; 0 where there is none.
static int64_t bytes_of(const char *text, const char *name) {
  const char *line = strstr(text, name);
  return line == NULL ? 0 : (int64_t)strtoll(line + strlen(name), NULL, 10) * 1024;
}

struct mappings {
  bool counts;  // the one whose lines come now
  int64_t bytes;
};

// "7f00-7f01 rw-s 00000000 00:01 1034   /dev/zero (deleted)", or "Pss:   12 kB": lines of mappings begin in lower case.
static void read_mapping_line(char *line, struct mappings *found) {
  unsigned major_number, minor_number;
  if (line[0] >= 'A' && line[0] <= 'Z') {
    if (found->counts && strncmp(line, "Pss:", 4) == 0) found->bytes += (int64_t)strtoll(line + 4, NULL, 10) * 1024;
  } else if (sscanf(line, "%*s %*s %*s %x:%x", &major_number, &minor_number) == 2) {
    found->counts = makedev(major_number, minor_number) == self.shared_memory;
  }
}

// Its share of memory without a name that processes may share; 0 where that cannot be asked for.
static int64_t shared_bytes(pid_t pid) {
  static char text[SMAPS_BYTES];
  struct mappings found = {0};
  int file = open_of(pid, "smaps");
  if (file < 0) return 0;
  size_t kept = 0;
  bool skips = false;  // the rest of a line that did not fit
  for (size_t total = 0; total < SMAPS_PER_PROCESS;) {
    ssize_t got = read(file, text + kept, sizeof text - 1 - kept);
    if (got <= 0) break;
    total += (size_t)got;
    kept += (size_t)got;
    text[kept] = '\0';
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      *end = '\0';
      if (!skips) read_mapping_line(line, &found);
      skips = false;
    }
    kept -= (size_t)(line - text);
    memmove(text, line, kept);
    if (kept < sizeof text - 1) continue;
    if (!skips) read_mapping_line(text, &found);
    skips = true;
    kept = 0;
  }
  (void)close(file);
  return found.bytes;
}

// Where a process may not be asked for its shares (ptrace(2)), its own pages still are those of nobody but itself and who shares them with it: no lower
// bound for all together, but one by itself.
static void weigh_alone(pid_t pid) {
  char text[STAT_BYTES];
  long long size, resident, shared;
  if (read_of(pid, "statm", text, sizeof text) <= 0) return;
  if (sscanf(text, "%lld %lld %lld", &size, &resident, &shared) != 3) return;
  self.heaviest_bytes = greater(self.heaviest_bytes, (int64_t)(resident - shared) * self.page_bytes);
}

// Its share of what it has in memory and is of no file; 0 where it is gone.
static int64_t weigh(pid_t pid) {
  char text[ROLLUP_BYTES];
  ssize_t got = read_of(pid, "smaps_rollup", text, sizeof text);
  if (got < 0 && errno != ENOENT) weigh_alone(pid);
  if (got <= 0) return 0;
  // What it has given up, and nobody has taken yet, would be taken before there is any want (MADV_FREE, madvise(2)).
  int64_t own = bytes_of(text, "\nPss_Anon:") + bytes_of(text, "\nSwapPss:") - bytes_of(text, "\nLazyFree:");
  int64_t shared = bytes_of(text, "\nPss_Shmem:");
  return greater(own, 0) + (shared > 0 ? shared_bytes(pid) : 0);
}

static enum end_cause end_weighing(int64_t now) {
  self.state = STATE_LIST;
  self.weighed_bytes = 0;
  for (size_t i = 0; i < self.before->count; i++) self.weighed_bytes += self.before->processes[i].bytes;
  self.weighed_bytes = greater(self.weighed_bytes, self.heaviest_bytes);
  self.weigh_after_ns = now + self.weighing_ns * WEIGHING_SHARE;
  self.spent_ns = 0;
  self.next_ns = now + pause_ns();
  return self.weighed_bytes >= self.memory_bytes ? CAUSE_MEMORY : CAUSE_COMMAND;
}

// One process a step: of one that has much it takes a while.
static void weigh_step(int64_t now, enum end_cause *met) {
  if (self.weighed < self.before->count) {
    struct process *process = &self.before->processes[self.weighed++];
    int64_t bytes = process->pid == 1 ? 0 : weigh(process->pid);
    process->bytes = self.again ? lesser(process->bytes, bytes) : bytes;
  }
  int64_t end = now_ns();
  self.weighing_ns += end - now;
  if (self.weighed < self.before->count) return;
  if (self.again) {
    *met = end_weighing(end);
  } else {
    self.again = true;
    self.weighed = 0;
  }
}

const char *sampling_step(enum end_cause *met) {
  *met = CAUSE_COMMAND;
  int64_t now = now_ns();
  if (self.state == STATE_LIST) return list_step(now, met);
  weigh_step(now, met);
  return NULL;
}
