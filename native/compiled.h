// A compiled plan: a copy of this program that carries a plan at its end, with what it was made against. README.md has the format.
#ifndef SANDBOXLIB_COMPILED_H
#define SANDBOXLIB_COMPILED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"
#include "status.h"

#define COMPILED_HEADER_BYTES 16
#define COMPILED_VERSION 1u
// What surrounds a plan: notices, names of system calls, paths.
#define COMPILED_BYTES_MAX (PLAN_BYTES_MAX + 4u * 1024 * 1024)
#define COMPILED_STRINGS_MAX 65536u

enum {
  COMPILED_TAKES_COMMAND = 1,    // the arguments are the command
  COMPILED_BOUNDS_FILES = 2,     // limits.fileBytes: SIGXFSZ is its word
  COMPILED_NAMES_PATHS = 4,      // Landlock names the paths that the command may use
  COMPILED_KNOWS_FORMATS = 8,    // the kernel had binfmt_misc
  COMPILED_FLAGS = 15
};

// So many strings from there on.
struct strings {
  uint32_t count;
  struct reader at;
};

// A line for a person, before the command runs: `style` is a colour of a terminal, 0: none.
struct notices {
  uint32_t count;
  struct reader at;  // u32 style, string
};

// Where the parent of a control group is: in which tree, and how it lies to the caller's own group there.
enum { COMPILED_GROUP_OWN = 0, COMPILED_GROUP_ABOVE = 1, COMPILED_GROUP_TOP = 2 };
struct places {
  uint32_t count;
  struct reader at;  // string controller ("": version 2), string mount point, string what is mounted there, u32 which
};

struct compiled {
  uint32_t uid, gid;
  const char *kernel;  // such as "6.1"
  uint32_t flags;
  uint64_t process_milliseconds;  // limits.processCpuMs; 0: none
  const char *workspace;          // where the command starts, if whoever starts it is there or below; "": nowhere
  struct strings inherited;       // variables, or beginnings of their names with a final *
  struct strings own;             // that no beginning means
  struct strings set;             // that nothing replaces
  struct strings open;            // paths that everybody may read
  struct places groups;           // for each control group of the plan
  struct notices notices;
  struct strings calls;           // "AUDIT NUMBER words", and "AUDIT any|x32 ABI", for a filter that ends the command
  const uint8_t *plan;
  size_t plan_length;
};

// compiled_format.c, pure: checks all of it but the plan. False with a reason.
bool compiled_parse(const uint8_t *bytes, size_t length, struct compiled *compiled, const char **reason);

// compiled.c
// Whether this program carries a plan. Costs nothing.
bool compiled_is(void);
// Reads it from this program's own file; false with a reason.
bool compiled_read(struct compiled *compiled, const char **reason);
// Says on stderr what of this host, or of the caller, is not as it was; how much that is.
unsigned compiled_objections(const struct compiled *compiled);
// compiled_groups.c: the groups of this call's caller in place of those of who compiled it. False with a reason.
bool compiled_groups(const struct compiled *compiled, struct plan *plan, const char **reason);
// One of them, by what /proc/PID/cgroup says; `parent` has room for PATH_MAX bytes.
bool compiled_group_parent(const char *text, struct reader *place, char *parent);
struct run;
// After the plan is parsed and vectors_prepare(): the words of this call, and the variables that it takes from its caller, of which nothing else stays in
// memory. False with a reason.
bool compiled_call(const struct compiled *compiled, struct run *run, int count, char **values, const char **reason);
// What only the spec tells of a signal that ended the command.
void compiled_judge(const struct compiled *compiled, struct ending *ending);

// words.c: what run-sandbox says, in its words.
enum { WORDS_PLAIN = 0, WORDS_RED = 31, WORDS_YELLOW = 33 };
void words_use(const struct compiled *compiled);
__attribute__((format(printf, 2, 3))) void words_say(int style, const char *format, ...);
void words_notices(const struct compiled *compiled);
void words_failed(const struct failure *failure);
void words_ended(const struct ending *ending);

#endif
