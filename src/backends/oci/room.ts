// What lies ready for an OCI runtime in its room: the root, the sources of the binds, its config.json. Pure.
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import { forbidsNesting } from '../launcher/privilege.ts';
import {
  BASE,
  coverSteps,
  mapsHostRoot,
  mount,
  namespaceLimit,
  namespaceSteps,
  type RoomIds,
  textFile,
} from '../launcher/room.ts';
import type { MountFlag, Step } from '../launcher/steps.ts';
import { type BindEntry, hostViewOptions, type Layout } from '../layout.ts';
import type { OciConfig } from './config.ts';

export const BUNDLE: string = `${BASE}/bundle`;
export const STATE: string = `${BASE}/state`;
export const ROOT: string = `${BASE}/root`;
/** A read-only root that lacks mount points, and an empty one that has them, to lie above it. */
const LOWER = `${BASE}/lower`;
const SKELETON = `${BASE}/skeleton`;

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
    ...namespaceSteps(ids),
    // Before anything is covered: a source may lie below what is.
    ...trees.steps,
    ...coverSteps(caller),
    namespaceLimit(forbidsNesting(spec, granted, mapsHostRoot(spec, caller)), ids),
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
