// The root: this host's own system directories, or a directory.
import { resolve } from 'node:path/posix';
import { checkPath, checkPathInside, checkRootString } from './checks.ts';
import type { SpecHost } from './host.ts';
import { isInHostView } from './host-view.ts';
import { type LookupCache, resolveInRoot } from './in-root.ts';
import type { Reporter } from './issues.ts';
import { LAYERED_ROOT, type LayeredRoot } from './layered-root.ts';
import { refuseMountsBelow } from './mounts.ts';
import { cleanPath, isWithin } from './paths.ts';
import type { NormalizedRoot, RootSpec, SandboxSpec } from './types.ts';
import { describeLookup } from './words.ts';

export interface ResolvedRoot {
  readonly kind: NormalizedRoot['kind'];
  readonly path: string | undefined;
  readonly layers: NormalizedRoot['layers'];
  readonly readonly: boolean;
  readonly changes: 'discard' | 'keep' | 'capture';
  /** Where paths of the root are looked up on this host; `undefined` when the root is wrong, so that nothing more is said about it. */
  readonly lookupPath: string | undefined;
}

export function resolveRoot(
  given: SandboxSpec['root'],
  image: LayeredRoot | undefined,
  host: SpecHost,
  report: Reporter,
  notes: string[],
): ResolvedRoot {
  const root = asRootSpec(given, report);
  if (root.image !== undefined) return resolveImage(root, image, report);
  if (root.entrypoint !== undefined) report(['root', 'entrypoint'], "is for a root with an 'image'");
  const readonly = resolveReadonly(root, report);
  const layers: NormalizedRoot['layers'] = [];
  const { changes = 'keep' } = root;
  if (root.path === undefined) {
    if (changes === 'capture') report(['root', 'changes'], CAPTURES_NOTHING);
    return { kind: 'host', path: undefined, layers, readonly, changes: 'keep', lookupPath: '/' };
  }
  const path = resolveDirectory(root.path, typeof given === 'string' ? ['root'] : ['root', 'path'], host, report);
  if (path === '/')
    notes.push('the root is the whole file system of this host: the command can read all that the caller can');
  if (changes !== 'keep' && path !== undefined) refuseMountsBelow(path, ['root', 'path'], { host, report });
  return { kind: 'directory', path, layers, readonly, changes, lookupPath: path };
}

/** Every run has a view of its own, so that nothing but a read-only one needs to be asked for. */
function resolveImage(
  { path, readonly, writablePaths, changes }: RootSpec,
  image: LayeredRoot | undefined,
  report: Reporter,
): ResolvedRoot {
  if (path !== undefined) report(['root', 'image'], "excludes 'path': a root is a directory or an image");
  else if (image === undefined)
    report(['root', 'image'], 'cannot be shown by what there is here, and without it there is no root');
  if (changes === 'keep')
    report(
      ['root', 'changes'],
      "'keep' is not for an image, which stays as it is; 'capture' keeps what the command changes beside it",
    );
  if (Array.isArray(writablePaths) && writablePaths.length > 0)
    report(
      ['root', 'writablePaths'],
      'is not for an image; all of it is writable, or mount a tmpfs where it is read-only',
    );
  const isReadonly = readonly === true || writablePaths === 'none';
  if (isReadonly && changes !== undefined && changes !== 'keep')
    report(['root', 'changes'], "excludes 'readonly: true', with which there are none");
  const layers = image?.layers ?? [];
  return {
    kind: 'image',
    path: layers[0]?.directory,
    layers,
    readonly: isReadonly,
    changes: isReadonly ? 'keep' : changes === 'capture' ? changes : 'discard',
    lookupPath: image === undefined ? undefined : LAYERED_ROOT,
  };
}

const CAPTURES_NOTHING =
  "'capture' is for a root that is a directory: the host's system directories are read-only, and the rest of this root is made from nothing; to change a view of a directory use a mount of type overlay, or a workspace with access 'overlay'";

function asRootSpec(given: SandboxSpec['root'], report: Reporter): RootSpec {
  if (given === undefined || given === 'host') return {};
  if (typeof given !== 'string') return given;
  const problem = checkRootString(given);
  if (problem === undefined) return { path: given };
  report(['root'], problem);
  return {};
}

function resolveReadonly(root: RootSpec, report: Reporter): boolean {
  const { readonly, writablePaths, changes } = root;
  if (readonly === false && writablePaths !== undefined && writablePaths !== 'all') {
    report(
      ['root', 'writablePaths'],
      "excludes 'readonly: false', with which all of the root is writable; leave one of the two out",
    );
  }
  if (readonly === true && writablePaths === 'all') {
    report(['root', 'writablePaths'], "'all' excludes 'readonly: true'; leave one of the two out");
  }
  const beside = changes === 'discard' || changes === 'capture';
  if (beside && readonly === true) report(['root', 'changes'], "excludes 'readonly: true', with which there are none");
  if (beside && Array.isArray(writablePaths))
    report(['root', 'writablePaths'], `excludes changes: '${changes}', with which all of the root is writable`);
  return !(readonly === false || writablePaths === 'all' || beside);
}

function resolveDirectory(
  text: string,
  at: readonly (string | number)[],
  host: SpecHost,
  report: Reporter,
): string | undefined {
  const problem = checkPath(text);
  if (problem !== undefined) {
    report(at, problem);
    return undefined;
  }
  const absolute = resolve(host.cwd, text);
  const path = host.realpath(absolute);
  const found = host.stat(path ?? absolute);
  if (path !== undefined && found.kind === 'directory') return path;
  const hint = found.kind === 'file' ? "; an archive is given as 'image'" : '';
  report(at, `${describeLookup(text, absolute, found)}; the root must be a directory${hint}`);
  return undefined;
}

/** The paths that stay writable, as they are named inside without symlinks. Preconditions: the root is read-only. */
export function resolveWritablePaths(
  given: SandboxSpec['root'],
  root: ResolvedRoot,
  ownDirectories: readonly string[],
  host: SpecHost,
  report: Reporter,
  notes: string[],
  cache: LookupCache,
): string[] {
  if (!root.readonly || typeof given !== 'object' || !Array.isArray(given.writablePaths)) return [];
  const found = new Set<string>();
  for (const [index, text] of (given.writablePaths as readonly string[]).entries()) {
    const refuse = (message: string): void => report(['root', 'writablePaths', index], message);
    const problem = checkPathInside(text);
    const path = cleanPath(text);
    const own = ownDirectories.find((directory) => isWithin(path, directory));
    if (problem !== undefined) refuse(problem);
    else if (path === '/') refuse("is all of the root: write writablePaths: 'all'");
    else if (own !== undefined) notes.push(`${path} needs no mention in writablePaths: ${own} is the sandbox's own`);
    else if (root.lookupPath !== undefined) {
      const place = resolveInRoot(host, root.lookupPath, path, cache);
      if (root.kind === 'host' && !isInHostView(place.path)) {
        refuse(`${path} is not part of the host view; mount it instead: '${path}:${path}:rw'`);
      } else if (place.kind === 'directory' || place.kind === 'file') found.add(place.path);
      else if (place.kind === 'absent')
        refuse(`${path} does not exist in the root; make it there, or mount a tmpfs on it`);
      else if (place.kind === 'unreachable') refuse(`${path} cannot be reached in the root (${place.errno})`);
      else refuse(`${path} is a ${place.kind} in the root; only files and directories can be kept writable`);
    }
  }
  return [...found];
}
