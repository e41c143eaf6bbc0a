// The compiler of filters against libseccomp, the one that every container runtime uses: the same profile, both programs run for every number of a
// system call and for arguments at and around every value that the profile tests, and the same verdict of both.
//
// What is known to differ is left out of the profiles that are drawn, or named and compared with something else:
// - Rules have an order here and none there (docs/seccomp.md). So no call has two rules of which one allows what another one refuses, but for
//   tests of one argument that exclude each other.
// - On i386 libseccomp takes a rule for `socket` also for a rule about `socketcall` with that call in its first argument, and one for `semget` about
//   `ipc`. Here a rule is about the call that it names, and `socketcall` has rules of its own: for these two the reference decides.
// - On i386 libseccomp compares the low 32 bits of an argument with those of the value. The kernel never shows a filter more of an i386 call, so that is
//   the same for a value of 32 bits; one beyond fits nothing here. Profiles that serve i386 have values of 32 bits, and i386 calls arguments of 32.
// - It does so for x32 too, where the kernel shows all 64 bits of a register. Here they are all compared, as for x86-64: for x32 calls with an argument
//   beyond 32 bits the reference decides, and values are narrowed as for i386.
// - With x86-64 and x32 and nothing else, the program of libseccomp 2.5.4 never loads the number of the call, so that no rule counts. Every profile that
//   serves x32 serves i386 too, as those of engines do; the compiler's own tests have x32 alone.
// - Tracers skip a call by the number -1, and proot by -2. libseccomp ends the process for the second, as for any other number of x32.
// - libseccomp does not take 4095, the kernel's largest errno.
// - libseccomp refuses a rule whose action is the default one; runtimes leave it out, and so does this file.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkServable, compileSeccomp } from '../../src/seccomp/compile.ts';
import {
  type OciSeccompArg,
  type OciSeccompProfile,
  type OciSeccompRule,
  operators,
  toOci,
} from '../../src/seccomp/oci.ts';
import { abis, syscallTable } from '../../src/seccomp/syscalls.ts';
import { audit, decode, runFilter, type SeccompData } from '../helpers/bpf.ts';
import { requires } from '../helpers/requires.ts';
import { describeCall, evaluate, KILL_PROCESS, probes, verdictOf } from '../helpers/seccomp-reference.ts';

requires('linux', 'command:cc', 'file:/usr/include/seccomp.h');

const PROFILES = 500;
const ENGINE_PROFILE = '/usr/share/containers/seccomp.json';

let directory = '';
let program = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'libseccomp-test-'));
  program = join(directory, 'libseccomp_export');
});
afterAll(() => rmSync(directory, { recursive: true }));

