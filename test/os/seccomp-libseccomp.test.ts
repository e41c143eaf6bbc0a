// The compiler of filters against libseccomp, the one that every container runtime uses: the same profile, both programs run for every number of a
// system call and for arguments at and around every value that the profile tests, and the same verdict of both.
//
// What is known to differ is left out of the profiles that are drawn, or named and compared with something else:
// - Rules have an order here and none there (docs/seccomp.md). So no call has two rules of which one allows what another one refuses, but for
//   tests of one argument that exclude each other.
// - libseccomp 2.5.4 mixes up the tests of several rules for one call that have several tests each: with (0 >= 9 and 3 <= 7) and (0 > 0 and 3 != 2) a call
//   with 1 and 2 fits neither, and counts as fitting. So a call has one rule with several tests, or several rules with one.
// - On i386 libseccomp takes a rule for `socket` also for a rule about `socketcall` with that call in its first argument, and one for `semget` about
//   `ipc`. Here a rule is about the call that it names, and `socketcall` has rules of its own: for these two the reference decides. Of several
//   rules with tests for such a call it takes the first one alone, on every architecture: profiles that are drawn and serve i386 name none of them.
// - On i386 libseccomp compares the low 32 bits of an argument with those of the value. The kernel never shows a filter more of an i386 call, so that is
//   the same for a value of 32 bits; one beyond fits nothing here. Profiles that serve i386 have values of 32 bits, and i386 calls arguments of 32.
// - It does so for x32 too, where the kernel shows all 64 bits of a register. Here they are all compared, as for x86-64: for x32 calls with an argument
//   beyond 32 bits the reference decides, and values are narrowed as for i386.
// - Some programs of libseccomp 2.5.4 take the architecture for the number of the call, because they never load the latter, and no rule counts: with
//   x32, and where a profile begins with calls that the machine does not have. It is seen by that, and the reference decides; how many calls were
//   compared for real is counted.
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
const X32_BIT = 0x40000000;
const I386_SOCKETCALL = 102;
const I386_IPC = 117;
const behindOthers = new Set(
  `socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4
   recvmmsg recvmmsg_time64 sendmmsg socketcall ipc semop semget semctl semtimedop semtimedop_time64 msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl`.split(
    /\s+/,
  ),
);

/** Debian's libseccomp knows the names of some calls from Linux 6.5 on, and their numbers on some machines only. */
function isYoung(name: string): boolean {
  return abis.some((abi) => (syscallTable(abi).get(name) ?? 0) > 450 && (syscallTable(abi).get(name) ?? 0) < 512);
}

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
        const nr = abi === 'x32' ? number + X32_BIT : number;
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

/** How many calls were compared with libseccomp. */
interface Compared {
  x32: number;
  others: number;
}

function expectSameVerdicts(
  profile: OciSeccompProfile,
  architecture: Architecture,
  theirs: Uint8Array,
  what: string,
): Compared {
  const ours = decode(compileSeccomp(profile, { architecture }));
  const theirProgram = decode(theirs);
  const compared: Compared = { x32: 0, others: 0 };
  for (const data of callsFor(profile, architecture)) {
    const other = runFilter(theirProgram, data);
    const byReference = isKnownToDiffer(profile, architecture, data, other.readsNumber);
    if (!byReference) compared[isX32(data) && servesX32(profile) ? 'x32' : 'others']++;
    const expected = byReference ? evaluate(profile, architecture, data) : other.verdict;
    const { verdict } = runFilter(ours, data);
    if (verdict === expected) continue;
    const [here, there] = [verdict.toString(16), expected.toString(16)];
    const call = describeCall(data);
    expect.fail(`${what}, ${architecture}: ${call}: ${here} here, ${there} there\n${words(profile, architecture)}`);
  }
  return compared;
}

function* callsFor(profile: OciSeccompProfile, architecture: Architecture): Generator<SeccompData> {
  for (const data of [...probes(profile), ...conjunctions(profile)]) {
    // No call of i386 has such an argument.
    if (data.arch === audit.i386 && isWide(data)) continue;
    // A filter for arm64 ends programs of every other architecture at the first instruction: a few calls of each will do.
    if (architecture === 'arm64' && data.arch !== audit.aarch64 && data.nr > 8) continue;
    yield data;
  }
}

/** See the top of this file. */
function isKnownToDiffer(
  profile: OciSeccompProfile,
  architecture: Architecture,
  data: SeccompData,
  readsNumber: boolean,
): boolean {
  const { arch, nr } = data;
  if (isServed(profile, architecture, arch) && !readsNumber) return true;
  if (arch === audit.i386) return (nr === I386_SOCKETCALL || nr === I386_IPC) && namesMuxed(profile);
  return arch === audit.x86_64 && (nr === PROOT_SKIPS || (isX32(data) && isWide(data)));
}

