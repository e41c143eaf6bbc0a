// What is where in a sandbox, in nobody's words: each backend that is another program says it in that program's. Pure. (The native backend says
// the same in its own steps, launcher/filesystem.ts, with what only it can do.)
import { InternalError } from '../errors/errors.ts';
import { components } from '../spec/paths.ts';
import type { IdMapping, NormalizedMount, NormalizedSpec } from '../spec/types.ts';
import type { CallerFacts, TopLevelEntry } from './backend.ts';

/** How much the sandbox's own `/tmp` and `$HOME` may hold, each, in bytes of memory. */
export const SCRATCH_BYTES: number = 512 * 1024 * 1024;
/** How much a tmpfs of the spec, and `/dev/shm`, may hold when nobody says. */
export const TMPFS_BYTES: number = 64 * 1024 * 1024;
/** Bytes for each inode that a tmpfs may have: small files cannot eat the memory that large ones may not. */
const BYTES_PER_INODE = 4096;
/** Of the host view, for what every sandbox has in it. */
const ROOT_INODES = 2048;
const TTY_GID = 5;
/** Mount data of `/dev`. */
export const devOptions = 'size=64k,nr_inodes=64,mode=0755';
/** Files of /etc that say how the host's network is reached. */
export const HOST_FILES_OF_NETWORK: ReadonlySet<string> = new Set(['hosts', 'resolv.conf']);

/**
 * Of the fresh proc: what tells of, or acts on, the whole machine (OCI maskedPaths, and sysrq-trigger), and what the kernel lets only root read
 * (the maps of physical memory, the allocators, a crash dump): a command that is uid 0 of the host needs no capability for those.
 */
export const maskedInProc: readonly string[] = [
  'acpi',
  'asound',
  'interrupts',
  'kcore',
  'keys',
  'kpagecgroup',
  'kpagecount',
  'kpageflags',
  'latency_stats',
  'pagetypeinfo',
  'sched_debug',
  'scsi',
  'slabinfo',
  'sysrq-trigger',
  'timer_list',
  'timer_stats',
  'vmallocinfo',
  'vmcore',
  'driver',
];
/** The devices that every program may expect, and that no program can do harm with. */
export const deviceNames: readonly string[] = ['full', 'null', 'random', 'tty', 'urandom', 'zero'];
/** OCI readonlyPaths. A command that is root on the host could write kernel settings here without any capability. */
export const readonlyInProc: readonly string[] = ['bus', 'fs', 'irq', 'sys'];

/** Of a fresh sysfs: what a program may want to know of the machine's devices, and no more. Their own directories have what reaches the hardware. */
export const shownOfDevices: readonly string[] = ['system/cpu', 'system/node', 'virtual/net'];
/**
 * Of the rest: what tells of the machine under the kernel (OCI maskedPaths of runc, crun and podman), and what tells where the kernel lies in memory or is
 * only for root to read.
 */
export const maskedInSysfs: readonly string[] = [
  'dev/block',
  'dev/char',
  'firmware',
  'fs/selinux',
  'hypervisor',
  'kernel/boot_params',
  'kernel/debug',
  'kernel/notes',
  'kernel/security',
  'kernel/slab',
  'kernel/tracing',
  'kernel/vmcoreinfo',
];

/** Mount data of a tmpfs. */
export function tmpfsOptions(bytes: number, mode: number): string {
  const inodes = Math.max(1024, Math.ceil(bytes / BYTES_PER_INODE));
  return `size=${bytes},nr_inodes=${inodes},mode=0${mode.toString(8)}`;
}

/** What a directory has of its own where it is a part of a larger file system; `mode` as for a tmpfs. */
export function ownershipOptions(
  mode: number,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): string {
  const ids = owner === undefined ? '' : `,uid=${owner.uid},gid=${owner.gid}`;
  return `mode=0${mode.toString(8)}${ids}`;
}

/** Of the tmpfs that is the root of a host view: room for mount points, and for little else. */
export function hostViewOptions({ mounts }: NormalizedSpec): string {
  const mountPoints = mounts.reduce((count, { destination }) => count + components(destination).length, 0);
  return `size=1m,nr_inodes=${ROOT_INODES + mountPoints},mode=0755`;
}

