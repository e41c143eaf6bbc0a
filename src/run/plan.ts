// From a checked spec to the plan of a backend, and what every run of it shares.
import { release } from 'node:os';
import type { Backend, BackendName, BackendPlan } from '../backends/backend.ts';
import { loadBackend } from '../backends/registry.ts';
import type { Feature } from '../features/feature.ts';
import type { Agreement } from '../features/negotiate.ts';
import { withoutMissingOverlays } from '../features/overlays.ts';
import { excluded, type RequirementOptions, requirements, wishes } from '../features/requirements.ts';
import { standInsFor } from '../features/stand-ins.ts';
import { withoutMissingSysfs } from '../features/sysfs.ts';
import { callerFacts } from '../host/facts.ts';
import type { PreparedImages } from '../image/prepare.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize, type ReadFilters, type SpecImages } from '../spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../spec/types.ts';
import { agree, backendOfEnvironment, type Request } from './agreement.ts';
import type { AroundRun, RunProgram } from './around.ts';
import type { CheckedCall } from './call.ts';
import type { CallOptions } from './options.ts';
import { type Soon, whenReady } from './soon.ts';
import type { Enforcement } from './types.ts';

/** What every run of one spec shares. */
export interface Prepared {
  readonly spec: NormalizedSpec;
  readonly backend: Backend;
  readonly plan: BackendPlan;
  readonly enforcement: Enforcement;
  /** What was asked for, to ask others when this backend fails. */
  readonly request: Request;
  /** Where changes are captured: who keeps them. */
  readonly keeper: Keeper | undefined;
  /** Where the root is an image: the whole command for what the caller said of it. */
  readonly commandOf: PreparedImages['command'];
  /** What the image wants to be ended by. */
  readonly stopSignal?: NodeJS.Signals | undefined;
  /** Where programs run around the command: what each run begins with. */
  readonly begin?: ((call: CheckedCall, runProgram: RunProgram, captures: readonly string[]) => AroundRun) | undefined;
  /** Directories for what is captured, where that is not the keeper's business. */
  readonly captures?: readonly string[] | undefined;
  /** Of an app of a pod: the same in namespaces of its own. */
  readonly apart?: BackendPlan | undefined;
}

export type Keeper = typeof import('../changes/keeper.ts');

/** Whether a spec, which nobody has checked yet, names an image as its root. */
export function namesImage(spec: unknown): boolean {
  const root: unknown = typeof spec === 'object' && spec !== null && 'root' in spec ? spec.root : undefined;
  return typeof root === 'object' && root !== null && 'image' in root && root.image !== undefined;
}

function needsOf({ descriptors }: CallOptions): RequirementOptions {
  return { descriptors: descriptors.size > 0, caller: callerFacts() };
}

export function requestOf(spec: SandboxSpec, options: CallOptions): Request {
  const wished = wishes(spec);
  return {
    required: requirements(spec, needsOf(options)),
    optional: options.optional === 'all' ? 'all' : [...options.optional, ...wished],
    wished,
    excluded: excluded(spec),
    // They count the processes of a pid namespace, and a pod's are of several apps.
    ...(options.pod === undefined ? { standIns: standInsFor(spec) } : { needs: needsOfPod }),
    chosen: options.backend ?? backendOfEnvironment(),
    architecture: spec.architecture,
  };
}

const needsOfPod: ReadonlyMap<Feature, string> = new Map([
  ['landlock.paths', 'apps of a pod see the processes of each other, and it keeps them out of their files and memory'],
]);

/** How a spec is planned where its image becomes a directory. */
export interface RootCopy {
  readonly agreement: Agreement<BackendName>;
  readonly adapt: (given: NormalizedSpec) => NormalizedSpec;
}

export function planFor(
  spec: SandboxSpec,
  options: CallOptions,
  prepared: PreparedImages | undefined,
  copy?: RootCopy,
): Soon<Prepared> {
  const needs = needsOf(options);
  const request = requestOf(spec, options);
  const soon = whenReady(copy?.agreement ?? agree(request), (first) =>
    whenReady(readFilters(spec), (compiled) => ({ first, compiled })),
  );
  return whenReady(soon, ({ first, compiled }) => {
    const shown = imagesOf(prepared, first.granted, copy !== undefined);
    const given = normalize(spec, nodeSpecHost(), compiled, shown);
    const normalized = copy === undefined ? given : copy.adapt(given);
    // Only who has looked at the root knows that it lacks mount points, and a spec is looked at only when somebody can serve it.
    // A view has a layer for them anyway.
    const { kind, changes } = normalized.root;
    const isView = kind === 'image' || copy !== undefined || (changes !== 'keep' && first.granted.has('root.changes'));
    const paths = isView ? [] : normalized.root.missingMountPoints.map(({ path }) => path);
    const second =
      paths.length === 0
        ? first
        : agree({
            ...request,
            required: requirements(spec, { ...needs, missingMountPoints: true }),
            needs: new Map([['root.missingMountPoints', `the root lacks ${paths.join(', ')}`]]),
          });
    return whenReady(second, (agreement) =>
      whenReady(loadBackend(agreement.backend), (backend) =>
        whenReady(loadKeeper(spec), (keeper) => {
          const planned = planWith(backend, normalized, agreement, request, keeper, prepared);
          const { pod } = options;
          return pod === undefined ? planned : import('./join.ts').then(({ joined }) => joined(planned, pod));
        }),
      ),
    );
  });
}

/** What cannot be shown is as if nobody had found it. */
function imagesOf(
  prepared: PreparedImages | undefined,
  granted: ReadonlySet<Feature>,
  copied: boolean,
): SpecImages | undefined {
  if (prepared === undefined) return undefined;
  const { root, mounts } = prepared.images;
  return {
    root: copied || granted.has('root.image') ? root : undefined,
    mounts: granted.has('mount.image') ? mounts : new Map(),
  };
}

/** Few specs need a filter that is not the default one, and nobody else loads the compiler. */
function readFilters(spec: SandboxSpec): Soon<ReadFilters | undefined> {
  const { seccomp, onSyscall, landlock } = spec;
  const hasPorts = landlock?.bindTcp !== undefined || landlock?.connectTcp !== undefined;
  if (seccomp !== 'strict' && typeof seccomp !== 'object' && onSyscall === undefined && !hasPorts) return undefined;
  const { architecture } = callerFacts();
  return import('../seccomp/custom.ts').then((custom) => custom.readFilters(spec, { architecture, kernel: release() }));
}

function planWith(
  backend: Backend,
  normalized: NormalizedSpec,
  { granted, skipped }: Agreement<BackendName>,
  request: Request,
  keeper: Keeper | undefined,
  prepared: PreparedImages | undefined,
): Prepared {
  const spec = withoutMissingSysfs(withoutMissingOverlays(normalized, granted), granted);
  const plan = backend.plan(spec, granted, callerFacts());
  return {
    spec,
    backend,
    plan,
    enforcement: {
      backend: backend.name,
      applied: plan.applied,
      skipped,
      ...(prepared?.summary === undefined ? {} : { image: prepared.summary }),
    },
    request,
    keeper,
    commandOf: prepared?.command,
    stopSignal: prepared?.stopSignal,
  };
}

function loadKeeper(spec: SandboxSpec): Soon<Keeper | undefined> {
  return requirements(spec).has('changes.capture') ? import('../changes/keeper.ts') : undefined;
}
