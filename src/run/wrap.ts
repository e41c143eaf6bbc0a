// The same sandbox for somebody else's spawner: a command line that carries the whole plan.
import { BackendError, SpecError } from '../errors/errors.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { checkCall, commandFor, killSignalOf, prepare } from './call.ts';
import { wrapOptionNames } from './options.ts';
import { namesImage } from './plan.ts';
import type { RunOptions, WrappedCommand } from './types.ts';

/**
 * What to spawn so that `command` runs in a sandbox: `file`, `args` and `env`, with the stdio of your choice.
 *
 * The exit status tells how it ended: the command's own; 128+n for signal n; 124 for a limit; 125 when the sandbox failed; 126 and 127
 * as in the shell. Nothing is started here.
 *
 * @throws as `run` does, and {BackendError} where the backend cannot work without this library beside it.
 */
export async function wrap(
  command: readonly string[],
  spec: SandboxSpec = {},
  options?: Pick<RunOptions, 'backend' | 'optional' | 'image' | 'killSignal' | 'gracePeriodMs'>,
): Promise<WrappedCommand> {
  const call = checkCall(command, options, wrapOptionNames, namesImage(spec));
  const prepared = await prepare(spec, call.options, call.issues);
  const { backend, plan, enforcement } = prepared;
  if (plan.applied.some(({ feature }) => feature === 'seccomp.notify')) {
    const message = 'is answered by this library while the command runs, so that nothing can be wrapped';
    throw new SpecError([{ path: ['onSyscall'], message }]);
  }
  if (prepared.begin !== undefined) {
    const message = 'has programs around its command, which this library runs, so that nothing can be wrapped';
    throw new SpecError([{ path: ['root', 'image'], message }]);
  }
  if (plan.applied.some(({ feature }) => feature === 'changes.capture')) {
    const message =
      "'capture' keeps changes where this library finds them after the run, so that nothing can be wrapped; discard them";
    throw new SpecError([{ path: ['changes'], message }]);
  }
  if (backend.wrap === undefined) {
    throw new BackendError('nothing can be wrapped', [
      { backend: backend.name, because: 'it needs this library while the command runs' },
    ]);
  }
  const { gracePeriodMs } = call.options;
  const killSignal = killSignalOf(prepared, call.options);
  const wrapped = backend.wrap(plan, { command: commandFor(prepared, call), killSignal, gracePeriodMs });
  // Nothing is held for it yet; who disposes of it is ready for the day when something is.
  return { ...wrapped, enforcement, [Symbol.dispose]: () => {} };
}
