// Which features of the native backend need which facilities of the host: one table, and nothing else decides it.
import type { Feature } from '../../features/feature.ts';
import { isPrivileged } from '../../host/findings/rule.ts';
import type { HostFacts } from '../../host/types.ts';

/** A facility of `launcher probe`; or several, of which one is enough, the best first. */
export type Need = string | readonly [string, ...string[]];

export interface FeatureNeeds {
  readonly needs: readonly Need[];
  /** In the kernel's words. */
  readonly mechanism: string;
}

// Every sandbox gets a root of its own with /proc, /dev and what belongs there: whatever is asked for, these are done (filesystem.ts).
const always: readonly Need[] = [
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

/** What it takes to run anything. `bare`: root without a user namespace. */
export function usableNeeds(bare: boolean): readonly Need[] {
  return bare ? always : ['namespace.user', 'idmap.single', ...always];
}

export function needsOf(feature: Feature, bare: boolean, host: HostFacts): FeatureNeeds {
  const own = table[feature];
  if (own === undefined)
    throw new TypeError(`the native backend recognizes ${feature} and has no line for it in its table`);
  const [mechanism, needs] = own;
  if (feature === 'idMappings.ranges' && isPrivileged(host))
    return { mechanism: '/proc/PID/uid_map', needs: ['namespace.user', 'root.idmap.ranges'] };
  return { mechanism, needs: [...usableNeeds(bare), ...needs] };
}

const readonlyMounts: Need = ['mount_setattr', 'bind.readonly'];

const table: Readonly<Partial<Record<Feature, readonly [mechanism: string, needs: readonly Need[]]>>> = {
  'root.host': ['tmpfs and read-only bind mounts', [readonlyMounts]],
  'root.path': ['bind mount and pivot_root', []],
  'root.readonly': ['read-only mount', [readonlyMounts]],
  'root.writablePaths': ['bind mount', [readonlyMounts]],
  'root.missingMountPoints': ['overlay without an upper layer', ['overlay.readonly']],
  'mount.bind': ['bind mount', [readonlyMounts]],
  'mount.tmpfs': ['tmpfs', []],
  'mount.proc': ['fresh proc', []],
  'mount.dev': ['tmpfs, bind mounts of devices and a devpts of its own', []],
  workspace: ['bind mount', []],
  cwd: ['chdir', []],
  env: ['execve', []],
  hostname: ['uts namespace', ['namespace.uts']],
  umask: ['umask', []],
  user: ['setresuid', []],
  idMappings: ['/proc/PID/uid_map', ['namespace.user', 'idmap.single']],
  'idMappings.ranges': ['newuidmap and newgidmap', ['namespace.user', 'idmap.ranges']],
  'namespace.user': ['user namespace', ['namespace.user', 'idmap.single']],
  'namespace.pid': ['pid namespace', []],
  'namespace.mount': ['mount namespace', []],
  'namespace.network': ['network namespace', ['namespace.network']],
  'namespace.ipc': ['ipc namespace', ['namespace.ipc']],
  'namespace.uts': ['uts namespace', ['namespace.uts']],
  'namespace.cgroup': ['cgroup namespace', ['namespace.cgroup']],
  'network.none': ['network namespace with its own loopback', ['namespace.network']],
  'network.host': ['the network namespace of the caller', []],
  'limits.wallMs': ['a clock of the launcher and SIGKILL', []],
  'limits.cpuMs': ['RLIMIT_CPU', []],
  'limits.openFiles': ['RLIMIT_NOFILE', []],
  'limits.fileBytes': ['RLIMIT_FSIZE', []],
  'limits.stackBytes': ['RLIMIT_STACK', []],
  'limits.coreBytes': ['RLIMIT_CORE', []],
  'limits.outputBytes': ['pipes counted by the launcher', []],
  'seccomp.default': ['seccomp filter', ['seccomp.filter']],
  'capabilities.drop': ['capset and the bounding set', []],
  'capabilities.keep': ['ambient capabilities', ['capabilities.ambient']],
  noNewPrivileges: ['PR_SET_NO_NEW_PRIVS', []],
  terminal: ['pseudo-terminal of the sandbox', []],
  descriptors: ['dup2', []],
  'lifecycle.killTree': ['end of the pid namespace', []],
  'lifecycle.dieWithParent': ['end of file on a socket, and PR_SET_PDEATHSIG', []],
  'usage.wall': ['CLOCK_MONOTONIC', []],
  'usage.cpu': ['wait4', []],
};
