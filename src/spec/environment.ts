// The environment of the command: a clean default, what the caller chose to pass on, and what it set.
import { checkEnvName, checkEnvValue, checkInheritName } from './checks.ts';
import type { Reporter } from './issues.ts';
import type { EnvSpec, SandboxSpec } from './types.ts';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What describes the sandbox itself: a pattern such as `*` does not replace it by the host's, the plain name does. */
export const ownNames: ReadonlySet<string> = new Set(['HOME', 'USER', 'LOGNAME', 'TMPDIR', 'PWD', 'OLDPWD']);

export interface EnvContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly user: string;
  readonly terminal: boolean;
}

export function resolveEnv(
  given: SandboxSpec['env'],
  context: EnvContext,
  report: Reporter,
): Readonly<Record<string, string>> {
  const env = new Map([
    ['PATH', PATH],
    ['HOME', context.home],
    ['USER', context.user],
    ['LOGNAME', context.user],
    ['LANG', 'C.UTF-8'],
    ['TMPDIR', '/tmp'],
  ]);
  if (context.terminal) env.set('TERM', context.env['TERM'] || 'xterm');
  if (given === undefined) return Object.fromEntries(env);
  const { inherit = [], set = {} } = isEnvSpec(given) ? given : { set: given };
  const prefix = isEnvSpec(given) ? ['env', 'set'] : ['env'];
  for (const [index, name] of inherit.entries()) {
    const problem = checkInheritName(name);
    if (problem !== undefined) report(['env', 'inherit', index], problem);
    else inheritInto(env, name, context.env, (message) => report(['env', 'inherit', index], message));
  }
  for (const [name, value] of Object.entries(set)) {
    const problem = checkEnvName(name) ?? checkEnvValue(name, value);
    if (problem !== undefined) report([...prefix, name], problem);
    else env.set(name, value);
  }
  // Own properties even for a name such as __proto__.
  return Object.fromEntries(env);
}

/** A record of variables may have one that is called `set` or `inherit`: then its value is a string. */
export function isEnvSpec(env: NonNullable<SandboxSpec['env']>): env is EnvSpec {
  return typeof env['inherit'] === 'object' || typeof env['set'] === 'object';
}

function inheritInto(
  env: Map<string, string>,
  name: string,
  source: EnvContext['env'],
  refuse: (message: string) => void,
): void {
  const take = (key: string, value: string | undefined): void => {
    if (value === undefined) return;
    const problem = checkEnvValue(key, value);
    if (problem === undefined) env.set(key, value);
    else refuse(`${key} ${problem}`);
  };
  if (!name.endsWith('*')) {
    take(name, Object.hasOwn(source, name) ? source[name] : undefined);
    return;
  }
  const prefix = name.slice(0, -1);
  for (const [key, value] of Object.entries(source)) {
    if (key.startsWith(prefix) && !ownNames.has(key)) take(key, value);
  }
}
