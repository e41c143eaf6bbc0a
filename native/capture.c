// The copy is made in a process of its own, which enters the sandbox's user namespace: what the command left may belong to ids that an ordinary caller is
// not, or be closed to its owner. What is copied is hostile but dead: nobody is left who could change it meanwhile, nothing of it is followed, and it takes no
// more on the disk than it took in memory. Holes stay holes, and a file with several names stays one: a command could else have a thousand copies of it
// made for the price of a thousand names.
#include "capture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "changes.h"
#include "plan.h"
#include "sys.h"

#define BYTES_PER_CALL (1 << 20)
#define NAMES_BYTES 65536  // of attributes, and of one value: XATTR_LIST_MAX, XATTR_SIZE_MAX
#define OPAQUE "user.overlay.opaque"

struct view {
  int upper, place;
};

static struct view views[PLAN_CAPTURES_MAX];
static size_t view_count;
static int user_namespace = -1;
static bool incomplete;  // not all descriptors came

void capture_remember(int upper, int place) { views[view_count++] = (struct view){.upper = upper, .place = place}; }

static bool hand_on(int socket_fd, int what, int descriptor) {
  struct message message = {.kind = MESSAGE_CAPTURE, .value = what};
  bool sent = descriptor >= 0 && descriptors_send(socket_fd, &message, sizeof message, &descriptor, 1);
  int error = errno;
  if (descriptor >= 0) (void)close(descriptor);
  errno = error;
  return sent;
}

bool capture_hand_on(int socket_fd) {
  if (view_count == 0) return true;
  bool sent = hand_on(socket_fd, CAPTURE_USER_NAMESPACE, open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  for (size_t i = 0; i < view_count && sent; i++)
    sent = hand_on(socket_fd, CAPTURE_UPPER, views[i].upper) && hand_on(socket_fd, CAPTURE_PLACE, views[i].place);
  return sent;
}

void capture_take(int what, int descriptor) {
  if (descriptor < 0) incomplete = true;
  if (what == CAPTURE_USER_NAMESPACE) user_namespace = descriptor;
  else if (what == CAPTURE_UPPER && view_count < PLAN_CAPTURES_MAX) views[view_count++] = (struct view){.upper = descriptor, .place = -1};
  else if (what == CAPTURE_PLACE && view_count > 0) views[view_count - 1].place = descriptor;
}

// What fails is told by these: errno, the call, and the name of what was copied.
static const char *failed_call;
static char failed_name[NAME_MAX + 1];
static int links;  // a directory for files with several names, each by its inode

static bool fails(const char *call, const char *name) {
  if (failed_call != NULL) return false;
  failed_call = call;
  (void)snprintf(failed_name, sizeof failed_name, "%s", name);
  return false;
}

// Of no other attribute does anything depend, and file systems differ in what they take.
static bool copy_attribute(int from, int to, const char *attribute) {
  static char value[NAMES_BYTES];
  ssize_t length = fgetxattr(from, attribute, value, sizeof value);
  if (length >= 0 && fsetxattr(to, attribute, value, (size_t)length, 0) == 0) return true;
  return strcmp(attribute, OPAQUE) != 0;
}

static bool copy_attributes(int from, int to) {
  static char names[NAMES_BYTES];
  ssize_t length = flistxattr(from, names, sizeof names);
  // A tmpfs has none of users before Linux 6.6.
  if (length < 0) return errno == EOPNOTSUPP;
  bool copied = true;
  for (const char *name = names; name < names + length && copied; name += strlen(name) + 1) copied = copy_attribute(from, to, name);
  return copied;
}

// The mode after the owner, whose change may take bits of it away; the times last.
static bool finish(int from, int to, const struct stat *status, const char *name) {
  const struct timespec times[2] = {status->st_atim, status->st_mtim};
  struct stat now;
  if (fstat(to, &now) < 0) return fails("fstat", name);
  bool foreign = now.st_uid != status->st_uid || now.st_gid != status->st_gid;
  if (foreign && fchown(to, status->st_uid, status->st_gid) < 0) return fails("fchown", name);
  if (fchmod(to, status->st_mode & 07777) < 0) return fails("fchmod", name);
  if (!copy_attributes(from, to)) return fails("fsetxattr", name);
  return futimens(to, times) == 0 || fails("futimens", name);
}

static bool copy_piece(int from, int to, off_t at, off_t end) {
  if (lseek(to, at, SEEK_SET) < 0) return false;
  while (at < end) {
    size_t wanted = end - at < BYTES_PER_CALL ? (size_t)(end - at) : BYTES_PER_CALL;
    ssize_t sent = sendfile(to, from, &at, wanted);
    if (sent < 0 && errno == EINTR) continue;
    if (sent == 0) errno = EIO;
    if (sent <= 0) return false;
  }
  return true;
}

static bool copy_content(int from, int to, off_t size) {
  for (off_t at = 0; at < size;) {
    off_t begin = lseek(from, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;
    off_t end = begin < 0 ? -1 : lseek(from, begin, SEEK_HOLE);
    if (end < 0 || !copy_piece(from, to, begin, end)) return false;
    at = end;
  }
  return ftruncate(to, size) == 0;
}

static bool copy_file(int from, int to, const char *name, const struct stat *status) {
  int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0) return fails("openat", name);
  int file = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool copied = file >= 0 && copy_content(source, file, status->st_size);
  if (!copied) (void)fails(file < 0 ? "openat" : "sendfile", name);
  copied = copied && finish(source, file, status, name);
  if (file >= 0) (void)close(file);
  (void)close(source);
  return copied;
}

// Without a descriptor: to open one may block, or do something.
static bool finish_special(int to, const char *name, const struct stat *status) {
  const struct timespec times[2] = {status->st_atim, status->st_mtim};
  struct stat now;
  if (fstatat(to, name, &now, AT_SYMLINK_NOFOLLOW) < 0) return fails("fstatat", name);
  bool foreign = now.st_uid != status->st_uid || now.st_gid != status->st_gid;
  if (foreign && fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0) return fails("fchownat", name);
  // Of our own making, a moment ago: no symlink.
  if (!S_ISLNK(status->st_mode) && fchmodat(to, name, status->st_mode & 07777, 0) < 0) return fails("fchmodat", name);
  return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) == 0 || fails("utimensat", name);
}

