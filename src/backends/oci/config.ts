// A sandbox in the words of the OCI runtime spec, version 1.0.2: what a runtime finds as config.json. Pure. What it mounts lies ready in the room
// that the launcher made for it (room.ts); what the command is to wear, our init inside puts on.
import type { CapabilityName } from '../../spec/capabilities.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import { INIT_INSIDE } from '../launcher/steps.ts';
import {
  type BindEntry,
  deviceNames,
  devOptions,
  devptsOptions,
  type Layout,
  type LayoutEntry,
  maskedInProc,
  readonlyInProc,
  TMPFS_BYTES,
  type TmpfsEntry,
  tmpfsOptions,
} from '../layout.ts';

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciConfig {
  readonly ociVersion: string;
  readonly process: {
    readonly terminal: boolean;
    readonly user: { readonly uid: number; readonly gid: number };
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: string;
    readonly capabilities: Readonly<Record<CapabilitySet, readonly CapabilityName[]>>;
    readonly noNewPrivileges: boolean;
  };
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: {
    readonly namespaces: readonly { readonly type: string }[];
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
  };
}

type CapabilitySet = 'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient';

export interface Room {
  /** Where the root lies. */
  readonly root: string;
  /** Where the source of a bind lies. */
  source(entry: BindEntry): string;
  /** Who is to own what is the command's, in ids of the room. */
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly gids: readonly IdMapping[];
  /** What init needs, to become what the command is to be. */
  readonly capabilities: readonly CapabilityName[];
}

/** Init runs as uid 0 of the room, and without a user namespace of the runtime's making: runc does not work where no id is mapped to 0. */
export function ociConfig(spec: NormalizedSpec, layout: Layout, room: Room): OciConfig {
  const procs = layout.entries
    .filter(({ kind }) => kind === 'proc')
    .map((entry) => (entry as { destination: string }).destination);
  const inEach = (names: readonly string[]): string[] =>
    procs.flatMap((proc) => names.map((name) => `${proc}/${name}`));
  const { capabilities } = room;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: INIT_INSIDE,
      env: [],
      cwd: '/',
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: [],
        ambient: [],
      },
      noNewPrivileges: true,
    },
    root: { path: room.root, readonly: layout.readonly },
    hostname: spec.hostname,
    mounts: layout.entries.flatMap((entry) => mountsFor(entry, room)),
    linux: {
      namespaces: namespacesOf(spec).map((type) => ({ type })),
      maskedPaths: inEach(maskedInProc),
      // Of a node of the host that root of the host owns, inside too, mode and times are not to be changed.
      readonlyPaths: [...inEach(readonlyInProc), ...deviceNames.map((name) => `/dev/${name}`)],
    },
  };
}

/** The cgroup namespace is the room's already. */
function namespacesOf({ network }: NormalizedSpec): string[] {
  return ['pid', 'mount', 'ipc', 'uts', ...(network === 'none' ? ['network'] : [])];
}

function mountsFor(entry: LayoutEntry, room: Room): OciMount[] {
  switch (entry.kind) {
    case 'bind':
      return [bind(entry, room)];
    case 'tmpfs':
      return [tmpfs(entry, room)];
    case 'proc':
      return [fresh('proc', entry.destination, ['nosuid', 'nodev', 'noexec'])];
    case 'dev':
      return devMounts(entry.destination, room);
    // Made in the root beforehand.
    case 'symlink':
    case 'file':
      return [];
  }
}

/** The flags are those of the room's own mount once more, because a runtime may set them anew. What is mounted below has them from there. */
function bind(entry: BindEntry, room: Room): OciMount {
  const device = entry.sourceKind === 'device';
  return {
    destination: entry.destination,
    type: 'bind',
    source: room.source(entry),
    options: ['rbind', ...(entry.readonly || device ? ['ro'] : []), 'nosuid', device ? 'noexec' : 'nodev'],
  };
}

function tmpfs({ destination, sizeBytes, mode, readonly }: TmpfsEntry, { owner }: Room): OciMount {
  const options = `${tmpfsOptions(sizeBytes, mode)},uid=${owner.uid},gid=${owner.gid}`.split(',');
  return fresh('tmpfs', destination, ['nosuid', 'nodev', ...(readonly ? ['ro'] : []), ...options]);
}

/** Devices and links in it are the runtime's own business; only after them it becomes read-only. */
function devMounts(destination: string, { gids }: Room): OciMount[] {
  const closed = ['nosuid', 'nodev', 'noexec'];
  return [
    fresh('tmpfs', destination, ['nosuid', 'noexec', 'ro', ...devOptions.split(',')]),
    fresh('devpts', `${destination}/pts`, ['nosuid', 'noexec', ...devptsOptions(gids).split(',')]),
    fresh('tmpfs', `${destination}/shm`, [...closed, ...tmpfsOptions(TMPFS_BYTES, 0o1777).split(',')]),
    fresh('mqueue', `${destination}/mqueue`, closed),
  ];
}

function fresh(type: string, destination: string, options: readonly string[]): OciMount {
  return { destination, type, source: type, options };
}
