// An OCI seccomp profile becomes a classic BPF program: a pure function, nothing is read from this machine.
//
// The program: which ABI? then a balanced search over ranges of system call numbers that share a verdict, then the tests of arguments where a call
// has some. For calls without tests it loads nothing but `arch` and `nr`, so that the kernel (5.11 and later) finds out once that they are always
// allowed and never runs the filter for them again.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { Assembler, type Target } from './assembler.ts';
import { auditArch, X32_BIT } from './audit.ts';
import type { Circumstances } from './engine.ts';
import { type CheckedProfile, type CheckedRule, checkProfile, KILL_PROCESS } from './oci.ts';
import { isOfAnotherMachine } from './other-machines.ts';
import { type Abi, abis, SYSCALLS_OF, syscallTable } from './syscalls.ts';

export interface CompileOptions extends Circumstances {
  /**
   * A name that no machine has: an error, since a misspelt name would leave a hole, or nothing, for profiles that also serve other machines.
   *
   * @defaultValue `'error'`
   */
  readonly unknownSyscalls?: 'error' | 'ignore';
}

/** BPF_MAXINSNS: the kernel takes no longer program. */
export const MAX_INSTRUCTIONS = 4096;

/**
 * `struct sock_filter` entries, 8 bytes each, little endian, as both architectures have it.
 *
 * @throws {SpecError} `SBX_SPEC_INVALID` where the profile is wrong, asks for something that is not supported, or is too long for the kernel
 */
export function compileSeccomp(profile: unknown, options: CompileOptions): Uint8Array {
  return compileChecked(checkServable(profile, options), options.architecture, nobody).filter;
}

/** @throws {SpecError} as `compileSeccomp` does, but for the length */
export function checkServable(profile: unknown, options: CompileOptions): CheckedProfile {
  const checked = checkProfile(profile, options);
  refuseUnservable(checked, options);
  return checked;
}

export interface Compiled {
  readonly filter: Uint8Array;
  /** Instructions that take half of a pass each, the high one and the low one by turns. */
  readonly pass: readonly number[];
}

const nobody: ReadonlySet<string> = new Set();

/**
 * `passing`: calls of the machine's own ABI that the profile may refuse and that are allowed all the same to who has the pass in the sixth argument.
 * `afterwards`: rules for what the profile lets through; where none fits, or one with the verdict ALLOW, its own verdict stands.
 *
 * @throws {SpecError} where it is too long for the kernel
 */
export function compileChecked(
  checked: CheckedProfile,
  architecture: 'x64' | 'arm64',
  passing: ReadonlySet<string>,
  afterwards: readonly CheckedRule[] = [],
): Compiled {
  const assembler = new Assembler();
  // Programs grow from their end: the last ABI that is asked for is emitted first.
  let otherwise: Target = { verdict: KILL_PROCESS };
  for (const machine of machines(checked, architecture).toReversed()) {
    const search = emitSearch(assembler, rangesOf({ ...checked, afterwards }, machine.abis, passing));
    otherwise = assembler.jump('JEQ', machine.audit, assembler.load(NR, search), otherwise);
  }
  assembler.load(ARCH, otherwise);
  if (assembler.length > MAX_INSTRUCTIONS) {
    const message = `the filter would have ${assembler.length} instructions, and the kernel takes ${MAX_INSTRUCTIONS}; write fewer rules with args`;
    throw new SpecError([{ path: ['seccomp'], message }]);
  }
  return { filter: assembler.toBytes(), pass: assembler.places() };
}

/** Whether every call of these names, on each ABI that the filter lets programs use, is refused whatever its arguments. */
export function refusesAlways(
  checked: CheckedProfile,
  architecture: 'x64' | 'arm64',
  names: readonly string[],
): boolean {
  const served = machines(checked, architecture).flatMap(({ abis: ofMachine }) => ofMachine);
  return names.every((name) =>
    served.every((abi) => {
      if (!syscallTable(abi).has(name)) return true;
      const indices = checked.rules.flatMap((rule, i) => (rule.names.includes(name) ? [i] : []));
      const { rules, otherwise } = decide({ ...checked, afterwards: [] }, { profile: indices, afterwards: [] }, false);
      return [...rules.map(({ verdict }) => verdict), otherwise].every((verdict) => !LETS_THROUGH.has(verdict));
    }),
  );
}

