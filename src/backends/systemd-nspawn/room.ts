// What the launcher prepares for systemd-nspawn: a mount namespace in which nothing that it writes is on a disk of the host, or in its control groups, and
// in which the sources of the binds lie ready in one place. Pure.
import type { CgroupLayout } from '../backend.ts';
import { mount } from '../launcher/room.ts';
import { type Place, withPlaces } from '../launcher/sources.ts';
import type { Step } from '../launcher/steps.ts';

/** Covered by a tmpfs: locks, sockets and what it mounts over are there, and end with it. */
const RUN = '/run';
const BASE = `${RUN}/sandboxlib`;
/** It takes no directory for a root that has no /usr in it. */
export const ROOT: string = `${BASE}/root`;
/** Shown inside, whole, as `INSIDE`. */
export const SOURCES: string = `${BASE}/sources`;
export const INSIDE = '/sources';
const CGROUPS = '/sys/fs/cgroup';

/**
 * `steps` with the host's files where they are inside, and what brings them there. The first is the host's own /proc: in a user namespace the kernel
 * mounts a new one only where another is to be seen with nothing mounted over it, as systemd-nspawn does with its own.
 */
export function handIn(steps: readonly Step[]): {
  readonly trees: Step[];
  readonly mounts: Step[];
  readonly inside: Step[];
} {
  const trees: Step[] = [];
  const mounts: Step[] = [];
  const take: Place = (source, kind) => {
    const number = String(trees.length);
    trees.push({ step: 'tree', sourceKind: kind, path: source });
    mounts.push(mount('tree', `${SOURCES}/${number}`, ['create', 'recursive'], number));
    return `${INSIDE}/${number}`;
  };
  take('/proc', 'directory', false);
  return { trees, mounts, inside: steps.map((step) => withPlaces(step, take)) };
}

export function roomSteps(
  trees: readonly Step[],
  mounts: readonly Step[],
  groups: CgroupLayout['version'],
): [Step, ...Step[]] {
  return [
    // Its own control group is then called `/`, wherever the caller is.
    { step: 'namespaces', namespaces: ['mount', 'cgroup'] },
    // Before anything is covered: a source may lie below what is.
    ...trees,
    { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] },
    ...cgroupSteps,
    mount('tmpfs', RUN, ['nosuid', 'nodev'], '', 'size=16m,mode=0755'),
    { step: 'mkdir', mode: 0o755, path: `${ROOT}/usr` },
    ...(groups === 'v2' ? firstVersionSteps : []),
    ...mounts,
  ];
}

/**
 * It makes two groups, moves itself and its payload into them, and leaves them behind. Here they are directories of a tmpfs, which it takes for those of
 * systemd's own hierarchy of the first version, and the files that it writes its process ids to are files.
 */
const cgroupSteps: readonly Step[] = [
  mount('tmpfs', CGROUPS, ['nosuid', 'nodev', 'noexec'], '', 'size=64k,nr_inodes=64,mode=0755'),
  ...['payload', 'supervisor'].map(
    (name): Step => ({ step: 'file', mode: 0o644, path: `${CGROUPS}/systemd/${name}/cgroup.procs`, content: '' }),
  ),
];

const OWN_GROUP = `${BASE}/cgroup`;

/** On a host of the second version it asks for its group of the first (the process that reads this is the one that became it), and finds it here. */
const firstVersionSteps: readonly Step[] = [
  { step: 'file', mode: 0o644, path: OWN_GROUP, content: Buffer.from('1:name=systemd:/\n').toString('base64') },
  mount('bind', '/proc/self/cgroup', [], OWN_GROUP),
];
