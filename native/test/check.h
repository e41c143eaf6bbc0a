// The tests' own few words: a check that says what failed, and lines in the manner of TAP.
#ifndef SANDBOXLIB_TEST_CHECK_H
#define SANDBOXLIB_TEST_CHECK_H

#include <stdbool.h>
#include <stdio.h>

static int checks_failed_here, tests_done, tests_failed;

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      (void)printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                 \
      checks_failed_here++;                                                                  \
    }                                                                                        \
  } while (0)

#define TEST(name, title)            \
  do {                               \
    checks_failed_here = 0;          \
    name();                          \
    test_done(title);                \
  } while (0)

static void test_done(const char *title) {
  tests_done++;
  if (checks_failed_here > 0) tests_failed++;
  (void)printf("%s %d - %s\n", checks_failed_here > 0 ? "not ok" : "ok", tests_done, title);
}

static int tests_end(void) {
  (void)printf("1..%d\n", tests_done);
  return fflush(stdout) == 0 && tests_failed == 0 ? 0 : 1;
}

#endif
