// From what is known of a host to what a person can do about it. Pure: no rule looks at anything but its input.
import { containerRules } from './findings/container.ts';
import { kernelRules } from './findings/kernel.ts';
import { limitRules } from './findings/limits.ts';
import type { Diagnosable } from './findings/rule.ts';
import { refusedForNoKnownReason, userNamespaceRules } from './findings/user-namespaces.ts';
import type { Finding } from './types.ts';

export type { Diagnosable } from './findings/rule.ts';

const rules = [...userNamespaceRules, ...containerRules, ...limitRules, ...kernelRules];
const order = { error: 0, warning: 1, info: 2 } as const;

/** Worst first; within one severity in the order in which a person should try them. */
export function diagnose(input: Diagnosable): Finding[] {
  const found = rules.flatMap((rule) => rule(input));
  const explained = found.some(({ severity }) => severity === 'error');
  const all = explained ? found : [...found, ...refusedForNoKnownReason(input)];
  return all.sort((a, b) => order[a.severity] - order[b.severity]);
}
