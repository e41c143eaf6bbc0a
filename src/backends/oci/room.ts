// What the launcher prepares for an OCI runtime: a user and a mount namespace in which the sources of the binds lie ready, and in which nothing that a
// runtime writes is on a disk of the host, or in its control groups. Pure.
import { InternalError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import { forbidsNesting } from '../launcher/privilege.ts';
import type { MountFlag, PlanIdMapping, Step } from '../launcher/steps.ts';
import { type BindEntry, hostViewOptions, type Layout } from '../layout.ts';
import type { OciConfig } from './config.ts';

/** Covered by a tmpfs of the room: nothing of the host's is to be seen there, and nothing written there outlives the run. */
const STAGE = '/run';
const BASE = `${STAGE}/sandboxlib`;
export const BUNDLE: string = `${BASE}/bundle`;
export const STATE: string = `${BASE}/state`;
export const ROOT: string = `${BASE}/root`;
/** A read-only root that lacks mount points, and an empty one that has them, to lie above it. */
const LOWER = `${BASE}/lower`;
const SKELETON = `${BASE}/skeleton`;
const CGROUPS = '/sys/fs/cgroup';

/** Whose ids the room has: uid 0 of it is who starts the runtime. */
export interface RoomIds {
  readonly uid: readonly IdMapping[];
  readonly gid: readonly IdMapping[];
  readonly denySetgroups: boolean;
  /** Its one id gets the command's own numbers in one more user namespace. */
  readonly renamed: boolean;
}

/** Every source of a bind, each once, by the number of its tree. */
export class Trees {
  readonly steps: Step[] = [];
  readonly #mounts: Step[] = [];

  /** Where the runtime finds it. */
  add(entry: BindEntry): string {
    return this.#add(entry, `${BASE}/sources/${this.steps.length}`, entry.sourceKind === 'device');
  }

  addRoot(path: string, readonly: boolean, overlaid: boolean): void {
    const entry: BindEntry = { kind: 'bind', source: path, destination: '/', sourceKind: 'directory', readonly };
    this.#add(entry, overlaid ? LOWER : ROOT, false);
  }

  get mounts(): readonly Step[] {
    return this.#mounts;
  }

  #add({ source, sourceKind, readonly }: BindEntry, destination: string, device: boolean): string {
    const number = this.steps.length;
    const kind = device ? 'file' : (sourceKind as Exclude<BindEntry['sourceKind'], 'device'>);
    this.steps.push({ step: 'tree', sourceKind: kind, path: source });
    const flags: MountFlag[] = device ? ['noexec', 'readonly'] : ['nodev', ...(readonly ? ['readonly' as const] : [])];
    this.#mounts.push(mount('tree', destination, ['create', 'recursive', 'nosuid', ...flags], String(number)));
    return destination;
  }
}

export function roomSteps(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  parts: { readonly ids: RoomIds; readonly layout: Layout; readonly trees: Trees; readonly config: OciConfig },
): [Step, ...Step[]] {
  const { ids, layout, trees, config } = parts;
  return [
    { step: 'namespaces', namespaces: ['user', 'mount', 'cgroup'] },
    mapIds('uid', ids.uid, false),
    mapIds('gid', ids.gid, ids.denySetgroups),
    // Before anything is covered: a source may lie below what is.
    ...trees.steps,
    { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] },
    namespaceLimit(forbidsNesting(spec, granted, mapsHostRoot(spec, caller)), ids),
    ...cgroupSteps(caller),
    mount('tmpfs', STAGE, ['nosuid', 'nodev'], '', 'size=16m,mode=0755'),
    ...(layout.root === undefined
      ? [mount('tmpfs', ROOT, ['create', 'nosuid', 'nodev'], '', hostViewOptions(spec))]
      : []),
    ...trees.mounts,
    ...overlaySteps(missingMountPoints(spec)),
    ...layout.entries.flatMap(inRoot),
    { step: 'mkdir', mode: 0o700, path: STATE },
    textFile(`${BUNDLE}/config.json`, JSON.stringify(config)),
  ];
}

function mapsHostRoot({ idMappings }: NormalizedSpec, caller: CallerFacts): boolean {
  return caller.uid === 0 && idMappings.uid.some(({ hostID }) => hostID === 0);
}

/** user_namespaces(7); the namespace that renames the room's id counts as one of the room's. */
function namespaceLimit(forbidden: boolean, ids: RoomIds): Step {
  return forbidden
    ? { step: 'sysctl', name: 'user/max_user_namespaces', value: ids.renamed ? '1' : '0' }
    : { step: 'sysctl', name: 'user/max_cgroup_namespaces', value: '0' };
}

/**
 * Read-only, so that a runtime makes no group: one that is killed would leave it. Crun refuses hosts with trees of both versions; without what is
 * mounted of the second it takes them for hosts of the first.
 */
function cgroupSteps({ cgroups }: CallerFacts): Step[] {
  if (cgroups.version === 'none') return [];
  const readonly = mount('bind', CGROUPS, ['recursive', 'readonly', 'ifExists'], CGROUPS);
  if (cgroups.version !== 'hybrid') return [readonly];
  if (cgroups.mountPoint === undefined) throw new InternalError('control groups of both versions, one of them nowhere');
  return [readonly, mount('tmpfs', cgroups.mountPoint, ['nosuid', 'nodev', 'noexec', 'readonly'], '', 'size=4k')];
}

/** A writable root gets them from the runtime. */
export function missingMountPoints({ root }: NormalizedSpec): NormalizedSpec['root']['missingMountPoints'] {
  return root.readonly ? root.missingMountPoints : [];
}

function overlaySteps(missing: NormalizedSpec['root']['missingMountPoints']): Step[] {
  if (missing.length === 0) return [];
  return [
    ...missing.map(({ path, kind }): Step => {
      const place = `${SKELETON}${path}`;
      return kind === 'file' ? textFile(place, '') : { step: 'mkdir', mode: 0o755, path: place };
    }),
    mount('overlay', ROOT, ['create', 'readonly', 'nosuid', 'nodev'], '', `lowerdir=${SKELETON}:${LOWER},userxattr`),
  ];
}

function inRoot(entry: Layout['entries'][number]): Step[] {
  switch (entry.kind) {
    case 'symlink':
      return [{ step: 'symlink', target: entry.target, path: `${ROOT}${entry.path}` }];
    case 'file':
      return [textFile(`${ROOT}${entry.path}`, entry.text)];
    default:
      return [];
  }
}

function mapIds(kind: 'uid' | 'gid', mappings: readonly IdMapping[], denySetgroups: boolean): Step {
  const planned = mappings.map(
    ({ containerID, hostID, size }): PlanIdMapping => ({ inside: containerID, outside: hostID, size }),
  );
  return { step: 'map-ids', kind, denySetgroups, mappings: planned, helper: undefined };
}

function mount(
  kind: 'bind' | 'tmpfs' | 'tree' | 'overlay',
  destination: string,
  flags: readonly MountFlag[],
  source: string,
  options = '',
): Step {
  return { step: 'mount', kind, flags, sourceKind: 'any', source, destination, options };
}

function textFile(path: string, text: string): Step {
  return { step: 'file', mode: 0o644, path, content: Buffer.from(text).toString('base64') };
}
