// The same sandbox in the words of bubblewrap(1): for people who know that tool, and to show what it leaves out.
import type { CallerFacts, TopLevelEntry } from '../backends/backend.ts';
import type { NormalizedMount, NormalizedSpec } from '../spec/types.ts';
import type { BwrapEquivalent } from './types.ts';

/** Files of /etc that say how the host's network is reached. */
const networkFiles: ReadonlySet<string> = new Set(['hosts', 'resolv.conf']);

/** Pure. The command itself follows `argv`. */
export function bwrapEquivalent(spec: NormalizedSpec, caller: CallerFacts): BwrapEquivalent {
  if (spec.root.kind === 'directory' && spec.root.readonly && spec.root.missingMountPoints.length > 0) {
    const paths = spec.root.missingMountPoints.map(({ path }) => path).join(', ');
    return {
      argv: undefined,
      lacks: [`a read-only root that lacks mount points (${paths}): bwrap would have to make them in it`],
    };
  }
  return {
    argv: [
      'bwrap',
      ...namespaceArgs(spec),
      ...rootArgs(spec, caller),
      ...[
        '--proc',
        '/proc',
        '--dev',
        '/dev',
        '--perms',
        '1777',
        '--tmpfs',
        '/tmp',
        '--perms',
        '0700',
        '--tmpfs',
        spec.home,
      ],
      ...spec.mounts.flatMap(mountArgs),
      ...(spec.root.kind === 'host' && spec.root.readonly ? ['--remount-ro', '/'] : []),
      ...environmentArgs(spec),
      ...['--cap-drop', 'ALL', ...spec.capabilities.flatMap((name) => ['--cap-add', name])],
      ...['--chdir', spec.cwd, '--'],
    ],
    lacks: lacking(spec),
  };
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

function rootArgs({ root, network }: NormalizedSpec, caller: CallerFacts): string[] {
  if (root.kind === 'directory') {
    const path = root.path ?? '/';
    const writable = root.writablePaths.flatMap((inside) => ['--bind', `${path === '/' ? '' : path}${inside}`, inside]);
    return [root.readonly ? '--ro-bind' : '--bind', path, '/', ...writable];
  }
  const etc = caller.etcEntries.filter(({ name }) => network === 'host' || !networkFiles.has(name));
  return [
    ...caller.topLevel.flatMap((entry) => hostEntry('/', entry)),
    ...etc.flatMap((entry) => hostEntry('/etc/', entry)),
    ...root.writablePaths.flatMap((path) => ['--bind', path, path]),
  ];
}

function hostEntry(parent: string, { kind, name, target }: TopLevelEntry): string[] {
  const path = `${parent}${name}`;
  return kind === 'symlink' ? ['--symlink', target ?? '', path] : ['--ro-bind', path, path];
}

function mountArgs({ type, source, destination, readonly, sizeBytes, mode }: NormalizedMount): string[] {
  switch (type) {
    case 'bind':
      return [readonly ? '--ro-bind' : '--bind', source ?? '', destination];
    case 'tmpfs':
      return [
        ...(mode === undefined ? [] : ['--perms', mode.toString(8).padStart(4, '0')]),
        ...(sizeBytes === undefined ? [] : ['--size', String(sizeBytes)]),
        ...['--tmpfs', destination],
        ...(readonly ? ['--remount-ro', destination] : []),
      ];
    case 'proc':
    case 'dev':
      return [`--${type}`, destination];
  }
}

function environmentArgs({ env }: NormalizedSpec): string[] {
  return ['--clearenv', ...Object.entries(env).flatMap(([name, value]) => ['--setenv', name, value])];
}

function lacking(spec: NormalizedSpec): string[] {
  const { limits, user, idMappings } = spec;
  const lacks: string[] = [];
  const bounds = Object.entries(limits).filter(([, bound]) => bound !== undefined);
  if (bounds.length > 0) lacks.push(`limits: ${bounds.map(([name, bound]) => `${name} ${bound}`).join(', ')}`);
  if (spec.seccomp !== 'unconfined') lacks.push('the seccomp filter: --seccomp takes one that is compiled already');
  lacks.push(`umask ${spec.umask.toString(8).padStart(4, '0')}: it is inherited`);
  const ids = [...idMappings.uid, ...idMappings.gid];
  if (idMappings.needsHelper || ids.some(({ size }) => size > 1)) lacks.push('id mappings of more than one id');
  if (user.additionalGids.length > 0) lacks.push(`additional groups ${user.additionalGids.join(', ')}`);
  if (spec.terminal !== undefined) lacks.push('a pseudo-terminal of its own');
  lacks.push('what /proc is masked and read-only for, a bound on its /tmp and $HOME, and descriptors closed beyond 2');
  lacks.push('the outcome: which limit was met, what was used');
  return lacks;
}
