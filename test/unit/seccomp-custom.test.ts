// From the spec's `seccomp` to a filter that is ready to install: an engine's words, the launcher's pass, and what a filter says about itself.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileSeccomp } from '../../src/seccomp/compile.ts';
import { readFilters } from '../../src/seccomp/custom.ts';
import { orderedNames } from '../../src/seccomp/libseccomp.ts';
import { syscallTable } from '../../src/seccomp/syscalls.ts';
import type { NormalizedSeccomp, OciSeccomp, OciSeccompRule, SandboxSpec } from '../../src/spec/types.ts';
import { audit, decode, runFilter } from '../helpers/bpf.ts';
import { ALLOW, errno, KILL_PROCESS } from '../helpers/seccomp-reference.ts';

type Architecture = 'x64' | 'arm64';
const kernel = '6.1.0-18-amd64';
const abiOf = { x64: 'x86_64', arm64: 'aarch64' } as const;

function read(spec: SandboxSpec, architecture: Architecture = 'x64'): NormalizedSeccomp {
  const { seccomp, issues } = readFilters(spec, { architecture, kernel });
  expect(issues).toEqual([]);
  if (seccomp === undefined) throw new Error('no filter');
  return seccomp;
}

/** As the launcher puts it in. */
function withPass({ filter, pass }: NormalizedSeccomp, value: bigint): ReturnType<typeof decode> {
  const bytes = Buffer.from(filter, 'base64');
  for (const [i, place] of pass.entries()) {
    expect(bytes.readUInt16LE(place * 8)).toBe(0xa4);
    bytes.writeUInt32LE(Number(i % 2 === 0 ? value >> 32n : value & 0xffffffffn), place * 8 + 4);
  }
  return decode(bytes);
}

describe('the pass of the launcher', () => {
  const PASS = 0x123456789abcdef0n;
  const passing = ['execve', 'newfstatat', 'openat', 'pread64', 'close', 'sendmsg', 'exit_group'];
  const word = fc.oneof(
    fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
    fc.constantFrom(0n, 1n << 32n, PASS ^ 1n, PASS ^ (1n << 63n)),
  );

  test.each(['x64', 'arm64'] as const)('lets its calls through, and no others, on %s', (architecture) => {
    const program = withPass(read({ seccomp: { defaultAction: 'SCMP_ACT_KILL_PROCESS' } }, architecture), PASS);
    const arch = audit[abiOf[architecture]];
    for (const [name, nr] of syscallTable(abiOf[architecture])) {
      const { verdict } = runFilter(program, { arch, nr, args: [0n, 0n, 0n, 0n, 0n, PASS] });
      expect(verdict, name).toBe(passing.includes(name) ? ALLOW : KILL_PROCESS);
    }
  });

  test('is one number of 64 bits in the last register', () => {
    const program = withPass(read({ seccomp: { defaultAction: 'SCMP_ACT_ERRNO' } }), PASS);
    fc.assert(
      fc.property(fc.array(word, { minLength: 6, maxLength: 6 }), (args) => {
        const { verdict } = runFilter(program, { arch: audit.x86_64, nr: 59, args });
        expect(verdict).toBe(args[5] === PASS ? ALLOW : errno(1));
      }),
    );
    expect(runFilter(program, { arch: audit.x86_64, nr: 59, args: [PASS, PASS, PASS, PASS, PASS, 0n] }).verdict).toBe(
      errno(1),
    );
  });

  test('takes as many steps whatever is wrong with a guess, so that time does not tell how near it came', () => {
    const program = withPass(read({ seccomp: { defaultAction: 'SCMP_ACT_ERRNO' } }), PASS);
    const steps = (guess: bigint): number =>
      runFilter(program, { arch: audit.x86_64, nr: 59, args: [0n, 0n, 0n, 0n, 0n, guess] }).steps;
    fc.assert(
      fc.property(
        word.filter((guess) => guess !== PASS),
        (guess) => {
          expect(steps(guess)).toBe(steps(0n));
        },
      ),
    );
  });

  test('is of the machine’s own ABI', () => {
    const seccomp = { defaultAction: 'SCMP_ACT_ERRNO', architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] };
    const program = withPass(read({ seccomp }), PASS);
    const args = [0n, 0n, 0n, 0n, 0n, PASS];
    expect(runFilter(program, { arch: audit.i386, nr: 11, args }).verdict).toBe(errno(1));
    expect(runFilter(program, { arch: audit.x86_64, nr: 0x40000000 + 520, args }).verdict).toBe(errno(1));
  });

  test('costs nothing where all of its calls are allowed', () => {
    const seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['ptrace'], action: 'SCMP_ACT_ERRNO' }] };
    const { filter, pass } = read({ seccomp });
    expect(pass).toEqual([]);
    expect(filter).toBe(Buffer.from(compileSeccomp(seccomp, { architecture: 'x64' })).toString('base64'));
  });

  test('comes before tests of arguments', () => {
    const args = [{ index: 5, op: 'SCMP_CMP_EQ', value: PASS }];
    const seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['execve'], action: 'SCMP_ACT_TRAP', args }],
    };
    const program = withPass(read({ seccomp }), PASS);
    expect(runFilter(program, { arch: audit.x86_64, nr: 59, args: [0n, 0n, 0n, 0n, 0n, PASS] }).verdict).toBe(ALLOW);
  });
});

