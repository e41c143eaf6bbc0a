// A program that knows of the rules which init is asked about, and looks for a way past: other numbers, a hand on a thread that waits for its answer, filters
// of its own, and more questions than anybody answers.
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import { run, spawn } from '../../../src/index.ts';
import type { SandboxSpec, SyscallRule } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { barePath } from '../../helpers/guest.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import { skip } from '../skip.ts';
import { lighter, needing, type Technique } from '../technique.ts';

const EPROTO = 71;
const [getppid, getsid] = process.arch === 'arm64' ? [173, 156] : [110, 124];
const X32 = 0x40000000;
const I386_GETPPID = 64;

const refused: SandboxSpec = { onSyscall: [{ names: ['getppid'], action: 'errno', errno: 'EPROTO' }] };
const shared = 'the filter and who answers are those of the native backend';

async function answer(bench: Bench, args: readonly (string | number)[], spec: SandboxSpec): Promise<unknown> {
  const { outcome, stdout } = await bench.bare(args, spec);
  return outcome.kind === 'exited' ? stdout : outcome.kind;
}

/** x64 numbers of struct user_regs_struct: the first argument, and the number of the call. */
const tracing = `
import time
RDI, ORIG_RAX = 112, 120
answers = os.pipe()
child = os.fork()
if child == 0:
    os.write(answers[1], (attempt(lambda: syscall(GETPPID, 1)) + '\\n').encode())
    os._exit(0)
SEIZE, INTERRUPT, PEEKUSER, POKEUSER, CONT, SYSCALL, GETSID = 0x4206, 0x4207, 3, 6, 7, 24, 124
time.sleep(0.1)
print('seize', attempt(lambda: syscall(101, SEIZE, child, 0, 0)))
print('interrupt', attempt(lambda: syscall(101, INTERRUPT, child, 0, 0)))
stops = 0
while True:
    pid, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) or os.WIFSIGNALED(status): break
    stops += 1
    word = ctypes.c_long()
    libc.syscall(101, PEEKUSER, child, ORIG_RAX, ctypes.byref(word))
    # Whenever it stops with that call in hand, it is made another one, which is not asked about by this argument.
    if word.value == GETPPID:
        libc.syscall(101, POKEUSER, child, RDI, 2)
        libc.syscall(101, POKEUSER, child, ORIG_RAX, GETSID)
    libc.syscall(101, SYSCALL, child, 0, 0)
os.close(answers[1])
print('answer', os.read(answers[0], 100).decode().strip())
print('stopped', stops > 0)
`;

const later = `
import struct
libc.prctl(38, 1, 0, 0, 0)
def install(verdict, flags):
    program = struct.pack('HBBI', 0x06, 0, 0, verdict)
    text = ctypes.create_string_buffer(program)
    header = struct.pack('HxxxxxxP', 1, ctypes.addressof(text))
    return attempt(lambda: syscall(SECCOMP, 1, flags, ctypes.c_char_p(header)))
print('allow', install(0x7fff0000, 0))
print('listener', install(0x7fff0000, 8))
print('getppid', attempt(lambda: syscall(GETPPID)))
`;

/** Python is of the host. */
const withPython = (given: Parameters<typeof needing>[1]) => needing(['root.host'], given);

