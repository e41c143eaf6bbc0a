// Which cgroup trees there are, and whether the caller may make children of its own cgroup (cgroups(7)).
import { posix } from 'node:path';
import type { CgroupController, CgroupParent, CgroupParents } from '../backends/backend.ts';
import { type MountLine, parseMountinfo } from '../spec/mountinfo.ts';
import type { HostFiles } from './files.ts';
import type { CgroupFacts } from './types.ts';

export function readCgroups(files: HostFiles): CgroupFacts {
  const mounts = parseMountinfo(files.readFile('/proc/self/mountinfo'));
  const own = parseOwnCgroups(files.readFile('/proc/self/cgroup'));
  const unified = mounts.find((mount) => mount.type === 'cgroup2');
  const legacy = mounts.filter((mount) => mount.type === 'cgroup').flatMap((mount) => legacyTree(mount, own));
  const path = own.get('');
  const place = { mountPoint: unified?.mountPoint, path, parents: parentsOf(files, legacy, unified, path) };
  if (legacy.length > 0)
    return { version: unified === undefined ? 'v1' : 'hybrid', ...place, ...readLegacy(files, legacy) };
  if (unified === undefined) return { version: 'none', ...place, controllers: [], delegated: false };
  return {
    version: 'v2',
    ...place,
    ...readUnified(files, path === undefined ? undefined : directoryOf(unified, path)),
  };
}

/** Where the caller's own group is, in each tree that is mounted. */
export function readGroupPlaces(files: HostFiles): GroupPlace[] {
  const mounts = parseMountinfo(files.readFile('/proc/self/mountinfo'));
  const own = parseOwnCgroups(files.readFile('/proc/self/cgroup'));
  return mounts.flatMap((mount): GroupPlace[] => {
    const controllers = mount.type === 'cgroup2' ? [''] : mount.type === 'cgroup' ? mount.superOptions : [];
    return controllers.flatMap((controller) => {
      const path = own.get(controller);
      if (path === undefined || controller.startsWith('name=')) return [];
      return [{ controller, mountPoint: mount.mountPoint, root: mount.root, own: directoryOf(mount, path) }];
    });
  });
}

export interface GroupPlace {
  /** Empty: version 2. */
  readonly controller: string;
  readonly mountPoint: string;
  /** What of the tree is mounted there. */
  readonly root: string;
  readonly own: string;
}

const bounding: readonly CgroupController[] = ['memory', 'pids', 'cpu', 'cpuacct'];

/** Below the caller's own group in each v1 tree, so that what bounds the caller bounds its sandboxes; where a controller is in no v1 tree, in that of v2. */
function parentsOf(
  files: HostFiles,
  legacy: readonly LegacyTree[],
  unified: MountLine | undefined,
  path: string | undefined,
): CgroupParents {
  const parents: Partial<Record<CgroupController, CgroupParent>> = {};
  for (const controller of bounding) {
    const tree = legacy.find((candidate) => candidate.controller === controller);
    if (tree !== undefined) parents[controller] = { directory: tree.directory, unified: false, occupied: false };
  }
  if (unified === undefined || path === undefined) return parents;
  const found = unifiedParent(files, unified, path);
  if (found === undefined) return parents;
  for (const controller of bounding) {
    // The time of every group is counted, by whatever controller (cpu.stat).
    if (controller === 'cpuacct' || found.controllers.includes(controller)) parents[controller] ??= found.parent;
  }
  return parents;
}

/**
 * A v2 group that holds processes hands nothing on ("No Internal Process Constraint"). The own group can be one whose processes have been moved away; one
 * above it, from which they were moved; for root the top of the tree; else the own group when its processes, the caller among them, are moved away
 * first.
 */
function unifiedParent(
  files: HostFiles,
  unified: MountLine,
  path: string,
): { readonly parent: CgroupParent; readonly controllers: readonly string[] } | undefined {
  const own = directoryOf(unified, path);
  const above = own === unified.mountPoint ? own : posix.dirname(own);
  for (const directory of new Set([own, above, unified.mountPoint])) {
    const controllers = wordsOf(files, posix.join(directory, 'cgroup.subtree_control'));
    if (
      controllers.includes('memory') &&
      controllers.includes('pids') &&
      isDelegated(files, directory, ['cgroup.procs'])
    )
      return { parent: { directory, unified: true, occupied: false }, controllers };
  }
  const controllers = wordsOf(files, posix.join(own, 'cgroup.controllers'));
  const delegated = isDelegated(files, own, ['cgroup.procs', 'cgroup.subtree_control']);
  if (!delegated || !controllers.includes('memory') || !controllers.includes('pids')) return undefined;
  return { parent: { directory: own, unified: true, occupied: true }, controllers };
}

function wordsOf(files: HostFiles, file: string): string[] {
  const text = files.readFile(file)?.trim() ?? '';
  return text === '' ? [] : text.split(/\s+/);
}

/** Lines `ID:CONTROLLERS:PATH`; the v2 tree is the one without controllers. */
function parseOwnCgroups(text: string | undefined): Map<string, string> {
  const own = new Map<string, string>();
  for (const line of (text ?? '').split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    for (const controller of match[1].split(',')) own.set(controller, match[2]);
  }
  return own;
}

interface LegacyTree {
  readonly controller: string;
  readonly directory: string;
}

/** A tree with a name and no controller, such as systemd's own, bounds nothing. */
function legacyTree(mount: MountLine, own: ReadonlyMap<string, string>): LegacyTree[] {
  return mount.superOptions.flatMap((controller) => {
    const path = own.get(controller);
    if (path === undefined || controller.startsWith('name=')) return [];
    return [{ controller, directory: directoryOf(mount, path) }];
  });
}

/** In a container without a cgroup namespace only a part of the tree is mounted, and /proc/self/cgroup tells the whole path. */
function directoryOf(mount: MountLine, path: string): string {
  const inside = path === mount.root ? '/' : path.startsWith(`${mount.root}/`) ? path.slice(mount.root.length) : path;
  return inside === '/' ? mount.mountPoint : posix.join(mount.mountPoint, inside);
}

function readLegacy(files: HostFiles, trees: readonly LegacyTree[]): Pick<CgroupFacts, 'controllers' | 'delegated'> {
  const controllers = [...new Set(trees.map((tree) => tree.controller))].sort();
  return { controllers, delegated: trees.every(({ directory }) => isDelegated(files, directory, ['cgroup.procs'])) };
}

/**
 * Three files make a delegation (cgroup v2, "Model of Delegation"): the directory itself, `cgroup.procs` and `cgroup.subtree_control`. The
 * root cgroup has no controllers file to hand out less than everything.
 */
function readUnified(files: HostFiles, directory: string | undefined): Pick<CgroupFacts, 'controllers' | 'delegated'> {
  if (directory === undefined) return { controllers: [], delegated: false };
  return {
    controllers: wordsOf(files, posix.join(directory, 'cgroup.controllers')).sort(),
    delegated: isDelegated(files, directory, ['cgroup.procs', 'cgroup.subtree_control']),
  };
}

function isDelegated(files: HostFiles, directory: string, names: readonly string[]): boolean {
  return files.writable(directory) && names.every((name) => files.writable(posix.join(directory, name)));
}
