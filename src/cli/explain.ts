// `run-sandbox explain`: what a run would do.

import type { Explanation } from '../index.ts';
import { explain } from '../index.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { commandOf } from './operands.ts';
import type { Parsed } from './parse.ts';
import { loadProfile } from './profile.ts';
import { explanationJson, explanationText, shellLine } from './render.ts';
import { say, writeAll } from './say.ts';
import { specOf } from './spec.ts';

export async function explainCommand(parsed: Parsed): Promise<number> {
  const { draft } = parsed;
  const { backend, optional, json, bwrap } = draft.settings;
  const problems = [...parsed.problems];
  const command = commandOf(parsed);
  const profile = draft.profile === undefined ? undefined : loadProfile(draft.profile, problems);
  if (json && bwrap) problems.push('--json and --bwrap: only one of them can count');
  if (problems.length > 0) return sayUsage(problems);
  try {
    const explanation = await explain(specOf(draft, profile), {
      optional,
      ...(backend === undefined ? {} : { backend }),
    });
    if (bwrap) return printBwrap(explanation, command);
    writeAll(1, json ? explanationJson(explanation, command) : explanationText(explanation, command));
    return 0;
  } catch (error) {
    sayError(error, draft, profile?.mounts?.length);
    return exitStatusOfError(error);
  }
}

function printBwrap({ bwrap }: Explanation, command: readonly string[]): number {
  for (const lack of bwrap.lacks) say(`bwrap leaves out: ${lack}`, 'yellow');
  if (bwrap.argv === undefined) {
    say('there is no such command line of bwrap', 'red');
    return 1;
  }
  writeAll(1, `${shellLine([...bwrap.argv, ...command])}\n`);
  return 0;
}
