import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SpecError } from '../../src/errors/errors.ts';
import { compileChecked, compileSeccomp, MAX_INSTRUCTIONS } from '../../src/seccomp/compile.ts';
import {
  checkProfile,
  type OciSeccompArg,
  type OciSeccompProfile,
  type OciSeccompRule,
  operators,
} from '../../src/seccomp/oci.ts';
import { checkSyscallRules } from '../../src/seccomp/on-syscall.ts';
import { abis, syscallTable } from '../../src/seccomp/syscalls.ts';
import type { SyscallRule } from '../../src/spec/types.ts';
import { audit, decode, runFilter, type SeccompData } from '../helpers/bpf.ts';
import { ALLOW, describeCall, errno, evaluate, KILL_PROCESS, probes } from '../helpers/seccomp-reference.ts';

const names = [...new Set(abis.flatMap((abi) => [...syscallTable(abi).keys()]))];

function expectAgreement(
  profile: OciSeccompProfile,
  architecture: 'x64' | 'arm64',
  calls: Iterable<SeccompData>,
): void {
  const program = decode(compileSeccomp(profile, { architecture }));
  for (const data of calls) {
    const { verdict } = runFilter(program, data);
    const expected = evaluate(profile, architecture, data);
    if (verdict !== expected)
      expect.fail(`${describeCall(data)} on ${architecture}: ${verdict.toString(16)}, not ${expected.toString(16)}`);
  }
}

const architecture = fc.constantFrom('x64' as const, 'arm64' as const);
const word = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  fc.bigInt({ min: 0n, max: 4n }),
  fc.constantFrom(0x80000000n, 0xffffffffn, 0x100000000n, 0xffffffff00000000n, 0xffffffffffffffffn),
);
const arg: fc.Arbitrary<OciSeccompArg> = fc.record(
  { index: fc.nat({ max: 5 }), op: fc.constantFrom(...operators), value: word, valueTwo: word },
  { requiredKeys: ['index', 'op', 'value'] },
);
const answer = fc.oneof(
  fc
    .constantFrom(
      'SCMP_ACT_ALLOW',
      'SCMP_ACT_KILL',
      'SCMP_ACT_KILL_THREAD',
      'SCMP_ACT_KILL_PROCESS',
      'SCMP_ACT_TRAP',
      'SCMP_ACT_LOG',
    )
    .map((action) => ({ action })),
  fc.record({ action: fc.constant('SCMP_ACT_ERRNO'), errnoRet: fc.nat({ max: 4095 }) }, { requiredKeys: ['action'] }),
);
// Few names, so that several rules meet in one call.
const name = fc.oneof(
  fc.constantFrom('read', 'ioctl', 'clone', 'socketcall', 'openat2', 'io_setup'),
  fc.constantFrom(...names),
);
const rule: fc.Arbitrary<OciSeccompRule> = fc
  .tuple(
    fc.array(name, { minLength: 1, maxLength: 12 }),
    answer,
    fc.uniqueArray(arg, { maxLength: 3, selector: ({ index }) => index }),
  )
  .map(([called, { action, ...rest }, args]) => ({ names: called, action, ...rest, ...(args.length > 0 && { args }) }));
const profile: fc.Arbitrary<OciSeccompProfile> = fc
  .tuple(
    answer,
    fc.array(rule, { maxLength: 8 }),
    fc.subarray(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64', 'SCMP_ARCH_RISCV64']),
  )
  .map(([{ action, ...rest }, syscalls, architectures]) => ({
    defaultAction: action,
    ...('errnoRet' in rest && rest.errnoRet !== undefined && { defaultErrnoRet: rest.errnoRet }),
    architectures,
    syscalls,
  }));
const call: fc.Arbitrary<SeccompData> = fc.record({
  arch: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(audit.x86_64, audit.i386, audit.aarch64) },
    { weight: 1, arbitrary: fc.constant(audit.arm) },
  ),
  nr: fc.oneof(
    fc.nat({ max: 600 }),
    fc.nat({ max: 600 }).map((nr) => nr + 0x40000000),
    fc.nat({ max: 0xffffffff }),
    fc.constant(0xffffffff),
  ),
  args: fc.array(word, { minLength: 6, maxLength: 6 }),
});

