// The `linux.seccomp` object of the OCI runtime spec, or an engine's profile, read and checked. What a rule means where the OCI spec is silent is
// decided here once: the first rule whose tests all hold decides, and without one the default action does.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { architecturesOf, type Circumstances, countsHere, engineKeys, errnoOf } from './engine.ts';
import { isRecord, type Path, type Report, refuseUnknownKeys, show } from './reading.ts';

/** The part of a profile that a runtime sees: an engine's words are resolved. */
export interface OciSeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly syscalls?: readonly OciSeccompRule[];
}

export interface OciSeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly OciSeccompArg[];
}

export interface OciSeccompArg {
  readonly index: number;
  readonly value: number | bigint;
  readonly valueTwo?: number | bigint;
  readonly op: string;
}

export const operators = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const;
type Operator = (typeof operators)[number];

interface CheckedTest {
  readonly index: number;
  readonly op: Operator;
  readonly value: bigint;
  /** Only for SCMP_CMP_MASKED_EQ, where `value` is the mask. */
  readonly valueTwo: bigint;
}

export interface CheckedRule {
  /** Its place in the profile, where rules that do not count here have one too. */
  readonly index: number;
  readonly names: readonly string[];
  readonly action: string;
  /** What the filter returns: SECCOMP_RET_*, with its data. */
  readonly verdict: number;
  readonly tests: readonly CheckedTest[];
}

export interface CheckedProfile {
  readonly defaultAction: string;
  readonly defaultVerdict: number;
  readonly architectures: readonly string[];
  readonly rules: readonly CheckedRule[];
}

/** SECCOMP_RET_* of seccomp(2). SCMP_ACT_KILL is the older name of SCMP_ACT_KILL_THREAD. */
const verdicts: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

export const KILL_PROCESS = 0x80000000;

/** Whose answer would come from another process, and why there is none. */
const unanswered: Readonly<Record<string, string>> = {
  SCMP_ACT_NOTIFY: 'the socket of an agent that would answer is not served; onSyscall of the spec asks this process',
  SCMP_ACT_TRACE: 'no tracer would answer, and a program that traces itself would answer as it likes',
};

/** Those of the OCI runtime spec; of most machines there is never a filter of ours. */
const knownArchitectures: ReadonlySet<string> = new Set(
  (
    'X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 ' +
    'RISCV64 LOONGARCH64 M68K SH SHEB'
  )
    .split(' ')
    .map((name) => `SCMP_ARCH_${name}`),
);

const EPERM = 1;
const ERRNO_MASK = 0xffff;
const MAX_ERRNO = 4095;
const MAX_ARGUMENT = 0xffffffffffffffffn;

/**
 * Everything of `profile`, checked; numbers as the kernel wants them.
 *
 * @throws {SpecError} `SBX_SPEC_INVALID` with all issues at once, each with its path under `seccomp`
 */
export function checkProfile(profile: unknown, here: Circumstances): CheckedProfile {
  const issues: SpecIssue[] = [];
  const report = (path: readonly (string | number)[], message: string): void => {
    issues.push({ path: ['seccomp', ...path], message });
  };
  if (!isRecord(profile))
    throw new SpecError([{ path: ['seccomp'], message: 'must be an object, the linux.seccomp of an OCI config' }]);

  const known = ['defaultAction', 'defaultErrnoRet', 'architectures', 'flags', 'syscalls', ...engineKeys.profile];
  refuseUnknownKeys(profile, known, [], report);
  if (profile['flags'] !== undefined && !(Array.isArray(profile['flags']) && profile['flags'].length === 0)) {
    report(['flags'], 'flags of seccomp(2) are not supported: the filter is installed without any; remove them');
  }
  const checked = {
    defaultAction: String(profile['defaultAction']),
    defaultVerdict: verdict(
      profile,
      { action: 'defaultAction', number: 'defaultErrnoRet', name: 'defaultErrno' },
      [],
      report,
    ),
    architectures: [
      ...checkArchitectures(profile['architectures'], ['architectures'], report),
      ...architecturesOf(profile, here, report, checkArchitectures),
    ],
    rules: checkRules(profile['syscalls'], here, report),
  };
  if (issues.length > 0) throw new SpecError(issues);
  return checked;
}

/** The same as the `linux.seccomp` object of an OCI config, for who knows no other form. */
export function toOci({ defaultAction, defaultVerdict, architectures, rules }: CheckedProfile): OciSeccompProfile {
  const errnoOfVerdict = (action: string, verdict: number): number | undefined =>
    action === 'SCMP_ACT_ERRNO' ? verdict & ERRNO_MASK : undefined;
  const defaultErrnoRet = errnoOfVerdict(defaultAction, defaultVerdict);
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    syscalls: rules.map(({ names, action, verdict, tests }) => {
      const errnoRet = errnoOfVerdict(action, verdict);
      const args = tests.map(({ index, value, valueTwo, op }) => ({
        index,
        value: plain(value),
        ...(op === 'SCMP_CMP_MASKED_EQ' ? { valueTwo: plain(valueTwo) } : {}),
        op,
      }));
      return { names, action, ...(errnoRet === undefined ? {} : { errnoRet }), ...(args.length === 0 ? {} : { args }) };
    }),
  };
}

