// The file system of a sandbox, as steps: the root, what every sandbox has in it, then the mounts of the spec. Pure.
import type { Feature } from '../../features/feature.ts';
import { capturedViews } from '../../spec/captures.ts';
import { builtinMountPoints } from '../../spec/mount-points.ts';
import type { NormalizedMount, NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts, TopLevelEntry } from '../backend.ts';
import {
  deviceNames,
  devOptions,
  devptsOptions,
  HOST_FILES_OF_NETWORK,
  hostViewOptions,
  maskedInProc,
  maskedInSysfs,
  ownershipOptions,
  readonlyInProc,
  SCRATCH_BYTES,
  shownOfDevices,
  TMPFS_BYTES,
  tmpfsOptions,
} from '../layout.ts';
import { capturePlace } from './captures.ts';
import type { MountFlag, RootKind, SkeletonEntry, Step } from './steps.ts';

export function filesystemSteps(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  limitNamespaces: boolean,
): Step[] {
  const spec = granted.has('limits.diskBytes') ? wanted : withoutDisk(wanted);
  const context: Context = { spec, caller, limitNamespaces };
  return [
    ...diskSteps(spec),
    ...rootSteps(context),
    ...procSteps('/proc', context),
    ...devSteps('/dev', context),
    ...scratchSteps(spec),
    ...spec.mounts.flatMap((mount) => mountSteps(mount, context)),
    ...readonlyDevSteps(spec),
    ...(spec.root.kind === 'host' && spec.root.readonly ? [{ step: 'readonly', path: '/' } as const] : []),
  ];
}

function withoutDisk(spec: NormalizedSpec): NormalizedSpec {
  return { ...spec, limits: { ...spec.limits, diskBytes: undefined } };
}

interface Context {
  readonly spec: NormalizedSpec;
  readonly caller: CallerFacts;
  readonly limitNamespaces: boolean;
}

function diskSteps({ limits: { diskBytes } }: NormalizedSpec): Step[] {
  return diskBytes === undefined ? [] : [{ step: 'disk', options: tmpfsOptions(diskBytes, 0o755) }];
}

/** A directory of the sandbox's own: in a file system by itself, or with the others where they have one bound together. */
function own(
  { limits }: NormalizedSpec,
  destination: string,
  flags: readonly MountFlag[],
  { bytes, mode, owner }: { bytes: number; mode: number; owner?: { readonly uid: number; readonly gid: number } },
): Step {
  if (limits.diskBytes !== undefined) return fresh('disk', destination, flags, ownershipOptions(mode, owner));
  const ids = owner === undefined ? '' : `,uid=${owner.uid},gid=${owner.gid}`;
  return fresh('tmpfs', destination, flags, `${tmpfsOptions(bytes, mode)}${ids}`);
}

function rootSteps(context: Context): Step[] {
  return context.spec.root.kind === 'host' ? hostViewSteps(context) : directorySteps(context.spec);
}

/** A small tmpfs, made from nothing: what is not listed does not exist. */
function hostViewSteps({ spec, caller }: Context): Step[] {
  const network = spec.network === 'host';
  const etc = caller.etcEntries.filter((entry) => network || !HOST_FILES_OF_NETWORK.has(entry.name));
  return [
    {
      step: 'root',
      kind: 'tmpfs',
      readonly: false,
      source: '',
      options: hostViewOptions(spec),
      skeleton: [],
    },
    ...caller.topLevel.map((entry) => hostEntry('/', entry)),
    { step: 'mkdir', mode: 0o755, path: '/etc' },
    ...etc.map((entry) => hostEntry('/etc/', entry)),
    textFile('/etc/hostname', `${spec.hostname}\n`),
    ...(network ? [] : [textFile('/etc/hosts', hostsOf(spec.hostname))]),
    ...spec.root.writablePaths.map((path) => bind(path, path, 'any', ['sourceWithoutLinks'])),
  ];
}

function hostEntry(parent: string, entry: TopLevelEntry): Step {
  const path = `${parent}${entry.name}`;
  if (entry.kind === 'symlink') return { step: 'symlink', target: entry.target ?? '', path };
  return bind(path, path, entry.kind, ['readonly']);
}

function directorySteps(spec: NormalizedSpec): Step[] {
  const { root } = spec;
  // Of a root that is itself written to they are made there, and stay.
  const missing = root.readonly || root.changes !== 'keep' ? root.missingMountPoints : [];
  return [
    ...root.layers.slice(1).map(({ directory: path }): Step => ({ step: 'layer', path })),
    {
      step: 'root',
      kind: rootKind(spec, missing.length > 0 || root.kind === 'image'),
      readonly: root.readonly,
      source: root.path ?? '/',
      options: root.changes === 'keep' ? '' : layerAbove(spec, '/', SCRATCH_BYTES, root.changes),
      skeleton: missing.length > 0 || root.kind === 'image' ? skeletonOf(spec, missing) : [],
    },
    ...root.writablePaths.map(
      (path): Step => ({
        step: 'mount',
        kind: 'bind',
        flags: ['recursive', 'nosuid', 'nodev', 'sourceOfRoot'],
        sourceKind: 'any',
        source: path,
        destination: path,
        options: '',
      }),
    ),
  ];
}