// Offsets in struct seccomp_data.
const NR = 0;
const ARCH = 4;
const PASS_ARGUMENT = 5;
export const ALLOW = 0x7fff0000;
const LOG = 0x7ffc0000;
const LETS_THROUGH: ReadonlySet<number> = new Set([ALLOW, LOG]);
const argument = (index: number): { low: number; high: number } => ({ low: 16 + 8 * index, high: 20 + 8 * index });

/** What tracers set to skip a call: -1, or -2, as proot does. They have bit 30 too, and are nobody's numbers. */
const SKIPPED = 0xfffffffe;

interface Machine {
  /** AUDIT_ARCH_* of linux/audit.h. */
  readonly audit: number;
  readonly abis: readonly Abi[];
}

function machines(profile: CheckedProfile, architecture: 'x64' | 'arm64'): readonly Machine[] {
  if (architecture === 'arm64') return [{ audit: auditArch.aarch64, abis: ['aarch64'] }];
  const named = new Set(profile.architectures);
  const native: Machine = {
    audit: auditArch.x86_64,
    abis: named.has('SCMP_ARCH_X32') ? ['x86_64', 'x32'] : ['x86_64'],
  };
  return named.has('SCMP_ARCH_X86') ? [native, { audit: auditArch.i386, abis: ['i386'] }] : [native];
}

function refuseUnservable(profile: CheckedProfile, options: CompileOptions): void {
  const issues: SpecIssue[] = [];
  const arm = profile.architectures.indexOf('SCMP_ARCH_ARM');
  if (options.architecture === 'arm64' && arm !== -1) {
    const message =
      'filters for 32-bit ARM programs are not supported; without this entry such programs are killed at their first call';
    issues.push({ path: ['seccomp', 'architectures', arm], message });
  }
  if (options.unknownSyscalls !== 'ignore') {
    const remedy = "correct it, or set seccompUnknownSyscalls to 'ignore'";
    refuseUnknownNames(profile.rules, (index) => ['seccomp', 'syscalls', index], remedy, issues);
  }
  if (issues.length > 0) throw new SpecError(issues);
}

/** A misspelt name would leave a hole, or nothing. */
export function refuseUnknownNames(
  rules: readonly CheckedRule[],
  pathOf: (index: number) => SpecIssue['path'],
  remedy: string,
  issues: SpecIssue[],
): void {
  for (const { index, names } of rules) {
    for (const [i, name] of names.entries()) {
      if (abis.some((abi) => syscallTable(abi).has(name)) || isOfAnotherMachine(name)) continue;
      const message = `Linux ${SYSCALLS_OF} has no system call ${JSON.stringify(name)}; ${remedy}`;
      issues.push({ path: [...pathOf(index), 'names', i], message });
    }
  }
}

/** What happens to a call: the first rule whose tests hold, else `otherwise`; and to what these let through the same once more by `afterwards`. */
interface Decision {
  readonly key: string;
  /** Allowed beforehand to who has the pass. */
  readonly passing: boolean;
  readonly rules: readonly CheckedRule[];
  readonly otherwise: number;
  readonly afterwards: readonly CheckedRule[];
}

interface Policy extends CheckedProfile {
  readonly afterwards: readonly CheckedRule[];
}

/** Places of rules that name one call. */
interface Indices {
  readonly profile: number[];
  readonly afterwards: number[];
}

/** From `start` to the number before the next range. */
interface Range {
  readonly start: number;
  readonly decision: Decision;
}

