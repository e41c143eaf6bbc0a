// `run-sandbox explain`: what a run would do.

import type { Equivalent } from '../index.ts';
import { explain } from '../index.ts';
import { jsonOf } from '../run/as/shared.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { commandOf } from './operands.ts';
import type { Parsed } from './parse.ts';
import { loadProfile } from './profile.ts';
import { explanationJson, explanationText, shellLine } from './render.ts';
import { say } from './say.ts';
import { specOf } from './spec.ts';
import { writeAll } from './write.ts';

export async function explainCommand(parsed: Parsed): Promise<number> {
  const { draft } = parsed;
  const { backend, optional, json, as } = draft.settings;
  const problems = [...parsed.problems];
  const command = commandOf(parsed);
  const profile = draft.profile === undefined ? undefined : loadProfile(draft.profile, problems);
  if (json && as !== undefined) problems.push('--json and --as: only one of them can count');
  if (problems.length > 0) return sayUsage(problems);
  try {
    const explanation = await explain(specOf(draft, profile), {
      optional,
      image: draft.settings.image,
      ...(as === undefined ? {} : { as }),
      ...(backend === undefined ? {} : { backend }),
    });
    if (explanation.equivalent !== undefined) return printEquivalent(explanation.equivalent, command);
    writeAll(1, json ? explanationJson(explanation, command) : explanationText(explanation, command));
    return 0;
  } catch (error) {
    sayError(error, draft, profile?.mounts?.length);
    return exitStatusOfError(error);
  }
}

function printEquivalent({ tool, before, argv, config, lacks }: Equivalent, command: readonly string[]): number {
  for (const lack of lacks) say(`${tool} leaves out: ${lack}`, 'yellow');
  if (argv === undefined) {
    say(`there is no such sandbox of ${tool}`, 'red');
    return 1;
  }
  if (config === undefined) {
    writeAll(1, `${[...before, shellLine([...argv, ...command])].join(' &&\n')}\n`);
    return 0;
  }
  writeAll(1, `${jsonOf(withCommand(config, command), 2)}\n`);
  say(`with that as config.json, run beside it: ${[...before, shellLine(argv)].join(' && ')}`);
  return 0;
}

function withCommand(config: Readonly<Record<string, unknown>>, command: readonly string[]): unknown {
  return {
    ...config,
    process: { ...(config['process'] as object), args: command.length === 0 ? ['/bin/sh'] : command },
  };
}
