// Streams of records written beneath a directory, by openat2(2) and by hand: linked with --wrap=sys_openat2, to take it away. With --corpus DIRECTORY it
// writes its streams there instead, for the fuzzer to start from.
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../paths.h"
#include "../removal.h"
#include "../sys.h"
#include "../unpack.h"
#include "builder.h"

static bool by_hand;
int __real_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int __wrap_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int __wrap_sys_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  if (!by_hand) return __real_sys_openat2(directory, path, flags, mode, resolve);
  errno = ENOSYS;
  return -1;
}

static char base[64];
static int outside, root;
static const char *corpus;
static int streams;
static char output[65536];
static struct builder b;

static void must(bool done, const char *what) {
  if (done) return;
  perror(what);
  exit(125);
}

static void begin_stream(void) {
  memset(&b, 0, sizeof b);
  put_bytes(&b, "SBXU", 4);
  put_u32(&b, UNPACK_PROTOCOL);
}

static void begin_record(enum unpack_type type) {
  b.record = b.used;
  put_u32(&b, (uint32_t)type);
  put_u32(&b, 0);
}

static void put_entry(enum unpack_type type, uint32_t kind, uint32_t flags, uint32_t mode, uint64_t size, const char *path, const char *target) {
  begin_record(type);
  put_u32(&b, kind);
  put_u32(&b, flags);
  put_u32(&b, mode);
  put_u32(&b, getuid());
  put_u32(&b, getgid());
  put_u64(&b, 1000000000);
  put_u32(&b, 5);
  put_u64(&b, size);
  put_u32(&b, 0);
  put_u32(&b, 0);
  put_string(&b, path);
  put_string(&b, target);
  put_u32(&b, 0);
  end_record(&b);
}

static void put_make(uint32_t kind, const char *path, const char *target) { put_entry(UNPACK_ENTRY, kind, 0, 0755, 0, path, target); }

static void put_data(uint64_t offset, const char *text) {
  begin_record(UNPACK_DATA);
  put_u64(&b, offset);
  put_u32(&b, (uint32_t)strlen(text));
  put_bytes(&b, text, strlen(text));
  end_record(&b);
}

static void put_file(const char *path, const char *text) {
  put_entry(UNPACK_ENTRY, UNPACK_FILE, 0, 0640, strlen(text), path, "");
  if (text[0] != '\0') put_data(0, text);
}

static void put_removal(uint32_t flags, const char *path, const char *kept) {
  begin_record(UNPACK_REMOVE);
  put_u32(&b, flags);
  put_string(&b, path);
  put_u32(&b, kept == NULL ? 0 : 1);
  if (kept != NULL) put_string(&b, kept);
  end_record(&b);
}

static void put_end(void) {
  begin_record(UNPACK_END);
  end_record(&b);
}

static void write_corpus(void) {
  char name[PATH_MAX];
  (void)snprintf(name, sizeof name, "%s/stream-%d", corpus, streams++);
  FILE *file = fopen(name, "w");
  must(file != NULL && fwrite(b.bytes, 1, b.used, file) == b.used && fclose(file) == 0, name);
}

// Whether the stream went through; `output` has what was told.
static bool performs(void) {
  if (corpus != NULL) write_corpus();
  int in = sys_memfd_create("stream"), out = sys_memfd_create("told");
  must(in >= 0 && out >= 0 && write(in, b.bytes, b.used) == (ssize_t)b.used && lseek(in, 0, SEEK_SET) == 0, "memfd");
  char target[96];
  (void)snprintf(target, sizeof target, "%s/root", base);
  must(fflush(stdout) == 0, "fflush");
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    must(dup2(in, 0) == 0 && dup2(out, 1) == 1, "dup2");
    (void)umask(0);
    _exit(unpack_main(0, target));
  }
  int status;
  must(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
  ssize_t length = pread(out, output, sizeof output - 1, 0);
  must(length >= 0 && close(in) == 0 && close(out) == 0, "pread");
  output[length] = '\0';
  return WEXITSTATUS(status) == 0;
}

static bool refuses(const char *said) {
  bool done = performs();
  bool right = !done && strstr(output, said) != NULL;
  if (!right) (void)printf("# %s, and not %s\n", done ? "went through" : output, said);
  return right;
}

static bool says(const char *path, const char *text) {
  char found[64] = "";
  int file = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, found, sizeof found - 1);
  if (file >= 0) (void)close(file);
  return length == (ssize_t)strlen(text) && strcmp(found, text) == 0;
}

static struct stat stat_of(const char *path) {
  struct stat status;
  memset(&status, 0, sizeof status);
  (void)fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW);
  return status;
}