function skeletonOf(
  { root, hostname }: NormalizedSpec,
  missing: NormalizedSpec['root']['missingMountPoints'],
): SkeletonEntry[] {
  const hosts: SkeletonEntry[] =
    root.hostsFile === undefined ? [] : [{ kind: 'content', path: root.hostsFile, content: base64(hostsOf(hostname)) }];
  return [
    ...missing.map(({ path, kind }) => ({ path, kind })),
    ...hosts,
    // When all is made in them: their modes may forbid it.
    ...root.coveredDirectories.map(({ path, layer }) => ({ kind: 'like', path, layer }) as const),
  ];
}

function rootKind({ root }: NormalizedSpec, lacksMountPoints: boolean): RootKind {
  if (root.changes === 'keep') return lacksMountPoints ? 'overlay' : 'bind';
  return root.changes === 'discard' ? 'scratch' : 'capture';
}

/** Where what the command changes goes: a tmpfs by itself, or what the sandbox's own directories have in common, or a directory that is kept. */
function layerAbove(
  spec: NormalizedSpec,
  destination: string,
  bytes: number | undefined,
  changes: 'discard' | 'capture',
): string {
  if (changes === 'capture') {
    return capturePlace(capturedViews(spec).findIndex((view) => view.destination === destination));
  }
  if (bytes === undefined || (destination === '/' && spec.limits.diskBytes !== undefined)) return '';
  return tmpfsOptions(bytes, 0o755);
}

function procSteps(destination: string, { limitNamespaces }: Context): Step[] {
  const main = destination === '/proc';
  return [
    fresh('proc', destination, ['nosuid', 'nodev', 'noexec'], ''),
    // Where the command may make user namespaces, one with a cgroup namespace could mount the control groups that the caller owns, and with
    // them end or freeze what runs there outside.
    ...(main
      ? [{ step: 'sysctl', name: `user/max_${limitNamespaces ? 'user' : 'cgroup'}_namespaces`, value: '0' } as const]
      : []),
    ...readonlyInProc.map((name): Step => {
      const path = `${destination}/${name}`;
      return {
        step: 'mount',
        kind: 'bind',
        flags: ['readonly', 'recursive', 'nosuid', 'nodev', 'noexec', 'sourceInRoot', 'ifExists'],
        sourceKind: 'any',
        source: path,
        destination: path,
        options: '',
      };
    }),
    // Masks come once there is a /dev/null, see devSteps.
    ...(main ? [] : maskSteps(destination)),
  ];
}

function maskSteps(destination: string): Step[] {
  return maskedInProc.map((name) => ({ step: 'mask', path: `${destination}/${name}` }));
}

/** The most that a tmpfs of mount points alone needs. */
const MOUNT_POINTS_ONLY = 'size=4k,nr_inodes=16,mode=0755';

/**
 * Of its devices only what is listed: they are shown from a second mount, at a place that is masked in the end. A mount of sysfs belongs to the network
 * namespace of whoever mounts it.
 */
function sysfsSteps(destination: string, { caller }: Context): Step[] {
  const devices = `${destination}/devices`;
  const whole = `${destination}/firmware`;
  const closed: MountFlag[] = ['readonly', 'nosuid', 'nodev', 'noexec'];
  return [
    fresh('sysfs', destination, closed, ''),
    fresh('sysfs', whole, closed, ''),
    fresh('tmpfs', devices, ['nosuid', 'nodev', 'noexec'], MOUNT_POINTS_ONLY),
    ...shownOfDevices.map(
      (name): Step => ({
        step: 'mount',
        kind: 'bind',
        flags: ['create', 'ifExists', 'sourceInRoot', ...closed],
        sourceKind: 'directory',
        source: `${whole}/devices/${name}`,
        destination: `${devices}/${name}`,
        options: '',
      }),
    ),
    { step: 'readonly', path: devices },
    ...caller.processors.map(
      (name): Step => ({ step: 'mask', path: `${devices}/system/cpu/${name}/thermal_throttle` }),
    ),
    ...maskedInSysfs.map((name): Step => ({ step: 'mask', path: `${destination}/${name}` })),
  ];
}

