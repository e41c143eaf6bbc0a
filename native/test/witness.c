// The command of a sandbox that a test made harder to build: looks at what it was given and says what is missing.
//   witness UID HIDDEN-PATH [STATUS]
// UID is the uid it must have; HIDDEN-PATH exists on the host and must not exist here. One line for each broken promise, then "witness";
// the exit status is their number, or STATUS where there is none.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int broken;

static __attribute__((format(printf, 1, 2))) void complain(const char *format, ...) {
  va_list values;
  va_start(values, format);
  (void)fputs("broken: ", stdout);
  (void)vprintf(format, values);
  (void)putchar('\n');
  va_end(values);
  broken++;
}

static void expect_status(const char *status, const char *name, const char *wanted) {
  char line[64];
  (void)snprintf(line, sizeof line, "\n%s:\t%s", name, wanted);
  const char *found = strstr(status, line);
  size_t length = strlen(line);
  if (found == NULL || (found[length] != '\n' && found[length] != '\0')) complain("/proc/self/status has no %s: %s", name, wanted);
}

static void read_file(const char *path, char *text, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  size_t used = 0;
  ssize_t got = 0;
  while (file >= 0 && used + 1 < size && (got = read(file, text + used, size - 1 - used)) > 0) used += (size_t)got;
  text[used] = '\0';
  if (file < 0 || got < 0) complain("cannot read %s: %s", path, strerror(errno));
  if (file >= 0) (void)close(file);
}

static void check_status(void) {
  static char status[16384];
  read_file("/proc/self/status", status, sizeof status);
  expect_status(status, "NoNewPrivs", "1");
  expect_status(status, "Seccomp", "2");
  static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn"};
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) expect_status(status, sets[i], "0000000000000000");
  expect_status(status, "Umask", "0022");
}

static void expect_readonly(const char *path, bool create) {
  int file = open(path, O_WRONLY | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  // A file of another owner is denied as well, but by its mode: what must refuse is the mount, which also binds the owner.
  if (file >= 0) complain("%s can be written", path);
  else if (errno != EROFS && !(errno == EACCES && getuid() != 0) && !(errno == ENOENT && !create)) complain("%s: %s, not EROFS", path, strerror(errno));
  if (file >= 0) (void)close(file);
}

static void check_readonly(void) {
  if (mkdir("/witness", 0700) == 0 || (errno != EROFS && getuid() == 0)) complain("/ is not read-only");
  expect_readonly("/etc/witness", true);
  expect_readonly("/usr/witness", true);
  expect_readonly("/dev/witness", true);
  expect_readonly("/proc/sys/kernel/hostname", false);
  expect_readonly("/proc/sys/kernel/core_pattern", false);
}

static bool is_empty(const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL) return errno == EACCES;
  bool empty = true;
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
  }
  (void)closedir(directory);
  return empty;
}

static void check_masks(void) {
  static const char *const masked[] = {"acpi",        "asound",     "interrupts", "kcore",         "keys",       "latency_stats",
                                       "sched_debug", "scsi",       "driver",     "sysrq-trigger", "timer_list", "timer_stats"};
  for (size_t i = 0; i < sizeof masked / sizeof masked[0]; i++) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%s", masked[i]);
    struct stat status;
    if (stat(path, &status) < 0) continue;
    bool null = S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
    if (!null && !(S_ISDIR(status.st_mode) && is_empty(path))) complain("%s is not masked", path);
  }
}

static void check_absent(const char *path) {
  struct stat status;
  if (lstat(path, &status) == 0) complain("%s of the host is there", path);
}

static void check_descriptors(void) {
  for (int descriptor = 3; descriptor < 4096; descriptor++) {
    if (fcntl(descriptor, F_GETFD) >= 0) complain("descriptor %d is open", descriptor);
  }
}

static void check_network(void) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, "lo", 3);
  int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0 || ioctl(probe, SIOCGIFFLAGS, &request) < 0 || (request.ifr_flags & IFF_UP) == 0) complain("lo is not up");
  for (int index = 2; probe >= 0 && index < 64; index++) {
    memset(&request, 0, sizeof request);
    request.ifr_ifindex = index;
    // Tunnels of no net (sit0 and the like) exist in every network namespace, down and unable to come up without capabilities.
    if (ioctl(probe, SIOCGIFNAME, &request) == 0 && ioctl(probe, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP)) {
      complain("the network device %s is up", request.ifr_name);
    }
  }
  if (probe >= 0) (void)close(probe);
}

// "36 35 98:0 /root /point rw,nosuid - type source rw": proc_pid_mountinfo(5).
static void check_mounts(void) {
  static char table[262144];
  read_file("/proc/self/mountinfo", table, sizeof table);
  for (char *line = strtok(table, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    char point[4096], options[512], optional[512];
    if (sscanf(line, "%*s %*s %*s %*s %4095s %511s %511s", point, options, optional) != 3) {
      complain("a line of mountinfo: %s", line);
      continue;
    }
    if (strcmp(optional, "-") != 0) complain("%s is not private: %s", point, optional);
    bool nosuid = strstr(options, "nosuid") != NULL;
    bool device = strncmp(point, "/dev/", 5) == 0 || strncmp(point, "/proc/", 6) == 0;
    bool nodev = device || strstr(options, "nodev") != NULL;
    if (!nosuid) complain("%s is not nosuid", point);
    if (!nodev) complain("%s is not nodev", point);
    bool writable = strncmp(options, "rw", 2) == 0;
    bool private = strcmp(point, "/proc") == 0 || strcmp(point, "/tmp") == 0 || strncmp(point, "/dev/", 5) == 0;
    bool home = getenv("HOME") != NULL && strcmp(point, getenv("HOME")) == 0;
    if (writable && !private && !home) complain("%s is writable", point);
  }
}

static void check_nesting(void) {
  pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0 ? 1 : 0);
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) complain("a user namespace can be made inside");
}

int main(int argument_count, char **arguments) {
  if (argument_count != 3 && argument_count != 4) return 125;
  unsigned long uid = strtoul(arguments[1], NULL, 10);
  check_descriptors();
  if (getuid() != uid || geteuid() != uid) complain("uid %d", (int)getuid());
  if (getpid() != 2 || getppid() != 1) complain("pid %d below %d", (int)getpid(), (int)getppid());
  if (getsid(0) != getpid()) complain("no session of its own");
  char hostname[65] = "";
  if (gethostname(hostname, sizeof hostname) < 0 || strcmp(hostname, "sandbox") != 0) complain("hostname %s", hostname);
  struct rlimit core;
  if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_cur != 0 || core.rlim_max != 0) complain("RLIMIT_CORE is not 0");
  char directory[256] = "";
  if (getcwd(directory, sizeof directory) == NULL || strcmp(directory, "/tmp") != 0) complain("cwd %s", directory);
  check_status();
  check_readonly();
  check_masks();
  check_absent(arguments[2]);
  check_absent("/var");
  check_absent("/run");
  check_absent("/sys");
  check_network();
  check_mounts();
  check_nesting();
  (void)puts("witness");
  if (fflush(stdout) != 0) return 125;
  return broken == 0 && argument_count == 4 ? atoi(arguments[3]) : broken;
}
