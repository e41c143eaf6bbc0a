// The `linux.seccomp` object of the OCI runtime spec, read and checked. What a rule means where the OCI spec is silent is decided here once: the
// first rule whose tests all hold decides, and without one the default action does.
import { SpecError, type SpecIssue } from '../errors/errors.ts';

export interface OciSeccompProfile {
  readonly defaultAction: string;
  /** Only where `defaultAction` is SCMP_ACT_ERRNO or SCMP_ACT_TRACE; EPERM (1) without it. */
  readonly defaultErrnoRet?: number;
  /** ABIs that programs may use, such as `SCMP_ARCH_X86`; those of other machines are passed over. The machine's own is always one of them. */
  readonly architectures?: readonly string[];
  readonly syscalls?: readonly OciSeccompRule[];
}

export interface OciSeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  /** All must hold; no argument may be tested twice in one rule, because runtimes disagree about what that means. */
  readonly args?: readonly OciSeccompArg[];
}

/** Arguments are unsigned 64-bit numbers. For SCMP_CMP_MASKED_EQ: `(argument & value) === (valueTwo & value)`. */
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
  readonly names: readonly string[];
  /** What the filter returns: SECCOMP_RET_*, with its data. */
  readonly verdict: number;
  readonly tests: readonly CheckedTest[];
}

export interface CheckedProfile {
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
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

export const KILL_PROCESS = 0x80000000;

/** Those of the OCI runtime spec; `undefined`: valid there, and never that of a machine that we filter on. */
const knownArchitectures: ReadonlySet<string> = new Set(
  (
    'X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 ' +
    'RISCV64 LOONGARCH64 M68K SH SHEB'
  )
    .split(' ')
    .map((name) => `SCMP_ARCH_${name}`),
);

const EPERM = 1;
const MAX_ERRNO = 4095;
const MAX_ARGUMENT = 0xffffffffffffffffn;

/**
 * Everything of `profile`, checked; numbers as the kernel wants them.
 *
 * @throws {SpecError} `SBX_SPEC_INVALID` with all issues at once, each with its path under `seccomp`
 */
export function checkProfile(profile: OciSeccompProfile): CheckedProfile {
  const issues: SpecIssue[] = [];
  const report = (path: readonly (string | number)[], message: string): void => {
    issues.push({ path: ['seccomp', ...path], message });
  };
  if (!isRecord(profile))
    throw new SpecError([{ path: ['seccomp'], message: 'must be an object, the linux.seccomp of an OCI config' }]);

  refuseUnknownKeys(profile, ['defaultAction', 'defaultErrnoRet', 'architectures', 'flags', 'syscalls'], [], report);
  if (profile['flags'] !== undefined && !(Array.isArray(profile['flags']) && profile['flags'].length === 0)) {
    report(['flags'], 'flags of seccomp(2) are not supported: the filter is installed without any; remove them');
  }
  const checked = {
    defaultVerdict: verdict(profile, 'defaultAction', 'defaultErrnoRet', [], report),
    architectures: checkArchitectures(profile['architectures'], report),
    rules: checkRules(profile['syscalls'], report),
  };
  if (issues.length > 0) throw new SpecError(issues);
  return checked;
}

type Path = readonly (string | number)[];
type Report = (path: Path, message: string) => void;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Words of container engines' own profile files, which they resolve before a runtime sees them. */
const engineKeys: ReadonlySet<string> = new Set([
  'archMap',
  'includes',
  'excludes',
  'comment',
  'minKernel',
  'errno',
  'defaultErrno',
  'name',
]);

function refuseUnknownKeys(value: Record<string, unknown>, known: readonly string[], path: Path, report: Report): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    if (key === 'listenerPath' || key === 'listenerMetadata') {
      report([...path, key], 'user notification is not supported; remove it and every SCMP_ACT_NOTIFY');
    } else if (engineKeys.has(key)) {
      report(
        [...path, key],
        "this key belongs to a container engine's own profile format; give the linux.seccomp object that the engine makes of it",
      );
    } else {
      report([...path, key], `unknown key; known are ${known.join(', ')}`);
    }
  }
}

function verdict(
  value: Record<string, unknown>,
  actionKey: string,
  errnoKey: string,
  path: Path,
  report: Report,
): number {
  const action = value[actionKey];
  const errno = value[errnoKey];
  if (action === 'SCMP_ACT_NOTIFY') {
    report(
      [...path, actionKey],
      'SCMP_ACT_NOTIFY is not supported: nobody would answer; use SCMP_ACT_ERRNO or SCMP_ACT_ALLOW',
    );
    return 0;
  }
  const base = typeof action === 'string' && Object.hasOwn(verdicts, action) ? verdicts[action] : undefined;
  if (base === undefined) {
    report([...path, actionKey], `must be one of ${Object.keys(verdicts).join(', ')}, not ${show(action)}`);
    return 0;
  }
  if (action !== 'SCMP_ACT_ERRNO' && action !== 'SCMP_ACT_TRACE') {
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

function checkArchitectures(value: unknown, report: Report): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    report(['architectures'], 'must be an array of names such as SCMP_ARCH_X86_64');
    return [];
  }
  for (const [i, name] of value.entries()) {
    if (!knownArchitectures.has(name)) report(['architectures', i], `unknown architecture ${show(name)}`);
  }
  return value;
}

function checkRules(value: unknown, report: Report): readonly CheckedRule[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    report(['syscalls'], 'must be an array of rules');
    return [];
  }
  return value.flatMap((rule: unknown, i): CheckedRule[] => {
    const path = ['syscalls', i];
    if (!isRecord(rule)) {
      report(path, 'must be an object with names and action');
      return [];
    }
    refuseUnknownKeys(rule, ['names', 'action', 'errnoRet', 'args'], path, report);
    return [
      {
        names: checkNames(rule['names'], [...path, 'names'], report),
        verdict: verdict(rule, 'action', 'errnoRet', path, report),
        tests: checkTests(rule['args'], [...path, 'args'], report),
      },
    ];
  });
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

function checkTests(value: unknown, path: Path, report: Report): readonly CheckedTest[] {
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
  const number = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof number === 'bigint' && number >= 0n && number <= MAX_ARGUMENT) return number;
  report(path, `must be a whole number from 0 to 2^64 - 1 (from 2^53 on as a bigint), not ${show(value)}`);
  return 0n;
}

function show(value: unknown): string {
  return typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
}