static void entries_are_made(void) {
  begin_stream();
  put_make(UNPACK_DIRECTORY, "d", "");
  put_entry(UNPACK_ENTRY, UNPACK_FILE, 0, 04751, 10, "d/f", "");
  put_data(6, "tail");
  put_data(0, "he");
  put_make(UNPACK_LINK, "d/hard", "d/f");
  put_make(UNPACK_SYMLINK, "soft", "/etc/passwd");
  put_make(UNPACK_FIFO, "p", "");
  put_file("deep/down/f", "x");
  put_entry(UNPACK_ATTRIBUTES, UNPACK_DIRECTORY, 0, 0510, 0, "d", "");
  put_end();
  CHECK(performs());
  CHECK(strstr(output, "\"entries\":6,\"bytes\":7,\"owners\":0") != NULL);
  struct stat file = stat_of("d/f");
  CHECK(file.st_mode == (S_IFREG | 04751) && file.st_size == 10 && file.st_nlink == 2);
  CHECK(file.st_mtim.tv_sec == 1000000000 && file.st_mtim.tv_nsec == 5);
  CHECK(stat_of("d").st_mode == (S_IFDIR | 0510) && stat_of("d").st_mtim.tv_sec == 1000000000);
  CHECK(stat_of("soft").st_mode == (S_IFLNK | 0777) && stat_of("soft").st_mtim.tv_sec == 1000000000);
  CHECK(S_ISFIFO(stat_of("p").st_mode));
  CHECK(says("deep/down/f", "x"));
}

static void links_are_not_followed(void) {
  char victim[PATH_MAX];
  (void)snprintf(victim, sizeof victim, "%s/victim", base);
  const char *const targets[] = {victim, "../victim", "/", "."};
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    begin_stream();
    put_removal(UNPACK_CONTENTS_ONLY, "", NULL);
    put_make(UNPACK_SYMLINK, "l", targets[i]);
    put_file("l/file", "x");
    CHECK(refuses("\"errno\":\"ELOOP\",\"path\":\"l/file\""));
  }
  begin_stream();
  put_make(UNPACK_LINK, "h", "l/root");
  CHECK(refuses("\"syscall\":\"linkat\",\"errno\":\"ELOOP\""));
  begin_stream();
  put_entry(UNPACK_ATTRIBUTES, UNPACK_DIRECTORY, 0, 0777, 0, "l", "");
  CHECK(refuses("ELOOP"));
  begin_stream();
  put_removal(UNPACK_CONTENTS_ONLY, "l", NULL);
  CHECK(refuses("ELOOP"));
  begin_stream();
  put_removal(0, "l/x", NULL);
  CHECK(refuses("ELOOP"));
  begin_stream();
  put_file("l", "a file");
  put_end();
  CHECK(performs() && says("l", "a file"));
  struct stat status;
  CHECK(fstatat(outside, "victim/file", &status, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
}

static void what_is_there_gives_way(void) {
  begin_stream();
  put_file("a", "first");
  put_make(UNPACK_LINK, "b", "a");
  put_file("a", "second");
  put_make(UNPACK_SYMLINK, "c", "a");
  put_make(UNPACK_DIRECTORY, "c", "");
  put_file("c/d/e", "below");
  put_make(UNPACK_DIRECTORY, "c", "");
  put_end();
  CHECK(performs() && says("a", "second") && says("b", "first") && says("c/d/e", "below"));
  begin_stream();
  put_file("c", "file");
  CHECK(refuses("\"syscall\":\"unlinkat\",\"errno\":\"EISDIR\",\"path\":\"c\""));
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_FILE, UNPACK_REPLACES_DIRECTORY, 0600, 0, "c", "");
  put_end();
  CHECK(performs() && S_ISREG(stat_of("c").st_mode));
}

static void streams_that_are_wrong_are_refused(void) {
  static const char *const paths[] = {"/a", "../a", "a/..", "a/../b", "./a", "a//b", "a/", ".", ".."};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    begin_stream();
    put_file(paths[i], "x");
    CHECK(refuses("path is not relative and clean"));
    begin_stream();
    put_make(UNPACK_LINK, "h", paths[i]);
    CHECK(refuses("target is not relative and clean"));
    begin_stream();
    put_removal(0, paths[i], NULL);
    CHECK(refuses("path is not relative and clean"));
  }
  begin_stream();
  put_removal(UNPACK_CONTENTS_ONLY, "", "a/b");
  CHECK(refuses("name that is kept is none"));
  begin_stream();
  put_make(UNPACK_SYMLINK, "", "x");
  CHECK(refuses("path is not relative and clean"));
  begin_stream();
  put_data(0, "x");
  CHECK(refuses("data without a file"));
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_FILE, 0, 0600, 3, "f", "");
  put_data(1, "xyz");
  CHECK(refuses("data beyond the size of its file"));
  begin_stream();
  put_file("f", "x");
  CHECK(refuses("the stream ends before its end record"));
  begin_stream();
  put_end();
  put_bytes(&b, "x", 1);
  CHECK(refuses("bytes after the end record"));
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_FILE, 16, 0600, 0, "f", "");
  CHECK(refuses("unknown kind or flags"));
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_KINDS, 0, 0600, 0, "f", "");
  CHECK(refuses("unknown kind or flags"));
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_FILE, 0, 010000, 0, "f", "");
  CHECK(refuses("mode, time or size out of range"));
  begin_stream();
  begin_record((enum unpack_type)77);
  end_record(&b);
  CHECK(refuses("unknown record"));
  begin_stream();
  b.bytes[0] = 'X';
  CHECK(refuses("not a stream of records"));
  begin_stream();
  put_u32(&b, UNPACK_END);
  put_u32(&b, UNPACK_PAYLOAD_MAX + 1);
  CHECK(refuses("record is too long"));
}

