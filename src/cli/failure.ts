// Errors in the words of the command line: one line each.
import {
  type BackendError,
  byReason,
  type FeatureError,
  isSandboxError,
  type SandboxError,
  type SpecError,
} from '../errors/errors.ts';
import { joinWords } from '../spec/words.ts';
import { FAILURE } from './exit.ts';
import type { Draft } from './option.ts';
import { say } from './say.ts';
import { describeIssue } from './spec.ts';

/** Wrong use of the command line, all of it at once. */
export function sayUsage(problems: readonly string[]): number {
  for (const problem of problems) say(problem, 'red');
  say('see run-sandbox --help');
  return FAILURE;
}

/** A failure of the sandbox, or a spec that cannot be. */
export function sayError(error: unknown, draft: Draft, mountsOfProfile = 0): void {
  if (!isSandboxError(error)) {
    // A defect of ours: whoever reports it needs the place.
    say(
      `unexpected error, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      'red',
    );
    return;
  }
  for (const line of linesOf(error, draft, mountsOfProfile)) say(line, 'red');
  if (error.code === 'SBX_SPEC_INVALID') say('see run-sandbox --help');
}

function linesOf(error: SandboxError, draft: Draft, mountsOfProfile: number): string[] {
  if (error.code === 'SBX_SPEC_INVALID') {
    return (error as SpecError).issues.map((issue) => describeIssue(issue, draft, mountsOfProfile));
  }
  if (error.code === 'SBX_FEATURE_UNAVAILABLE') {
    const { backend, missing } = error as FeatureError;
    return byReason(missing).map(({ names, because, remedy }) => {
      const reason = remedy === undefined ? because : `${because}; ${remedy}`;
      return `${joinWords(names)} ${names.length === 1 ? 'is' : 'are'} not available on backend ${backend}: ${reason}`;
    });
  }
  if (error.code === 'SBX_BACKEND_UNAVAILABLE' && (error as BackendError).probes.length > 0) {
    return [error.message, 'run-sandbox doctor says what this host offers, and what to do'];
  }
  return [error.message];
}
