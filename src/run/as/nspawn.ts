// The same sandbox in the words of systemd-nspawn(1), which only root can use. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
import { type LayoutEntry, tmpfsOptions } from '../../backends/layout.ts';
import { capabilityNames } from '../../spec/capabilities.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import {
  architectureBeyond,
  coveredLater,
  elsewhere,
  idRangesBeyond,
  limitsBeyond,
  ofTheOutcome,
  ofTheProc,
  rlimitNames,
  rlimitsOf,
  rootOf,
  type Translation,
  umaskBeyond,
  withoutMountPoints,
  writableBeyond,
} from './shared.ts';

/** Where it mounts whatever it is told. */
const OWN_MOUNT_POINTS = ['/run', '/sys'];
/** Of what it starts. */
const UMASK = 0o022;

export function asNspawn(spec: NormalizedSpec, caller: CallerFacts): Translation {
  const impossible = withoutMountPoints('systemd-nspawn', spec);
  if (impossible !== undefined) return impossible;
  const { path, before, layout } = rootOf(spec, caller, OWN_MOUNT_POINTS);
  const { user, network, hostname, capabilities, env, cwd, terminal } = spec;
  return {
    before,
    argv: [
      // systemd need not know of it; neither is anything of the host's to be written into the root.
      ...['systemd-nspawn', '--quiet', '--register=no', '--keep-unit', '--link-journal=no'],
      ...['--resolv-conf=off', '--timezone=off', '--as-pid2', '--private-users=identity'],
      `--console=${terminal === undefined ? 'pipe' : 'interactive'}`,
      `--directory=${path}`,
      ...(layout.readonly ? ['--read-only'] : []),
      ...(network === 'none' ? ['--private-network'] : []),
      `--hostname=${hostname}`,
      ...(user.uid === 0 ? [] : [`--user=${user.name}`]),
      ...['--no-new-privileges=yes', ...capabilityArgs(capabilities)],
      ...rlimitsOf(spec).map(({ name, soft, hard }) => `--rlimit=RLIMIT_${name}=${soft}:${hard}`),
      ...layout.entries.flatMap((entry) => mountArgs(entry, spec)),
      ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
      `--chdir=${cwd}`,
      '--',
    ],
    lacks: [
      ...(caller.uid === 0 ? [] : ['a caller who is not root: systemd-nspawn refuses to run']),
      ...limitsBeyond(spec, rlimitNames),
      ...(spec.seccomp === 'unconfined' ? [] : ['the seccomp filter: it has one of its own']),
      ...(spec.seccomp === 'unconfined' ? ['a command without a seccomp filter: it has one of its own'] : []),
      ...umaskBeyond(spec, UMASK),
      ...(user.uid === 0 ? [] : [`uid ${user.uid} by number: it takes the user ${user.name} of the root`]),
      ...(user.additionalGids.length > 0 ? [`additional groups ${user.additionalGids.join(', ')}`] : []),
      ...(spec.idMappings.needsHelper ? idRangesBeyond(spec) : []),
      ...architectureBeyond(spec, caller),
      ...writableBeyond(spec),
      ...elsewhere(layout, ['proc', 'dev']),
      ...coveredLater(layout),
      'a /dev that is read-only, and a bound on /dev/shm',
      ...(spec.root.kind === 'directory' ? ['a root without /run and /sys: it needs both to mount on'] : []),
      '/run, /sys and /var that are not there: it makes its own',
      ofTheProc,
      'an environment without container, HOME, USER and what else it adds',
      ofTheOutcome,
    ],
  };
}

/** What is dropped is dropped whatever is kept, so that `all` would be all. */
function capabilityArgs(kept: readonly string[]): string[] {
  if (kept.length === 0) return ['--drop-capability=all'];
  const dropped = capabilityNames.filter((name) => !kept.includes(name));
  return [`--drop-capability=${dropped.join(',')}`, `--ambient-capability=${kept.join(',')}`];
}

function mountArgs(entry: LayoutEntry, { user }: NormalizedSpec): string[] {
  if (entry.kind === 'bind') {
    const { source, destination, readonly } = entry;
    return [`--bind${readonly ? '-ro' : ''}=${escaped(source)}:${escaped(destination)}`];
  }
  if (entry.kind !== 'tmpfs') return [];
  const { destination, sizeBytes, mode, readonly } = entry;
  const options = `${tmpfsOptions(sizeBytes, mode)},uid=${user.uid},gid=${user.gid}${readonly ? ',ro' : ''}`;
  return [`--tmpfs=${escaped(destination)}:nosuid,nodev,${options}`];
}

function escaped(path: string): string {
  return path.replaceAll('\\', '\\\\').replaceAll(':', '\\:');
}
