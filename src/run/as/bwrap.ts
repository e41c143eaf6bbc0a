// The same sandbox in the words of bubblewrap(1): for people who know that tool, and to show what it leaves out.
import type { CallerFacts, TopLevelEntry } from '../../backends/backend.ts';
import { HOST_FILES_OF_NETWORK, SCRATCH_BYTES, TMPFS_BYTES } from '../../backends/layout.ts';
import { InternalError } from '../../errors/errors.ts';
import { directoriesAbove } from '../../spec/paths.ts';
import type { NormalizedMount, NormalizedSpec } from '../../spec/types.ts';
import {
  architectureBeyond,
  idRangesBeyond,
  limitsBeyond,
  ofTheOutcome,
  type Translation,
  umaskBeyond,
  withoutMountPoints,
} from './shared.ts';

/** Pure. The command itself follows `argv`. bwrap could make what a root lacks, but not in one that is read-only. */
export function asBwrap(spec: NormalizedSpec, caller: CallerFacts): Translation {
  const impossible = spec.root.readonly ? withoutMountPoints('bwrap', spec) : undefined;
  if (impossible !== undefined) return impossible;
  return {
    before: [],
    argv: [
      'bwrap',
      ...namespaceArgs(spec),
      ...withParents(places(spec, caller)),
      ...(spec.root.kind === 'host' && spec.root.readonly ? ['--remount-ro', '/'] : []),
      ...environmentArgs(spec),
      ...['--cap-drop', 'ALL', ...spec.capabilities.flatMap((name) => ['--cap-add', name])],
      ...['--chdir', spec.cwd, '--'],
    ],
    lacks: lacking(spec, caller),
  };
}

/** Something that is made at a path inside. */
interface Place {
  readonly path: string;
  readonly args: readonly string[];
  /** Whether it is an empty directory, in which more can be made. */
  readonly empty?: boolean;
}

/** In the order in which they are made: the root, what every sandbox has, the mounts of the spec. */
function places(spec: NormalizedSpec, caller: CallerFacts): Place[] {
  return [
    ...rootPlaces(spec, caller),
    { path: '/proc', args: ['--proc', '/proc'] },
    devPlace('/dev'),
    tmpfsPlace('/tmp', { mode: 0o1777, sizeBytes: SCRATCH_BYTES }),
    tmpfsPlace(spec.home, { mode: 0o700, sizeBytes: SCRATCH_BYTES }),
    ...spec.mounts.map(mountPlace),
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

function namespaceArgs({ network, hostname, user, terminal }: NormalizedSpec): string[] {
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...(network === 'none' ? ['--unshare-net'] : []),
    '--die-with-parent',
    // On a terminal of its own the command has a session anyway; on ours it would type into it (TIOCSTI).
    ...(terminal === undefined ? ['--new-session'] : []),
    ...['--hostname', hostname, '--uid', String(user.uid), '--gid', String(user.gid)],
  ];
}

function rootPlaces({ root, network }: NormalizedSpec, caller: CallerFacts): Place[] {
  if (root.kind === 'directory') {
    const path = root.path ?? '/';
    return [
      root.changes === 'keep'
        ? { path: '/', args: [root.readonly ? '--ro-bind' : '--bind', path, '/'] }
        : viewPlace(path, '/'),
      ...root.writablePaths.map((inside) => bindPlace(`${path === '/' ? '' : path}${inside}`, inside, false)),
    ];
  }
  const etc = caller.etcEntries.filter(({ name }) => network === 'host' || !HOST_FILES_OF_NETWORK.has(name));
  return [
    ...caller.topLevel.map((entry) => hostPlace('/', entry)),
    ...etc.map((entry) => hostPlace('/etc/', entry)),
    ...root.writablePaths.map((path) => bindPlace(path, path, false)),
  ];
}

function hostPlace(parent: string, { kind, name, target }: TopLevelEntry): Place {
  const path = `${parent}${name}`;
  return kind === 'symlink' ? { path, args: ['--symlink', target ?? '', path] } : bindPlace(path, path, true);
}

function mountPlace({ type, source, destination, readonly, sizeBytes, mode }: NormalizedMount): Place {
  switch (type) {
    case 'bind':
      return bindPlace(source ?? '', destination, readonly);
    case 'overlay':
      return viewPlace(source ?? '', destination);
    case 'tmpfs': {
      const place = tmpfsPlace(destination, { mode, sizeBytes });
      return readonly ? { path: destination, args: [...place.args, '--remount-ro', destination] } : place;
    }
    case 'proc':
      return { path: destination, args: ['--proc', destination] };
    case 'dev':
      return devPlace(destination);
    case 'sysfs':
      throw new InternalError('a sysfs for a tool that has none');
  }
}

/** From 0.10 on. */
function viewPlace(source: string, path: string): Place {
  return { path, args: ['--overlay-src', source, '--tmp-overlay', path] };
}

function bindPlace(source: string, path: string, readonly: boolean): Place {
  return { path, args: [readonly ? '--ro-bind' : '--bind', source, path] };
}

function tmpfsPlace(path: string, { mode, sizeBytes }: Pick<NormalizedMount, 'mode' | 'sizeBytes'>): Place {
  const perms = mode === undefined ? [] : ['--perms', mode.toString(8).padStart(4, '0')];
  const size = sizeBytes === undefined ? [] : ['--size', String(sizeBytes)];
  return { path, args: [...perms, ...size, '--tmpfs', path], empty: true };
}

/** bwrap's own /dev is writable, and has no message queues; its shm is a part of it. */
function devPlace(path: string): Place {
  const { args } = tmpfsPlace(`${path}/shm`, { mode: 0o1777, sizeBytes: TMPFS_BYTES });
  return { path, args: ['--dev', path, ...args, '--mqueue', `${path}/mqueue`, '--remount-ro', path] };
}

function environmentArgs({ env }: NormalizedSpec): string[] {
  return ['--clearenv', ...Object.entries(env).flatMap(([name, value]) => ['--setenv', name, value])];
}

function lacking(spec: NormalizedSpec, caller: CallerFacts): string[] {
  const { user, root } = spec;
  const lacks = limitsBeyond(spec, []);
  if (spec.seccomp !== 'unconfined')
    lacks.push('the seccomp filter: --seccomp takes one from a descriptor, compiled already');
  if (root.kind === 'host') {
    const names = spec.network === 'host' ? '/etc/hostname' : '/etc/hostname and /etc/hosts';
    lacks.push(`${names} of its own: --ro-bind-data takes them from a descriptor`);
  }
  const views = [root, ...spec.mounts].filter(({ changes }) => changes === 'discard' || changes === 'capture');
  if (views.length > 0) lacks.push('a bound on what is changed in an overlay, which it has from 0.10 on');
  if (views.some(({ changes }) => changes === 'capture')) lacks.push('a list of changes: they are thrown away');
  lacks.push(...umaskBeyond(spec, undefined), ...idRangesBeyond(spec));
  if (user.additionalGids.length > 0) lacks.push(`additional groups ${user.additionalGids.join(', ')}`);
  if (caller.uid === 0) lacks.push("giving up the caller's supplementary groups");
  if (spec.terminal !== undefined) lacks.push('a pseudo-terminal of its own');
  return [
    ...lacks,
    ...architectureBeyond(spec, caller),
    'an environment without PWD',
    "what is masked and read-only in /proc, and a bound on the number of files in the sandbox's own directories",
    'a session keyring of its own, and descriptors closed beyond 2',
    ofTheOutcome,
  ];
}