/** A number where that is exact. */
function plain(value: bigint): number | bigint {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

function verdict(
  value: Record<string, unknown>,
  keys: { readonly action: string; readonly number: string; readonly name: string },
  path: Path,
  report: Report,
): number {
  const action = value[keys.action];
  const named = errnoOf(value[keys.name], [...path, keys.name], report);
  const errno = named ?? value[keys.number];
  const errnoKey = named === undefined ? keys.number : keys.name;
  if (typeof action === 'string' && Object.hasOwn(unanswered, action)) {
    const message = `${action} is not supported: ${unanswered[action]}; use SCMP_ACT_ERRNO or SCMP_ACT_ALLOW`;
    report([...path, keys.action], message);
    return 0;
  }
  const base = typeof action === 'string' && Object.hasOwn(verdicts, action) ? verdicts[action] : undefined;
  if (base === undefined) {
    report([...path, keys.action], `must be one of ${Object.keys(verdicts).join(', ')}, not ${show(action)}`);
    return 0;
  }
  if (action !== 'SCMP_ACT_ERRNO') {
    if (errno !== undefined)
      report([...path, errnoKey], `${action} returns no errno; remove it, or use SCMP_ACT_ERRNO`);
    return base;
  }
  if (errno === undefined) return base + EPERM;
  if (typeof errno !== 'number' || !Number.isInteger(errno) || errno < 0 || errno > MAX_ERRNO) {
    report([...path, errnoKey], `must be a whole number from 0 to ${MAX_ERRNO}, not ${show(errno)}`);
    return 0;
  }
  return base + errno;
}

function checkArchitectures(value: unknown, path: Path, report: Report): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    report(path, 'must be an array of names such as SCMP_ARCH_X86_64');
    return [];
  }
  for (const [i, name] of value.entries()) {
    if (!knownArchitectures.has(name)) report([...path, i], `unknown architecture ${show(name)}`);
  }
  return value;
}

function checkRules(value: unknown, here: Circumstances, report: Report): readonly CheckedRule[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    report(['syscalls'], 'must be an array of rules');
    return [];
  }
  return value.flatMap((rule: unknown, index): CheckedRule[] => {
    const path = ['syscalls', index];
    if (!isRecord(rule)) {
      report(path, 'must be an object with names and action');
      return [];
    }
    refuseUnknownKeys(rule, ['names', 'action', 'errnoRet', 'args', ...engineKeys.rule], path, report);
    // All of it is checked, whether it counts here or not: what is wrong elsewhere is wrong.
    const checked = {
      index,
      names: namesOf(rule, path, report),
      action: String(rule['action']),
      verdict: verdict(rule, { action: 'action', number: 'errnoRet', name: 'errno' }, path, report),
      tests: checkTests(rule['args'], [...path, 'args'], report),
    };
    return countsHere(rule, here, path, report) ? [checked] : [];
  });
}

function namesOf(rule: Record<string, unknown>, path: Path, report: Report): readonly string[] {
  const { name, names } = rule;
  if (name === undefined || name === '') return checkNames(names, [...path, 'names'], report);
  if (names === undefined || names === null) return checkNames([name], [...path, 'name'], report);
  report([...path, 'name'], 'excludes names; write one of them');
  return [];
}

function checkNames(value: unknown, path: Path, report: Report): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) {
    report(path, 'must be an array with at least one name of a system call');
    return [];
  }
  for (const [i, name] of value.entries()) {
    if (typeof name !== 'string') report([...path, i], `must be the name of a system call, not ${show(name)}`);
  }
  return value;
}

export function checkTests(value: unknown, path: Path, report: Report): readonly CheckedTest[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    report(path, 'must be an array of tests');
    return [];
  }
  const seen = new Set<unknown>();
  return value.flatMap((test: unknown, i): CheckedTest[] => {
    const at = [...path, i];
    if (!isRecord(test)) {
      report(at, 'must be an object with index, value and op');
      return [];
    }
    refuseUnknownKeys(test, ['index', 'value', 'valueTwo', 'op'], at, report);
    const { index, op } = test;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index > 5) {
      report([...at, 'index'], `must be a whole number from 0 to 5, not ${show(index)}`);
    } else if (seen.has(index)) {
      report(
        [...at, 'index'],
        `argument ${index} is tested twice in one rule, which runtimes read in different ways; write two rules`,
      );
    }
    seen.add(index);
    if (!operators.includes(op as Operator))
      report([...at, 'op'], `must be one of ${operators.join(', ')}, not ${show(op)}`);
    return [
      {
        index: index as number,
        op: op as Operator,
        value: checkArgument(test['value'], [...at, 'value'], report),
        valueTwo: test['valueTwo'] === undefined ? 0n : checkArgument(test['valueTwo'], [...at, 'valueTwo'], report),
      },
    ];
  });
}

function checkArgument(value: unknown, path: Path, report: Report): bigint {
  const exact = typeof value === 'number' && Number.isSafeInteger(value);
  const text = typeof value === 'string' && /^(?:0x[0-9a-f]{1,16}|\d{1,20})$/i.test(value);
  const number = exact || text ? BigInt(value) : value;
  if (typeof number === 'bigint' && number >= 0n && number <= MAX_ARGUMENT) return number;
  report(path, `must be a whole number from 0 to 2^64 - 1 (from 2^53 on as a bigint or as text), not ${show(value)}`);
  return 0n;
}
