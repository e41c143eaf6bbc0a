// The apps of a pod (App Container specification 0.8.11, pods.md): a sandbox each, with a root, a user and bounds of its own, in one pid, network, ipc and
// uts namespace. These are made by one sandbox more, in which nothing but a process that waits is run, and end with it.
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, closeSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { BackendPlan, LaunchedProcess } from '../backends/backend.ts';
import { launchPlan } from '../backends/launcher/launch.ts';
import { launcherPath } from '../backends/launcher/locate.ts';
import { holdingPlan, idMapsOf } from '../backends/launcher/pod.ts';
import type { LauncherPlan } from '../backends/launcher/steps.ts';
import { loadBackend } from '../backends/registry.ts';
import {
  BackendError,
  FeatureError,
  ImageError,
  isSandboxError,
  type SandboxError,
  SpecError,
  type SpecIssue,
} from '../errors/errors.ts';
import { requirements } from '../features/requirements.ts';
import { callerFacts } from '../host/facts.ts';
import { type AciPod, type AciPodApp, type AciVolume, parseAciPod } from '../image/aci/pod.ts';
import { findStore, openReference } from '../image/open/open.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { IdMapping, SandboxSpec } from '../spec/types.ts';
import { prepareTrusted } from './call.ts';
import { explainFailure } from './failure.ts';
import { type CallOptions, checkOptions, type PodCall } from './options.ts';
import type { Prepared } from './plan.ts';
import type { PodOptions, PodResult } from './pod.ts';
import { Process } from './process.ts';
import type { RunResult } from './types.ts';

/** See `runPod` of pod.ts. */
export async function runPodOf(manifest: string | Uint8Array, options: PodOptions): Promise<PodResult> {
  const { images = [], volumes = {}, ...rest } = options;
  const issues: SpecIssue[] = [];
  const call = checkOptions(rest, podOptionNames, issues);
  if (issues.length > 0) throw new SpecError(issues);
  const pod = withVolumes(parseAciPod(manifest), volumes);
  const references = await referencesOf(pod, images, call);
  const { layers } = (await findStore()).store;
  const work = layers.makeWork();
  const running = new RunningPod(pod, call, realpathSync(work), new Set(Object.keys(volumes)));
  try {
    await running.prepare(references);
    await running.hold();
    return await running.run();
  } finally {
    await running.release();
    await layers.removeWork(work);
  }
}

const podOptionNames = [
  'stdout',
  'stderr',
  'encoding',
  'stripFinalNewline',
  'signal',
  'killSignal',
  'gracePeriodMs',
  'image',
  'optional',
] as const;

function withVolumes(pod: AciPod, given: NonNullable<PodOptions['volumes']>): AciPod {
  const named = Object.entries(given).map(([name, volume]): AciVolume => {
    const { source, readOnly = false } = typeof volume === 'string' ? { source: volume } : volume;
    return { kind: 'host', name, source: nodeSpecHost().realpath(source) ?? source, readOnly, recursive: true };
  });
  const others = pod.volumes.filter(({ name }) => !Object.hasOwn(given, name));
  return { ...pod, volumes: [...others, ...named] };
}

/** The image of each app as the store calls it, in their order. @throws {ImageError} with all that are missing. */
async function referencesOf(pod: AciPod, images: readonly string[], { image }: CallOptions): Promise<string[]> {
  const byId = new Map<string, string>();
  for (const { record } of (await findStore()).store.list())
    if (record.kind === 'aci') byId.set(record.id, record.reference);
  for (const reference of images) {
    const { record } = await openReference(reference, image);
    byId.set(record.id, record.reference);
  }
  const issues: SpecIssue[] = pod.ports.map((_port, index) => ({
    path: ['ports', index],
    message: 'a pod has no network but its own, so that no port of it is exposed',
  }));
  const references = pod.apps.map(({ image: { id, name } }, index) => {
    const reference = byId.get(id);
    if (reference !== undefined) return reference;
    const what = name === undefined ? 'the image' : `the image ${name}`;
    issues.push({ path: ['apps', index, 'image', 'id'], message: `${what} (${id}) is neither given nor in the store` });
    return '';
  });
  if (issues.length > 0) throw new ImageError('SBX_IMAGE_UNSUPPORTED', 'the pod cannot be run as asked', { issues });
  return references;
}