describe('strict', () => {
  test.each([
    ['x64', 'x86_64', ['read', 'write', 'rt_sigreturn', 'exit', 'exit_group']],
    ['x64', 'i386', ['read', 'write', 'rt_sigreturn', 'sigreturn', 'exit', 'exit_group']],
    ['arm64', 'aarch64', ['read', 'write', 'rt_sigreturn', 'exit', 'exit_group']],
  ] as const)('on %s a program of %s has %j', (architecture, abi, expected) => {
    const program = withPass(read({ seccomp: 'strict' }, architecture), 0x100000001n);
    const allowed = [...syscallTable(abi)].filter(
      ([, nr]) => runFilter(program, { arch: audit[abi], nr }).verdict === ALLOW,
    );
    expect(allowed.map(([name]) => name).sort()).toEqual([...expected].sort());
    for (const nr of [-1, -2, 0x40000000, 9999])
      expect(runFilter(program, { arch: audit[abi], nr: nr >>> 0 }).verdict).toBe(KILL_PROCESS);
  });

  test('denies keyrings', () => {
    expect(read({ seccomp: 'strict' })).toMatchObject({ kind: 'strict', deniesKeyrings: true });
  });
});

describe('whether a profile denies keyrings', () => {
  const keyrings = ['add_key', 'keyctl', 'request_key'];
  const deny = { names: keyrings, action: 'SCMP_ACT_ERRNO' };
  test.each<[string, OciSeccomp, boolean]>([
    ['by default', { defaultAction: 'SCMP_ACT_ERRNO' }, true],
    ['by a rule', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [deny] }, true],
    ['not at all', { defaultAction: 'SCMP_ACT_ALLOW' }, false],
    [
      'but for one',
      { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['keyctl'], action: 'SCMP_ACT_ALLOW' }] },
      false,
    ],
    ['and only logs', { defaultAction: 'SCMP_ACT_LOG' }, false],
    [
      'but for an argument',
      {
        defaultAction: 'SCMP_ACT_ERRNO',
        syscalls: [{ names: ['keyctl'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 1 }] }],
      },
      false,
    ],
  ])('%s', (_how, seccomp, expected) => {
    expect(read({ seccomp }).deniesKeyrings).toBe(expected);
  });
});