function rangesOf(policy: Policy, served: readonly Abi[], passing: ReadonlySet<string>): readonly Range[] {
  const unnamed: Decision = {
    key: '',
    passing: false,
    rules: [],
    otherwise: policy.defaultVerdict,
    afterwards: [],
  };
  const points = new Map<number, Decision>([[0, unnamed]]);
  if (served.includes('x86_64') && !served.includes('x32')) {
    points.set(X32_BIT, { ...unnamed, key: 'x32', otherwise: KILL_PROCESS });
    points.set(SKIPPED, unnamed);
  }
  const gaps = [...points];
  for (const abi of served) {
    for (const [number, decision] of decisionsOf(policy, abi, passing)) {
      points.set(number, decision);
      if (!points.has(number + 1)) points.set(number + 1, gaps.findLast(([start]) => start <= number)?.[1] ?? unnamed);
    }
  }
  const ranges: Range[] = [];
  for (const [start, decision] of [...points].sort(([a], [b]) => a - b)) {
    if (ranges.at(-1)?.decision.key !== decision.key) ranges.push({ start, decision });
  }
  return ranges;
}

/** In the order of their numbers. */
function decisionsOf(policy: Policy, abi: Abi, passing: ReadonlySet<string>): readonly (readonly [number, Decision])[] {
  const table = syscallTable(abi);
  const rulesOf = new Map<number, Indices>();
  const of = (number: number): Indices => {
    const known = rulesOf.get(number) ?? { profile: [], afterwards: [] };
    rulesOf.set(number, known);
    return known;
  };
  const passes = new Set<number>();
  // The launcher is a program of the machine's own ABI.
  for (const name of abi === 'x86_64' || abi === 'aarch64' ? passing : []) {
    const number = table.get(name);
    if (number === undefined) continue;
    passes.add(number);
    of(number);
  }
  for (const [list, rules] of [
    ['profile', policy.rules],
    ['afterwards', policy.afterwards],
  ] as const) {
    for (const [index, rule] of rules.entries()) {
      for (const name of rule.names) {
        const number = table.get(name);
        if (number !== undefined) of(number)[list].push(index);
      }
    }
  }
  return [...rulesOf]
    .map(([number, indices]) => {
      const decision = decide(policy, indices, passes.has(number));
      return [abi === 'x32' ? number + X32_BIT : number, decision] as const;
    })
    .sort(([a], [b]) => a - b);
}

function decide(policy: Policy, indices: Indices, mayPass: boolean): Decision {
  const rules: CheckedRule[] = [];
  let otherwise = policy.defaultVerdict;
  let key = '';
  for (const index of indices.profile) {
    const rule = policy.rules[index];
    if (rule === undefined) continue;
    if (rule.tests.length === 0) {
      otherwise = rule.verdict;
      break;
    }
    rules.push(rule);
    key += `${index},`;
  }
  const reaches = [otherwise, ...rules.map(({ verdict }) => verdict)].some((verdict) => LETS_THROUGH.has(verdict));
  const afterwards = reaches ? indices.afterwards : [];
  // Who may do it anyway needs no pass; and without a test the kernel can tell that it may (5.11).
  const passing = mayPass && (rules.length > 0 || otherwise !== ALLOW || afterwards.length > 0);
  // Equal keys mean equal decisions; that of the default action is the empty one.
  const plain = key === '' && otherwise === policy.defaultVerdict && !passing && afterwards.length === 0;
  return {
    key: plain ? '' : `${passing ? 'pass,' : ''}${key}${otherwise};${afterwards.join(',')}`,
    passing,
    rules,
    otherwise,
    afterwards: afterwards.flatMap((index) => policy.afterwards[index] ?? []),
  };
}

function emitSearch(assembler: Assembler, ranges: readonly Range[]): Target {
  const emitted = new Map<string, Target>();
  const targetOf = ({ decision }: Range): Target => {
    const known = emitted.get(decision.key);
    if (known !== undefined) return known;
    const target = emitDecision(assembler, decision);
    emitted.set(decision.key, target);
    return target;
  };
  const search = (part: readonly Range[]): Target => {
    const [first, second, third] = part;
    if (first === undefined) return { verdict: KILL_PROCESS };
    if (second === undefined) return targetOf(first);
    // One number amid others that share a verdict.
    if (
      third !== undefined &&
      part.length === 3 &&
      first.decision.key === third.decision.key &&
      third.start === second.start + 1
    ) {
      return assembler.jump('JEQ', second.start, targetOf(second), targetOf(first));
    }
    const half = part.length >> 1;
    const upper = part.slice(half);
    const above = search(upper);
    const below = search(part.slice(0, half));
    return assembler.jump('JGE', (upper[0] ?? first).start, above, below);
  };
  return search(ranges);
}

