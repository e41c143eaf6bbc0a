// `run-sandbox COMMAND`: the way that has to be short. Whatever only some runs need is imported where they need it.

import type { Changes } from '../changes/types.ts';
import { SpecError } from '../errors/errors.ts';
import { checkCall, prepareTrusted } from '../run/call.ts';
import { runOptionNames } from '../run/options.ts';
import { namesImage, type Prepared } from '../run/plan.ts';
import { Process } from '../run/process.ts';
import { describeOutcome, describeSyscall } from '../run/result.ts';
import { whenReady } from '../run/soon.ts';
import type { RunEvent, RunResult } from '../run/types.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { exitStatus, exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { commandOf } from './operands.ts';
import type { Settings } from './option.ts';
import type { Parsed } from './parse.ts';
import { pullProgress } from './progress.ts';
import { say } from './say.ts';
import { wordsOfSkipped } from './skipped.ts';
import { changesProblem, specOf } from './spec.ts';
import { checkDescriptor, StatusWriter } from './status.ts';

/** Signals that ask a program to end. What they mean to the command is the command's business, so they are passed on. */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Runs the command; the status to exit with. */
export async function runCommand(parsed: Parsed): Promise<number> {
  const { draft } = parsed;
  const { settings } = draft;
  const problems = [...parsed.problems];
  const command = commandOf(parsed);
  const profile =
    draft.profile === undefined ? undefined : (await import('./profile.ts')).loadProfile(draft.profile, problems);
  const spec = specOf(draft, profile);
  if (command.length === 0 && !namesImage(spec))
    problems.push('no command given: run-sandbox [options] [--] COMMAND [ARG...]');
  problems.push(...changesProblem(draft, spec));
  const descriptorProblem = settings.statusFd === undefined ? undefined : checkDescriptor(settings.statusFd);
  if (descriptorProblem !== undefined) problems.push(`--status-fd: ${descriptorProblem}`);
  const status = new StatusWriter(descriptorProblem === undefined ? settings.statusFd : undefined, settings.json);
  if (problems.length > 0) {
    const exit = sayUsage(problems);
    status.error(new SpecError(problems.map((message) => ({ path: ['options'], message }))), exit);
    return exit;
  }

  let prepared: Prepared | undefined;
  try {
    const result = await launch(spec, command, settings, status, (ready) => {
      prepared = ready;
    });
    const exit = exitStatus(result.outcome);
    if (settings.verbose) sayEnforcement(result);
    if (result.outcome.kind === 'limit') say(`ended by its limit ${result.outcome.limit}`, 'red');
    if (result.outcome.kind === 'denied') say(describeOutcome(result.outcome), 'red');
    if (result.outcome.kind === 'exited' && exit !== 0 && prepared !== undefined && !settings.quiet) {
      await hint({ kind: 'exited' }, prepared, command);
    }
    tellHandlers(result.handlers);
    if (result.changes !== undefined) await tellChanges(result.changes, settings);
    status.result(result, exit);
    return exit;
  } catch (error) {
    const exit = exitStatusOfError(error);
    sayError(error, draft, profile?.mounts?.length);
    if (prepared !== undefined && !settings.quiet) await hint({ kind: 'failed', error }, prepared, command);
    status.error(error instanceof Error ? error : new Error(String(error)), exit);
    return exit;
  }
}

async function launch(
  spec: SandboxSpec,
  command: readonly string[],
  settings: Settings,
  status: StatusWriter,
  onPrepared: (prepared: Prepared) => void,
): Promise<RunResult> {
  const { backend, optional, killSignal, gracePeriodMs } = settings;
  const image = { ...settings.image, ...pullProgress(settings) };
  const onEvent = (event: RunEvent): void => {
    status.event(event);
    const isTold = settings.json || settings.statusFd !== undefined;
    if (event.kind === 'syscall' && !isTold) say(describeSyscall(event.call));
  };
  const stdio = { stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' };
  const call = checkCall(
    command,
    { ...stdio, backend, optional, killSignal, gracePeriodMs, image, onEvent },
    runOptionNames,
    namesImage(spec),
  );
  const run = new Process(call, 'run', () =>
    whenReady(prepareTrusted(spec, call.options, call.issues), (prepared) => {
      onPrepared(prepared);
      if (!settings.quiet) for (const text of wordsOfSkipped(prepared)) say(text, 'yellow');
      return prepared;
    }),
  );
  const listeners = forwarded.map((signal) => ({ signal, listener: () => run.forward(signal) }));
  for (const { signal, listener } of listeners) process.on(signal, listener);
  try {
    return await run.result;
  } finally {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  }
}

/** The command has ended as it did; that what comes after it failed is said all the same. */
function tellHandlers(handlers: RunResult['handlers']): void {
  const postStop = handlers?.postStop;
  if (postStop === undefined) return;
  if ('error' in postStop) say(`post-stop could not be run: ${postStop.error.message}`, 'red');
  else if (postStop.exitCode !== 0) say(`post-stop ${describeOutcome(postStop.outcome)}`, 'red');
}

/** Where there are none, nothing is kept. */
async function tellChanges(changes: Changes, { quiet }: Settings): Promise<void> {
  const { id, entries, views } = changes;
  if (entries.length === 0) await changes.discard();
  if (quiet) return;
  if (entries.length === 0) say('nothing was changed');
  else {
    // An image stays as it is.
    const verbs = views.some(({ layers }) => layers !== undefined)
      ? 'show|diff|export|push|discard'
      : 'show|diff|apply|discard';
    say(`${count(entries.length)} kept: run-sandbox changes ${verbs} ${id}`);
  }
}

function count(changes: number): string {
  return changes === 1 ? '1 change is' : `${changes} changes are`;
}

function sayEnforcement({ enforcement }: RunResult): void {
  const applied = enforcement.applied.map(({ feature, mechanism }) => `  ${feature}: ${mechanism}`);
  say([`enforced by backend ${enforcement.backend}:`, ...applied].join('\n'));
}

async function hint(
  failure: import('./hints.ts').Failure,
  prepared: Prepared,
  command: readonly string[],
): Promise<void> {
  const [{ hintFor }, { nodeHintHost }] = await Promise.all([import('./hints.ts'), import('./hint-host.ts')]);
  // They are about what the sandbox does not show; without a root of its own it shows everything.
  if (prepared.enforcement.skipped.some(({ feature }) => feature === 'root.host')) return;
  const text = hintFor(failure, prepared.spec, command, nodeHintHost());
  if (text !== undefined) say(text, 'yellow');
}