function isServed({ architectures: named = [] }: OciSeccompProfile, architecture: Architecture, arch: number): boolean {
  if (architecture === 'arm64') return arch === audit.aarch64;
  return arch === audit.x86_64 || (arch === audit.i386 && named.includes('SCMP_ARCH_X86'));
}

function isX32({ arch, nr }: SeccompData): boolean {
  return arch === audit.x86_64 && nr >= X32_BIT && nr < PROOT_SKIPS;
}

function isWide({ args = [] }: SeccompData): boolean {
  return args.some((value) => value > LOW_32_BITS);
}

function servesX32({ architectures: served = [] }: OciSeccompProfile): boolean {
  return served.includes('SCMP_ARCH_X32');
}

function namesMuxed({ syscalls = [] }: OciSeccompProfile): boolean {
  return syscalls.some(({ names }) => names.some((name) => behindOthers.has(name)));
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
  // Several tests in one rule.
  fc.tuple(answer, tests).map(([same, args]) => [{ ...same, args }]),
  // Several rules of one test each, one answer.
  fc.tuple(answer, tests).map(([same, all]) => all.map((arg) => ({ ...same, args: [arg] }))),
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
      fc.constantFrom<string[]>(
        [],
        ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
        ['SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
      ),
    )
    .map(([otherwise, all, called, served]) => {
      const callable = called.filter((name) => !(served.includes('SCMP_ARCH_X86') && behindOthers.has(name)));
      const syscalls = all.flatMap((rules, i) => {
        const names = callable.filter((_, at) => at % all.length === i);
        return names.length === 0 ? [] : rules.map((rule) => ({ names, ...narrowed(rule, served) }));
      });
      return {
        defaultAction: otherwise.action,
        ...(otherwise.errnoRet === undefined ? {} : { defaultErrnoRet: otherwise.errnoRet }),
        architectures: served,
        syscalls,
      };
    });
}

/** Of `names` those that this libseccomp does not know. */
function unknownTo(names: readonly string[]): ReadonlySet<string> {
  return new Set(
    run(['resolve'], `${names.join('\n')}\n`)
      .toString()
      .trim()
      .split('\n'),
  );
}

describe('libseccomp and the compiler', () => {
  test('know the same names, but for calls that are younger than that libseccomp', () => {
    build();
    const unknown = unknownTo(allNames);
    expect(allNames.filter((name) => !unknown.has(name)).length).toBeGreaterThan(450);
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
        const unknown = unknownTo((profile.syscalls ?? []).flatMap(({ names }) => [...names]));
        const syscalls = (profile.syscalls ?? []).flatMap((rule) => {
          const names = rule.names.filter((name) => !unknown.has(name));
          return names.length === 0 ? [] : [{ ...rule, names }];
        });
        const resolved = { ...profile, syscalls };
        const [theirs] = filtersOf(run([], words(resolved, architecture)));
        if (theirs === undefined) throw new Error('libseccomp made nothing');
        const { others } = expectSameVerdicts(
          resolved,
          architecture,
          theirs,
          `with ${capabilities.join(', ') || 'nothing'}`,
        );
        expect(others).toBeGreaterThan(300);
      }
    }
  });

  test(`agree about ${PROFILES} profiles`, () => {
    build();
    const seed = Number(process.env['SANDBOXLIB_TEST_SEED'] ?? Math.trunc(Math.random() * 0x7fffffff));
    console.info(`SANDBOXLIB_TEST_SEED=${seed} draws the same profiles again`);
    const unknown = unknownTo(allNames);
    const names = allNames.filter((name) => !unknown.has(name) && !isYoung(name));
    const drawn = fc.sample(profilesOf(names), { seed, numRuns: PROFILES });
    const total = { x32: 0, others: 0 };
    for (const architecture of architectures) {
      const filters = [...filtersOf(run([], drawn.map((profile) => words(profile, architecture)).join('')))];
      expect(filters.length).toBe(PROFILES);
      for (const [i, profile] of drawn.entries()) {
        const what = `profile ${i} of seed ${seed}`;
        const { x32, others } = expectSameVerdicts(profile, architecture, filters[i] ?? new Uint8Array(), what);
        total.x32 += x32;
        total.others += others;
      }
    }
    // Not by the reference alone.
    expect(total.x32).toBeGreaterThan(PROFILES * 100);
    expect(total.others).toBeGreaterThan(PROFILES * 3000);
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