function emitDecision(assembler: Assembler, decision: Decision): Target {
  const { afterwards } = decision;
  const letThrough = new Map<number, Target>();
  const targetOf = (verdict: number): Target => {
    if (!LETS_THROUGH.has(verdict) || afterwards.length === 0) return { verdict };
    const known = letThrough.get(verdict);
    if (known !== undefined) return known;
    const own = { verdict };
    const target = emitRules(assembler, afterwards, (answer) => (answer === ALLOW ? own : { verdict: answer }), own);
    letThrough.set(verdict, target);
    return target;
  };
  const next = emitRules(assembler, decision.rules, targetOf, targetOf(decision.otherwise));
  return decision.passing ? emitPass(assembler, { verdict: ALLOW }, next) : next;
}

/** The first whose tests hold decides. */
function emitRules(
  assembler: Assembler,
  rules: readonly CheckedRule[],
  targetOf: (verdict: number) => Target,
  otherwise: Target,
): Target {
  let next = otherwise;
  for (const { verdict, tests } of rules.toReversed()) {
    let pass = targetOf(verdict);
    for (const test of tests.toReversed()) pass = emitTest(assembler, test, pass, next);
    next = pass;
  }
  return next;
}

/**
 * Both halves are compared at once, and take the same time whatever is wrong with them: who could measure how far a comparison got would guess one
 * half after the other.
 */
function emitPass(assembler: Assembler, yes: Target, no: Target): Target {
  const { low, high } = argument(PASS_ARGUMENT);
  const decided = assembler.orX(assembler.jump('JEQ', 0, yes, no));
  const second = assembler.tax(assembler.load(low, assembler.place(decided)));
  return assembler.load(high, assembler.place(second));
}

/** Arguments have 64 bits, the machine's registers 32: the halves are compared one after the other. */
function emitTest(assembler: Assembler, test: CheckedRule['tests'][number], pass: Target, fail: Target): Target {
  const { low, high } = argument(test.index);
  const valueLow = Number(test.value & 0xffffffffn);
  const valueHigh = Number(test.value >> 32n);
  switch (test.op) {
    case 'SCMP_CMP_EQ':
      return equal(pass, fail);
    case 'SCMP_CMP_NE':
      return equal(fail, pass);
    case 'SCMP_CMP_GT':
      return above('JGT', pass, fail);
    case 'SCMP_CMP_LE':
      return above('JGT', fail, pass);
    case 'SCMP_CMP_GE':
      return above('JGE', pass, fail);
    case 'SCMP_CMP_LT':
      return above('JGE', fail, pass);
    case 'SCMP_CMP_MASKED_EQ': {
      const wanted = test.valueTwo & test.value;
      return masked(high, valueHigh, Number(wanted >> 32n), masked(low, valueLow, Number(wanted & 0xffffffffn), pass));
    }
  }

  function equal(same: Target, different: Target): Target {
    const lower = assembler.load(low, assembler.jump('JEQ', valueLow, same, different));
    return assembler.load(high, assembler.jump('JEQ', valueHigh, lower, different));
  }
  function above(lowerJump: 'JGT' | 'JGE', yes: Target, no: Target): Target {
    const lower = assembler.load(low, assembler.jump(lowerJump, valueLow, yes, no));
    return assembler.load(high, assembler.jump('JGT', valueHigh, yes, assembler.jump('JEQ', valueHigh, lower, no)));
  }
  function masked(offset: number, mask: number, wanted: number, yes: Target): Target {
    if (mask === 0) return yes;
    if (wanted === 0) return assembler.load(offset, assembler.jump('JSET', mask, fail, yes));
    const compare = assembler.jump('JEQ', wanted, yes, fail);
    return assembler.load(offset, mask === 0xffffffff ? compare : assembler.and(mask, compare));
  }
}
