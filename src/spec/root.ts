// The root: this host's own system directories, or a directory.
import { resolve } from 'node:path/posix';
import { checkPath, checkPathInside, checkRootString } from './checks.ts';
import type { SpecHost } from './host.ts';
import { isInHostView } from './host-view.ts';
import { type LookupCache, resolveInRoot } from './in-root.ts';
import type { Reporter } from './issues.ts';
import { refuseMountsBelow } from './mounts.ts';
import { cleanPath, isWithin } from './paths.ts';
import type { RootSpec, SandboxSpec } from './types.ts';
import { describeLookup } from './words.ts';

export interface ResolvedRoot {
  readonly kind: 'host' | 'directory';
  readonly path: string | undefined;
  readonly readonly: boolean;
  readonly changes: 'discard' | 'keep' | 'capture';
  /** Where paths of the root are looked up on this host; `undefined` when the root is wrong, so that nothing more is said about it. */
  readonly lookupPath: string | undefined;
}

export function resolveRoot(
  given: SandboxSpec['root'],
  host: SpecHost,
  report: Reporter,
  notes: string[],
): ResolvedRoot {
  const root = asRootSpec(given, report);
  const readonly = resolveReadonly(root, report);
  if (root.image !== undefined) {
    const message =
      root.path === undefined
        ? "images are not served yet, and without one there is no root; give a directory as 'path'"
        : "excludes 'path': a root is a directory or an image";
    report(['root', 'image'], message);
    return { kind: 'directory', path: undefined, readonly, changes: 'keep', lookupPath: undefined };
  }
  const { changes = 'keep' } = root;
  if (root.path === undefined) {
    if (changes === 'capture') report(['root', 'changes'], CAPTURES_NOTHING);
    return { kind: 'host', path: undefined, readonly, changes: 'keep', lookupPath: '/' };
  }
  const path = resolveDirectory(root.path, typeof given === 'string' ? ['root'] : ['root', 'path'], host, report);
  if (path === '/')
    notes.push('the root is the whole file system of this host: the command can read all that the caller can');
  if (changes !== 'keep' && path !== undefined) refuseMountsBelow(path, ['root', 'path'], { host, report });
  return { kind: 'directory', path, readonly, changes, lookupPath: path };
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
  const hint = found.kind === 'file' ? '; images are not served yet' : '';
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
