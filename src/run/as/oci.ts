// The same sandbox as a config.json of the OCI runtime spec, for crun and runc. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
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
  tmpfsOptions,
} from '../../backends/layout.ts';
import { forLibseccomp } from '../../seccomp/libseccomp.ts';
import { defaultProfile } from '../../seccomp/profile.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import {
  architectureBeyond,
  elsewhere,
  filterBeyond,
  groupNames,
  limitsBeyond,
  modesBeyond,
  ofTheOutcome,
  rlimitNames,
  rlimitsOf,
  rootOf,
  type Translation,
  withoutMountPoints,
} from './shared.ts';

type Mount = Readonly<Record<'destination' | 'type' | 'source', string>> & { readonly options: readonly string[] };

interface Ids {
  readonly uid: number;
  readonly gid: number;
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
}

export function asOci(runtime: 'crun' | 'runc', spec: NormalizedSpec, caller: CallerFacts): Translation {
  const impossible = withoutMountPoints('the runtime', spec);
  if (impossible !== undefined) return impossible;
  const { path, before, layout } = rootOf(spec, caller);
  const ids = idsOf(spec);
  return {
    before,
    argv: [runtime, 'run', 'sandbox'],
    config: configOf(spec, layout, path, ids),
    lacks: [...(runtime === 'runc' ? modesBeyond(layout) : []), ...lacking(spec, caller, layout, ids)],
  };
}

/** `args` is for the command. */
function configOf(spec: NormalizedSpec, layout: Layout, root: string, ids: Ids): Readonly<Record<string, unknown>> {
  const { capabilities, user, umask, terminal, env, cwd, hostname, network, seccomp } = spec;
  const procs = layout.entries.flatMap((entry) => (entry.kind === 'proc' ? [entry.destination] : []));
  const inEach = (names: readonly string[]): string[] =>
    procs.flatMap((proc) => names.map((name) => `${proc}/${name}`));
  const kept = { bounding: capabilities, effective: capabilities, permitted: capabilities };
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: terminal !== undefined,
      user: { uid: ids.uid, gid: ids.gid, umask, additionalGids: user.additionalGids },
      args: [],
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      cwd,
      capabilities: { ...kept, inheritable: capabilities, ambient: capabilities },
      rlimits: rlimitsOf(spec).map(({ name, soft, hard }) => ({ type: `RLIMIT_${name}`, soft, hard })),
      noNewPrivileges: true,
    },
    root: { path: root, readonly: layout.readonly },
    hostname,
    mounts: layout.entries.flatMap((entry) => mountsFor(entry, ids)),
    linux: {
      namespaces: ['user', 'pid', 'mount', 'ipc', 'uts', 'cgroup', ...(network === 'none' ? ['network'] : [])].map(
        (type) => ({ type }),
      ),
      uidMappings: ids.uidMappings,
      gidMappings: ids.gidMappings,
      ...resourcesOf(spec),
      maskedPaths: inEach(maskedInProc),
      readonlyPaths: [...inEach(readonlyInProc), ...deviceNames.map((name) => `/dev/${name}`)],
      ...(seccomp === 'default' ? { seccomp: forLibseccomp(defaultProfile({ capabilities }), ['ioctl']) } : {}),
      ...(typeof seccomp === 'object' ? { seccomp: seccomp.profile } : {}),
    },
  };
}

/** Runtimes set up everything as uid 0 and gid 0 of the user namespace, so that each must be mapped. */
function idsOf({ user, idMappings }: NormalizedSpec): Ids {
  const hasRoot = [idMappings.uid, idMappings.gid].every((mappings) =>
    mappings.some(({ containerID }) => containerID === 0),
  );
  const asRoot = (mappings: readonly IdMapping[]): IdMapping[] =>
    mappings.slice(0, 1).map(({ hostID }) => ({ containerID: 0, hostID, size: 1 }));
  return hasRoot
    ? { uid: user.uid, gid: user.gid, uidMappings: idMappings.uid, gidMappings: idMappings.gid }
    : { uid: 0, gid: 0, uidMappings: asRoot(idMappings.uid), gidMappings: asRoot(idMappings.gid) };
}

const CPU_PERIOD_US = 100_000;

function mountsFor(entry: LayoutEntry, ids: Ids): Mount[] {
  switch (entry.kind) {
    case 'bind':
      return [bind(entry)];
    case 'tmpfs': {
      const { sizeBytes, mode, readonly, destination } = entry;
      const options = `${tmpfsOptions(sizeBytes, mode)},uid=${ids.uid},gid=${ids.gid}`.split(',');
      return [fresh('tmpfs', destination, ['nosuid', 'nodev', ...(readonly ? ['ro'] : []), ...options])];
    }
    case 'proc':
      return [fresh('proc', entry.destination, ['nosuid', 'nodev', 'noexec'])];
    case 'dev':
      return entry.destination === '/dev' ? devMounts(ids) : [];
    // In the root already.
    case 'symlink':
    case 'file':
      return [];
  }
}

function bind({ source, destination, readonly, sourceKind }: BindEntry): Mount {
  const closed = sourceKind === 'device' ? ['ro', 'noexec'] : ['nodev', ...(readonly ? ['ro'] : [])];
  return { destination, type: 'bind', source, options: ['rbind', 'nosuid', ...closed] };
}

/** Devices and links in it are the runtime's own business; only after them it becomes read-only. */
function devMounts({ gidMappings }: Ids): Mount[] {
  const closed = ['nosuid', 'nodev', 'noexec'];
  return [
    fresh('tmpfs', '/dev', ['nosuid', 'noexec', 'ro', ...devOptions.split(',')]),
    fresh('devpts', '/dev/pts', ['nosuid', 'noexec', ...devptsOptions(gidMappings).split(',')]),
    fresh('tmpfs', '/dev/shm', [...closed, ...tmpfsOptions(TMPFS_BYTES, 0o1777).split(',')]),
    fresh('mqueue', '/dev/mqueue', closed),
  ];
}

function fresh(type: string, destination: string, options: readonly string[]): Mount {
  return { destination, type, source: type, options };
}

/** config-linux.md, "Control groups"; a bound on memory and swap together as large as that on memory leaves no swap. */
function resourcesOf({ limits: { memoryBytes, pids, cpus } }: NormalizedSpec): { readonly resources?: object } {
  const resources = {
    ...(memoryBytes === undefined ? {} : { memory: { limit: memoryBytes, swap: memoryBytes } }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...(cpus === undefined ? {} : { cpu: { quota: Math.ceil(cpus * CPU_PERIOD_US), period: CPU_PERIOD_US } }),
  };
  return Object.keys(resources).length === 0 ? {} : { resources };
}

function lacking(spec: NormalizedSpec, caller: CallerFacts, layout: Layout, ids: Ids): string[] {
  const { user } = spec;
  const renamed = ids.uid !== user.uid || ids.gid !== user.gid;
  return [
    ...limitsBeyond(spec, [...rlimitNames, ...groupNames]),
    ...(spec.seccomp === 'default' ? [ofTheFilter] : []),
    ...filterBeyond(spec),
    ...(renamed
      ? [`uid ${user.uid} and gid ${user.gid}: the command is 0 and 0, which runtimes cannot do without`]
      : []),
    ...architectureBeyond(spec, caller),
    ...elsewhere(layout, ['dev']),
    ofTheOutcome,
  ];
}

const ofTheFilter =
  'of the seccomp filter: ioctl TIOCSTI and TIOCLINUX are not refused, socketcall is not there, and calls refused for their arguments say ENOSYS; ' +
  'libseccomp has no order of rules';
