// The sandbox of a program that this library runs for itself: one that reads what is hostile, or one that needs ids that the caller has not. It is the native
// backend's, and nothing is negotiated: what these programs are kept from is not the caller's choice.
import { LaunchError } from '../errors/errors.ts';
import type { Feature } from '../features/feature.ts';
import { negotiate } from '../features/negotiate.ts';
import { requirements } from '../features/requirements.ts';
import { callerFacts } from '../host/facts.ts';
import { hostFiles } from '../host/files.ts';
import { mayRefuseUserNamespaces } from '../host/suspicion.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../spec/types.ts';
import type { Backend, BackendPlan, CallerFacts, LaunchedProcess, LaunchRequest } from './backend.ts';
import { launcherPath } from './launcher/locate.ts';
import { loadBackend, registry } from './registry.ts';

export interface OwnSandboxOptions {
  /** What is there of the host beside the mounts: its system directories, as in any sandbox, or nothing. */
  readonly view: 'system' | 'nothing';
  /** Whether the program gets descriptors beside its standard streams. */
  readonly descriptors?: boolean;
}

export class OwnSandbox {
  readonly idMappings: NormalizedSpec['idMappings'];
  /** Whether it sees the caller's own files, by their paths, and not what the spec mounts. */
  readonly isConfined: boolean;
  readonly #backend: Backend;
  readonly #plan: BackendPlan;

  private constructor(backend: Backend, plan: BackendPlan, { idMappings }: NormalizedSpec, isConfined: boolean) {
    this.#backend = backend;
    this.#plan = plan;
    this.idMappings = idMappings;
    this.isConfined = isConfined;
  }

  /**
   * One of a program of the host's that reads `files`, absolute paths without symlinks: isolated, with `spec`; where that is refused confined, to them and
   * to the system's directories.
   *
   * @throws {SpecError} as `of`. @throws {FeatureError} as `confined`.
   */
  static async reading(
    files: readonly string[],
    spec: SandboxSpec,
    { descriptors = false }: Pick<OwnSandboxOptions, 'descriptors'> = {},
  ): Promise<OwnSandbox> {
    await tryIsolationWhereDoubtful();
    if (!refusesIsolation()) return await OwnSandbox.of(spec, { view: 'system', descriptors });
    const { uid, gid, topLevel, etcEntries } = callerFacts();
    const host = nodeSpecHost();
    const paths: Record<string, 'rox' | 'ro'> = {};
    const allow = (path: string, access: 'rox' | 'ro'): void => {
      // A symlink can have no rule; where it leads to nothing nothing is read.
      const real = host.realpath(path);
      if (real !== undefined) paths[real] = access;
    };
    for (const { name } of etcEntries) allow(`/etc/${name}`, 'ro');
    for (const { name } of topLevel) allow(`/${name}`, 'rox');
    for (const file of files) allow(file, 'ro');
    const { limits = {} } = spec;
    return await OwnSandbox.confined(
      { user: { uid, gid }, network: 'none', landlock: { paths }, limits },
      { descriptors },
    );
  }

  /** @throws {SpecError} where this host has not what the spec names, ranges of ids for example. */
  static async of(spec: SandboxSpec, { view, descriptors = false }: OwnSandboxOptions): Promise<OwnSandbox> {
    const backend = await loadBackend('native');
    const facts = callerFacts();
    const normalized = normalize(spec, nodeSpecHost());
    const { uid, gid } = facts;
    const granted = requirements(spec, { caller: { uid, gid }, descriptors });
    const seen = view === 'nothing' ? seeingNothing(facts) : facts;
    return new OwnSandbox(backend, backend.plan(normalized, granted, seen), normalized, false);
  }

  /**
   * Without namespaces, for a host that refuses them: the program sees the caller's own files, and is kept from them by Landlock, which `spec` names the
   * exceptions of.
   *
   * @throws {FeatureError} where the kernel has no Landlock either.
   */
  static async confined(
    spec: SandboxSpec & Required<Pick<SandboxSpec, 'landlock'>>,
    { descriptors = false }: Pick<OwnSandboxOptions, 'descriptors'> = {},
  ): Promise<OwnSandbox> {
    const backend = await loadBackend('native');
    const facts = callerFacts();
    const { uid, gid } = facts;
    const required = requirements(spec, { caller: { uid, gid }, descriptors });
    const report = await backend.probe();
    const optional = [...required].filter((feature) => !kept.includes(feature));
    const candidates = registry.map((candidate) => ({
      ...candidate,
      report: candidate.name === 'native' ? report : undefined,
    }));
    const { granted } = negotiate({ required, optional, candidates, chosen: 'native' });
    const normalized = normalize(spec, nodeSpecHost());
    return new OwnSandbox(backend, backend.plan(normalized, granted, facts), normalized, true);
  }

  /** @throws {LaunchError} by what it gives. */
  launch(command: LaunchRequest['command'], stdio: LaunchRequest['stdio']): LaunchedProcess {
    return this.#backend.launch(this.#plan, { command, stdio, killSignal: 'SIGKILL', gracePeriodMs: 0 });
  }
}

/** What nothing of ours that reads hostile things does without. */
const kept: readonly Feature[] = ['landlock.paths', 'seccomp.default', 'noNewPrivileges'];

const isolating = new Map<string, boolean>();

/** Whether this host makes namespaces for this caller, as far as `tryIsolationWhereDoubtful` found out. */
export function refusesIsolation(): boolean {
  return isolating.get(launcherPath()) === false;
}

/** A trial where a look at the host says that it may refuse them, and once: elsewhere nobody has to wait for one. */
export async function tryIsolationWhereDoubtful(): Promise<void> {
  const launcher = launcherPath();
  if (isolating.has(launcher) || !(mayRefuseUserNamespaces() || isFiltered())) return;
  isolating.set(launcher, await tryIsolation(launcher));
}

/** proc_pid_status(5), Seccomp: 2, a filter, as a container's that refuses clone(2). */
function isFiltered(): boolean {
  return hostFiles.readFile('/proc/self/status')?.includes('\nSeccomp:\t2\n') === true;
}

const LAUNCHER = '/launcher';

async function tryIsolation(launcher: string): Promise<boolean> {
  const mounts = [{ type: 'bind', source: launcher, destination: LAUNCHER, readonly: true }] as const;
  const sandbox = await OwnSandbox.of({ mounts, network: 'none' }, { view: 'nothing' });
  try {
    await sandbox.launch([LAUNCHER, '--version'], ['ignore', 'ignore', 'ignore']).ended;
    return true;
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    const { features } = await (await loadBackend('native')).probe();
    // Anything else is told by who needs it.
    return features.get('namespace.user')?.available !== false;
  }
}

function seeingNothing(facts: CallerFacts): CallerFacts {
  // Most of the facts are read when they are first asked for, which a copy would do for all of them.
  return Object.create(facts, { topLevel: { value: [] }, etcEntries: { value: [] } }) as CallerFacts;
}
