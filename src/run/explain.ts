// What would be done, without doing it.
import { callerFacts } from '../host/facts.ts';
import { describeSpec } from '../spec/explain.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { bwrapEquivalent } from './bwrap.ts';
import { checkSandboxOptions, prepare } from './launch.ts';
import type { Explanation, RunOptions } from './types.ts';

/**
 * The backend that would be chosen, the spec in words, the plan, and the nearest `bwrap` command line. Nothing is started, unless `optional`
 * asks what this host has.
 *
 * @throws as `createSandbox` does.
 */
export async function explain(
  spec: SandboxSpec = {},
  options?: Pick<RunOptions, 'backend' | 'optional'>,
): Promise<Explanation> {
  const { options: checked, issues } = checkSandboxOptions(options);
  const prepared = await prepare(spec, checked, issues);
  return {
    backend: prepared.backend.name,
    sentences: describeSpec(prepared.spec),
    plan: prepared.plan,
    enforcement: prepared.enforcement,
    bwrap: bwrapEquivalent(prepared.spec, callerFacts()),
  };
}
