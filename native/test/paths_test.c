// Paths in roots that were made to hurt us, by openat2(2) and by hand: linked with --wrap=sys_openat2, to take it away.
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../paths.h"
#include "../sys.h"

#define RACE_ROUNDS 20000

static bool by_hand;
int __real_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int __wrap_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int __wrap_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  if (!by_hand) return __real_sys_openat2(directory, path, flags, mode, resolve);
  errno = ENOSYS;
  return -1;
}

static char base[] = "/tmp/sandboxlib-paths-XXXXXX";
static int root;      // base/root
static int outside;   // base, which nothing in the root may lead to

static void must(bool done, const char *what) {
  if (done) return;
  perror(what);
  exit(125);
}

static void make_file(int at, const char *name, const char *text) {
  int file = openat(at, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  must(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text) && close(file) == 0, name);
}

static void link_to(const char *target, const char *name) { must(symlinkat(target, root, name) == 0, name); }

static void make_tree(void) {
  must(mkdtemp(base) != NULL, "mkdtemp");
  outside = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(outside >= 0 && mkdirat(outside, "root", 0755) == 0 && mkdirat(outside, "victim", 0755) == 0, "mkdirat");
  make_file(outside, "secret", "outside");
  root = openat(outside, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(root >= 0 && mkdirat(root, "dir", 0755) == 0 && mkdirat(root, "dir/sub", 0755) == 0, "mkdirat");
  make_file(root, "file", "inside");
  make_file(root, "dir/file", "inside dir");
  char victim[PATH_MAX];
  (void)snprintf(victim, sizeof victim, "%s/victim", base);
  link_to("/dir/file", "absolute");
  link_to("dir/../file", "relative");
  link_to("../secret", "up");
  link_to("../../../../../../../../../../secret", "far-up");
  link_to(victim, "to-outside");
  link_to("loop-b", "loop-a");
  link_to("loop-a", "loop-b");
  link_to("self", "self");
  link_to("nowhere", "dangling");
  link_to("/dir/made-by-link", "dangling-in-dir");
  link_to("dir/", "slash");
  link_to("../root/dir", "back-in");
  link_to("/", "top");
  link_to("..", "dotdot");
  char name[16], target[16];
  for (int i = 1; i <= 41; i++) {
    (void)snprintf(name, sizeof name, "chain%d", i);
    (void)snprintf(target, sizeof target, "chain%d", i - 1);
    link_to(i == 1 ? "file" : target, name);
  }
}

static bool same(int found, int at, const char *name) {
  struct stat a, b;
  bool equal = found >= 0 && fstat(found, &a) == 0 && fstatat(at, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
  if (found >= 0) (void)close(found);
  return equal;
}

static bool opens(const char *path, const char *as) {
  int found = path_open(root, path);
  bool right = same(found, root, as);
  if (!right) (void)printf("# %s does not lead to %s%s%s\n", path, as, found < 0 ? ": " : "", found < 0 ? strerror(errno) : "");
  return right;
}

static bool refuses(const char *path, int error) {
  int found = path_open(root, path);
  bool right = found < 0 && errno == error;
  if (!right) (void)printf("# %s: %s, not %s\n", path, found >= 0 ? "found" : strerror(errno), strerror(error));
  if (found >= 0) (void)close(found);
  return right;
}

static void plain_paths_lead_inside(void) {
  CHECK(opens("/", "."));
  CHECK(opens("/file", "file"));
  CHECK(opens("file", "file"));
  CHECK(opens("//dir///file", "dir/file"));
  CHECK(opens("/dir/./sub/../file", "dir/file"));
  CHECK(opens("/dir/sub", "dir/sub"));
  CHECK(refuses("/absent", ENOENT));
  CHECK(refuses("/absent/file", ENOENT));
  CHECK(refuses("/file/below", ENOTDIR));
}

static void links_stay_inside(void) {
  CHECK(opens("/absolute", "dir/file"));
  CHECK(opens("/relative", "file"));
  CHECK(opens("/slash/file", "dir/file"));
  CHECK(opens("/top/top/top/file", "file"));
  CHECK(opens("/dotdot/dotdot/file", "file"));
  CHECK(refuses("/up", ENOENT));
  CHECK(refuses("/far-up", ENOENT));
  CHECK(refuses("/to-outside", ENOENT));
  CHECK(refuses("/back-in", ENOENT));
  CHECK(refuses("/dangling", ENOENT));
}

static void dots_stay_inside(void) {
  CHECK(opens("/..", "."));
  CHECK(opens("/../../../../..", "."));
  CHECK(opens("../file", "file"));
  CHECK(opens("/dir/../../../file", "file"));
  CHECK(refuses("/../secret", ENOENT));
  CHECK(refuses("/dir/sub/../../../secret", ENOENT));
  CHECK(refuses("/top/../secret", ENOENT));
}

static void loops_end(void) {
  CHECK(refuses("/loop-a", ELOOP));
  CHECK(refuses("/self", ELOOP));
  CHECK(refuses("/self/file", ELOOP));
  CHECK(opens("/chain40", "file"));
  CHECK(refuses("/chain41", ELOOP));
}

static void long_names_are_borne(void) {
  char name[NAME_MAX + 3];
  memset(name, 'n', sizeof name);
  name[0] = '/';
  name[NAME_MAX + 1] = '\0';
  make_file(root, name + 1, "");
  CHECK(opens(name, name + 1));
  must(unlinkat(root, name + 1, 0) == 0, "unlinkat");
  name[NAME_MAX + 1] = 'n';
  name[NAME_MAX + 2] = '\0';
  CHECK(refuses(name, ENAMETOOLONG));
  CHECK(path_make_directory(root, name, 0755) < 0 && errno == ENAMETOOLONG);
  CHECK(path_make_file(root, name, 0644) < 0 && errno == ENAMETOOLONG);
  static char path[PATH_MAX + 16];
  for (size_t i = 0; i < sizeof path - 1; i++) path[i] = "/dir/..."[i % 2 == 0 ? 0 : 5];
  CHECK(refuses(path, ENAMETOOLONG));
  CHECK(path_make_directory(root, path, 0755) < 0 && errno == ENAMETOOLONG);
}

static void directories_are_made_inside(void) {
  CHECK(same(path_make_directory(root, "/new/deep/er", 0755), root, "new/deep/er"));
  CHECK(same(path_make_directory(root, "/dir", 0700), root, "dir"));
  CHECK(same(path_make_directory(root, "/slash/made", 0755), root, "dir/made"));
  CHECK(same(path_make_directory(root, "/top/./new/other", 0755), root, "new/other"));
  CHECK(path_make_directory(root, "/absent/../x", 0755) < 0 && errno == EINVAL);
  CHECK(path_make_directory(root, "/file/x", 0755) < 0 && errno == ENOTDIR);
  // A link that leads nowhere is no place for a directory.
  CHECK(path_make_directory(root, "/dangling/x", 0755) < 0 && errno == EEXIST);
  CHECK(path_make_directory(root, "/to-outside/x", 0755) < 0);
  struct stat status;
  CHECK(fstatat(outside, "victim/x", &status, 0) < 0);
  CHECK(fstatat(root, "new", &status, 0) == 0 && (status.st_mode & 07777) == 0755);
}

static void files_are_made_inside(void) {
  CHECK(same(path_make_file(root, "/made/file", 0600), root, "made/file"));
  CHECK(same(path_make_file(root, "/absolute", 0600), root, "dir/file"));
  CHECK(path_make_file(root, "/dangling", 0600) < 0 && errno == EEXIST);
  CHECK(path_make_file(root, "/to-outside", 0600) < 0 && errno == EEXIST);
  CHECK(path_make_file(root, "/file/x", 0600) < 0 && errno == ENOTDIR);
  const char *name;
  CHECK(path_open_parent(root, "/dir/x/", &name) < 0 && errno == EINVAL);
  CHECK(path_open_parent(root, "/dir/..", &name) < 0 && errno == EINVAL);
  CHECK(path_open_parent(root, "/dir/.", &name) < 0 && errno == EINVAL);
  CHECK(path_open_parent(root, "/", &name) < 0 && errno == EINVAL);
  CHECK(same(path_open_parent(root, "/dir/x", &name), root, "dir") && strcmp(name, "x") == 0);
}

static int open_whole(const char *path) {
  char whole[PATH_MAX];
  (void)snprintf(whole, sizeof whole, "%s/root/%s", base, path);
  return path_open_without_links(whole);
}

static void links_are_refused_where_none_may_be(void) {
  CHECK(same(open_whole("dir/file"), root, "dir/file"));
  CHECK(same(open_whole("dir//sub/"), root, "dir/sub"));
  CHECK(open_whole("absolute") < 0 && errno == ELOOP);
  CHECK(open_whole("dangling") < 0 && errno == ELOOP);
  CHECK(open_whole("slash/file") < 0 && (errno == ELOOP || errno == ENOTDIR));
  CHECK(open_whole("top/dir") < 0 && (errno == ELOOP || errno == ENOTDIR));
  CHECK(open_whole("dir/nothing") < 0 && errno == ENOENT);
  CHECK(open_whole("file/x") < 0 && errno == ENOTDIR);
  CHECK(path_open_without_links("/proc/self/cwd") < 0 && (errno == ELOOP || errno == ENOTDIR));
}

static void nothing_stays_open(void) {
  int before = dup(root);
  must(before >= 0 && close(before) == 0, "dup");
  (void)path_open(root, "/chain41");
  (void)path_open(root, "/dir/absent");
  (void)path_open(root, "/self");
  (void)path_make_directory(root, "/file/x", 0755);
  (void)path_make_directory(root, "/absent/../x", 0755);
  (void)path_make_file(root, "/dangling", 0600);
  const char *name;
  (void)path_open_parent(root, "/", &name);
  int after = dup(root);
  CHECK(after == before);
  must(close(after) == 0, "close");
}

static atomic_bool racing;

// Where "swap" was away the other thread may have made another, which would stand in the way of the one with the file for ever.
static void bring_back(void) {
  while (renameat(root, "swap-away", root, "swap") < 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
    (void)unlinkat(root, "swap/made-file", 0);
    (void)unlinkat(root, "swap/made/deep", AT_REMOVEDIR);
    (void)unlinkat(root, "swap/made", AT_REMOVEDIR);
    (void)unlinkat(root, "swap", AT_REMOVEDIR);
  }
}

// "swap" is by turns a directory and links to the outside.
static void *swap(void *nothing) {
  char victim[PATH_MAX];
  (void)snprintf(victim, sizeof victim, "%s/victim", base);
  while (atomic_load(&racing)) {
    (void)renameat(root, "swap", root, "swap-away");
    (void)symlinkat(victim, root, "swap");
    (void)unlinkat(root, "swap", 0);
    (void)symlinkat("../victim", root, "swap");
    (void)unlinkat(root, "swap", 0);
    bring_back();
  }
  return nothing;
}

static void a_racer_gets_nothing_out(void) {
  must(mkdirat(root, "swap", 0755) == 0 || errno == EEXIST, "mkdirat");
  int file = openat(root, "swap/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  must(file >= 0 && close(file) == 0, "swap/file");
  struct stat forbidden;
  must(fstatat(outside, "victim/file", &forbidden, 0) == 0, "fstatat");
  atomic_store(&racing, true);
  pthread_t racer;
  must(pthread_create(&racer, NULL, swap, NULL) == 0, "pthread_create");
  unsigned found_inside = 0, escaped = 0;
  for (int round = 0; round < RACE_ROUNDS; round++) {
    int found = path_open(root, round % 2 == 0 ? "/swap/file" : "/dir/../swap/../swap/file");
    struct stat status;
    if (found >= 0 && fstat(found, &status) == 0) {
      if (status.st_ino == forbidden.st_ino && status.st_dev == forbidden.st_dev) escaped++;
      else found_inside++;
    }
    if (found >= 0) (void)close(found);
    int made = path_make_directory(root, "/swap/made/deep", 0755);
    if (made >= 0) (void)close(made);
    made = path_make_file(root, "/swap/made-file", 0644);
    if (made >= 0) (void)close(made);
    (void)unlinkat(root, "swap/made-file", 0);
  }
  atomic_store(&racing, false);
  must(pthread_join(racer, NULL) == 0, "pthread_join");
  struct stat status;
  CHECK(escaped == 0);
  CHECK(found_inside > 0);
  CHECK(fstatat(outside, "victim/made", &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
  CHECK(fstatat(outside, "victim/made-file", &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
}

static void remove_tree(void) {
  char command[PATH_MAX + 16];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", base);
  must(system(command) == 0, "rm");
}

static void all(const char *how) {
  char title[128];
#define TITLED(name, text)                                        \
  do {                                                            \
    (void)snprintf(title, sizeof title, "paths, %s: " text, how); \
    TEST(name, title);                                            \
  } while (0)
  (void)snprintf(base, sizeof base, "/tmp/sandboxlib-paths-XXXXXX");
  make_tree();
  make_file(outside, "victim/file", "outside");
  TITLED(plain_paths_lead_inside, "plain paths lead inside");
  TITLED(links_stay_inside, "links stay inside");
  TITLED(dots_stay_inside, "dots stay inside");
  TITLED(loops_end, "loops end, and forty links are followed but not more");
  TITLED(long_names_are_borne, "names and paths may have their full length and no more");
  TITLED(directories_are_made_inside, "directories are made inside");
  TITLED(files_are_made_inside, "files are made inside, and not through a link");
  TITLED(links_are_refused_where_none_may_be, "links are refused where none may be");
  TITLED(nothing_stays_open, "no descriptor stays open after a failure");
  TITLED(a_racer_gets_nothing_out, "who swaps a directory for a link gets nothing out");
  must(close(root) == 0 && close(outside) == 0, "close");
  remove_tree();
}

int main(void) {
  by_hand = false;
  int found = sys_openat2(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0, SBX_RESOLVE_IN_ROOT);
  if (found >= 0) {
    (void)close(found);
    all("by openat2");
  } else {
    (void)printf("ok %d - paths, by openat2 # SKIP this kernel has no openat2(2)\n", ++tests_done);
  }
  by_hand = true;
  all("by hand");
  return tests_end();
}
