// Rules for single calls: what is wrong with them, what becomes of them, and what a run makes of what it is told.
import { describe, expect, test } from 'vitest';
import type { AskedCall } from '../../src/backends/backend.ts';
import { SpecError, type SpecIssue } from '../../src/errors/errors.ts';
import { checkHandler, Syscalls } from '../../src/run/syscalls.ts';
import type { SyscallCall } from '../../src/run/types.ts';
import { readFilters } from '../../src/seccomp/custom.ts';
import { syscallTable } from '../../src/seccomp/syscalls.ts';
import { validateSpec } from '../../src/spec/schema.ts';
import type { NormalizedSpec, SandboxSpec, SyscallRule } from '../../src/spec/types.ts';
import { audit, decode, runFilter } from '../helpers/bpf.ts';

const host = { architecture: 'x64', kernel: '6.1.0' } as const;
const numberOf = (name: string): number => syscallTable('x86_64').get(name) ?? -1;

function issuesOf(spec: SandboxSpec): string[] {
  return readFilters(spec, host).issues.map(({ path, message }: SpecIssue) => `${path.join('.')}: ${message}`);
}

function verdictsOf(spec: SandboxSpec): (name: string, ...args: bigint[]) => number {
  const { onSyscall, issues } = readFilters(spec, host);
  expect(issues).toEqual([]);
  const program = decode(Buffer.from(onSyscall?.filter ?? '', 'base64'));
  return (name, ...args) =>
    runFilter(program, { arch: audit.x86_64, nr: numberOf(name), args: [...args, 0n, 0n, 0n, 0n, 0n, 1n].slice(0, 6) })
      .verdict;
}

describe('the filter', () => {
  test('asks beside the default profile, which goes before', () => {
    const verdict = verdictsOf({ onSyscall: [{ names: ['mkdir', 'mount'], action: 'log' }] });
    expect(verdict('mkdir')).toBe(0x7fc01000);
    expect(verdict('mount')).toBe(0x00050001);
    expect(verdict('rmdir')).toBe(0x7fff0000);
  });

  test('knows the capabilities that the command keeps', () => {
    const onSyscall: SyscallRule[] = [{ names: ['mount'], action: 'ask' }];
    expect(verdictsOf({ onSyscall, capabilities: ['CAP_SYS_ADMIN'] })('mount')).toBe(0x7fc04000);
  });

  test('asks where nothing else is filtered', () => {
    const verdict = verdictsOf({
      seccomp: 'unconfined',
      onSyscall: [{ names: ['mount'], action: 'errno', errno: 'ENOSYS' }],
    });
    expect(verdict('mount')).toBe(0x7fc02000 + 38);
    expect(verdict('bpf')).toBe(0x7fff0000);
  });

  test('asks of what strict leaves', () => {
    const verdict = verdictsOf({ seccomp: 'strict', onSyscall: [{ names: ['read', 'brk'], action: 'kill' }] });
    expect(verdict('read')).toBe(0x7fc03000);
    expect(verdict('brk')).toBe(0x80000000);
  });

  test('lets the launcher execute the command unasked', () => {
    const { onSyscall } = readFilters({ onSyscall: [{ names: ['execve'], action: 'kill' }] }, host);
    expect(onSyscall?.pass.length).toBeGreaterThan(0);
  });

  test('needs no pass where nothing of the launcher is asked about', () => {
    const { onSyscall } = readFilters({ onSyscall: [{ names: ['mkdir'], action: 'kill' }] }, host);
    expect(onSyscall?.pass).toEqual([]);
  });
});

describe('what is wrong', () => {
  test('is said all at once, with that of the profile', () => {
    const onSyscall = [
      { names: ['mkdri'], action: 'log', errno: 'EPERM' },
      { names: ['mkdir'], action: 'errno', errno: 'EFOO', args: [{ index: 1, op: 'EQ', value: -1 }] },
    ] as const;
    const seccomp = { defaultAction: 'SCMP_ACT_NOTIFY' };
    expect(issuesOf({ seccomp, onSyscall }).map((issue) => issue.replace(/: .*/, ''))).toEqual([
      'seccomp.defaultAction',
      'onSyscall.0.errno',
      'onSyscall.1.args.0.op',
      'onSyscall.1.args.0.value',
      'onSyscall.1.errno',
      'onSyscall.0.names.0',
    ]);
  });

  test.each([
    ['no rules at all', []],
    ['no names', [{ names: [], action: 'log' }]],
    ['another action', [{ names: ['mkdir'], action: 'trace' }]],
    ['a member that there is not', [{ names: ['mkdir'], action: 'log', arg: [] }]],
    ['a function', [{ names: ['mkdir'], action: () => 'allow' }]],
    ['a seventh argument', [{ names: ['mkdir'], action: 'log', args: [{ index: 6, op: 'SCMP_CMP_EQ', value: 0 }] }]],
  ])('%s is refused', (_title, onSyscall) => {
    expect(() => validateSpec({ onSyscall })).toThrow(SpecError);
  });

  test('rules that ask want who answers, and who answers rules that ask', () => {
    const spec = (action: SyscallRule['action']) =>
      ({ onSyscall: { rules: [{ names: ['mkdir'], action }] } }) as unknown as NormalizedSpec;
    expect(() => checkHandler(spec('ask'), undefined)).toThrow(/must be a function/);
    expect(() => checkHandler(spec('log'), () => 'allow')).toThrow(/would never be called/);
    expect(() => checkHandler(spec('ask'), () => 'allow')).not.toThrow();
    expect(() => checkHandler(spec('log'), undefined)).not.toThrow();
  });
});

describe('a run', () => {
  const asked = (action: AskedCall['action'], number = numberOf('mkdir')): AskedCall => ({
    number,
    audit: audit.x86_64,
    args: ['0x1'],
    pid: 2,
    action,
  });

  test('names the calls in their order, keeps the first, and counts all', async () => {
    const heard: SyscallCall[] = [];
    const syscalls = new Syscalls(
      undefined,
      (call) => heard.push(call),
      () => expect.unreachable(),
    );
    const calls = Array.from({ length: 1500 }, (_, index) => asked('log', index % 300));
    const answers = calls.map((call) => syscalls.hear(call));
    const { total, first } = await syscalls.report();
    expect(total).toBe(1500);
    expect(first.map(({ number }) => number)).toEqual(calls.slice(0, 1000).map(({ number }) => number));
    expect(heard).toHaveLength(1500);
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['allow']));
  });

  test.each([
    ['allow', 'allow'],
    ['kill', 'kill'],
    [{ errno: 'ENOENT' }, { errno: 2 }],
  ] as const)('answers %j with %j', async (given, decision) => {
    const syscalls = new Syscalls(
      () => given,
      () => {},
      () => expect.unreachable(),
    );
    expect(await syscalls.hear(asked('ask'))).toEqual(decision);
  });

  test.each([undefined, 'deny', 1, { errno: 'EFOO' }, { errno: 1 }, null])('ends for the answer %j', async (given) => {
    const failures: unknown[] = [];
    const syscalls = new Syscalls(
      () => given as never,
      () => {},
      (error) => failures.push(error),
    );
    expect(await syscalls.hear(asked('ask'))).toBe('kill');
    expect(failures).toEqual([expect.any(SpecError)]);
  });
});
