// Mount points of an app against the volumes that there are (App Container specification 0.8.11, ace.md, "Volume Setup").
import type { SpecIssue } from '../../errors/errors.ts';
import { cleanPath, directoriesAbove } from '../../spec/paths.ts';
import type { MountSpec } from '../../spec/types.ts';
import { joinWords } from '../../spec/words.ts';
import type { AciMountPoint } from './manifest.ts';
import type { AciMount, AciVolume } from './pod.ts';

export interface VolumeContext {
  readonly volumes?: readonly AciVolume[];
  /** Of the app in a pod. */
  readonly mounts?: readonly AciMount[];
  /** A mount point for which there is no volume gets an empty one, and a note. */
  readonly emptyVolumes?: boolean;
  /** Sources of volumes may have symlinks in them. */
  readonly followSources?: boolean;
  /** Of a path of this host, with symlinks resolved; `undefined` where there is nothing. */
  readonly realpath: (path: string) => string | undefined;
}

interface Satisfied {
  readonly path: string;
  readonly readOnly: boolean;
  readonly volume: AciVolume;
}

/** What the mount points of an app become: a mount each, or an issue. */
export function mountsOf(
  mountPoints: readonly AciMountPoint[],
  context: VolumeContext,
  issues: SpecIssue[],
  notes: string[],
): MountSpec[] {
  const satisfied = [
    ...mountPoints.flatMap((mountPoint, index) => {
      const at = ['app', 'mountPoints', index];
      const volume = volumeFor(mountPoint, context, notes);
      if (volume !== undefined) return [{ ...mountPoint, volume, at }];
      issues.push({
        path: at,
        message: `the image wants a volume for its mount point '${mountPoint.name}' (${mountPoint.path}), and there is none`,
      });
      return [];
    }),
    ...extraMounts(mountPoints, context, issues),
  ];
  reportOverlaps(satisfied, issues);
  reportShared(satisfied, issues);
  return satisfied.flatMap((mount) => {
    const problem = mount.volume.kind === 'host' ? checkSource(mount.volume, context) : undefined;
    if (problem !== undefined) issues.push({ path: mount.at, message: `volume '${mount.volume.name}': ${problem}` });
    return mountOf(mount, notes);
  });
}

/** By the pod's mounts, which name a path; else by the mount point's own name. */
function volumeFor({ name, path }: AciMountPoint, context: VolumeContext, notes: string[]): AciVolume | undefined {
  const { mounts = [], volumes = [], emptyVolumes = false } = context;
  const wanted = mounts.find((mount) => cleanPath(mount.path) === cleanPath(path))?.volume ?? name;
  const volume = volumes.find((candidate) => candidate.name === wanted);
  if (volume !== undefined || !emptyVolumes) return volume;
  notes.push(`the mount point '${name}' (${path}) has an empty volume, which is gone after the run`);
  return { kind: 'empty', name, mode: 0o755, uid: 0, gid: 0, readOnly: false };
}

/** Mounts of the pod at paths that are no mount point of the app. */
function extraMounts(
  mountPoints: readonly AciMountPoint[],
  { mounts = [], volumes = [] }: VolumeContext,
  issues: SpecIssue[],
): (Satisfied & { readonly at: (string | number)[] })[] {
  const known = new Set(mountPoints.map(({ path }) => cleanPath(path)));
  return mounts.flatMap(({ volume: name, path }, index) => {
    if (known.has(cleanPath(path))) return [];
    const volume = volumes.find((candidate) => candidate.name === name);
    if (volume !== undefined) return [{ path, readOnly: false, volume, at: ['mounts', index] }];
    issues.push({ path: ['mounts', index], message: `there is no volume '${name}'` });
    return [];
  });
}

/** Of two targets one of which lies in the other, an order decides what is seen; the specification calls it an error. */
function reportOverlaps(
  mounts: readonly (Satisfied & { readonly at: SpecIssue['path'] })[],
  issues: SpecIssue[],
): void {
  const targets = new Set<string>();
  const paths = mounts.map(({ path }) => cleanPath(path));
  const repeated = new Set(paths.filter((path) => targets.size === targets.add(path).size));
  for (const [index, path] of paths.entries()) {
    const second = repeated.has(path) && paths.indexOf(path) < index;
    const above = path === '/' ? [] : [...directoriesAbove(path), '/'];
    const outer = second ? path : above.find((directory) => targets.has(directory));
    const mount = mounts[index];
    if (outer !== undefined && mount !== undefined)
      issues.push({ path: mount.at, message: `${path} lies in ${outer}, which is the target of another volume` });
  }
}

/** An empty volume is a file system in memory for each target: it could not be shared. */
function reportShared(mounts: readonly (Satisfied & { readonly at: SpecIssue['path'] })[], issues: SpecIssue[]): void {
  const seen = new Set<string>();
  for (const { volume, at } of mounts) {
    if (volume.kind === 'empty' && seen.has(volume.name))
      issues.push({
        path: at,
        message: `the empty volume '${volume.name}' cannot be at two places; give it a directory of the host`,
      });
    seen.add(volume.name);
  }
}

function checkSource(
  volume: Extract<AciVolume, { kind: 'host' }>,
  { realpath, followSources = false }: VolumeContext,
): string | undefined {
  const real = realpath(volume.source);
  if (real === undefined) return `${volume.source} does not exist, and nothing is made on the host`;
  if (!volume.recursive) return 'recursive: false is not served: what is mounted below the source comes along';
  if (followSources || real === cleanPath(volume.source)) return undefined;
  return `${volume.source} has a symlink in it (it is ${real}), which is not followed unless asked for`;
}

function mountOf({ path, readOnly, volume }: Satisfied, notes: string[]): MountSpec[] {
  const destination = cleanPath(path);
  const readonly = readOnly || volume.readOnly;
  if (volume.kind === 'host') return [{ type: 'bind', source: volume.source, destination, readonly }];
  if (volume.uid !== 0 || volume.gid !== 0)
    notes.push(
      `the empty volume '${volume.name}' belongs to root, not to ${joinWords([`uid ${volume.uid}`, `gid ${volume.gid}`])}`,
    );
  return [{ type: 'tmpfs', destination, readonly, mode: volume.mode }];
}
