// The same sandbox as a program of its own, which runs without this library.
import { release } from 'node:os';
import { posix } from 'node:path';
import type { CompiledFacts, CompiledGroupPlace } from '../backends/backend.ts';
import { BackendError, InternalError, type SpecIssue } from '../errors/errors.ts';
import { readGroupPlaces } from '../host/cgroups.ts';
import { callerFacts } from '../host/facts.ts';
import { hostFiles } from '../host/files.ts';
import type { DeniedCall } from '../seccomp/denied.ts';
import { checkInheritName } from '../spec/checks.ts';
import { isEnvSpec, ownNames } from '../spec/environment.ts';
import type { EnvSpec, NormalizedSpec, SandboxSpec } from '../spec/types.ts';
import { checkCall, killSignalOf, prepareTrusted } from './call.ts';
import { wrapOptionNames } from './options.ts';
import { namesImage, type Prepared } from './plan.ts';
import { formatCall } from './result.ts';
import type { RunOptions } from './types.ts';

export interface Compiled {
  readonly content: Uint8Array;
  readonly prepared: Prepared;
  /** Variables that each call takes from its caller. */
  readonly inherit: readonly string[];
  readonly kernel: string;
}

type Options = Pick<RunOptions, 'backend' | 'optional' | 'killSignal' | 'gracePeriodMs'>;

/**
 * A program that runs `command`, or where that is empty the words that it is called with, in a sandbox as `spec` says. `notices` are said before each run.
 *
 * Preconditions: `spec` has the right shape.
 *
 * @throws {SpecError} with every reason why it cannot be compiled, and else as `run` does.
 */
export async function compile(
  command: readonly string[],
  spec: SandboxSpec,
  options: Options,
  noticesOf: (prepared: Prepared) => CompiledFacts['notices'],
): Promise<Compiled> {
  const { backend = process.env['SANDBOXLIB_BACKEND'] || 'native' } = options;
  const { env, inherit, set, issues: issuesOfEnv } = splitEnv(spec);
  const call = checkCall(command, { ...options, backend }, wrapOptionNames, command.length === 0);
  const issues = [...call.issues, ...whyNot(spec, backend), ...issuesOfEnv];
  // Variables of now must not be those of every call: what is inherited is left out here, and taken then.
  const prepared = await prepareTrusted({ ...spec, env }, call.options, issues);
  if (prepared.backend.compile === undefined) throw new BackendError('nothing can be compiled', [onlyNative(backend)]);
  const { gracePeriodMs } = call.options;
  const killSignal = killSignalOf(prepared, call.options);
  const { nameableCalls } = await import('../seccomp/denied.ts');
  const calls = () => linesOf(nameableCalls());
  const facts = {
    ...factsOf(prepared.spec, spec),
    calls,
    inherit,
    own: [...ownNames],
    set,
    notices: noticesOf(prepared),
  };
  const content = await prepared.backend.compile(prepared.plan, { command, killSignal, gracePeriodMs, facts });
  return { content, prepared, inherit, kernel: facts.kernel };
}

function onlyNative(backend: string): { backend: string; because: string } {
  return { backend, because: 'needs this library, or another program, while the command runs; only native does not' };
}

/** What only this library does, while a command runs or after it. */
function whyNot(spec: SandboxSpec, backend: string): SpecIssue[] {
  const { root, mounts = [], workspace } = spec;
  const issues: SpecIssue[] = [];
  if (backend !== 'native') issues.push({ path: ['backend'], message: `${backend} ${onlyNative(backend).because}` });
  const image =
    'is kept by this library while it is used: unpack it, with run-sandbox image unpack, and name the directory';
  if (namesImage(spec)) issues.push({ path: ['root', 'image'], message: image });
  if (spec.onSyscall !== undefined && spec.onSyscall.length > 0)
    issues.push({ path: ['onSyscall'], message: 'is heard and answered by this library while the command runs' });
  const capture = "'capture' keeps changes where this library finds them after the run; discard them";
  if (typeof root === 'object' && root.changes === 'capture')
    issues.push({ path: ['root', 'changes'], message: capture });
  if (typeof workspace === 'object' && workspace.changes === 'capture')
    issues.push({ path: ['workspace', 'changes'], message: capture });
  for (const [index, mount] of mounts.entries()) {
    if (typeof mount !== 'object') continue;
    if (mount.type === 'image') issues.push({ path: ['mounts', index], message: `the image ${image}` });
    if (mount.changes === 'capture') issues.push({ path: ['mounts', index, 'changes'], message: capture });
  }
  return issues;
}

interface SplitEnv {
  readonly env: EnvSpec;
  readonly inherit: readonly string[];
  readonly set: readonly string[];
  readonly issues: readonly SpecIssue[];
}

/** What has a value now, and what gets one with each call. */
function splitEnv({ env = {}, terminal }: SandboxSpec): SplitEnv {
  const { inherit = [], set = {} } = isEnvSpec(env) ? env : { set: env };
  const issues = inherit.flatMap((name, index): SpecIssue[] => {
    const problem = checkInheritName(name);
    return problem === undefined ? [] : [{ path: ['env', 'inherit', index], message: problem }];
  });
  const names = Object.keys(set);
  const hasTerminal = terminal !== undefined && terminal !== false && !names.includes('TERM');
  return {
    env: { set: hasTerminal ? { ...set, TERM: 'xterm' } : set },
    inherit: hasTerminal && !inherit.includes('TERM') ? [...inherit, 'TERM'] : inherit,
    set: names,
    issues,
  };
}

function factsOf(
  { workspace, limits, cwd }: NormalizedSpec,
  given: SandboxSpec,
): Omit<CompiledFacts, 'inherit' | 'own' | 'set' | 'notices' | 'calls'> {
  const { uid, gid, hasFormats } = callerFacts();
  const follows = given.cwd === undefined && workspace?.path === cwd;
  return {
    uid,
    gid,
    kernel: /^\d+\.\d+/.exec(release())?.[0] ?? release(),
    knowsFormats: hasFormats,
    workspace: follows ? workspace?.path : undefined,
    groupPlace,
    processCpuMs: limits.processCpuMs,
    boundsFiles: limits.fileBytes !== undefined,
  };
}

/** In the order in which they were looked for (host/cgroups.ts). */
function groupPlace(directory: string): CompiledGroupPlace {
  const places = readGroupPlaces(hostFiles);
  const found =
    places.map((place) => ({ ...place, which: 'own' as const })).find(({ own }) => own === directory) ??
    places
      .map((place) => ({ ...place, which: 'above' as const }))
      .find(({ own }) => posix.dirname(own) === directory) ??
    places.map((place) => ({ ...place, which: 'top' as const })).find(({ mountPoint }) => mountPoint === directory);
  if (found === undefined) throw new InternalError(`control groups in ${directory}, which is in no tree of them`);
  return found;
}

function linesOf(calls: Iterable<DeniedCall & { readonly audit: number }>): string[] {
  const lines = new Set<string>();
  for (const { audit, ...call } of calls) {
    lines.add(`${audit} ${call.number} ${formatCall(call)}`);
    lines.add(`${audit} ${call.abi === 'x32' ? 'x32' : 'any'} ${call.abi}`);
  }
  return [...lines];
}
