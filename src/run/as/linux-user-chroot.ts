// The same sandbox in the words of linux-user-chroot, the set-user-ID helper of 2015: binds of directories, and nothing of its own in them. Pure.
import { resolve } from 'node:path';
import type { CallerFacts } from '../../backends/backend.ts';
import type { BindEntry, Layout } from '../../backends/layout.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import {
  architectureBeyond,
  limitsBeyond,
  ofTheOutcome,
  quote,
  ROOTFS,
  rootOf,
  type Translation,
  umaskBeyond,
  withoutMountPoints,
  writableBeyond,
} from './shared.ts';

export function asLinuxUserChroot(spec: NormalizedSpec, caller: CallerFacts, directory: string): Translation {
  const impossible = withoutMountPoints('linux-user-chroot', spec);
  if (impossible !== undefined) return impossible;
  const { path, before, layout } = rootOf(spec, caller);
  const { env, network, cwd } = spec;
  return {
    // A root that is made here can hold copies.
    before: [...before, ...(layout.root === undefined ? filesOf(layout).map(copy) : [])],
    argv: [
      ...['env', '-i', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
      ...['linux-user-chroot', '--unshare-ipc', '--unshare-pid'],
      ...(network === 'none' ? ['--unshare-net'] : []),
      // First: else it would cover what is mounted in it.
      ...(layout.readonly ? ['--mount-readonly', '/'] : []),
      ...mountArgs(layout),
      // It enters each source, and what is relative is so to the last of them.
      ...['--chdir', cwd, resolve(directory, path)],
    ],
    lacks: [
      ...limitsBeyond(spec, []),
      ...(spec.seccomp === 'unconfined' ? [] : ['the seccomp filter: it has profiles of its own']),
      ...umaskBeyond(spec, undefined),
      ...identityBeyond(spec, caller),
      ...emptyBeyond(layout),
      ...writableBeyond(spec),
      ...filesBeyond(layout),
      ...architectureBeyond(spec, caller),
      ...(spec.terminal === undefined ? [] : ['a pseudo-terminal of its own']),
      `the host name ${spec.hostname}: it is that of the host, as are user and cgroup namespace`,
      'what is masked and read-only in /proc',
      'an own session and session keyring, and descriptors closed beyond 2',
      ofTheOutcome,
    ],
  };
}

function mountArgs({ entries }: Layout): string[] {
  return entries.flatMap((entry) => {
    if (entry.kind === 'proc') return ['--mount-proc', entry.destination];
    if (entry.kind === 'dev') return ['--mount-bind', '/dev', entry.destination];
    if (entry.kind !== 'bind' || isFile(entry)) return [];
    const { source, destination, readonly } = entry;
    return ['--mount-bind', source, destination, ...(readonly ? ['--mount-readonly', destination] : [])];
  });
}

function isFile({ sourceKind }: BindEntry): boolean {
  return sourceKind === 'file' || sourceKind === 'device';
}

function filesOf({ entries }: Layout): BindEntry[] {
  return entries.filter((entry) => entry.kind === 'bind').filter(isFile);
}

function copy({ source, destination }: BindEntry): string {
  return `cp ${quote(source)} ${quote(`${ROOTFS}${destination}`)}`;
}

function filesBeyond(layout: Layout): string[] {
  return filesOf(layout).flatMap(({ destination, readonly }) => {
    if (layout.root !== undefined) return [`mount ${destination}: it mounts directories alone`];
    return readonly
      ? []
      : [`mount ${destination}: what is written there goes to a copy, for it mounts directories alone`];
  });
}

function identityBeyond({ user, capabilities }: NormalizedSpec, caller: CallerFacts): string[] {
  const other = user.uid !== caller.uid || user.gid !== caller.gid || user.additionalGids.length > 0;
  return [
    ...(other ? [`uid ${user.uid}, gid ${user.gid} and groups: the command is who calls`] : []),
    ...(caller.uid === 0 ? ['a command without capabilities: root keeps those that it has'] : []),
    ...(capabilities.length > 0 && caller.uid !== 0 ? [`capabilities ${capabilities.join(', ')}`] : []),
  ];
}

function emptyBeyond({ entries }: Layout): string[] {
  return entries.flatMap((entry) => {
    if (entry.kind === 'tmpfs') return [`a tmpfs at ${entry.destination}: it is what the root has there`];
    return entry.kind === 'dev' ? [`${entry.destination} with a few harmless devices: it is that of the host`] : [];
  });
}
