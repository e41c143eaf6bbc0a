// Whether all mounts together make sense: none hides another, and each mount point exists or can be made without a trace on the host.

import type { SpecHost } from './host.ts';
import { isInHostView } from './host-view.ts';
import { type LookupCache, resolveInRoot } from './in-root.ts';
import type { Reporter } from './issues.ts';
import type { PlacedMount } from './mounts.ts';
import { below, components, directoriesAbove, isWithin } from './paths.ts';
import type { ResolvedRoot } from './root.ts';
import type { NormalizedRoot } from './types.ts';

/**
 * What every backend with a root of its own mounts by itself, before the mounts of the spec: in this order. An image has a home directory and a /tmp
 * with what its makers put there, and they are writable where all of it is.
 */
export function builtinMountPoints(
  home: string,
  { kind, readonly }: Pick<NormalizedRoot, 'kind' | 'readonly'>,
): string[] {
  if (kind !== 'image') return ['/proc', '/dev', '/tmp', home];
  return ['/proc', '/dev', ...(readonly ? ['/tmp'] : [])];
}

export interface MountPointContext {
  readonly root: ResolvedRoot;
  readonly home: string;
  readonly host: SpecHost;
  readonly report: Reporter;
  readonly notes: string[];
  readonly cache: LookupCache;
}

/** The workspace comes before the mounts that lie in it, so that it hides none of them, and after all others. */
export function placeWorkspace(mounts: readonly PlacedMount[], workspace: PlacedMount | undefined): PlacedMount[] {
  if (workspace === undefined) return [...mounts];
  const first = mounts.findIndex(
    (mount) => mount.destination !== workspace.destination && isWithin(mount.destination, workspace.destination),
  );
  return mounts.toSpliced(first === -1 ? mounts.length : first, 0, workspace);
}

/** Reports what cannot be; returns the mount points that a directory root lacks. */
export function checkMountPoints(mounts: readonly PlacedMount[], context: MountPointContext): MissingMountPoint[] {
  const missing: Missing = new Map();
  const covers: Covers = new Map();
  for (const path of builtinMountPoints(context.home, context.root)) checkBuiltin(path, covers, missing, context);
  const order = new Map<string, number>();
  for (const [index, mount] of mounts.entries()) {
    const { destination } = mount;
    if (destination === '/') continue;
    const resolved = checkOne(mount, covers, missing, context);
    const taken = mounts[order.get(resolved) ?? order.get(destination) ?? -1];
    if (taken !== undefined) {
      const alias = taken.destination === destination ? '' : ` (the same place as ${taken.destination})`;
      context.report(mount.at, `${taken.origin} is mounted on ${destination} already${alias}`);
      continue;
    }
    for (const path of new Set([destination, resolved])) {
      order.set(path, index);
      covers.set(path, mount);
    }
  }
  reportHidden(mounts, order, context);
  return Array.from(missing, ([path, kind]) => ({ path, kind }));
}

function reportHidden(
  mounts: readonly PlacedMount[],
  order: ReadonlyMap<string, number>,
  { home, report, notes }: MountPointContext,
): void {
  const reported = new Set<number>();
  for (const [index, hidden] of mounts.entries()) {
    for (const directory of directoriesAbove(hidden.destination)) {
      const later = order.get(directory) ?? -1;
      const mount = mounts[later];
      if (mount === undefined || later <= index || reported.has(later)) continue;
      reported.add(later);
      report(
        mount.at,
        `a mount on ${mount.destination} hides ${hidden.origin} on ${hidden.destination}, which comes before it; put it first`,
      );
    }
  }
  for (const directory of directoriesAbove(home)) {
    const mount = mounts[order.get(directory) ?? -1];
    if (mount !== undefined)
      notes.push(`${mount.origin} on ${mount.destination} hides the sandbox's own home directory ${home}`);
  }
}

type MissingMountPoint = NormalizedRoot['missingMountPoints'][number];
type Missing = Map<string, MissingMountPoint['kind']>;
type Covers = Map<string, PlacedMount | 'builtin'>;

