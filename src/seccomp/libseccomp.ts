// A profile for runtimes that are built on libseccomp, where rules have no order and one without `args` wins over those with them (docs/seccomp.md).
import type { OciSeccomp } from '../spec/types.ts';
import type { OciSeccompProfile, OciSeccompRule } from './oci.ts';

const ALLOW = 'SCMP_ACT_ALLOW';

type Rule = Omit<OciSeccompRule, 'names'>;

/**
 * The rules that mean the same there. Where tests allow a call and it is refused else, the default action refuses it. Where tests refuse a call and it
 * is allowed else, all of it is allowed if it is one of `loosened`, else nothing.
 */
export function forLibseccomp(profile: OciSeccompProfile, loosened: readonly string[]): OciSeccompProfile {
  const byName = new Map<string, Rule[]>();
  for (const { names, ...rule } of profile.syscalls ?? [])
    for (const name of names) byName.set(name, [...(byName.get(name) ?? []), rule]);
  const byRule = new Map<string, { readonly names: string[]; readonly rule: Rule }>();
  for (const [name, rules] of byName) {
    for (const rule of unordered(rules, loosened.includes(name))) {
      const key = JSON.stringify(rule);
      const known = byRule.get(key);
      if (known === undefined) byRule.set(key, { names: [name], rule });
      else known.names.push(name);
    }
  }
  return { ...profile, syscalls: [...byRule.values()].map(({ names, rule }) => ({ names, ...rule })) };
}

/** Of one call. What follows a rule without a test never counts. A test that refuses before one that allows the same cannot be said: nothing is allowed. */
function unordered(rules: readonly Rule[], loosened: boolean): readonly Rule[] {
  const end = rules.findIndex(({ args }) => args === undefined || args.length === 0);
  const tested = end === -1 ? rules : rules.slice(0, end);
  const [last] = end === -1 ? [] : rules.slice(end);
  if (tested.length === 0) return rules.slice(0, 1);
  const refusal = tested.findIndex(({ action }) => action !== ALLOW);
  const allowing = tested.filter(({ action }) => action === ALLOW);
  if (last?.action === ALLOW) return refusal === -1 || loosened ? [last] : [];
  const overlaps = refusal !== -1 && tested.slice(refusal).some(({ action }) => action === ALLOW);
  return overlaps ? [] : allowing;
}

/** Calls with rules of which one refuses what another one allows: only their order tells which of them counts. */
export function orderedNames({ syscalls }: OciSeccomp): string[] {
  const answers = new Map<string, Set<string>>();
  const tested = new Set<string>();
  for (const { names = [], action, errnoRet, args } of syscalls ?? []) {
    for (const name of names) {
      answers.set(name, (answers.get(name) ?? new Set()).add(`${action} ${errnoRet}`));
      if (args != null && args.length > 0) tested.add(name);
    }
  }
  return [...answers].flatMap(([name, { size }]) => (size > 1 && tested.has(name) ? [name] : []));
}