static bool copy_symlink(int from, int to, const char *name, const struct stat *status) {
  static char target[PATH_MAX];
  ssize_t length = readlinkat(from, name, target, sizeof target - 1);
  if (length < 0) return fails("readlinkat", name);
  target[length] = '\0';
  if (symlinkat(target, to, name) < 0) return fails("symlinkat", name);
  return finish_special(to, name, status);
}

// overlayfs.rst, since 6.7: what it takes for a whiteout where there can be no device of the kind. Only changes.c reads it here. A command cannot make one: what
// it calls so overlayfs calls by another name.
static bool make_mark(int to, const char *name) {
  int file = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return fails("openat", name);
  bool marked = fsetxattr(file, CHANGES_WHITEOUT, "y", 1, 0) == 0 || fails("fsetxattr", name);
  (void)close(file);
  return marked;
}

// On a file system that is an overlay itself mknod(2) makes none (EPERM).
static bool copy_whiteout(int to, const char *name, const struct stat *status) {
  if (mknodat(to, name, status->st_mode & (S_IFMT | 0600), status->st_rdev) == 0) return finish_special(to, name, status);
  return errno == EPERM ? make_mark(to, name) : fails("mknodat", name);
}

// overlayfs makes one inode for all whiteouts, of which a disk may allow fewer names: they hold nothing, and count as names do.
static bool is_whiteout(const struct stat *status) { return S_ISCHR(status->st_mode) && status->st_rdev == 0; }

static bool copy_special(int from, int to, const char *name, const struct stat *status) {
  if (S_ISREG(status->st_mode)) return copy_file(from, to, name, status);
  if (S_ISLNK(status->st_mode)) return copy_symlink(from, to, name, status);
  if (is_whiteout(status)) return copy_whiteout(to, name, status);
  if (mknodat(to, name, status->st_mode & (S_IFMT | 0600), status->st_rdev) < 0) return fails("mknodat", name);
  return finish_special(to, name, status);
}

static bool copy_other(int from, int to, const char *name, const struct stat *status) {
  if (status->st_nlink < 2 || is_whiteout(status)) return copy_special(from, to, name, status);
  char inode[24];
  (void)snprintf(inode, sizeof inode, "%llu", (unsigned long long)status->st_ino);
  if (linkat(links, inode, to, name, 0) == 0) return true;
  if (errno != ENOENT) return fails("linkat", name);
  if (!copy_special(from, to, name, status)) return false;
  return linkat(to, name, links, inode, 0) == 0 || fails("linkat", name);
}