test('any profile decides any call as its rules say', () => {
  fc.assert(
    fc.property(profile, architecture, fc.array(call, { minLength: 20, maxLength: 40 }), (rules, machine, calls) => {
      expectAgreement(rules, machine, calls);
    }),
    { numRuns: 400 },
  );
});

test('any profile decides the calls that it names, at and around the values that it compares with, as its rules say', () => {
  fc.assert(
    fc.property(profile, architecture, (rules, machine) => {
      expectAgreement(rules, machine, probes(rules));
    }),
    { numRuns: 15 },
  );
}, 60_000);

/** A rule for single calls, with the same tests as a rule of a profile. */
const asking = fc.tuple(rule, fc.constantFrom<SyscallRule['action'][]>('allow', 'log', 'errno', 'kill', 'ask'));
const LETS_THROUGH = new Set([0x7fff0000, 0x7ffc0000]);
/** SECCOMP_RET_USER_NOTIF with what init makes of its data (native/notify.h); 1 is EPERM. */
const questions = { log: 0x7fc01000, errno: 0x7fc02001, kill: 0x7fc03000, ask: 0x7fc04000 };

test('rules for single calls decide what a profile lets through, and nothing else', () => {
  const rules = fc.array(asking, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(profile, architecture, rules, (policy, machine, asked) => {
      const checked = checkProfile(policy, { architecture: machine });
      const given = asked.map(
        ([{ names: called, args = [] }, action]): SyscallRule => ({ names: called, args, action }),
      );
      const { filter } = compileChecked(checked, machine, new Set(), checkSyscallRules(given));
      const program = decode(filter);
      // The same rules as a profile, in which the place of a rule is its errno.
      const listed = asked.map(([one], index) => ({ ...one, action: 'SCMP_ACT_ERRNO', errnoRet: index }));
      const places = { ...policy, defaultAction: 'SCMP_ACT_ALLOW', syscalls: listed };
      for (const data of [...probes(policy), ...probes(places)]) {
        const own = evaluate(policy, machine, data);
        const place = LETS_THROUGH.has(own) ? evaluate(places, machine, data) : undefined;
        const action = place === undefined || place === 0x7fff0000 ? 'allow' : asked[place & 0xffff]?.[1];
        const expected = action === undefined || action === 'allow' ? own : questions[action];
        const { verdict } = runFilter(program, data);
        if (verdict !== expected)
          expect.fail(`${describeCall(data)} on ${machine}: ${verdict.toString(16)}, not ${expected.toString(16)}`);
      }
    }),
    { numRuns: 15 },
  );
}, 60_000);

test.each(operators)('%s compares all 64 bits, and nothing but 64 bits', (op) => {
  const interesting = [
    0n,
    1n,
    0x5412n,
    0xffffffffn,
    0x100000000n,
    0x100005412n,
    0xffffffff00000000n,
    0xffffffff00005412n,
    0xffffffffffffffffn,
  ];
  for (const value of interesting) {
    for (const valueTwo of op === 'SCMP_CMP_MASKED_EQ' ? interesting : [0n]) {
      const syscalls = [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args: [{ index: 5, op, value, valueTwo }] }];
      const calls = interesting.map((argument) => ({
        arch: audit.x86_64,
        nr: 0,
        args: [0n, 0n, 0n, 0n, 0n, argument],
      }));
      expectAgreement({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, 'x64', calls);
    }
  }
});