function run(args: readonly string[], input: string): Buffer {
  const { status, stdout, stderr } = spawnSync(program, args, { input, maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`libseccomp_export: ${stderr}`);
  return stdout;
}

/** Once, in the first test that needs it: a hook runs for skipped tests too. */
function build(): void {
  const source = fileURLToPath(new URL('../../native/test/libseccomp_export.c', import.meta.url));
  const words = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-O1', '-o', program, source, '-lseccomp'];
  const { status, stderr } = spawnSync('cc', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

type Architecture = 'x64' | 'arm64';
const architectures: readonly Architecture[] = ['x64', 'arm64'];
const allNames = [...new Set(abis.flatMap((abi) => [...syscallTable(abi).keys()]))];

function words(profile: OciSeccompProfile, architecture: Architecture): string {
  const otherwise = verdictOf(profile.defaultAction, profile.defaultErrnoRet);
  const has = (name: string): boolean => profile.architectures?.includes(`SCMP_ARCH_${name}`) === true;
  const served =
    architecture === 'arm64' ? ['aarch64'] : ['x86_64', ...(has('X86') ? ['x86'] : []), ...(has('X32') ? ['x32'] : [])];
  const rules = (profile.syscalls ?? []).flatMap(({ names, action, errnoRet, args = [] }) => {
    const verdict = verdictOf(action, errnoRet);
    const tests = args.map(({ index, op, value, valueTwo = 0 }) => {
      // For SCMP_CMP_MASKED_EQ the mask is the first one, as in the OCI spec.
      return `${index} ${operators.indexOf(op as (typeof operators)[number]) + 1} ${BigInt(value).toString(16)} ${BigInt(valueTwo).toString(16)}`;
    });
    return verdict === otherwise ? [] : names.map((name) => ['rule', verdict.toString(16), name, ...tests].join(' '));
  });
  return [`begin ${otherwise.toString(16)} ${served.join(' ')}`, ...rules, 'end', ''].join('\n');
}

function* filtersOf(output: Buffer): Generator<Uint8Array> {
  for (let at = 0; at < output.length; ) {
    const length = output.readUInt32LE(at);
    yield output.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
}

const LOW_32_BITS = 0xffffffffn;
const PROOT_SKIPS = 0xfffffffe;
const I386_SOCKETCALL = 102;
const I386_IPC = 117;
const behindOthers = new Set(
  `socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4
   recvmmsg recvmmsg_time64 sendmmsg socketcall ipc semop semget semctl semtimedop semtimedop_time64 msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl`.split(
    /\s+/,
  ),
);

/** Each rule's tests all held, and each of them broken by itself. */
function* conjunctions(profile: OciSeccompProfile): Generator<SeccompData> {
  for (const { names, args = [] } of profile.syscalls ?? []) {
    if (args.length < 2) continue;
    const holding = Array.from({ length: 6 }, () => 0n);
    for (const { index, op, value, valueTwo = 0 } of args) {
      const datum = BigInt(value);
      if (op === 'SCMP_CMP_MASKED_EQ') holding[index] = BigInt(valueTwo) & datum;
      else if (op === 'SCMP_CMP_NE' || op === 'SCMP_CMP_GT') holding[index] = BigInt.asUintN(64, datum + 1n);
      else if (op === 'SCMP_CMP_LT') holding[index] = BigInt.asUintN(64, datum - 1n);
      else holding[index] = datum;
    }
    for (const name of names.slice(0, 2)) {
      for (const abi of abis) {
        const number = syscallTable(abi).get(name);
        if (number === undefined) continue;
        const nr = abi === 'x32' ? number + 0x40000000 : number;
        const arch = abi === 'x32' ? audit.x86_64 : audit[abi];
        yield { arch, nr, args: holding };
        for (const { index } of args) {
          for (const bit of [0n, 31n, 32n, 63n])
            yield { arch, nr, args: holding.map((value, i) => (i === index ? value ^ (1n << bit) : value)) };
        }
      }
    }
  }
}

function expectSameVerdicts(
  profile: OciSeccompProfile,
  architecture: Architecture,
  theirs: Uint8Array,
  what: string,
): number {
  const ours = decode(compileSeccomp(profile, { architecture }));
  const other = decode(theirs);
  const muxed = (profile.syscalls ?? []).some(({ names }) => names.some((name) => behindOthers.has(name)));
  let compared = 0;
  for (const data of [...probes(profile), ...conjunctions(profile)]) {
    // A filter for arm64 ends programs of every other architecture at the first instruction; one sample of each is among the probes.
    const wide = data.args?.some((value) => value > LOW_32_BITS) === true;
    if (data.arch === audit.i386 && wide) continue;
    if (architecture === 'arm64' && data.arch !== audit.aarch64 && data.nr > 8) continue;
    const { verdict } = runFilter(ours, data);
    const isMux = muxed && data.arch === audit.i386 && (data.nr === I386_SOCKETCALL || data.nr === I386_IPC);
    const isX32 = data.arch === audit.x86_64 && data.nr >= 0x40000000 && data.nr < 0xfffffffe;
    const isSkipped = data.arch === audit.x86_64 && data.nr === PROOT_SKIPS;
    const expected =
      isMux || isSkipped || (isX32 && wide) ? evaluate(profile, architecture, data) : runFilter(other, data).verdict;
    compared++;
    if (verdict !== expected)
      expect.fail(
        `${what}, ${architecture}: ${describeCall(data)}: ${verdict.toString(16)} here, ${expected.toString(16)} there\n${words(profile, architecture)}`,
      );
  }
  return compared;
}

const word = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  fc.bigInt({ min: 0n, max: 4n }),
  fc.constantFrom(0x80000000n, 0xffffffffn, 0x100000000n, 0xffffffff00000000n, 0xffffffffffffffffn),
);
const answer = fc.oneof(
  fc
    .constantFrom('ALLOW', 'KILL_THREAD', 'KILL_PROCESS', 'TRAP', 'LOG')
    .map((action) => ({ action: `SCMP_ACT_${action}` })),
  fc.record({ action: fc.constant('SCMP_ACT_ERRNO'), errnoRet: fc.nat({ max: 4094 }) }),
);
type Answer = { readonly action: string; readonly errnoRet?: number };
const tests: fc.Arbitrary<readonly OciSeccompArg[]> = fc.uniqueArray(
  fc.record({ index: fc.nat({ max: 5 }), op: fc.constantFrom(...operators), value: word, valueTwo: word }),
  { minLength: 1, maxLength: 3, selector: ({ index }) => index },
);
/** The rules of some calls that have no other ones. */
type Group = readonly Omit<OciSeccompRule, 'names'>[];
const group: fc.Arbitrary<Group> = fc.oneof(
  answer.map((same) => [same]),
  // Several tests, one answer.
  fc
    .tuple(answer, fc.array(tests, { minLength: 1, maxLength: 3 }))
    .map(([same, all]) => all.map((args) => ({ ...same, args }))),
  // Several answers, and no argument that fits two of them.
  fc
    .tuple(
      fc.nat({ max: 5 }),
      fc.uniqueArray(word, { minLength: 2, maxLength: 4, selector: (value) => value & LOW_32_BITS }),
      fc.array(answer, { minLength: 4, maxLength: 4 }),
    )
    .map(([index, values, answers]) =>
      values.map(
        (value, i): Omit<OciSeccompRule, 'names'> => ({
          ...(answers[i] as Answer),
          args: [{ index, op: 'SCMP_CMP_EQ', value }],
        }),
      ),
    ),
);

function narrowed(rule: Group[number], served: readonly string[]): Group[number] {
  if (rule.args === undefined || !served.some((name) => name === 'SCMP_ARCH_X86' || name === 'SCMP_ARCH_X32'))
    return rule;
  const low = (value: number | bigint): bigint => BigInt(value) & LOW_32_BITS;
  return {
    ...rule,
    args: rule.args.map((arg) => ({ ...arg, value: low(arg.value), valueTwo: low(arg.valueTwo ?? 0) })),
  };
}

function profilesOf(names: readonly string[]): fc.Arbitrary<OciSeccompProfile> {
  return fc
    .tuple(
      answer as fc.Arbitrary<Answer>,
      fc.array(group, { minLength: 1, maxLength: 8 }),
      fc.uniqueArray(fc.constantFrom(...names), { minLength: 8, maxLength: 60 }),
      fc.constantFrom(
        [],
        ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
        ['SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
      ),
    )
    .map(([otherwise, all, called, served]) => ({
      defaultAction: otherwise.action,
      ...(otherwise.errnoRet === undefined ? {} : { defaultErrnoRet: otherwise.errnoRet }),
      architectures: served,
      syscalls: all.flatMap((rules, i) =>
        rules.map((rule) => ({ names: called.filter((_, at) => at % all.length === i), ...narrowed(rule, served) })),
      ),
    }));
}

describe('libseccomp and the compiler', () => {
  let known: readonly string[] = [];

  test('know the same names, but for calls that are younger than that libseccomp', () => {
    build();
    const unknown = run(['resolve'], `${allNames.join('\n')}\n`)
      .toString()
      .trim()
      .split('\n');
    known = allNames.filter((name) => !unknown.includes(name));
    expect(known.length).toBeGreaterThan(450);
    // A profile of an engine is for every machine: no name that libseccomp has is taken for a misspelt one.
    const header = readFileSync('/usr/include/seccomp-syscalls.h', 'utf8');
    const theirs = [...new Set([...header.matchAll(/^#define __SNR_(\w+)/gm)].map(([, name = '']) => name))];
    const syscalls = [{ names: theirs, action: 'SCMP_ACT_ALLOW' }];
    expect(theirs.length).toBeGreaterThan(450);
    expect(() => compileSeccomp({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, { architecture: 'x64' })).not.toThrow();
  });

  test('agree about the profile that container engines use', () => {
    requires(`file:${ENGINE_PROFILE}`);
    build();
    const engine: unknown = JSON.parse(readFileSync(ENGINE_PROFILE, 'utf8'));
    for (const architecture of architectures) {
      for (const capabilities of [[], ['CAP_SYS_ADMIN', 'CAP_AUDIT_WRITE', 'CAP_SYS_TIME']]) {
        const profile = toOci(checkServable(engine, { architecture, kernel: '6.18.0', capabilities }));
        // Engines leave out what the library that they use does not know.
        const names = [...new Set((profile.syscalls ?? []).flatMap((rule) => [...rule.names]))];
        const unknown = new Set(
          run(['resolve'], `${names.join('\n')}\n`)
            .toString()
            .trim()
            .split('\n'),
        );
        const syscalls = (profile.syscalls ?? []).map((rule) => ({
          ...rule,
          names: rule.names.filter((name) => !unknown.has(name)),
        }));
        const resolved = { ...profile, syscalls: syscalls.filter((rule) => rule.names.length > 0) };
        const [theirs] = filtersOf(run([], words(resolved, architecture)));
        if (theirs === undefined) throw new Error('libseccomp made nothing');
        expect(
          expectSameVerdicts(
            resolved,
            architecture,
            theirs,
            `an engine's profile with ${capabilities.join(', ') || 'no capability'}`,
          ),
        ).toBeGreaterThan(300);
      }
    }
  });

  test(`agree about ${PROFILES} profiles`, () => {
    build();
    const seed = Number(process.env['SANDBOXLIB_TEST_SEED'] ?? Math.trunc(Math.random() * 0x7fffffff));
    console.info(`SANDBOXLIB_TEST_SEED=${seed} draws the same profiles again`);
    const unknown = new Set(
      run(['resolve'], `${allNames.join('\n')}\n`)
        .toString()
        .trim()
        .split('\n'),
    );
    const drawn = fc.sample(profilesOf(allNames.filter((name) => !unknown.has(name))), { seed, numRuns: PROFILES });
    for (const architecture of architectures) {
      const filters = [...filtersOf(run([], drawn.map((profile) => words(profile, architecture)).join('')))];
      expect(filters.length).toBe(PROFILES);
      for (const [i, profile] of drawn.entries())
        expectSameVerdicts(profile, architecture, filters[i] ?? new Uint8Array(), `profile ${i} of seed ${seed}`);
    }
  }, 300_000);
});

test('the comparison notices one instruction that is wrong', () => {
  build();
  const profile = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }] };
  const [theirs] = filtersOf(run([], words(profile, 'x64')));
  const wrong = Buffer.from(theirs ?? []);
  wrong.writeUInt32LE(KILL_PROCESS, wrong.length - 12);
  expect(() => expectSameVerdicts(profile, 'x64', wrong, 'a wrong one')).toThrow(/a wrong one, x64/);
});
