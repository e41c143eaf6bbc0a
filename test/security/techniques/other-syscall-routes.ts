import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import { requires } from '../../helpers/requires.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import { skip } from '../skip.ts';
import type { Technique } from '../technique.ts';

const CLONE_NEWUSER = 0x10000000;

/** A function that makes an i386 call, in machine code: eax, ebx, ecx, edx, esi, edi out of C's six arguments. */
const int80 = `
import mmap
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
code.write(bytes.fromhex('5389f889f387d14489c64489cfcd805bc3'))
int80 = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 6)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
def call(*args):
    result = int80(*args, *[0] * (6 - len(args)))
    return errno.errorcode.get(-result, str(result)) if result < 0 else 'ok'
`;

/** Outside of any sandbox: where the kernel has no such calls, and on some virtual machines, the instruction ends the program with SIGSEGV. */
function makesI386Calls(): boolean {
  requires('file:/usr/bin/python3');
  const [file = '', ...args] = pythonCommand(`${int80}\nprint(call(20))`);
  const { stdout, signal } = spawnSync(file, args, { encoding: 'utf8' });
  if (signal !== 'SIGSEGV') expect({ stdout, signal }).toEqual({ stdout: 'ok\n', signal: null });
  return signal === null;
}

/** Linux gives the calls of this century the same number everywhere. */
const IO_URING_SETUP = 425;
const CLONE3 = 435;

export const technique: Technique = {
  name: 'other-syscall-routes',
  attacks: ['root.host', 'seccomp.default'],
  cases: {
    'a call by int 0x80 is refused as its 64-bit twin is': async (bench) => {
      if (process.arch !== 'x64') skip('int 0x80 is of x64');
      const script = `${int80}
print('getpid', call(20))
for name, *args in [('mount', 21), ('umount2', 52), ('chroot', 61), ('setns', 346), ('keyctl', 288), ('bpf', 357),
                    ('unshare', 310, ${CLONE_NEWUSER}), ('clone', 120, ${CLONE_NEWUSER + 17}), ('clone3', ${CLONE3}),
                    ('io_uring_setup', ${IO_URING_SETUP}, 1), ('socket AF_VSOCK', 359, 40, 1), ('socketcall', 102, 1),
                    ('socketpair AF_VSOCK', 360, 40, 1), ('unknown', 9999)]:
    print(name, call(*args))`;
      if (!makesI386Calls()) skip('this kernel has no i386 calls');
      const confined = await inPython(bench, script);
      expect(confined[0]).toBe('getpid ok');
      expect(confined.slice(1)).toEqual([
        'mount EPERM',
        'umount2 EPERM',
        'chroot EPERM',
        'setns EPERM',
        'keyctl EPERM',
        'bpf EPERM',
        'unshare EPERM',
        'clone EPERM',
        'clone3 ENOSYS',
        'io_uring_setup ENOSYS',
        'socket AF_VSOCK EAFNOSUPPORT',
        'socketcall ENOSYS',
        'socketpair AF_VSOCK EAFNOSUPPORT',
        'unknown ENOSYS',
      ]);
      // The way itself is open: without the filter the kernel looks at the arguments.
      const open = await inPython(bench, script, { seccomp: 'unconfined' });
      expect(open).toContain('io_uring_setup EFAULT');
      expect(open).toContain('socketcall EFAULT');
    },
    'a call by its x32 number ends the program': async (bench) => {
      if (process.arch !== 'x64') skip('x32 is of x64');
      const X32 = 0x40000000;
      for (const call of [39, 165, 272]) {
        expect((await bench.run(['syscall', X32 + call])).outcome).toEqual({ kind: 'signalled', signal: 'SIGSYS' });
      }
    },
    'no ring takes calls past the filter': async (bench) => {
      for (const call of [IO_URING_SETUP, IO_URING_SETUP + 1, IO_URING_SETUP + 2]) {
        expect(await bench.refusal(['syscall', call])).toBe('errno ENOSYS');
      }
      expect(await bench.refusal(['syscall', IO_URING_SETUP], { seccomp: 'unconfined' })).not.toBe('errno ENOSYS');
    },
    'clone3 hides flags from a filter, so it is not there, and threads start without it': async (bench) => {
      expect(await bench.refusal(['syscall', CLONE3])).toBe('errno ENOSYS');
      const script = `
import subprocess, threading
seen = []
threads = [threading.Thread(target=lambda: seen.append(1)) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(seen), subprocess.check_output(['echo', 'x'], text=True).strip())`;
      expect(await inPython(bench, script)).toEqual(['20 x']);
    },
    'calls that nobody knows yet are not there': async (bench) => {
      for (const call of [600, 999, 5000, 0x3fffffff]) {
        expect(await bench.refusal(['syscall', call])).toBe('errno ENOSYS');
      }
    },
    'numbers beyond 32 bits reach no call that the filter did not see': async (bench) => {
      // The kernel looks at the low half of the register, and so does the filter.
      if (process.arch !== 'x64') skip('the numbers are those of x64');
      expect(await bench.refusal(['syscall', String((1n << 32n) + BigInt(IO_URING_SETUP))])).toBe('errno ENOSYS');
      expect(await bench.refusal(['syscall', String((1n << 32n) + 165n)])).toBe('errno EPERM');
    },
    'a program may confine itself further': async (bench) => {
      // prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER): getppid fails with EPROTO from here on, and nothing else changes.
      const getppid = process.arch === 'x64' ? 110 : 173;
      const script = `
import struct
rules = b''.join(struct.pack('HBBI', *rule) for rule in [(0x20, 0, 0, 0), (0x15, 0, 1, ${getppid}), (6, 0, 0, 0x50047), (6, 0, 0, 0x7fff0000)])
memory = ctypes.create_string_buffer(rules)
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('rules', ctypes.c_void_p)]
program = Program(4, ctypes.addressof(memory))
print(libc.prctl(22, 2, ctypes.byref(program)))
print(attempt(lambda: syscall(${getppid})))
# landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)
print(attempt(lambda: syscall(444, 0, 0, 1)) in ('ok', 'ENOSYS', 'EOPNOTSUPP'))
print(attempt(lambda: syscall(${CLONE3}, 0, 0)))`;
      expect(await inPython(bench, script)).toEqual(['0', 'EPROTO', 'True', 'ENOSYS']);
    },
  },
};
