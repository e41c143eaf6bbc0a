// Which features of the native backend need which facilities of the host: one table, and nothing else decides it.
import type { Feature } from '../../features/feature.ts';
import { isPrivileged } from '../../host/findings/rule.ts';
import type { HostFacts } from '../../host/types.ts';
import type { Emulation } from './binfmt.ts';

/** A facility of `launcher probe`; or several, of which one is enough, the best first. */
export type Need = string | readonly [string, ...string[]];

// Every sandbox gets a root of its own with /proc, /dev and what belongs there: whatever is asked for, these are done (filesystem.ts).
/** What it takes to run anything. */
export const always: readonly Need[] = [
  'namespace.user',
  'idmap.single',
  'namespace.mount',
  'namespace.pid',
  'tmpfs',
  ['mount-api', 'bind.readonly'],
  'pivot_root',
  'proc.fresh',
  'devpts',
  'mqueue',
  'no_new_privs',
];

export function needsOf(feature: Feature, host: HostFacts): readonly Need[] {
  const own = table[feature];
  if (own === undefined)
    throw new TypeError(`the native backend recognizes ${feature} and has no line for it in its table`);
  if (feature === 'idMappings.ranges' && isPrivileged(host)) return [...always, 'root.idmap.ranges'];
  return [...always, ...own];
}

/** What each architecture needs depends on how its programs run. */
export function needsOfEmulation({ kind }: Emulation): readonly Need[] {
  switch (kind) {
    case 'kernel':
      return [...always, 'seccomp.i386'];
    case 'table':
      return [...always, 'binfmt_misc', 'mount-api', 'mount_setattr'];
    case 'host':
      return always;
  }
}

const readonlyMounts: Need = ['mount_setattr', 'bind.readonly'];

const table: Readonly<Partial<Record<Feature, readonly Need[]>>> = {
  'root.host': [readonlyMounts],
  'root.path': [],
  'root.readonly': [readonlyMounts],
  'root.writablePaths': [readonlyMounts],
  'root.image': ['overlay.readonly'],
  'root.changes': ['overlay'],
  'root.missingMountPoints': ['overlay.readonly'],
  'mount.bind': [readonlyMounts],
  'mount.tmpfs': [],
  'mount.proc': [],
  'mount.dev': [],
  'mount.sysfs': ['sysfs', readonlyMounts],
  'mount.overlay': ['overlay'],
  'mount.image': ['overlay.readonly'],
  workspace: [],
  'workspace.overlay': ['overlay'],
  'changes.capture': ['overlay'],
  cwd: [],
  env: [],
  hostname: ['namespace.uts'],
  umask: [],
  user: [],
  idMappings: [],
  'idMappings.ranges': ['idmap.ranges'],
  'namespace.user': [],
  'namespace.pid': [],
  'namespace.mount': [],
  'namespace.network': ['namespace.network'],
  'namespace.ipc': ['namespace.ipc'],
  'namespace.uts': ['namespace.uts'],
  'namespace.cgroup': ['namespace.cgroup'],
  'network.none': ['namespace.network'],
  'network.host': [],
  'limits.wallMs': [],
  'limits.cpuMs': ['cgroup.cpuacct'],
  'limits.cpuMs.approximate': [],
  'limits.processCpuMs': [],
  'limits.cpus': ['cgroup.cpu'],
  'limits.memoryBytes': ['cgroup.memory'],
  'limits.memoryBytes.approximate': ['smaps_rollup'],
  'limits.pids': ['cgroup.pids'],
  'limits.pids.approximate': ['rlimit.nproc'],
  'limits.openFiles': [],
  'limits.fileBytes': [],
  'limits.stackBytes': [],
  'limits.coreBytes': [],
  'limits.outputBytes': [],
  'limits.diskBytes': [],
  'seccomp.default': ['seccomp.filter'],
  'seccomp.strict': ['seccomp.filter'],
  'seccomp.custom': ['seccomp.filter'],
  'seccomp.notify': ['seccomp.notify'],
  'capabilities.drop': [],
  'capabilities.keep': ['capabilities.ambient'],
  noNewPrivileges: [],
  'landlock.paths': ['landlock.truncate'],
  'landlock.tcp': ['landlock.tcp'],
  'landlock.scopes': ['landlock.scope'],
  terminal: [],
  descriptors: [],
  'lifecycle.killTree': [],
  'lifecycle.dieWithParent': [],
  'usage.wall': [],
  'usage.cpu': [],
};