test('the tests of one rule must all hold', () => {
  const args = [
    { index: 0, op: 'SCMP_CMP_EQ', value: 1 },
    { index: 1, op: 'SCMP_CMP_EQ', value: 2 },
  ];
  const program = decode(
    compileSeccomp(
      { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args }] },
      { architecture: 'x64' },
    ),
  );
  const verdict = (...values: bigint[]): number =>
    runFilter(program, { arch: audit.x86_64, nr: 0, args: values }).verdict;
  expect(verdict(1n, 2n)).toBe(ALLOW);
  expect(verdict(1n, 3n)).toBe(errno(1));
  expect(verdict(3n, 2n)).toBe(errno(1));
});

test('the first rule that fits decides', () => {
  const syscalls = [
    { names: ['read'], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 7 }] },
    { names: ['read'], action: 'SCMP_ACT_ALLOW' },
    { names: ['read'], action: 'SCMP_ACT_KILL_PROCESS' },
  ];
  const program = decode(compileSeccomp({ defaultAction: 'SCMP_ACT_TRAP', syscalls }, { architecture: 'x64' }));
  expect(runFilter(program, { arch: audit.x86_64, nr: 0, args: [7n] }).verdict).toBe(errno(5));
  expect(runFilter(program, { arch: audit.x86_64, nr: 0, args: [8n] }).verdict).toBe(ALLOW);
});

test('only the ABIs that a profile names may be used beside the machine’s own', () => {
  const allowAll = { defaultAction: 'SCMP_ACT_ALLOW' };
  const verdict = (architectures: readonly string[], arch: number, nr: number): number =>
    runFilter(decode(compileSeccomp({ ...allowAll, architectures }, { architecture: 'x64' })), { arch, nr }).verdict;
  expect(verdict([], audit.x86_64, 0)).toBe(ALLOW);
  expect(verdict([], audit.i386, 0)).toBe(KILL_PROCESS);
  expect(verdict([], audit.x86_64, 0x40000000)).toBe(KILL_PROCESS);
  expect(verdict(['SCMP_ARCH_X86'], audit.i386, 0)).toBe(ALLOW);
  expect(verdict(['SCMP_ARCH_X32'], audit.x86_64, 0x40000000)).toBe(ALLOW);
  expect(verdict(['SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'], audit.aarch64, 0)).toBe(KILL_PROCESS);
});

test('a call that a tracer skips by number -1 or -2 gets the default action, not the end of x32 programs', () => {
  const program = decode(
    compileSeccomp({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 38 }, { architecture: 'x64' }),
  );
  expect(runFilter(program, { arch: audit.x86_64, nr: 0xffffffff }).verdict).toBe(errno(38));
  expect(runFilter(program, { arch: audit.x86_64, nr: 0xfffffffe }).verdict).toBe(errno(38));
});

test('jumps that are too far for one instruction still arrive', () => {
  // Each call with a verdict of its own and a test, so that nothing can be shared and the program is long.
  const syscalls = [...syscallTable('x86_64').keys()].slice(0, 300).map((called, i) => ({
    names: [called],
    action: 'SCMP_ACT_ERRNO',
    errnoRet: i + 1,
    args: [{ index: 2, op: 'SCMP_CMP_EQ', value: i }],
  }));
  const long = { defaultAction: 'SCMP_ACT_ALLOW', syscalls };
  expect(compileSeccomp(long, { architecture: 'x64' }).length / 8).toBeGreaterThan(1500);
  const calls = [...syscallTable('x86_64').values()].flatMap((nr) =>
    [0n, BigInt(nr), 0x100000000n + BigInt(nr)].map((value) => ({ arch: audit.x86_64, nr, args: [0n, 0n, value] })),
  );
  expectAgreement(long, 'x64', calls);
});

test('a profile that makes more instructions than the kernel takes is refused', () => {
  const syscalls = Array.from({ length: 1200 }, (_, i) => ({
    names: ['read'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, op: 'SCMP_CMP_EQ', value: i }],
  }));
  expect(() => compileSeccomp({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, { architecture: 'x64' })).toThrow(
    new RegExp(`seccomp: the filter would have \\d+ instructions, and the kernel takes ${MAX_INSTRUCTIONS}`),
  );
});

