// Builds profiles with libseccomp and exports the programs that it makes of them, to compare ours with. Part of the tests, not of the package.
//
//   libseccomp_export resolve     names on stdin, a line each; those that libseccomp does not know on stdout
//   libseccomp_export             profiles on stdin; for each, on stdout, a u32 length and the program of that many bytes
//
// A profile: "begin ACTION ARCHITECTURE...", lines "rule ACTION NAME [INDEX OPERATOR VALUE VALUE_TWO]...", "end". ACTION is a SCMP_ACT_* number in hex,
// OPERATOR one of enum scmp_compare, values are in hex.
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_BYTES 4096

static void die(const char *what, int error) {
  fprintf(stderr, "libseccomp_export: %s: %s\n", what, strerror(error < 0 ? -error : error));
  exit(1);
}

static uint64_t next_number(int base) {
  const char *word = strtok(NULL, " ");
  if (word == NULL) die("a number is missing", EINVAL);
  return strtoull(word, NULL, base);
}

static scmp_filter_ctx begin(void) {
  scmp_filter_ctx filter = seccomp_init((uint32_t)next_number(16));
  if (filter == NULL) die("seccomp_init", EINVAL);
  // Else it would be SCMP_ACT_KILL_THREAD; ours ends the process, as runtimes do where they can.
  int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (result < 0) die("SCMP_FLTATR_ACT_BADARCH", result);
  result = seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
  if (result < 0) die("seccomp_arch_remove", result);
  for (const char *name = strtok(NULL, " "); name != NULL; name = strtok(NULL, " ")) {
    uint32_t architecture = seccomp_arch_resolve_name(name);
    if (architecture == 0) die(name, EINVAL);
    result = seccomp_arch_add(filter, architecture);
    if (result < 0) die("seccomp_arch_add", result);
  }
  return filter;
}

static void add_rule(scmp_filter_ctx filter) {
  uint32_t action = (uint32_t)next_number(16);
  const char *name = strtok(NULL, " ");
  if (name == NULL) die("a name is missing", EINVAL);
  int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) die(name, ENOSYS);
  struct scmp_arg_cmp tests[6];
  unsigned count = 0;
  for (const char *word = strtok(NULL, " "); word != NULL && count < 6; word = strtok(NULL, " ")) {
    tests[count].arg = (unsigned)strtoul(word, NULL, 10);
    tests[count].op = (enum scmp_compare)next_number(10);
    tests[count].datum_a = next_number(16);
    tests[count].datum_b = next_number(16);
    count++;
  }
  int result = seccomp_rule_add_array(filter, action, number, count, tests);
  // What is there already decides so: rules that overlap share their action.
  if (result < 0 && result != -EEXIST) die(name, result);
}

static void export(scmp_filter_ctx filter) {
  int file = memfd_create("filter", MFD_CLOEXEC);
  if (file < 0) die("memfd_create", errno);
  int result = seccomp_export_bpf(filter, file);
  if (result < 0) die("seccomp_export_bpf", result);
  static unsigned char program[1 << 20];
  ssize_t size = pread(file, program, sizeof program, 0);
  if (size < 0) die("pread", errno);
  uint32_t length = (uint32_t)size;
  if (fwrite(&length, sizeof length, 1, stdout) != 1 || fwrite(program, 1, length, stdout) != length) die("fwrite", errno);
  close(file);
  seccomp_release(filter);
}

int main(int argc, char **argv) {
  static char line[LINE_BYTES];
  bool resolve = argc > 1 && strcmp(argv[1], "resolve") == 0;
  scmp_filter_ctx filter = NULL;
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (resolve) {
      if (seccomp_syscall_resolve_name(line) == __NR_SCMP_ERROR) puts(line);
      continue;
    }
    const char *word = strtok(line, " ");
    if (word == NULL) continue;
    if (strcmp(word, "begin") == 0) filter = begin();
    else if (strcmp(word, "rule") == 0) add_rule(filter);
    else if (strcmp(word, "end") == 0) export(filter);
    else die(word, EINVAL);
  }
  return fflush(stdout) == 0 ? 0 : 1;
}
