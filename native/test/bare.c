// A program without a C library: for filters under which none starts, and for calls just as they are, registers included. Part of the tests.
//
//   bare echo                         stdin to stdout, then exit_group(7)
//   bare call NUMBER [ARGUMENT...]    "ok" or "errno N" of that call; status 0 or 1
//   bare int80 NUMBER [ARGUMENT...]   the same by i386's numbers
//   bare exec PATH NUMBER...          execve(PATH) with each NUMBER in the register that the call does not use, then with every word that the kernel
//                                     or the launcher left here: on the stack and in registers; the last errno, with how many were tried
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define SYS_READ 0
#define SYS_WRITE 1
#define SYS_EXECVE 59
#define SYS_EXIT_GROUP 231
// The stack, and the registers that carry arguments of calls.
__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n mov %r9, %rsi\n mov %r8, %rdx\n mov %r10, %rcx\n andq $-16, %rsp\n call bare_main\n");
static long call(long number, const long a[6]) {
  long result;
  register long r10 __asm__("r10") = a[3];
  register long r8 __asm__("r8") = a[4];
  register long r9 __asm__("r9") = a[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
static long call_i386(long number, const long a[6]) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                   : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}
#elif defined(__aarch64__)
#define SYS_READ 63
#define SYS_WRITE 64
#define SYS_EXECVE 221
#define SYS_EXIT_GROUP 94
__asm__(".globl _start\n_start:\n mov x9, x5\n mov x10, x4\n mov x11, x3\n mov x0, sp\n mov x1, x9\n mov x2, x10\n mov x3, x11\n bl bare_main\n");
static long call(long number, const long a[6]) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a[0];
  register long x1 __asm__("x1") = a[1];
  register long x2 __asm__("x2") = a[2];
  register long x3 __asm__("x3") = a[3];
  register long x4 __asm__("x4") = a[4];
  register long x5 __asm__("x5") = a[5];
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
static long call_i386(long number, const long a[6]) {
  (void)number, (void)a;
  return -38;  // ENOSYS
}
#else
#error "unknown architecture"
#endif

#define ENOENT 2
#define STACK_WORDS 256
#define PAGE_BYTES 4096

static void write_all(const char *text, size_t length) { (void)call(SYS_WRITE, (const long[6]){1, (long)text, (long)length}); }

static void say(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  write_all(text, length);
}

static void say_number(unsigned long value) {
  char digits[24];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  write_all(digits + at, sizeof digits - at);
}

static _Noreturn void end(int status) {
  for (;;) (void)call(SYS_EXIT_GROUP, (const long[6]){status});
}

static _Noreturn void answer(long result) {
  if (result >= 0) say("ok\n"), end(0);
  say("errno "), say_number((unsigned long)-result), say("\n"), end(1);
}

static long number(const char *text) {
  unsigned long value = 0;
  unsigned base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
  for (text += base == 16 ? 2 : 0; *text != '\0'; text++)
    value = value * base + (unsigned long)(*text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10);
  return (long)value;
}

static _Noreturn void echo(void) {
  static char buffer[4096];
  for (;;) {
    long got = call(SYS_READ, (const long[6]){0, (long)buffer, sizeof buffer});
    if (got <= 0) end(got == 0 ? 7 : 1);
    write_all(buffer, (size_t)got);
  }
}

static unsigned long tries;

// An empty environment: what is asked is whether the call gets by the filter at all.
static long try_execute(char **arguments, long guess) {
  tries++;
  char *none[1] = {NULL};
  char *only[2] = {arguments[2], NULL};
  return call(SYS_EXECVE, (const long[6]){(long)arguments[2], (long)only, (long)none, guess, guess, guess});
}

static _Noreturn void execute(long count, char **arguments, const long *stack, const long registers[3]) {
  long result = -ENOENT;
  for (long i = 3; i < count; i++) result = try_execute(arguments, number(arguments[i]));
  for (size_t i = 0; i < 3; i++) result = try_execute(arguments, registers[i]);
  // To the end of its page, which may be that of the stack.
  for (size_t i = 0; i < STACK_WORDS && (i == 0 || (uintptr_t)(stack + i) % PAGE_BYTES != 0); i++) result = try_execute(arguments, stack[i]);
  say("errno "), say_number((unsigned long)-result), say(" after "), say_number(tries), say("\n"), end(1);
}

_Noreturn void bare_main(const long *stack, long sixth, long fifth, long fourth) __attribute__((used));
_Noreturn void bare_main(const long *stack, long sixth, long fifth, long fourth) {
  long count = stack[0];
  char **arguments = (char **)(uintptr_t)(stack + 1);
  if (count < 2) end(2);
  char verb = arguments[1][1];
  if (verb == 'c') echo();
  if (verb == 'x' && count > 2) execute(count, arguments, stack, (const long[3]){sixth, fifth, fourth});
  if (count < 3) end(2);
  long given[6] = {0};
  for (long i = 0; i < 6 && i + 3 < count; i++) given[i] = number(arguments[i + 3]);
  long which = number(arguments[2]);
  answer(verb == 'n' ? call_i386(which, given) : call(which, given));
}