test('a name that no ABI has is refused, or passed over when the caller says so', () => {
  const misspelt = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['read', 'ptrase'], action: 'SCMP_ACT_ERRNO' }],
  };
  expect(() => compileSeccomp(misspelt, { architecture: 'x64' })).toThrow(
    /seccomp\.syscalls\[0\]\.names\[1\]: Linux 6\.18 has no system call "ptrase"; correct it, or set seccompUnknownSyscalls to 'ignore'/,
  );
  const program = decode(compileSeccomp(misspelt, { architecture: 'x64', unknownSyscalls: 'ignore' }));
  expect(runFilter(program, { arch: audit.x86_64, nr: 0 }).verdict).toBe(errno(1));
});

test('a name that only other ABIs have is no error', () => {
  const foreign = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['socketcall', 'open'], action: 'SCMP_ACT_ERRNO' }],
  };
  expect(decode(compileSeccomp(foreign, { architecture: 'arm64' })).map(({ code }) => code)).toEqual([
    0x20, 0x15, 0x06, 0x20, 0x06,
  ]);
});

test('32-bit ARM is refused on arm64, where it cannot be served, and passed over on x64', () => {
  const arm = { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'] };
  expect(() => compileSeccomp(arm, { architecture: 'arm64' })).toThrow(
    /seccomp\.architectures\[1\]: filters for 32-bit ARM/,
  );
  expect(() => compileSeccomp(arm, { architecture: 'x64' })).not.toThrow();
});

const wrong: readonly (readonly [string, unknown, string])[] = [
  ['no object', null, 'seccomp: must be an object'],
  ['no default action', {}, 'seccomp.defaultAction: must be one of SCMP_ACT_KILL'],
  ['an unknown action', { defaultAction: 'ALLOW' }, 'not "ALLOW"'],
  ['an action of the prototype', { defaultAction: 'constructor' }, 'not "constructor"'],
  ['notification', { defaultAction: 'SCMP_ACT_NOTIFY' }, 'seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported'],
  [
    'a listener',
    { defaultAction: 'SCMP_ACT_ALLOW', listenerPath: '/x' },
    'seccomp.listenerPath: user notification is not supported',
  ],
  [
    'flags',
    { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_LOG'] },
    'seccomp.flags: flags of seccomp(2) are not supported',
  ],
  [
    'a misspelt key',
    { defaultAction: 'SCMP_ACT_ALLOW', syscals: [] },
    'seccomp.syscals: unknown key; known are defaultAction',
  ],
  [
    'a tracer',
    { defaultAction: 'SCMP_ACT_TRACE' },
    'seccomp.defaultAction: SCMP_ACT_TRACE is not supported: no tracer',
  ],
  [
    'two lists of architectures',
    {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86'],
      archMap: [{ architecture: 'SCMP_ARCH_X86_64' }],
    },
    'seccomp.archMap: excludes architectures',
  ],
  [
    'an unknown architecture of an engine',
    { defaultAction: 'SCMP_ACT_ALLOW', archMap: [{ architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['ARM'] }] },
    'seccomp.archMap[0].subArchitectures[0]: unknown architecture "ARM"',
  ],
  [
    'an errno that nobody knows',
    { defaultAction: 'SCMP_ACT_ERRNO', defaultErrno: 'EPREM' },
    'seccomp.defaultErrno: must be the name of an error such as \'EPERM\', not "EPREM"',
  ],
  [
    'an errno with an action that has none',
    { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 1 },
    'seccomp.defaultErrnoRet: SCMP_ACT_ALLOW returns no errno',
  ],
  [
    'an errno beyond the kernel’s',
    { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 4096 },
    'seccomp.defaultErrnoRet: must be a whole number from 0 to 4095',
  ],
  [
    'an unknown architecture',
    { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['x86'] },
    'seccomp.architectures[0]: unknown architecture "x86"',
  ],
  ['rules that are no array', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: {} }, 'seccomp.syscalls: must be an array'],
  [
    'a rule that is no object',
    { defaultAction: 'SCMP_ACT_ALLOW', syscalls: ['read'] },
    'seccomp.syscalls[0]: must be an object',
  ],
];
const wrongRules: readonly (readonly [string, unknown, string])[] = [
  ['no names', { action: 'SCMP_ACT_ALLOW' }, 'names: must be an array with at least one name'],
  [
    'a number for a name',
    { names: [0], action: 'SCMP_ACT_ALLOW' },
    'names[0]: must be the name of a system call, not 0',
  ],
  ['notification', { names: ['connect'], action: 'SCMP_ACT_NOTIFY' }, 'action: SCMP_ACT_NOTIFY is not supported'],
  ['a seventh argument', withArg({ index: 6 }), 'args[0].index: must be a whole number from 0 to 5, not 6'],
  ['a negative value', withArg({ value: -1 }), 'args[0].value: must be a whole number from 0 to 2^64 - 1'],
  ['a value that a number cannot hold exactly', withArg({ value: 2 ** 63 }), 'args[0].value: must be a whole number'],
  ['a fraction', withArg({ valueTwo: 0.5 }), 'args[0].valueTwo: must be a whole number'],
  [
    'a value beyond 64 bits',
    withArg({ value: 1n << 64n }),
    'args[0].value: must be a whole number from 0 to 2^64 - 1 (from 2^53 on as a bigint or as text), not 18446744073709551616n',
  ],
  ['an unknown operator', withArg({ op: '==' }), 'args[0].op: must be one of SCMP_CMP_NE'],
  ['text that is no number', withArg({ value: '1e3' }), 'args[0].value: must be a whole number'],
  ['text beyond 64 bits', withArg({ value: '18446744073709551616' }), 'args[0].value: must be a whole number'],
  [
    'two ways to name calls',
    { name: 'read', names: ['write'], action: 'SCMP_ACT_ALLOW' },
    'name: excludes names; write one of them',
  ],
  [
    'a condition that nobody knows',
    { names: ['read'], action: 'SCMP_ACT_ALLOW', includes: { arch: ['amd64'] } },
    'includes.arch: unknown key; known are arches, caps, minKernel',
  ],
  [
    'a release that is none',
    { names: ['read'], action: 'SCMP_ACT_ALLOW', excludes: { minKernel: 'six' } },
    'excludes.minKernel: must be a release such as \'4.8\', not "six"',
  ],
  ['an unknown key', withArg({ vaule: 1 }), 'args[0].vaule: unknown key'],
  [
    'one argument tested twice',
    {
      names: ['read'],
      action: 'SCMP_ACT_ALLOW',
      args: [1, 2].map((value) => ({ index: 0, op: 'SCMP_CMP_NE', value })),
    },
    'args[1].index: argument 0 is tested twice in one rule, which runtimes read in different ways; write two rules',
  ],
];
function withArg(part: object): object {
  return { names: ['read'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 0, ...part }] };
}

test.each([
  ...wrong,
  ...wrongRules.map(
    ([what, rule_, message]) =>
      [what, { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule_] }, `seccomp.syscalls[0].${message}`] as const,
  ),
])('a profile with %s is refused', (_what, bad, message) => {
  expect(() => compileSeccomp(bad, { architecture: 'x64' })).toThrow(SpecError);
  expect(() => compileSeccomp(bad, { architecture: 'x64' })).toThrow(message);
});

test('all that is wrong with a profile is said at once', () => {
  const bad = { defaultAction: 'X', syscalls: [{ names: [], action: 'Y', args: [{ index: 9, op: 'Z', value: 'v' }] }] };
  try {
    compileSeccomp(bad, { architecture: 'x64' });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    expect((error as SpecError).issues.map(({ path }) => path.join('.'))).toEqual([
      'seccomp.defaultAction',
      'seccomp.syscalls.0.names',
      'seccomp.syscalls.0.action',
      'seccomp.syscalls.0.args.0.index',
      'seccomp.syscalls.0.args.0.op',
      'seccomp.syscalls.0.args.0.value',
    ]);
  }
});
