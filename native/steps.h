// Every step that can fail has one name, shared by the plan, the status lines, TypeScript (src/backends/launcher/steps.ts) and README.md.
// A test compares the three.
#ifndef SANDBOXLIB_STEPS_H
#define SANDBOXLIB_STEPS_H

// Records of a plan: name, number, text.
#define RECORD_STEPS(X)                      \
  X(NAMESPACES, 1, "namespaces")             \
  X(MAP_IDS, 2, "map-ids")                   \
  X(LIMIT_WALL, 3, "limit-wall")             \
  X(LIMIT_OUTPUT, 4, "limit-output")         \
  X(TERMINATION, 5, "termination")           \
  X(TERMINAL, 6, "terminal")                 \
  X(DESCRIPTOR, 7, "descriptor")             \
  X(CGROUP, 8, "cgroup")                     \
  X(LIMIT_CPU, 9, "limit-cpu")               \
  X(PIPES, 10, "pipes")                      \
  X(SAMPLING, 11, "sampling")                \
  X(COLLECT, 12, "collect")                  \
  X(HOLD, 13, "hold")                        \
  X(JOIN, 14, "join")                        \
  X(HOSTNAME, 20, "hostname")                \
  X(LOOPBACK, 21, "loopback")                \
  X(ROOT, 22, "root")                        \
  X(MOUNT, 23, "mount")                      \
  X(READONLY, 24, "readonly")                \
  X(MASK, 25, "mask")                        \
  X(MKDIR, 26, "mkdir")                      \
  X(SYMLINK, 27, "symlink")                  \
  X(FILE, 28, "file")                        \
  X(SYSCTL, 29, "sysctl")                    \
  X(PIVOT, 30, "pivot")                      \
  X(DISK, 31, "disk")                        \
  X(BINFMT, 32, "binfmt")                    \
  X(SOURCE, 33, "source")                    \
  X(CONTENT, 34, "content")                  \
  X(TREE, 35, "tree")                        \
  X(USER_NAMESPACE, 36, "user-namespace")    \
  X(DOMAIN, 37, "domain")                    \
  X(LAYER, 38, "layer")                      \
  X(TOOL, 39, "tool")                        \
  X(RLIMIT, 40, "rlimit")                    \
  X(UMASK, 41, "umask")                      \
  X(USER, 42, "user")                        \
  X(CAPABILITIES, 43, "capabilities")        \
  X(CWD, 44, "cwd")                          \
  X(SECCOMP, 45, "seccomp")                  \
  X(EXEC, 46, "exec")                        \
  X(LANDLOCK, 47, "landlock")

// What the launcher does in every run: no records.
#define FIXED_STEPS(X)                              \
  X(PLAN, 100, "plan")                              \
  X(CLONE, 101, "clone")                            \
  X(SESSION, 102, "session")                        \
  X(SIGNALS, 103, "signals")                        \
  X(SCHEDULING, 104, "scheduling")                  \
  X(DESCRIPTORS, 105, "descriptors")                \
  X(KEYRING, 106, "keyring")                        \
  X(NO_NEW_PRIVILEGES, 107, "no-new-privileges")    \
  X(RELAY, 108, "relay")                            \
  X(FORK, 109, "fork")                              \
  X(INIT, 110, "init")                              \
  X(LOST, 111, "lost")                              \
  X(CAPTURE, 112, "capture")

#define AS_ENUMERATOR(name, number, text) STEP_##name = number,
enum step { RECORD_STEPS(AS_ENUMERATOR) FIXED_STEPS(AS_ENUMERATOR) };
#undef AS_ENUMERATOR

const char *step_name(enum step step);

#endif
