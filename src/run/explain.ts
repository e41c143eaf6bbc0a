// What would be done, without doing it.
import { callerFacts } from '../host/facts.ts';
import { describeSpec } from '../spec/explain.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { equivalentOf } from './as/equivalent.ts';
import { type ToolName, toolNames } from './as/tools.ts';
import { checkSandboxOptions, prepare } from './call.ts';
import type { Explanation, RunOptions } from './types.ts';

/**
 * The backend that would be chosen, the spec in words, the plan, and where `as` names a tool, the same sandbox in its words. Nothing is started,
 * unless `optional` asks what this host has.
 *
 * @throws as `createSandbox` does.
 */
export async function explain(
  spec: SandboxSpec = {},
  { as, ...options }: Pick<RunOptions, 'backend' | 'optional' | 'image'> & { readonly as?: ToolName } = {},
): Promise<Explanation> {
  const { options: checked, issues } = checkSandboxOptions(options);
  if (as !== undefined && !toolNames.includes(as)) {
    issues.push({ path: ['options', 'as'], message: `there is no ${as}; known are ${toolNames.join(', ')}` });
  }
  const prepared = await prepare(spec, checked, issues);
  return {
    backend: prepared.backend.name,
    sentences: describeSpec(prepared.spec, new Set(prepared.enforcement.skipped.map(({ feature }) => feature))),
    plan: prepared.plan,
    enforcement: prepared.enforcement,
    ...(as === undefined ? {} : { equivalent: equivalentOf(as, prepared.spec, callerFacts(), process.cwd()) }),
  };
}