function checkBuiltin(
  path: string,
  covers: Covers,
  missing: Missing,
  { root, host, report, cache }: MountPointContext,
): void {
  covers.set(path, 'builtin');
  if (root.kind === 'host' || root.lookupPath === undefined) return;
  const place = resolveInRoot(host, root.lookupPath, path, cache);
  if (place.kind === 'absent') missing.set(place.path, 'directory');
  else if (place.kind === 'unreachable') {
    report(
      ['root'],
      `${path} cannot be reached in the root (${place.errno}); the sandbox's own is mounted there, so it must be a directory or absent`,
    );
  } else if (place.kind !== 'directory') {
    report(
      ['root'],
      `${path} is a ${place.kind} in the root; the sandbox's own is mounted there, so it must be a directory or absent`,
    );
  }
  covers.set(place.path, 'builtin');
}

/** Where the destination really leads in the root; what is not known to lead elsewhere leads to itself. */
function checkOne(mount: PlacedMount, covers: Covers, missing: Missing, context: MountPointContext): string {
  const { root, host, cache } = context;
  const { destination } = mount;
  const over = covering(destination, covers);
  if (over !== undefined) {
    checkInside(mount, destination, over, context);
    return destination;
  }
  if (root.lookupPath === undefined || (root.kind === 'host' && !isInHostView(destination))) return destination;
  const place = resolveInRoot(host, root.lookupPath, destination, cache);
  const overResolved = covering(place.path, covers);
  if (overResolved !== undefined) {
    checkInside(mount, place.path, overResolved, context);
  } else if (place.kind === 'unreachable') {
    context.report(mount.at, `the mount point ${destination} cannot be reached in the root (${place.errno})`);
  } else if (place.kind !== 'absent') {
    checkKind(mount, place.kind, 'in the root', context);
  } else if (root.kind !== 'host') {
    missing.set(place.path, mount.type === 'bind' && mount.sourceKind !== 'directory' ? 'file' : 'directory');
  } else {
    context.report(
      mount.at,
      `${destination} does not exist on this host, and nothing can be made in its read-only system directories; mount it elsewhere`,
    );
  }
  return place.path;
}

interface Covering {
  readonly mount: PlacedMount | 'builtin';
  readonly path: string;
}

function covering(path: string, covers: Covers): Covering | undefined {
  for (const directory of directoriesAbove(path)) {
    const mount = covers.get(directory);
    if (mount !== undefined) return { mount, path: directory };
  }
  return undefined;
}

/** A mount point in an earlier mount. In a tmpfs it is made; in a bind mount that would leave it on the host. */
function checkInside(mount: PlacedMount, path: string, over: Covering, context: MountPointContext): void {
  if (over.mount === 'builtin' || over.mount.source === undefined) return;
  let place = over.mount.source;
  for (const name of components(path.slice(over.path.length))) {
    place = below(place, name);
    const found = context.host.lstat(place);
    // A symlink starts again at the sandbox's root, which is not this source: the launcher will tell.
    if (found.kind === 'symlink') return;
    if (found.kind === 'nothing') {
      const { type, changes, origin, source } = over.mount;
      if (type === 'overlay' && changes === 'discard') return;
      const why = type === 'overlay' ? 'count among the changes' : 'stay on the host';
      context.report(
        mount.at,
        `the mount point ${mount.destination} does not exist: ${origin} is ${source} there; make ${place} first: made now, it would ${why}`,
      );
      return;
    }
    if (place === over.mount.source + path.slice(over.path.length)) {
      checkKind(mount, found.kind, `in ${over.mount.source}`, context);
    }
  }
}

function checkKind(mount: PlacedMount, kind: string, where: string, { report }: MountPointContext): void {
  const wanted = mount.type === 'bind' ? mount.sourceKind : 'directory';
  if ((kind === 'directory') === (wanted === 'directory')) return;
  const what = mount.type === 'bind' ? `${mount.source}, a ${wanted},` : `a ${mount.type}`;
  report(mount.at, `${what} cannot be mounted on ${mount.destination}, which is a ${kind} ${where}`);
}
