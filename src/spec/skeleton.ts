// What a view of a root has between the root and what the command writes: mount points that the root lacks lie there. Pure, over the host.
import type { SpecHost } from './host.ts';
import { type LookupCache, resolveInRoot } from './in-root.ts';
import type { LayeredHost } from './layered-root.ts';
import { directoriesAbove, isWithin } from './paths.ts';
import type { ResolvedRoot } from './root.ts';
import type { NormalizedRoot } from './types.ts';

interface SkeletonContext {
  readonly root: ResolvedRoot;
  readonly host: SpecHost;
  /** Where that is what it is. */
  readonly layered: LayeredHost | undefined;
  readonly cache: LookupCache;
}

/**
 * Directories on the way to `paths` that the root has: in an overlay the uppermost shows, so that what lies above one has to be like it. Those inside of
 * others first.
 */
export function coveredDirectories(
  paths: readonly string[],
  { root, host, layered }: SkeletonContext,
): NormalizedRoot['coveredDirectories'] {
  const { lookupPath, kind } = root;
  if (lookupPath === undefined || kind === 'host' || (paths.length === 0 && kind !== 'image')) return [];
  const above = new Set(paths.flatMap((path) => [...directoriesAbove(path)]));
  const found = [...above, '/'].flatMap((path) => {
    const place = `${lookupPath === '/' ? '' : lookupPath}${path === '/' ? '' : path}` || '/';
    if (host.lstat(place).kind !== 'directory') return [];
    const real = layered?.realPath(place);
    const layer =
      real === undefined
        ? 0
        : root.layers.findIndex(({ directory }) => `${directory}${path === '/' ? '' : path}` === real);
    return [{ path, layer }];
  });
  return found.sort((a, b) => b.path.length - a.path.length);
}

/** Where an image has no /etc/hosts, and nobody mounts one: its place. Programs look up `localhost` there. */
export function placeForHosts(
  destinations: readonly string[],
  { root, host, cache }: SkeletonContext,
): string | undefined {
  if (root.kind !== 'image' || root.lookupPath === undefined) return undefined;
  const { kind, path } = resolveInRoot(host, root.lookupPath, '/etc/hosts', cache);
  const isTaken = destinations.some((destination) =>
    ['/etc/hosts', path].some((place) => isWithin(place, destination) || isWithin(destination, place)),
  );
  return kind === 'absent' && !isTaken ? path : undefined;
}