interface PreparedApp {
  readonly name: string;
  readonly options: CallOptions;
  readonly prepared: Prepared;
}

const PAUSE = '/pause';
/** Of the holder, where every id is the caller's to use: an app that is not of the same uid cannot end it. */
const NOBODY = { uid: 65_534, gid: 65_534 };

class RunningPod {
  readonly #pod: AciPod;
  readonly #call: CallOptions;
  readonly #work: string;
  /** Names of volumes that are the caller's. */
  readonly #given: ReadonlySet<string>;
  readonly #uuid = randomUUID();
  #apps: readonly PreparedApp[] = [];
  #holder: LaunchedProcess | undefined;
  #namespaces: readonly number[] = [];

  constructor(pod: AciPod, call: CallOptions, work: string, given: ReadonlySet<string>) {
    this.#pod = pod;
    this.#given = given;
    this.#call = call;
    this.#work = work;
  }

  /** @throws {ImageError} with the issues of every app. */
  async prepare(references: readonly string[]): Promise<void> {
    const pod = { ...this.#pod, volumes: this.#pod.volumes.map((volume) => this.#shared(volume)) };
    const apps: PreparedApp[] = [];
    const issues: SpecIssue[] = [];
    for (const [index, app] of this.#pod.apps.entries()) {
      try {
        apps.push(await this.#prepareApp(pod, app, references[index] ?? ''));
      } catch (error) {
        issues.push(...issuesOf(error, index));
      }
    }
    const [first] = apps;
    for (const [index, { prepared }] of apps.entries())
      if (first !== undefined && mapsOf(prepared) !== mapsOf(first.prepared))
        issues.push({ path: ['apps', index], message: otherUser(prepared, first) });
    if (issues.length === 0) issues.push(...this.#unused(apps));
    if (issues.length > 0) throw new ImageError('SBX_IMAGE_UNSUPPORTED', 'the pod cannot be run as asked', { issues });
    this.#apps = apps;
  }

  async #prepareApp(pod: AciPod, app: AciPodApp, reference: string): Promise<PreparedApp> {
    const call: PodCall = { place: { pod, app, uuid: this.#uuid }, joins: () => this.#namespaces };
    const options: CallOptions = { ...this.#call, backend: 'native', pod: call };
    const spec: SandboxSpec = {
      root: { image: reference, ...(app.readOnlyRootFS ? { readonly: true } : {}) },
      // All of its own paths: a domain keeps it from whatever of others it sees in /proc (landlock(7), ptrace restrictions).
      landlock: { paths: { '/': 'rwx' } },
    };
    return { name: app.name, options, prepared: await prepareTrusted(spec, options, []) };
  }

  /** Of what the caller gave: by a misspelt name nobody gets it. */
  #unused(apps: readonly PreparedApp[]): SpecIssue[] {
    const shown = new Set(apps.flatMap(({ prepared }) => prepared.spec.mounts.map(({ source }) => source)));
    return this.#pod.volumes.flatMap((volume) => {
      if (volume.kind !== 'host' || !this.#given.has(volume.name) || shown.has(volume.source)) return [];
      return [{ path: ['options', 'volumes', volume.name], message: 'no app has it anywhere' }];
    });
  }

  /** An empty volume is a directory for all that have it, and goes with the pod. */
  #shared(volume: AciVolume): AciVolume {
    if (volume.kind === 'host') return volume;
    const { name, readOnly, mode, uid, gid } = volume;
    const source = join(this.#work, 'volumes', name);
    mkdirSync(source, { recursive: true });
    if (callerFacts().uid === 0) chownSync(source, uid, gid);
    chmodSync(source, mode);
    return { kind: 'host', name, source, readOnly, recursive: true };
  }

  /** Starts what the apps join. */
  async hold(): Promise<void> {
    const [first] = this.#apps;
    if (first === undefined) return;
    this.#call.signal?.throwIfAborted();
    const plan = await this.#holdingPlan(first.prepared);
    try {
      this.#holder = launchPlan(launcherPath(), plan, {
        command: [PAUSE, 'pause'],
        stdio: ['ignore', 'ignore', 'ignore'],
        killSignal: 'SIGKILL',
        gracePeriodMs: 0,
      });
      await this.#holder.started;
      this.#namespaces = this.#holder.openNamespaces?.() ?? [];
    } catch (error) {
      throw await explainFailure(first.prepared, error);
    }
  }

  async #holdingPlan({ spec: { user, idMappings } }: Prepared): Promise<BackendPlan<LauncherPlan>> {
    const backend = await loadBackend('native');
    const root = join(this.#work, 'root');
    mkdirSync(root, { mode: 0o755 });
    const facts = callerFacts();
    const ranges = idMappings.needsHelper;
    const spec: SandboxSpec = {
      root: { path: root },
      mounts: [{ type: 'bind', source: launcherPath(), destination: PAUSE }],
      user: idMappings.privileged ? NOBODY : { uid: user.uid, gid: user.gid },
      ...(ranges ? { uidMappings: listed(idMappings.uid), gidMappings: listed(idMappings.gid) } : {}),
    };
    const granted = requirements(spec, { caller: facts, missingMountPoints: true });
    const plan = backend.plan(normalize(spec, nodeSpecHost()), granted, facts);
    return holdingPlan(plan as BackendPlan<LauncherPlan>);
  }

  async run(): Promise<PodResult> {
    const running = this.#apps.map(({ options, prepared }) => {
      return new Process({ command: [], options, issues: [] }, 'run', () => prepared);
    });
    let failure: { readonly error: unknown } | undefined;
    const results = await Promise.all(
      running.map(({ result }) =>
        result.catch((error: unknown) => {
          // What the first one failed by is why the others did.
          failure ??= { error };
          for (const other of running) other.kill();
          return undefined;
        }),
      ),
    );
    if (failure !== undefined) throw failure.error;
    const named = this.#apps.map(({ name }, index) => [name, results[index]] as const);
    return { uuid: this.#uuid, apps: Object.fromEntries(named) as Record<string, RunResult> };
  }

