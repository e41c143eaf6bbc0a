// Landlock as a step of a plan, and as the kernel's numbers (landlock(7), include/uapi/linux/landlock.h). Pure.
import { InternalError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { LandlockAccess, LandlockScope, NormalizedSpec } from '../../spec/types.ts';
import type { Step } from './steps.ts';

const FS = {
  execute: 1n << 0n,
  writeFile: 1n << 1n,
  readFile: 1n << 2n,
  readDir: 1n << 3n,
  removeDir: 1n << 4n,
  removeFile: 1n << 5n,
  makeChar: 1n << 6n,
  makeDir: 1n << 7n,
  makeReg: 1n << 8n,
  makeSock: 1n << 9n,
  makeFifo: 1n << 10n,
  makeBlock: 1n << 11n,
  makeSym: 1n << 12n,
  refer: 1n << 13n, // ABI 2, Linux 5.19: rename(2) and link(2) from one directory to another
  truncate: 1n << 14n, // ABI 3, Linux 6.2
  ioctlDev: 1n << 15n, // ABI 5, Linux 6.10
} as const;
const NET = { bindTcp: 1n << 0n, connectTcp: 1n << 1n } as const; // ABI 4, Linux 6.7
const SCOPES: Readonly<Record<LandlockScope, bigint>> = { 'abstract-unix-socket': 1n << 0n, signal: 1n << 1n }; // ABI 6, Linux 6.12

const READ = FS.readFile | FS.readDir;
/** All but block devices. Of character devices anybody may make 0:0, a whiteout (Linux 5.8); for others it takes CAP_MKNOD in the first user namespace. */
const WRITE =
  FS.writeFile |
  FS.truncate |
  FS.removeDir |
  FS.removeFile |
  FS.refer |
  FS.ioctlDev |
  (FS.makeDir | FS.makeReg | FS.makeSock | FS.makeFifo | FS.makeSym | FS.makeChar); // prettier-ignore
const rights: Readonly<Record<LandlockAccess, bigint>> = {
  ro: READ,
  rox: READ | FS.execute,
  rw: READ | WRITE,
  rwx: READ | WRITE | FS.execute,
};

/** Taken away wherever paths are; a kernel of a lower ABI than 3 refuses. */
const PATHS = READ | WRITE | FS.execute | FS.makeBlock;
/** Without it an older kernel lets ioctl(2) through on a device that may be opened. */
const WISHED = FS.ioctlDev;

/** The rights and rules of a step, in the order of the record (native/README.md). */
export interface LandlockNumbers {
  readonly paths: bigint;
  readonly wished: bigint;
  readonly ports: bigint;
  readonly scopes: bigint;
  readonly rules: readonly ({ readonly rights: bigint } & ({ readonly path: string } | { readonly port: number }))[];
}

export function landlockNumbers(step: Step & { step: 'landlock' }): LandlockNumbers {
  const { paths, bindTcp, connectTcp, scopes } = step;
  return {
    paths: paths === undefined ? 0n : PATHS & ~WISHED,
    wished: paths === undefined ? 0n : WISHED,
    ports: (bindTcp === undefined ? 0n : NET.bindTcp) | (connectTcp === undefined ? 0n : NET.connectTcp),
    scopes: scopes.reduce((all, scope) => all | SCOPES[scope], 0n),
    rules: [
      ...(paths ?? []).map(({ path, access }) => ({ rights: rights[access], path })),
      ...(bindTcp ?? []).map((port) => ({ rights: NET.bindTcp, port })),
      ...(connectTcp ?? []).map((port) => ({ rights: NET.connectTcp, port })),
    ],
  };
}

function portsStep({ portsFilter }: NonNullable<NormalizedSpec['landlock']>): Step {
  if (portsFilter === undefined) throw new InternalError('ports of Landlock without their filter');
  return { step: 'seccomp', filter: portsFilter, deniesKeyrings: false, tells: false, asks: false, pass: [] };
}

const noPorts = { bindTcp: undefined, connectTcp: undefined };

/** What of it was granted; nothing where that is nothing. */
export function landlockSteps({ landlock }: NormalizedSpec, granted: ReadonlySet<Feature>): Step[] {
  if (landlock === undefined) return [];
  const paths = granted.has('landlock.paths') ? landlock.paths : undefined;
  const { bindTcp, connectTcp } = granted.has('landlock.tcp') ? landlock : noPorts;
  const scopes = granted.has('landlock.scopes') ? landlock.scopes : [];
  if (paths === undefined && bindTcp === undefined && connectTcp === undefined && scopes.length === 0) return [];
  return [
    { step: 'landlock', paths, bindTcp, connectTcp, scopes },
    ...(bindTcp === undefined && connectTcp === undefined ? [] : [portsStep(landlock)]),
  ];
}

/** For all backends in which the command's process is ours until its exec. */
export const landlockMechanisms = {
  'landlock.paths': 'Landlock, rights of paths',
  'landlock.tcp': 'Landlock, TCP ports; a seccomp filter for MPTCP, SMC and TCP Fast Open',
  'landlock.scopes': 'Landlock, scopes',
} as const;
