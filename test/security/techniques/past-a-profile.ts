// A program that knows the profile which it is under, and looks for a way past: other numbers for the same call, other halves of an argument, and the
// pass by which the launcher's own calls go through.
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import type { OciSeccomp } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { barePath } from '../../helpers/guest.ts';
import { skip } from '../skip.ts';
import { lighter, needing, type Technique } from '../technique.ts';

const EPROTO = 71;
const [getppid, execve, openat] = process.arch === 'arm64' ? [173, 221, 56] : [110, 59, 257];
const [mmap, mprotect] = process.arch === 'arm64' ? [222, 226] : [9, 10];
const IO_URING_SETUP = 425;
/** Of i386. */
const I386_GETPPID = 64;
const X32 = 0x40000000;

const errnoFor = (names: readonly string[], more: Partial<OciSeccomp> = {}): OciSeccomp => ({
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names, action: 'SCMP_ACT_ERRNO', errnoRet: EPROTO }],
  ...more,
});

async function answer(bench: Bench, args: readonly (string | number)[], seccomp: OciSeccomp): Promise<unknown> {
  const { outcome, signal, stdout } = await bench.bare(args, { seccomp });
  return outcome.kind === 'signalled' || outcome.kind === 'denied' ? signal : stdout;
}

/** On some virtual machines the instruction ends the program. */
function hasI386(): boolean {
  return process.arch === 'x64' && spawnSync(barePath(), ['int80', String(I386_GETPPID)]).status === 0;
}

const shared = 'the filter is that of the native backend, installed by the same code';

