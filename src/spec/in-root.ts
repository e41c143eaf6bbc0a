// What a path means inside a root directory that may have been prepared to deceive us. Every component is looked up by hand: a symlink,
// absolute or not, starts again inside the root, and `..` stops at its top, as openat2(2) does with RESOLVE_IN_ROOT. The launcher resolves
// once more, with descriptors, when it mounts; what is found here decides only messages and which mount points must be made.
import type { FileKind, Found, SpecHost } from './host.ts';
import { below, components } from './paths.ts';

/** As many as the kernel follows (path_resolution(7)). */
const SYMLINKS_MAX = 40;

export interface InRoot {
  /** Absolute inside the root, without symlinks as far as it exists. */
  readonly path: string;
  /** The same place as this host names it. */
  readonly hostPath: string;
  /** `absent`: it could be made. `unreachable`: it could not, for the reason `errno`. */
  readonly kind: Exclude<FileKind, 'symlink'> | 'absent' | 'unreachable';
  readonly errno?: string;
}

/** Host paths that were looked at already; one for each normalization. */
export type LookupCache = Map<string, Found>;

/** Where `path` leads inside the directory `root`, an absolute path of the host without symlinks. */
export function resolveInRoot(host: SpecHost, root: string, path: string, cache: LookupCache = new Map()): InRoot {
  const pending = components(path).reverse();
  let place = '/';
  let kind: Exclude<FileKind, 'symlink'> = 'directory';
  let symlinks = 0;
  const end = (at: string, what: InRoot['kind'], errno?: string): InRoot => ({
    path: at,
    hostPath: outside(root, at),
    kind: what,
    ...(errno === undefined ? {} : { errno }),
  });
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (kind !== 'directory') return end(place, 'unreachable', 'ENOTDIR');
    if (name === '..') {
      place = place.slice(0, place.lastIndexOf('/')) || '/';
      continue;
    }
    const next = below(place, name);
    const found = lookUp(host, outside(root, next), cache);
    if (found.kind === 'nothing') {
      const rest = pending.toReversed();
      // A name of a symlink's target may be `..`: what does not exist has no parent.
      const absent = found.errno === 'ENOENT' && !rest.includes('..');
      return absent ? end(rest.reduce(below, next), 'absent') : end(next, 'unreachable', found.errno);
    }
    if (found.kind === 'symlink') {
      symlinks += 1;
      const target = host.readlink(outside(root, next));
      if (symlinks > SYMLINKS_MAX) return end(next, 'unreachable', 'ELOOP');
      if (target === undefined) return end(next, 'unreachable', 'EIO');
      if (target.startsWith('/')) place = '/';
      pending.push(...components(target).reverse());
      continue;
    }
    place = next;
    kind = found.kind;
  }
  return end(place, kind);
}

function outside(root: string, path: string): string {
  if (path === '/') return root;
  return root === '/' ? path : root + path;
}

function lookUp(host: SpecHost, path: string, cache: LookupCache): Found {
  const known = cache.get(path);
  if (known !== undefined) return known;
  const found = host.lstat(path);
  cache.set(path, found);
  return found;
}
