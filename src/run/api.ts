// `run` and `spawn`: one command in a sandbox of its own.
import type { SandboxSpec } from '../spec/types.ts';
import { checkCall, prepare } from './call.ts';
import { runOptionNames } from './options.ts';
import { namesImage } from './plan.ts';
import { Process, type Purpose } from './process.ts';
import { refuseUnwritableStdin } from './stdio.ts';
import type { RunOptions, RunResult, SandboxProcess } from './types.ts';

/**
 * Runs `command` in a sandbox and collects what it prints.
 *
 * Whatever the command does is in the result's `outcome`; the promise rejects only when the sandbox could not do its part.
 *
 * @throws {SpecError} for a wrong spec, command or option: all issues at once, before anything is created.
 * @throws {FeatureError | BackendError} when this host cannot give what the spec asks for.
 * @throws {LaunchError} when setting up failed, or the command could not be executed.
 * @example const { stdout } = await run(['uname', '-a']);
 */
export async function run(command: readonly string[], spec?: SandboxSpec, options?: RunOptions): Promise<RunResult> {
  return begin('run', command, spec, options).result;
}

/**
 * Starts `command` in a sandbox; the handle exists at once. Await it for the result, iterate it for lines, or use its streams.
 *
 * What `run` would throw rejects the result.
 *
 * @example for await (const line of spawn(['make', 'check'], { workspace: '.' })) console.log(line);
 */
export function spawn(command: readonly string[], spec?: SandboxSpec, options?: RunOptions): SandboxProcess {
  return begin('handle', command, spec, options);
}

function begin(purpose: Purpose, command: unknown, spec: unknown, options: unknown): Process {
  const call = checkCall(command, options, runOptionNames, namesImage(spec));
  if (purpose === 'run') refuseUnwritableStdin(call);
  return new Process(call, purpose, () => prepare(spec, call.options, call.issues));
}
