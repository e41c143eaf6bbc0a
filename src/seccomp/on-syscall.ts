// `onSyscall` of a spec: rules for the calls that the profile lets through, as what the filter asks (native/notify.h).
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import type { SyscallRule } from '../spec/types.ts';
import { ALLOW, refuseUnknownNames } from './compile.ts';
import { errnoNumber } from './errno.ts';
import { type CheckedRule, checkTests, type OciSeccompProfile } from './oci.ts';
import { show } from './reading.ts';

/** SECCOMP_RET_USER_NOTIF; its data says what becomes of the call: one of these in the upper four bits, an errno in the rest. */
const USER_NOTIF = 0x7fc00000;
const answers = { log: 1, errno: 2, kill: 3, ask: 4 } as const;
const shifted = (answer: number, errno = 0): number => USER_NOTIF + (answer << 12) + errno;

/** No profile at all, and questions all the same. */
export const unconfinedProfile: OciSeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
};

/**
 * Preconditions: `rules` has the right shape.
 *
 * @throws {SpecError} with every issue, each with its path under `onSyscall`
 */
export function checkSyscallRules(rules: readonly SyscallRule[]): readonly CheckedRule[] {
  const issues: SpecIssue[] = [];
  const checked = rules.map((rule, index): CheckedRule => {
    const report = (path: readonly (string | number)[], message: string): void => {
      issues.push({ path: ['onSyscall', index, ...path], message });
    };
    const { names, action } = rule;
    const tests = checkTests(rule.args, ['args'], report);
    return { index, names, action, verdict: verdictOf(rule, report), tests };
  });
  refuseUnknownNames(checked, (index) => ['onSyscall', index], 'correct it', issues);
  if (issues.length > 0) throw new SpecError(issues);
  return checked;
}

function verdictOf(
  { action, errno }: SyscallRule,
  report: (path: readonly (string | number)[], message: string) => void,
): number {
  if (action !== 'errno' && errno !== undefined) report(['errno'], `${action} returns no errno; remove it`);
  if (action === 'allow') return ALLOW;
  if (action !== 'errno') return shifted(answers[action]);
  const number = errnoNumber(errno ?? 'EPERM');
  if (number === undefined) report(['errno'], `must be the name of an error such as 'EPERM', not ${show(errno)}`);
  return shifted(answers.errno, number);
}
