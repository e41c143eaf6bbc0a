// Which promises a spec asks for. Pure; also for what no backend serves yet, so that it is refused by name.
import type { IdMapping, MountSpec, SandboxSpec } from '../spec/types.ts';
import type { Feature } from './feature.ts';

export interface RequirementOptions {
  /**
   * Of this host.
   *
   * @defaultValue that of this process
   */
  readonly architecture?: string;
  /** Extra descriptors are passed on to the command. */
  readonly descriptors?: boolean;
  /** The caller's own ids: a mapping of just these needs no range. */
  readonly caller?: { readonly uid: number; readonly gid: number };
  /** Normalization found that the root lacks mount points. */
  readonly missingMountPoints?: boolean;
}

/** What every sandbox promises. `namespace.user` is not there: root can do without one, and it is a means, not a promise. */
const always: readonly Feature[] = [
  'mount.tmpfs',
  'mount.proc',
  'mount.dev',
  'cwd',
  'env',
  'hostname',
  'umask',
  'user',
  'namespace.pid',
  'namespace.mount',
  'namespace.ipc',
  'namespace.uts',
  'namespace.cgroup',
  'limits.coreBytes',
  'capabilities.drop',
  'noNewPrivileges',
  'lifecycle.killTree',
  'lifecycle.dieWithParent',
  'usage.wall',
];

/** Preconditions: the spec has the right shape. */
export function requirements(spec: SandboxSpec, options: RequirementOptions = {}): Set<Feature> {
  const needed = new Set(always);
  const need = (condition: boolean, ...features: Feature[]): void => {
    if (condition) for (const feature of features) needed.add(feature);
  };
  addRoot(spec.root, need);
  for (const mount of spec.mounts ?? []) {
    need(true, mountFeatures[typeof mount === 'string' ? 'bind' : mount.type]);
    need(typeof mount === 'object' && mount.changes === 'capture', 'changes.capture');
  }
  need(spec.workspace !== undefined, 'workspace', 'mount.bind');
  const { access, changes } = typeof spec.workspace === 'object' ? spec.workspace : {};
  need(access === 'overlay', 'workspace.overlay');
  need(changes === 'capture', 'changes.capture');
  addIdMappings(spec, options, need);
  addNetwork(spec.network, need);
  for (const [name, value] of Object.entries(spec.limits ?? {})) need(value !== undefined, `limits.${name}` as Feature);
  addSeccomp(spec.seccomp, need);
  need(spec.onSyscall !== undefined, 'seccomp.notify');
  need((spec.capabilities ?? []).length > 0, 'capabilities.keep');
  addLandlock(spec.landlock, need);
  need(spec.selinux !== undefined, 'selinux');
  need(spec.terminal !== undefined && spec.terminal !== false, 'terminal');
  const { architecture = process.arch, descriptors = false, missingMountPoints = false } = options;
  need(spec.architecture !== undefined && spec.architecture !== architecture, 'architecture');
  need(descriptors, 'descriptors');
  need(missingMountPoints, 'root.missingMountPoints');
  return needed;
}

/** Of those, what the spec itself can do without. */
export function wishes({ mounts = [] }: SandboxSpec): Set<Feature> {
  const views = mounts.filter((mount) => typeof mount === 'object' && mount.type === 'sysfs') as MountSpec[];
  return new Set(views.length > 0 && views.every(({ optional }) => optional === true) ? ['mount.sysfs'] : []);
}

/** What no host gives for this spec, and why. */
export function excluded({ network }: SandboxSpec): ReadonlyMap<Feature, string> {
  if (network !== 'host') return nothing;
  return new Map([
    [
      'mount.sysfs',
      "a sysfs shows the network namespace that it is mounted in, and with network: 'host' the sandbox has none of its own: leave one of the two out",
    ],
  ]);
}

const nothing: ReadonlyMap<Feature, string> = new Map();

type Need = (condition: boolean, ...features: Feature[]) => void;

const mountFeatures: Readonly<Record<MountSpec['type'], Feature>> = {
  bind: 'mount.bind',
  tmpfs: 'mount.tmpfs',
  overlay: 'mount.overlay',
  proc: 'mount.proc',
  dev: 'mount.dev',
  sysfs: 'mount.sysfs',
  image: 'mount.image',
};

function addRoot(given: SandboxSpec['root'], need: Need): void {
  const root = given === 'host' ? {} : typeof given === 'string' ? { path: given } : (given ?? {});
  const { path, image, readonly, writablePaths } = root;
  // Every run has a clean view of an image.
  const ofImage = image === undefined || readonly === true || writablePaths === 'none' ? undefined : 'discard';
  const { changes = ofImage } = root;
  need(path !== undefined, 'root.path');
  need(image !== undefined, 'root.image');
  need(path === undefined && image === undefined, 'root.host');
  const beside = changes === 'discard' || changes === 'capture';
  need(readonly !== false && writablePaths !== 'all' && !beside, 'root.readonly');
  need(Array.isArray(writablePaths) && writablePaths.length > 0, 'root.writablePaths');
  // The host view is made from nothing each time: nothing of it is ever kept.
  need(beside && (path !== undefined || image !== undefined), 'root.changes');
  need(changes === 'capture', 'changes.capture');
}

function addIdMappings({ uidMappings, gidMappings }: SandboxSpec, { caller }: RequirementOptions, need: Need): void {
  need(uidMappings !== undefined || gidMappings !== undefined, 'idMappings');
  const ranges = (given: readonly IdMapping[] | 'subordinate' | undefined, own: number | undefined): boolean => {
    if (given === undefined) return false;
    const [first] = given;
    if (given === 'subordinate' || given.length !== 1 || typeof first !== 'object') return true;
    return first.size !== 1 || (own !== undefined && first.hostID !== own);
  };
  need(ranges(uidMappings, caller?.uid) || ranges(gidMappings, caller?.gid), 'idMappings.ranges');
}

function addNetwork(network: SandboxSpec['network'] = 'none', need: Need): void {
  need(network === 'host', 'network.host');
  need(network !== 'host', 'namespace.network');
  need(network === 'none', 'network.none');
  if (typeof network === 'string') return;
  // A policy that allows nothing is a policy still: whoever writes one counts on it.
  need(network.allow !== undefined || network.publish === undefined, 'network.allow');
  need(network.publish !== undefined, 'network.publish');
}

function addSeccomp(seccomp: SandboxSpec['seccomp'] = 'default', need: Need): void {
  need(seccomp === 'default', 'seccomp.default');
  need(seccomp === 'strict', 'seccomp.strict');
  need(typeof seccomp === 'object', 'seccomp.custom');
}

function addLandlock(landlock: SandboxSpec['landlock'], need: Need): void {
  if (landlock === undefined) return;
  const { paths, bindTcp, connectTcp, scopes = [] } = landlock;
  need(paths !== undefined, 'landlock.paths');
  need(bindTcp !== undefined || connectTcp !== undefined, 'landlock.tcp');
  need(scopes.length > 0, 'landlock.scopes');
}
