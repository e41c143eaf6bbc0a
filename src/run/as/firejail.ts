// The same sandbox in the words of firejail(1), which starts from the whole host and takes away what it is told. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
import { maskedInProc, readonlyInProc } from '../../backends/layout.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import {
  ambientBeyond,
  architectureBeyond,
  limitsBeyond,
  ofTheOutcome,
  type Translation,
  umaskBeyond,
} from './shared.ts';

/** Of the top of a host, what nobody is shown (docs/getting-started.md). /home and /root are firejail's own business. */
const hidden: readonly string[] = ['/boot', '/media', '/mnt', '/opt', '/srv', '/sys', '/var'];

export function asFirejail(spec: NormalizedSpec, caller: CallerFacts): Translation {
  if (spec.root.kind === 'directory') {
    return {
      before: [],
      argv: undefined,
      lacks: ['a root of its own: as it is shipped, firejail lets nobody choose one'],
    };
  }
  const { env, network, hostname, capabilities } = spec;
  const inProc = (names: readonly string[]): string[] =>
    names.filter((name) => caller.procEntries.has(name)).map((name) => `/proc/${name}`);
  const own = new Set(caller.topLevel.map(({ name }) => `/${name}`));
  return {
    before: [],
    argv: [
      ...['env', '-i', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
      ...['firejail', '--quiet', '--noprofile', '--deterministic-shutdown'],
      ...(network === 'none' ? ['--net=none'] : []),
      ...[
        `--hostname=${hostname}`,
        '--ipc-namespace',
        '--private',
        '--private-tmp',
        '--private-dev',
        `--private-cwd=${spec.cwd}`,
      ],
      ...(spec.root.readonly ? ['--read-only=/'] : []),
      ...[...spec.root.writablePaths, spec.home, '/tmp'].map((path) => `--read-write=${path}`),
      ...hidden.filter((path) => !own.has(path)).map((path) => `--blacklist=${path}`),
      ...inProc(maskedInProc).map((path) => `--blacklist=${path}`),
      ...inProc(readonlyInProc).map((path) => `--read-only=${path}`),
      ...['--nogroups', '--nonewprivs'],
      capabilities.length === 0 ? '--caps.drop=all' : `--caps.keep=${capabilities.map(shortName).join(',')}`,
      ...(spec.seccomp === 'unconfined' ? [] : ['--seccomp']),
      ...limitArgs(spec),
      '--',
    ],
    lacks: lacking(spec, caller),
  };
}

function shortName(capability: string): string {
  return capability.replace(/^CAP_/, '').toLowerCase();
}

/** It counts whole seconds. */
function limitArgs({ limits: { processCpuMs, openFiles, fileBytes, wallMs } }: NormalizedSpec): string[] {
  return [
    ...(processCpuMs === undefined ? [] : [`--rlimit-cpu=${Math.ceil(processCpuMs / 1000)}`]),
    ...(openFiles === undefined ? [] : [`--rlimit-nofile=${openFiles}`]),
    ...(fileBytes === undefined ? [] : [`--rlimit-fsize=${fileBytes}`]),
    ...(hasTimeout(wallMs) ? [`--timeout=${clock(wallMs / 1000)}`] : []),
  ];
}

function hasTimeout(wallMs: number | undefined): wallMs is number {
  return wallMs !== undefined && wallMs % 1000 === 0;
}

function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

function lacking(spec: NormalizedSpec, caller: CallerFacts): string[] {
  const { user, mounts, limits } = spec;
  const given = ['processCpuMs', 'openFiles', 'fileBytes', ...(hasTimeout(limits.wallMs) ? ['wallMs'] : [])] as const;
  const other = user.uid !== caller.uid || user.gid !== caller.gid || user.additionalGids.length > 0;
  return [
    'a root that has only what it is to have: all else of this host is there but for what is blacklisted, and all of /etc and /run',
    ...mounts.map(({ type, destination }) => `mount ${destination} (${type})`),
    ...limitsBeyond(spec, given as readonly (keyof NormalizedSpec['limits'])[]),
    ...(spec.seccomp === 'unconfined' ? [] : ['the seccomp filter: it has one of its own']),
    ...umaskBeyond(spec, undefined),
    ...(other ? [`uid ${user.uid}, gid ${user.gid} and groups: the command is who calls`] : []),
    ...ambientBeyond(spec),
    ...architectureBeyond(spec, caller),
    ...(spec.terminal === undefined ? [] : ['a pseudo-terminal of its own']),
    'a /dev and a /home that are read-only',
    'bounds on what /tmp and the home directory hold, user and cgroup namespaces',
    'an environment without what it adds, and a session keyring of its own',
    ofTheOutcome,
  ];
}