static int open_directory(int parent, const char *name) { return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

static bool copy_below(int from, int to, unsigned depth);

static bool copy_directory(int from, int to, const char *name, const struct stat *status, unsigned depth) {
  if (mkdirat(to, name, 0700) < 0) return fails("mkdirat", name);
  int source = open_directory(from, name);
  int made = source < 0 ? -1 : open_directory(to, name);
  bool copied = made >= 0 || fails("openat", name);
  // Deeper nobody looks (changes.c).
  if (copied && depth < CHANGES_DEPTH_MAX) copied = copy_below(source, made, depth + 1);
  copied = copied && finish(source, made, status, name);
  if (made >= 0) (void)close(made);
  if (source >= 0) (void)close(source);
  return copied;
}

static bool copy_entry(int from, int to, const char *name, unsigned depth) {
  struct stat status;
  if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return fails("fstatat", name);
  if (S_ISDIR(status.st_mode)) return copy_directory(from, to, name, &status, depth);
  return copy_other(from, to, name, &status);
}

typedef bool visit(int directory, int other, const char *name, unsigned depth);

static bool each_entry(int directory, int other, unsigned depth, visit *act) {
  int again = open_directory(directory, ".");
  DIR *entries = again < 0 ? NULL : fdopendir(again);
  if (entries == NULL) return fails("openat", ".");
  bool ok = true;
  while (ok) {
    errno = 0;
    const struct dirent *entry = readdir(entries);
    if (entry == NULL) {
      ok = errno == 0 || fails("getdents64", ".");
      break;
    }
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) ok = act(directory, other, entry->d_name, depth);
  }
  int error = errno;
  (void)closedir(entries);
  errno = error;
  return ok;
}

static bool copy_below(int from, int to, unsigned depth) { return each_entry(from, to, depth, copy_entry); }

static bool forget_link(int directory, int other, const char *name, unsigned depth) {
  (void)other;
  (void)depth;
  return unlinkat(directory, name, 0) == 0 || fails("unlinkat", name);
}

// Beside `upper`, whose name it gets when it is whole: a caller that was killed may be looked for by another at any time.
static bool keep_view(const struct view *view) {
  struct stat status;
  if (mkdirat(view->place, "links", 0700) < 0 || mkdirat(view->place, "new", 0700) < 0) return fails("mkdirat", ".");
  links = open_directory(view->place, "links");
  int copy = links < 0 ? -1 : open_directory(view->place, "new");
  if (copy < 0) return fails("openat", ".");
  if (fstat(view->upper, &status) < 0) return fails("fstat", ".");
  bool kept = copy_below(view->upper, copy, 0) && each_entry(links, -1, 0, forget_link) && finish(view->upper, copy, &status, ".");
  if (kept && unlinkat(view->place, "links", AT_REMOVEDIR) < 0) kept = fails("unlinkat", "links");
  if (kept && renameat(view->place, "new", view->place, "upper") < 0) kept = fails("renameat", "upper");
  int error = errno;
  (void)close(copy);
  (void)close(links);
  errno = error;
  return kept;
}

// Root of the host has what it takes, and its own files may be nobody's in there.
static bool enter(void) {
  if (geteuid() != 0 && setns(user_namespace, CLONE_NEWUSER) < 0) return fails("setns", ".");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return fails("prctl(PR_SET_PDEATHSIG)", ".");
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0) return fails("getrlimit", ".");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) < 0) return fails("setrlimit", ".");
  (void)umask(0);
  // A bound of the caller's own on files is an error like a full disk.
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  return sigaction(SIGXFSZ, &ignore, NULL) == 0 || fails("sigaction", ".");
}

static _Noreturn void keep_all(struct failure *failure) {
  bool kept = enter();
  for (size_t i = 0; i < view_count && kept; i++) kept = keep_view(&views[i]);
  if (!kept) failure_fill(failure, STEP_CAPTURE, NO_INDEX, errno, failed_call, strcmp(failed_name, ".") == 0 ? NULL : failed_name);
  _exit(kept ? EXIT_SUCCESS : EXIT_FAILURE);
}

static bool refuse(struct failure *failure, const char *syscall) {
  failure_fill(failure, STEP_CAPTURE, NO_INDEX, errno, syscall, NULL);
  return false;
}

bool capture_keep(struct failure *failure) {
  if (view_count == 0 && !incomplete) return true;
  errno = EMFILE;
  if (incomplete) return refuse(failure, "recvmsg");
  struct failure *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (told == MAP_FAILED) return refuse(failure, "mmap");
  // Nobody else is to hear of its end: for the supervisor SIGCHLD is news of the sandbox.
  pid_t keeper = sys_clone_silent();
  if (keeper < 0) return refuse(failure, "clone");
  if (keeper == 0) keep_all(told);
  int status;
  pid_t reaped;
  do reaped = waitpid(keeper, &status, (int)__WCLONE);
  while (reaped < 0 && errno == EINTR);
  if (reaped < 0) return refuse(failure, "waitpid");
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) return true;
  if (told->step == STEP_CAPTURE) {
    *failure = *told;
    return false;
  }
  errno = ECHILD;
  return refuse(failure, "waitpid");
}