/** The devices that every program may expect, a terminal line of its own, private shared memory and message queues; nothing else. */
function devSteps(destination: string, { spec }: Context): Step[] {
  const link = (target: string, name: string): Step => ({ step: 'symlink', target, path: `${destination}/${name}` });
  return [
    fresh('tmpfs', destination, ['nosuid', 'nodev', 'noexec'], devOptions),
    ...deviceNames.map((name) => device(`/dev/${name}`, `${destination}/${name}`)),
    link('/proc/self/fd', 'fd'),
    link('/proc/self/fd/0', 'stdin'),
    link('/proc/self/fd/1', 'stdout'),
    link('/proc/self/fd/2', 'stderr'),
    fresh('devpts', `${destination}/pts`, ['nosuid', 'noexec'], devptsOptions(spec.idMappings.gid)),
    link('pts/ptmx', 'ptmx'),
    own(spec, `${destination}/shm`, ['nosuid', 'nodev', 'noexec'], { bytes: TMPFS_BYTES, mode: 0o1777 }),
    fresh('mqueue', `${destination}/mqueue`, ['nosuid', 'nodev', 'noexec'], ''),
    ...(destination === '/dev' ? maskSteps('/proc') : []),
  ];
}

/** Late, because a granted device may still need its mount point there. */
function readonlyDevSteps(spec: NormalizedSpec): Step[] {
  const own = spec.mounts.some(({ destination, type }) => destination === '/dev' && type !== 'dev') ? [] : ['/dev'];
  const more = spec.mounts.filter(({ type, destination }) => type === 'dev' && destination !== '/dev');
  return [...own, ...more.map(({ destination }) => destination)].map((path) => ({ step: 'readonly', path }));
}

function scratchSteps(spec: NormalizedSpec): Step[] {
  const temporary = own(spec, '/tmp', ['nosuid', 'nodev'], { bytes: SCRATCH_BYTES, mode: 0o1777 });
  const home = own(spec, spec.home, ['nosuid', 'nodev'], { bytes: SCRATCH_BYTES, mode: 0o700, owner: spec.user });
  return builtinMountPoints(spec.home, spec.root).flatMap((path) =>
    path === '/tmp' ? [temporary] : path === spec.home ? [home] : [],
  );
}

function mountSteps(mount: NormalizedMount, context: Context): Step[] {
  const readonly: MountFlag[] = mount.readonly ? ['readonly'] : [];
  switch (mount.type) {
    case 'bind':
      return [
        mount.sourceKind === 'device'
          ? device(mount.source ?? '', mount.destination, ['sourceWithoutLinks'])
          : bind(mount.source ?? '', mount.destination, mount.sourceKind ?? 'any', ['sourceWithoutLinks', ...readonly]),
      ];
    case 'tmpfs': {
      const { spec } = context;
      const flags: MountFlag[] = ['nosuid', 'nodev', ...readonly];
      const place = { bytes: mount.sizeBytes ?? TMPFS_BYTES, mode: mount.mode ?? 0o755, owner: spec.user };
      // One with a bound of its own has that beside, and normalization has taken it from the rest.
      const bounded = mount.sizeBytes !== undefined;
      return [own(bounded ? withoutDisk(spec) : spec, mount.destination, flags, place)];
    }
    case 'overlay': {
      const { source = '', destination, sizeBytes, layers = [], changes = 'discard' } = mount;
      const captures: MountFlag[] = changes === 'capture' ? ['captures'] : [];
      return [
        ...layers.map((path): Step => ({ step: 'layer', path })),
        {
          step: 'mount',
          kind: 'overlay',
          flags: ['nosuid', 'nodev', 'create', 'sourceWithoutLinks', ...captures, ...readonly],
          sourceKind: 'directory',
          source,
          destination,
          options: mount.readonly ? '' : layerAbove(context.spec, destination, sizeBytes, changes),
        },
      ];
    }
    case 'proc':
      return procSteps(mount.destination, context);
    case 'dev':
      return devSteps(mount.destination, context);
    case 'sysfs':
      return sysfsSteps(mount.destination, context);
  }
}

function bind(
  source: string,
  destination: string,
  sourceKind: 'any' | 'directory' | 'file',
  flags: readonly MountFlag[],
): Step {
  return {
    step: 'mount',
    kind: 'bind',
    flags: ['recursive', 'nosuid', 'nodev', 'create', ...flags],
    sourceKind,
    source,
    destination,
    options: '',
  };
}

/**
 * Read-only says nothing of what is written to a device; it keeps a command that is root of the host, and so the owner of the host's own node, from
 * changing its mode, owner and times, for which no capability is asked.
 */
function device(source: string, destination: string, flags: readonly MountFlag[] = []): Step {
  return {
    step: 'mount',
    kind: 'bind',
    flags: ['readonly', 'nosuid', 'noexec', 'create', ...flags],
    sourceKind: 'file',
    source,
    destination,
    options: '',
  };
}

function fresh(
  kind: 'tmpfs' | 'disk' | 'proc' | 'devpts' | 'mqueue' | 'sysfs',
  destination: string,
  flags: readonly MountFlag[],
  options: string,
): Step {
  return { step: 'mount', kind, flags: ['create', ...flags], sourceKind: 'any', source: '', destination, options };
}

function textFile(path: string, text: string): Step {
  return { step: 'file', mode: 0o644, path, content: base64(text) };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Without a network there is nobody else. */
function hostsOf(hostname: string): string {
  return `127.0.0.1 localhost ${hostname}\n::1 localhost\n`;
}