/** Of `/dev/pts`, where `gids` are mapped. */
export function devptsOptions(gids: readonly IdMapping[]): string {
  return `newinstance,ptmxmode=0666,mode=0620${isMapped(TTY_GID, gids) ? `,gid=${TTY_GID}` : ''}`;
}

export function isMapped(id: number, mappings: readonly IdMapping[]): boolean {
  return mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size);
}

export interface BindEntry {
  readonly kind: 'bind';
  readonly source: string;
  readonly destination: string;
  readonly readonly: boolean;
  readonly sourceKind: 'directory' | 'file' | 'device' | 'any';
}

export interface TmpfsEntry {
  readonly kind: 'tmpfs';
  readonly destination: string;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly readonly: boolean;
}

/** In the order in which they are made; parents that nobody made are plain directories, 0755. */
export type LayoutEntry =
  | BindEntry
  | TmpfsEntry
  | { readonly kind: 'proc'; readonly destination: string }
  /** Six devices, devpts, shm, mqueue; read-only by itself. */
  | { readonly kind: 'dev'; readonly destination: string }
  | { readonly kind: 'symlink'; readonly target: string; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly text: string };

export interface Layout {
  /** `undefined`: made from nothing. */
  readonly root: string | undefined;
  readonly readonly: boolean;
  readonly entries: readonly LayoutEntry[];
}

export function layoutOf(spec: NormalizedSpec, caller: CallerFacts): Layout {
  const { root } = spec;
  return {
    root: root.kind === 'host' ? undefined : (root.path ?? '/'),
    readonly: root.readonly,
    entries: [
      ...(root.kind === 'host' ? hostView(spec, caller) : writableInRoot(spec)),
      { kind: 'proc', destination: '/proc' },
      { kind: 'dev', destination: '/dev' },
      tmpfs('/tmp', SCRATCH_BYTES, 0o1777),
      tmpfs(spec.home, SCRATCH_BYTES, 0o700),
      ...spec.mounts.map(mountEntry),
    ],
  };
}

function hostView(spec: NormalizedSpec, caller: CallerFacts): LayoutEntry[] {
  const network = spec.network === 'host';
  const etc = caller.etcEntries.filter(({ name }) => network || !HOST_FILES_OF_NETWORK.has(name));
  return [
    ...caller.topLevel.map((entry) => hostEntry('/', entry)),
    ...etc.map((entry) => hostEntry('/etc/', entry)),
    { kind: 'file', path: '/etc/hostname', text: `${spec.hostname}\n` },
    ...(network ? [] : [hostsFile(spec.hostname)]),
    ...spec.root.writablePaths.map((path) => bind(path, path, 'any', false)),
  ];
}

function hostsFile(hostname: string): LayoutEntry {
  return { kind: 'file', path: '/etc/hosts', text: `127.0.0.1 localhost ${hostname}\n::1 localhost\n` };
}

function hostEntry(parent: string, { kind, name, target }: TopLevelEntry): LayoutEntry {
  const path = `${parent}${name}`;
  return kind === 'symlink' ? { kind, target: target ?? '', path } : bind(path, path, kind, true);
}

function writableInRoot({ root }: NormalizedSpec): LayoutEntry[] {
  const path = root.path ?? '/';
  return root.writablePaths.map((inside) => bind(`${path === '/' ? '' : path}${inside}`, inside, 'any', false));
}

function mountEntry({
  type,
  source,
  sourceKind,
  destination,
  readonly,
  sizeBytes,
  mode,
}: NormalizedMount): LayoutEntry {
  switch (type) {
    case 'bind':
      return bind(source ?? '', destination, sourceKind ?? 'any', readonly);
    case 'tmpfs':
      return { ...tmpfs(destination, sizeBytes ?? TMPFS_BYTES, mode ?? 0o755), readonly };
    case 'proc':
    case 'dev':
      return { kind: type, destination };
    case 'overlay':
    case 'sysfs':
      throw new InternalError(`a mount of type ${type} for a backend that knows none`);
  }
}

function bind(source: string, destination: string, sourceKind: BindEntry['sourceKind'], readonly: boolean): BindEntry {
  return { kind: 'bind', source, destination, sourceKind, readonly };
}

function tmpfs(destination: string, sizeBytes: number, mode: number): TmpfsEntry {
  return { kind: 'tmpfs', destination, sizeBytes, mode, readonly: false };
}
