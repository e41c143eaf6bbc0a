// What the command lines of podman(1) and docker(1) have in common. Pure.
import type { BindEntry, Layout, LayoutEntry, TmpfsEntry } from '../../backends/layout.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import { coveredLater, elsewhere, filterBeyond, jsonOf, quote, rlimitsOf } from './shared.ts';

/** In the current directory: engines take a profile from a file. */
const PROFILE = 'seccomp.json';

/** A line for a shell that writes the profile which `commonArgs` names. */
export function profileBefore({ seccomp }: NormalizedSpec): string[] {
  return typeof seccomp === 'object' ? [`printf %s ${quote(jsonOf(seccomp.profile))} > ${PROFILE}`] : [];
}

export const ofTheEtc = 'an /etc that is not written to: hostname, hosts, resolv.conf and mtab are those of the engine';

export function commonArgs(spec: NormalizedSpec, layout: Layout): string[] {
  const { network, hostname, capabilities, seccomp, terminal, cwd, env, user } = spec;
  return [
    '--rm',
    ...(terminal === undefined ? ['--interactive'] : ['--interactive', '--tty']),
    `--network=${network}`,
    `--hostname=${hostname}`,
    ...['--ipc=private', '--cgroupns=private'],
    ...['--cap-drop=ALL', ...capabilities.map((name) => `--cap-add=${name}`)],
    '--security-opt=no-new-privileges',
    ...(seccomp === 'unconfined' ? ['--security-opt=seccomp=unconfined'] : []),
    ...(typeof seccomp === 'object' ? [`--security-opt=seccomp=${PROFILE}`] : []),
    ...rlimitsOf(spec).map(({ name, soft, hard }) => `--ulimit=${name.toLowerCase()}=${soft}:${hard}`),
    ...groupArgs(spec),
    `--user=${user.uid}:${user.gid}`,
    ...user.additionalGids.map((gid) => `--group-add=${gid}`),
    ...(layout.readonly ? ['--read-only'] : []),
    ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
    `--workdir=${cwd}`,
  ];
}

export function mountArgs({ entries }: Layout, tmpfs: (entry: TmpfsEntry) => string): string[] {
  return entries.flatMap((entry) => {
    if (entry.kind === 'bind') return [bindArg(entry)];
    return entry.kind === 'tmpfs' ? [tmpfs(entry)] : [];
  });
}

/** A value of --mount is a line of comma-separated values (RFC 4180). */
function bindArg({ source, destination, readonly }: BindEntry): string {
  const fields = ['type=bind', `source=${source}`, `destination=${destination}`, ...(readonly ? ['readonly'] : [])];
  return `--mount=${fields.map((field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}`;
}

export function tmpfsArg(entry: TmpfsEntry, more: readonly string[]): string {
  const { destination, sizeBytes, mode, readonly } = entry;
  const options = [readonly ? 'ro' : 'rw', 'exec', 'nosuid', 'nodev', `size=${sizeBytes}`, `mode=0${mode.toString(8)}`];
  return `--tmpfs=${destination}:${[...options, ...more].join(',')}`;
}

/** `--tmpfs` ends the path at the first colon. */
export function pathsBeyond({ entries }: Layout): string[] {
  const isBad = (entry: LayoutEntry): boolean => entry.kind === 'tmpfs' && entry.destination.includes(':');
  return entries.filter(isBad).map((entry) => `a tmpfs at ${(entry as TmpfsEntry).destination}: its path has a colon`);
}

export function commonLacks(spec: NormalizedSpec, layout: Layout): string[] {
  return [
    ...(spec.seccomp === 'default' ? ['the seccomp filter: it has one of its own'] : []),
    ...filterBeyond(spec),
    ...elsewhere(layout, ['proc', 'dev']),
    ...coveredLater(layout),
    ...pathsBeyond(layout),
    'a /dev that is read-only, and a bound on the number of files in tmpfs',
  ];
}

/** Of memory and swap together as much as of memory: no swap. */
function groupArgs({ limits: { memoryBytes, pids, cpus } }: NormalizedSpec): string[] {
  return [
    ...(memoryBytes === undefined ? [] : [`--memory=${memoryBytes}`, `--memory-swap=${memoryBytes}`]),
    ...(pids === undefined ? [] : [`--pids-limit=${pids}`]),
    ...(cpus === undefined ? [] : [`--cpus=${cpus}`]),
  ];
}
