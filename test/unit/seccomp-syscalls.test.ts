import { expect, test } from 'vitest';
import { abis, syscallTable } from '../../src/seccomp/syscalls.ts';

// From the manual page syscall(2) and the kernel's tables, by hand.
const known = {
  x86_64: {
    read: 0,
    ioctl: 16,
    execve: 59,
    ptrace: 101,
    mount: 165,
    openat: 257,
    rseq: 334,
    uretprobe: 335,
    uprobe: 336,
    clone3: 435,
    file_setattr: 469,
  },
  i386: {
    exit: 1,
    mount: 21,
    ioctl: 54,
    socketcall: 102,
    ipc: 117,
    fcntl64: 221,
    gettid: 224,
    exit_group: 252,
    openat: 295,
    rseq: 386,
    semget: 393,
    clock_gettime64: 403,
    clone3: 435,
    file_setattr: 469,
  },
  x32: { read: 0, openat: 257, rt_sigaction: 512, ioctl: 514, execve: 520, pwritev2: 547, clone3: 435 },
  aarch64: {
    io_setup: 0,
    ioctl: 29,
    mount: 40,
    openat: 56,
    read: 63,
    fstat: 80,
    execve: 221,
    mmap: 222,
    wait4: 260,
    kexec_file_load: 294,
    clone3: 435,
    file_setattr: 469,
  },
} as const;

test.each(abis)('%s has the numbers that the kernel has', (abi) => {
  expect(Object.fromEntries([...syscallTable(abi)].filter(([name]) => Object.hasOwn(known[abi], name)))).toEqual(
    known[abi],
  );
});

test.each(abis)('%s has each number once', (abi) => {
  const numbers = [...syscallTable(abi).values()];
  expect(new Set(numbers).size).toBe(numbers.length);
});

test('from 424 on a system call has the same number on every ABI', () => {
  const recent = (abi: (typeof abis)[number]): readonly string[] =>
    [...syscallTable(abi)]
      .filter(([, number]) => number >= 424 && number < 512)
      .map(([name, number]) => `${number} ${name}`);
  expect(recent('x86_64')).toHaveLength(469 - 424 + 1);
  for (const abi of abis) expect(recent(abi)).toEqual(recent('x86_64'));
});