export const technique: Technique = {
  name: 'past-a-profile',
  attacks: ['seccomp.custom'],
  cases: {
    'a refused call is refused by its number of another ABI too, or ends the program': lighter(
      shared,
      async (bench) => {
        if (process.arch !== 'x64') skip('the numbers are those of x64');
        const alone = errnoFor(['getppid']);
        const served = errnoFor(['getppid'], { architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] });
        expect(await answer(bench, ['call', getppid], alone)).toBe(`errno ${EPROTO}\n`);
        // ABIs that the profile does not name.
        expect(await answer(bench, ['call', X32 + getppid], alone)).toBe('SIGSYS');
        expect(await answer(bench, ['call', X32 + getppid], served)).toBe(`errno ${EPROTO}\n`);
        // The kernel takes the low half of the register for the number.
        expect(await answer(bench, ['call', `0x1${getppid.toString(16).padStart(8, '0')}`], alone)).toBe(
          `errno ${EPROTO}\n`,
        );
        if (!hasI386()) return;
        expect(await answer(bench, ['int80', I386_GETPPID], alone)).toBe('SIGSYS');
        expect(await answer(bench, ['int80', I386_GETPPID], served)).toBe(`errno ${EPROTO}\n`);
      },
    ),

    'an argument is compared as a whole, and its low half where the profile says so': lighter(shared, async (bench) => {
      const rule = { names: ['getppid'], action: 'SCMP_ACT_ERRNO', errnoRet: EPROTO };
      const profile = (arg: NonNullable<NonNullable<OciSeccomp['syscalls']>[number]['args']>[number]): OciSeccomp => ({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ ...rule, args: [arg] }],
      });
      const masked = profile({ index: 1, op: 'SCMP_CMP_MASKED_EQ', value: 0xffffffff, valueTwo: 0x5412 });
      for (const value of ['0x5412', '0x100005412', '0xffffffff00005412'])
        expect(await answer(bench, ['call', getppid, 0, value], masked), value).toBe(`errno ${EPROTO}\n`);
      expect(await answer(bench, ['call', getppid, 0, '0x5413'], masked)).toBe('ok\n');
      // Beyond 2^32, and beyond 2^63, where a signed comparison would turn round.
      const above = profile({ index: 1, op: 'SCMP_CMP_GE', value: 5 });
      for (const value of ['0x5', '0x100000000', '0x8000000000000000', '0xffffffffffffffff'])
        expect(await answer(bench, ['call', getppid, 0, value], above), value).toBe(`errno ${EPROTO}\n`);
      expect(await answer(bench, ['call', getppid, 0, 4], above)).toBe('ok\n');
    }),

    'memory that can be written is not made executable where the profile says so': lighter(shared, async (bench) => {
      // PROT_EXEC, of the flags in the third argument; the kernel looks at all of them.
      const args = [{ index: 2, op: 'SCMP_CMP_MASKED_EQ', value: 4, valueTwo: 4 }];
      const syscalls = [
        { names: ['mmap', 'mprotect', 'pkey_mprotect'], action: 'SCMP_ACT_ERRNO', errnoRet: EPROTO, args },
      ];
      const seccomp: OciSeccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls };
      const map = (protection: number): Promise<unknown> =>
        answer(bench, ['call', mmap, 0, 4096, protection, '0x22', '0xffffffffffffffff', 0], seccomp);
      for (const protection of [4, 5, 7]) expect(await map(protection)).toBe(`errno ${EPROTO}\n`);
      expect(await map(3)).toBe('ok\n');
      expect(await answer(bench, ['call', mprotect, 0, 4096, 5], seccomp)).toBe(`errno ${EPROTO}\n`);
    }),

    'a ring is a call like any other, and is refused where the profile says so': lighter(shared, async (bench) => {
      const names = ['io_uring_setup', 'io_uring_enter', 'io_uring_register'];
      expect(await answer(bench, ['call', IO_URING_SETUP, 1, 0], errnoFor(names))).toBe(`errno ${EPROTO}\n`);
    }),

    'nothing that is left in registers or on the stack is the pass of the launcher': async (bench) => {
      const seccomp = errnoFor(['execve', 'execveat', 'openat']);
      const guesses = ['0', '1', '0xffffffff', '0xffffffffffffffff', '0x8000000000000000'];
      const { stdout } = await bench.bare(['exec', bench.inside(bench.bareOutside), ...guesses], { seccomp });
      expect(stdout).toMatch(new RegExp(`^errno ${EPROTO} after \\d+\\n$`));
      // The way is open where the profile allows it: the program becomes itself, without a word to do, and ends with 2.
      const open = await bench.bare(['exec', bench.inside(bench.bareOutside), '0'], { seccomp: errnoFor(['getppid']) });
      expect(open.outcome).toEqual({ kind: 'exited', code: 2 });
      expect(await answer(bench, ['call', openat], seccomp)).toBe(`errno ${EPROTO}\n`);
    },

    'a profile that allows nothing leaves nothing': lighter(shared, async (bench) => {
      const seccomp: OciSeccomp = { defaultAction: 'SCMP_ACT_KILL_PROCESS' };
      for (const args of [['echo'], ['call', getppid], ['call', execve], ['exec', '/bare', '0']])
        expect((await bench.bare(args, { seccomp })).outcome).toMatchObject(bench.killedFor());
    }),

    'a strict program has no other call, by no number': needing(
      ['seccomp.strict'],
      lighter(shared, async (bench) => {
        const attempts: (string | number)[][] = [
          ['call', getppid],
          ['call', execve, 0, 0, 0, 0, 0, 0],
          ['call', openat],
          ['call', mmap, 0, 4096, 7, '0x22', '0xffffffffffffffff', 0],
          ['call', mprotect, 0, 4096, 5],
          ['call', IO_URING_SETUP, 1],
          ['call', 0xffffffff],
          ...(process.arch === 'x64'
            ? [
                ['call', X32],
                ['call', X32 + 1],
              ]
            : []),
          ...(hasI386()
            ? [
                ['int80', I386_GETPPID],
                ['int80', 11],
              ]
            : []),
        ];
        // -1 and -2 are what tracers set to skip a call: nobody's numbers, and not allowed either.
        for (const args of attempts)
          expect((await bench.bare(args, { seccomp: 'strict' })).outcome, args.join(' ')).toMatchObject(
            bench.killedFor(),
          );
      }),
    ),
  },
};