  async release(): Promise<void> {
    for (const descriptor of this.#namespaces) closeSync(descriptor);
    this.#namespaces = [];
    this.#holder?.kill();
    await this.#holder?.ended.catch(() => {});
  }
}

function listed(mappings: readonly IdMapping[]): IdMapping[] {
  return mappings.map((mapping) => ({ ...mapping }));
}

function mapsOf({ apart, plan }: Prepared): string {
  return idMapsOf((apart ?? plan) as BackendPlan<LauncherPlan>);
}

function otherUser({ spec: { user } }: Prepared, { name, prepared }: PreparedApp): string {
  const first = prepared.spec.user;
  return `it runs as uid ${user.uid} and gid ${user.gid}, and ${name} as uid ${first.uid} and gid ${first.gid}: who has one id of this host has one in a pod; run it as root, or with subordinate ids (subuid(5))`;
}

/** With the place of the app. What is no fault of an app is thrown. */
function issuesOf(error: unknown, index: number): SpecIssue[] {
  if (!isSandboxError(error) || error instanceof FeatureError || error instanceof BackendError) throw error;
  const at = ['apps', index];
  const known = error instanceof ImageError || error instanceof SpecError ? error.issues : [];
  if (known.length === 0) return [{ path: at, message: (error as SandboxError).message }];
  return known.map(({ path, message }) => ({ path: [...at, ...path], message }));
}