static void removal_keeps_what_it_is_told_to(void) {
  begin_stream();
  put_file("r/kept/f", "x");
  put_file("r/gone/deep/f", "x");
  put_make(UNPACK_SYMLINK, "r/link", base);
  put_removal(UNPACK_CONTENTS_ONLY, "r", "kept");
  put_removal(UNPACK_MAY_BE_ABSENT, "absent/below", NULL);
  put_removal(0, "absent", NULL);
  CHECK(refuses("\"syscall\":\"unlinkat\",\"errno\":\"ENOENT\",\"path\":\"absent\""));
  CHECK(says("r/kept/f", "x") && stat_of("r/gone").st_mode == 0 && stat_of("r/link").st_mode == 0);
}

// Deeper than a process may have descriptors, and than a path may be long; with names as removal makes them itself.
static void trees_of_any_depth_are_removed(void) {
  int at = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int level = 0; level < 5000 && at >= 0; level++) {
    must(mkdirat(at, "deep", 0700) == 0 && symlinkat(base, at, ".sandboxlib-removed-0") == 0, "mkdirat");
    int next = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(next >= 0 && close(at) == 0, "openat");
    at = next;
  }
  must(close(at) == 0, "close");
  begin_stream();
  put_removal(UNPACK_CONTENTS_ONLY, "", NULL);
  put_end();
  CHECK(performs());
  CHECK(stat_of("deep").st_mode == 0 && stat_of(".").st_nlink == 2);
  struct stat status;
  CHECK(fstatat(outside, "victim", &status, AT_SYMLINK_NOFOLLOW) == 0);
}

static void what_may_lack_is_told(void) {
  begin_stream();
  put_entry(UNPACK_ENTRY, UNPACK_FILE, UNPACK_OWNER_MAY_LACK, 06755, 0, "f", "");
  // An id that no user namespace has is refused to root too.
  put_u32_at(&b, b.record + 8 + 12, 0xffffffffu - 1);
  put_end();
  bool done = performs();
  CHECK(done);
  // In the initial user namespace every id is there.
  if (strstr(output, "\"owners\":1") != NULL) {
    CHECK(strstr(output, "{\"event\":\"left-out\",\"what\":\"owner\"") != NULL);
    CHECK(stat_of("f").st_mode == (S_IFREG | 0755));
  } else {
    CHECK(stat_of("f").st_uid == 0xffffffffu - 1);
    CHECK(stat_of("f").st_mode == (S_IFREG | 06755));
  }
}

static void all(const char *how) {
  char title[128];
#define TITLED(name, text)                                         \
  do {                                                             \
    (void)snprintf(title, sizeof title, "unpack, %s: " text, how); \
    TEST(name, title);                                             \
  } while (0)
  (void)snprintf(base, sizeof base, "/tmp/sandboxlib-unpack-XXXXXX");
  must(mkdtemp(base) != NULL, "mkdtemp");
  outside = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(outside >= 0 && mkdirat(outside, "root", 0755) == 0 && mkdirat(outside, "victim", 0755) == 0, "mkdirat");
  root = openat(outside, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(root >= 0, "openat");
  TITLED(entries_are_made, "entries are made, with their attributes");
  TITLED(what_is_there_gives_way, "what is there gives way, and a directory only where that is said");
  TITLED(removal_keeps_what_it_is_told_to, "removal keeps what it is told to, and follows nothing");
  TITLED(what_may_lack_is_told, "what cannot be kept is told, and set-user-ID bits go with it");
  TITLED(streams_that_are_wrong_are_refused, "streams that are wrong are refused");
  TITLED(links_are_not_followed, "links are not followed");
  TITLED(trees_of_any_depth_are_removed, "trees of any depth are removed");
  must(close(root) == 0 && close(outside) == 0, "close");
  char command[PATH_MAX + 16];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", base);
  must(system(command) == 0, "rm");
}

int main(int count, char **arguments) {
  if (count == 3 && strcmp(arguments[1], "--corpus") == 0) corpus = arguments[2];
  all("by openat2");
  by_hand = true;
  all("by hand");
  return tests_end();
}
