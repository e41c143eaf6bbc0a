// A sandbox in the words of bubblewrap(1). Pure.
import { directoriesAbove } from '../../spec/paths.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import { type BindEntry, deviceNames, type Layout, type LayoutEntry, TMPFS_BYTES } from '../layout.ts';

/** How things that are not made by bwrap come in: by their path, or by a descriptor that bwrap inherits. */
export interface Naming {
  source(entry: BindEntry): readonly [how: 'path' | 'descriptor', word: string];
  /** A descriptor with the text; `undefined`: there is none, and no such file. */
  text(text: string): string | undefined;
  /**
   * Whether the terminals of /dev are left to an init of ours. For its own bwrap makes a second user namespace where the user is not uid 0, and then
   * nobody inside has a say over the mounts any more.
   */
  readonly bareDev: boolean;
}

export const byPath: Naming = { source: ({ source }) => ['path', source], text: () => undefined, bareDev: false };

/** Something that is made at a path inside. */
interface Place {
  readonly path: string;
  readonly args: readonly string[];
  /** Whether it is an empty directory, in which more can be made. */
  readonly empty?: boolean;
}

export function namespaceArgs({ network, hostname, user }: NormalizedSpec): string[] {
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...(network === 'none' ? ['--unshare-net'] : []),
    '--die-with-parent',
    ...['--hostname', hostname, '--uid', String(user.uid), '--gid', String(user.gid)],
  ];
}

/** The root, and everything in it. */
export function filesystemArgs(layout: Layout, naming: Naming): string[] {
  const root: Place[] =
    layout.root === undefined
      ? []
      : [
          bindPlace(
            { kind: 'bind', source: layout.root, destination: '/', readonly: layout.readonly, sourceKind: 'directory' },
            naming,
          ),
        ];
  const places = layout.entries.flatMap((entry) => placesFor(entry, naming));
  return [
    ...withParents([...root, ...places]),
    ...(layout.root === undefined && layout.readonly ? ['--remount-ro', '/'] : []),
  ];
}

/** bwrap makes missing directories itself, but closes them to others where what is mounted in them is closed, or is a file. */
function withParents(all: readonly Place[]): string[] {
  const made = new Map<string, Place>([['/', { path: '/', args: [], empty: true }]]);
  const args: string[] = [];
  for (const place of all) {
    for (const path of [...directoriesAbove(place.path)].reverse()) {
      const around = [...directoriesAbove(`${path}/`), '/'].map((above) => made.get(above)).find((found) => found);
      if (around?.empty !== true || around.path === path) continue;
      args.push('--dir', path);
      made.set(path, { path, args: [], empty: true });
    }
    args.push(...place.args);
    made.set(place.path, place);
  }
  return args;
}

function placesFor(entry: LayoutEntry, naming: Naming): Place[] {
  switch (entry.kind) {
    case 'bind':
      return [bindPlace(entry, naming)];
    case 'tmpfs': {
      const { destination, readonly } = entry;
      const place = tmpfsPlace(destination, entry);
      return [readonly ? { path: destination, args: [...place.args, '--remount-ro', destination] } : place];
    }
    case 'proc':
      return [{ path: entry.destination, args: ['--proc', entry.destination] }];
    case 'dev':
      return [naming.bareDev ? bareDevPlace(entry.destination) : devPlace(entry.destination)];
    case 'symlink':
      return [{ path: entry.path, args: ['--symlink', entry.target, entry.path] }];
    case 'file': {
      const descriptor = naming.text(entry.text);
      if (descriptor === undefined) return [];
      return [{ path: entry.path, args: ['--perms', '0644', '--ro-bind-data', descriptor, entry.path] }];
    }
  }
}

function bindPlace(entry: BindEntry, naming: Naming): Place {
  const { destination, readonly, sourceKind } = entry;
  const [how, word] = naming.source(entry);
  // There is no --dev-bind-fd. What bwrap makes of the path of a descriptor is the path of the file that was opened.
  if (sourceKind === 'device') {
    return { path: destination, args: ['--dev-bind', how === 'path' ? word : `/proc/self/fd/${word}`, destination] };
  }
  const verb = readonly ? 'ro-bind' : 'bind';
  return { path: destination, args: [`--${verb}${how === 'path' ? '' : '-fd'}`, word, destination] };
}

function tmpfsPlace(path: string, { mode, sizeBytes }: { readonly mode: number; readonly sizeBytes: number }): Place {
  const perms = ['--perms', mode.toString(8).padStart(4, '0')];
  return { path, args: [...perms, '--size', String(sizeBytes), '--tmpfs', path], empty: true };
}

function bareDevPlace(path: string): Place {
  const link = (target: string, name: string): string[] => ['--symlink', target, `${path}/${name}`];
  return {
    path,
    args: [
      ...tmpfsPlace(path, { mode: 0o755, sizeBytes: 64 * 1024 }).args,
      ...deviceNames.flatMap((name) => ['--dev-bind', `/dev/${name}`, `${path}/${name}`]),
      ...link('/proc/self/fd', 'fd'),
      ...link('/proc/self/fd/0', 'stdin'),
      ...link('/proc/self/fd/1', 'stdout'),
      ...link('/proc/self/fd/2', 'stderr'),
      ...['--dir', `${path}/pts`],
      ...link('pts/ptmx', 'ptmx'),
      ...tmpfsPlace(`${path}/shm`, { mode: 0o1777, sizeBytes: TMPFS_BYTES }).args,
      ...['--mqueue', `${path}/mqueue`],
    ],
  };
}

/** bwrap's own /dev is writable, and has no message queues; its shm is a part of it. */
function devPlace(path: string): Place {
  const { args } = tmpfsPlace(`${path}/shm`, { mode: 0o1777, sizeBytes: TMPFS_BYTES });
  return { path, args: ['--dev', path, ...args, '--mqueue', `${path}/mqueue`, '--remount-ro', path] };
}