describe('an engine’s profile', () => {
  const rule = (more: Partial<OciSeccompRule>): OciSeccompRule => ({
    names: ['getpid'],
    action: 'SCMP_ACT_ALLOW',
    ...more,
  });
  const counts = (more: Partial<OciSeccompRule>, spec: SandboxSpec = {}, architecture: Architecture = 'x64'): boolean =>
    read({ ...spec, seccomp: { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [rule(more)] } }, architecture).profile
      .syscalls?.length === 1;

  test('has rules that count by machine, capability and kernel', () => {
    expect(counts({ includes: {}, excludes: {} })).toBe(true);
    expect(counts({ includes: null, excludes: null, args: null })).toBe(true);
    expect(counts({ includes: { arches: ['amd64', 'x32'] } })).toBe(true);
    expect(counts({ includes: { arches: ['amd64'] } }, {}, 'arm64')).toBe(false);
    expect(counts({ excludes: { arches: ['arm64'] } }, {}, 'arm64')).toBe(false);
    const capabilities = ['CAP_SYS_ADMIN'];
    expect(counts({ includes: { caps: ['CAP_SYS_ADMIN'] } })).toBe(false);
    expect(counts({ includes: { caps: ['CAP_SYS_ADMIN'] } }, { capabilities })).toBe(true);
    // All that is included, any that is excluded.
    expect(counts({ includes: { caps: ['CAP_SYS_ADMIN', 'CAP_KILL'] } }, { capabilities })).toBe(false);
    expect(counts({ excludes: { caps: ['CAP_SYS_ADMIN', 'CAP_KILL'] } }, { capabilities })).toBe(false);
    expect(counts({ includes: { minKernel: '4.8' } })).toBe(true);
    expect(counts({ includes: { minKernel: '6.1' } })).toBe(true);
    expect(counts({ includes: { minKernel: '6.2' } })).toBe(false);
    expect(counts({ includes: { minKernel: '7.0' } })).toBe(false);
    expect(counts({ excludes: { minKernel: '5.19' } })).toBe(false);
  });

  test('names errors, one call, and architectures of each machine', () => {
    const seccomp: OciSeccomp = {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 1,
      defaultErrno: 'ENOSYS',
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
        { architecture: 'SCMP_ARCH_S390X', subArchitectures: null },
      ],
      syscalls: [{ name: 'ptrace', action: 'SCMP_ACT_ERRNO', errno: 'EPERM', comment: 'no debugger' }],
    };
    const syscalls = [{ names: ['ptrace'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }];
    const same = { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 38, syscalls };
    expect(read({ seccomp }).profile).toEqual({ ...same, architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'] });
    // There is no filter for 32-bit ARM: such programs are killed.
    expect(read({ seccomp }, 'arm64').profile).toEqual({ ...same, architectures: ['SCMP_ARCH_AARCH64'] });
  });

  test('names calls of every machine, which are no misspelt ones', () => {
    const names = ['send', 'recv', 'arm_fadvise64_64', 's390_runtime_instr', 'riscv_flush_icache', 'spu_run'];
    expect(
      read({ seccomp: { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [rule({ names })] } }).profile.syscalls,
    ).toHaveLength(1);
  });

  test('is checked where it does not count, too', () => {
    const syscalls = [rule({ includes: { arches: ['arm64'] }, action: 'ALLOW' })];
    const { issues, seccomp } = readFilters(
      { seccomp: { defaultAction: 'SCMP_ACT_ERRNO', syscalls } },
      { architecture: 'x64', kernel },
    );
    expect(seccomp).toBeUndefined();
    expect(issues.map(({ path }) => path)).toEqual([['seccomp', 'syscalls', 0, 'action']]);
  });

  test('is what it was without its own words, compiled again', () => {
    const syscalls = [
      rule({ args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: '0xffffffffffffffff', valueTwo: 7 }] }),
      rule({ names: ['read'], args: [{ index: 1, op: 'SCMP_CMP_GE', value: 1n << 63n }] }),
    ];
    const once = read({ seccomp: { defaultAction: 'SCMP_ACT_TRAP', syscalls } });
    expect(once.profile.syscalls?.[0]?.args?.[0]).toEqual({
      index: 0,
      op: 'SCMP_CMP_MASKED_EQ',
      value: 0xffffffffffffffffn,
      valueTwo: 7,
    });
    expect(read({ seccomp: once.profile }).filter).toBe(once.filter);
  });
});

test('all unknown names are said at once, with the places that they have in the file, or passed over', () => {
  const syscalls = [
    { names: ['read'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['s390x'] } },
    { names: ['raed', 'write', 'wirte'], action: 'SCMP_ACT_ALLOW' },
  ];
  const seccomp = { defaultAction: 'SCMP_ACT_ERRNO', syscalls };
  const { issues } = readFilters({ seccomp }, { architecture: 'x64', kernel });
  expect(issues.map(({ path }) => path.join('.'))).toEqual([
    'seccomp.syscalls.1.names.0',
    'seccomp.syscalls.1.names.2',
  ]);
  const program = withPass(read({ seccomp, seccompUnknownSyscalls: 'ignore' }), 1n);
  expect(runFilter(program, { arch: audit.x86_64, nr: 1 }).verdict).toBe(ALLOW);
});

test('calls of which only the order of rules tells what happens are named for runtimes that have none', () => {
  const args = [{ index: 0, op: 'SCMP_CMP_EQ', value: 1 }];
  const syscalls = [
    { names: ['ioctl', 'read'], action: 'SCMP_ACT_ERRNO', args },
    { names: ['ioctl'], action: 'SCMP_ACT_ALLOW' },
    { names: ['write'], action: 'SCMP_ACT_ALLOW' },
    { names: ['write'], action: 'SCMP_ACT_ERRNO' },
  ];
  expect(orderedNames({ defaultAction: 'SCMP_ACT_ALLOW', syscalls })).toEqual(['ioctl']);
});