export const technique: Technique = {
  name: 'past-the-questions',
  attacks: ['seccomp.notify'],
  cases: {
    'a call that is refused has no other number': lighter(shared, async (bench) => {
      expect(await answer(bench, ['call', getppid], refused)).toBe(`errno ${EPROTO}\n`);
      expect(await answer(bench, ['call', getsid], refused)).toBe('ok\n');
      if (process.arch !== 'x64') skip('the other numbers are those of x64');
      // The kernel takes the low half of the register for the number.
      const high = `0x1${getppid.toString(16).padStart(8, '0')}`;
      expect(await answer(bench, ['call', high], refused)).toBe(`errno ${EPROTO}\n`);
      expect(await answer(bench, ['call', X32 + getppid], refused)).not.toBe('ok\n');
      expect(await answer(bench, ['call', X32 + getppid], { ...refused, seccomp: 'unconfined' })).toBe(
        `errno ${EPROTO}\n`,
      );
      if (spawnSync(barePath(), ['int80', String(I386_GETPPID)]).status !== 0) return;
      expect(await answer(bench, ['int80', I386_GETPPID], refused)).toBe(`errno ${EPROTO}\n`);
    }),

    'a thread that waits for its answer is not made to call something else': withPython(
      lighter(shared, async (bench) => {
        if (process.arch !== 'x64') skip('the registers are those of x64');
        const rules: SyscallRule[] = [
          { names: ['getppid'], action: 'ask', args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 1 }] },
          { names: ['getppid', 'getsid'], action: 'errno', errno: 'EPROTO' },
        ];
        const numbers = `GETPPID, GETSID = ${getppid}, ${getsid}\n`;
        const allowLate = async (): Promise<'allow'> => {
          await new Promise((resolve) => setTimeout(resolve, 400));
          return 'allow';
        };
        const lines = await inPython(bench, numbers + tracing, { onSyscall: rules }, { onSyscall: allowLate });
        const said = Object.fromEntries(lines.map((line) => line.split(' ')));
        // Where no tracer is allowed there is nothing to try.
        if (said['seize'] !== 'ok') skip(`ptrace(2) is refused here: ${said['seize']}`);
        // It was allowed for what it asked, or was refused for what was made of it.
        expect(['ok', 'EPROTO']).toContain(said['answer']);
        expect(said['stopped']).toBe('True');
      }),
    ),

    'neither a filter nor a listener of its own comes between': withPython(
      lighter(shared, async (bench) => {
        const numbers = `SECCOMP, GETPPID = ${process.arch === 'arm64' ? 277 : 317}, ${getppid}\n`;
        const lines = await inPython(bench, numbers + later, refused);
        // One listener to a process and its filters: EBUSY.
        expect(lines).toEqual(['allow ok', 'listener EBUSY', 'getppid EPROTO']);
      }),
    ),

    'a storm of calls that are told waits for who is told, and ends with its bound': withPython(
      lighter(shared, async (bench, share) => {
        const storm = `
import threading
print('begun', flush=True)
for _ in range(${share(20)}):
    if os.fork() == 0:
        while True: os.getppid()
while True: os.getppid()
`;
        const onSyscall: SyscallRule[] = [{ names: ['getppid'], action: 'log' }];
        const running = spawn(
          pythonCommand(storm),
          bench.withHost({ onSyscall, limits: { wallMs: 1500 } }),
          bench.options({ gracePeriodMs: 100 }),
        );
        await running.started;
        // Nobody listens: no more than those that are told and not taken note of.
        const deaf = Date.now() + 3000;
        while (Date.now() < deaf);
        const { outcome, syscalls } = await running.result;
        expect(outcome).toEqual({ kind: 'limit', limit: 'wallMs' });
        expect(syscalls?.total).toBeGreaterThan(0);
      }),
    ),

    'who is never answered holds up nobody but itself': withPython(
      lighter(shared, async (bench) => {
        const script = `
child = os.fork()
if child == 0: os.getppid()
import time
time.sleep(0.3)
os.kill(child, 9)
print(os.waitpid(child, 0)[1], attempt(lambda: os.mkdir('/tmp/made')))
`;
        const onSyscall: SyscallRule[] = [
          { names: ['getppid'], action: 'ask' },
          { names: ['mkdir', 'mkdirat'], action: 'errno', errno: 'EPROTO' },
        ];
        const never = (): Promise<never> => new Promise(() => {});
        expect(await inPython(bench, script, { onSyscall }, { onSyscall: never })).toEqual(['9 EPROTO']);
      }),
    ),

    'a call that ends its process ends it, whatever it does with the signal': withPython(
      lighter(shared, async (bench) => {
        const script = `
import signal, threading, time
child = os.fork()
if child == 0:
    # One of several threads, where the signal is handled and the others go on.
    signal.signal(signal.SIGSYS, lambda *_: None)
    threading.Thread(target=os.getppid, daemon=True).start()
    while True: time.sleep(1)
print(os.WTERMSIG(os.waitpid(child, 0)[1]) in (9, 31))
`;
        const onSyscall: SyscallRule[] = [{ names: ['getppid'], action: 'kill' }];
        expect(await inPython(bench, script, { onSyscall })).toEqual(['True']);
        const { outcome } = await run(pythonCommand('os.getppid()'), bench.withHost({ onSyscall }), bench.options({}));
        expect(outcome).toMatchObject({ kind: 'denied', syscall: { name: 'getppid' } });
      }),
    ),
  },
};
