// By which mechanism the native backend keeps each promise, in the kernel's words.
import { InternalError } from '../../errors/errors.ts';
import { type Feature, features } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { AppliedFeature } from '../backend.ts';
import { groupMechanisms } from '../launcher/cgroups.ts';
import { diskMechanism } from '../launcher/disk-mechanism.ts';
import { landlockMechanisms } from '../launcher/landlock.ts';
import { mechanismBeside, overlayMechanisms } from '../launcher/overlay-mechanisms.ts';
import { samplingMechanisms } from '../launcher/sampling.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { describeEmulation, type Emulation } from './binfmt.ts';

export const mechanisms: Mechanisms = {
  'root.host': 'tmpfs with read-only bind mounts of system directories, pivot_root',
  'root.path': 'bind mount, pivot_root',
  'root.readonly': 'MOUNT_ATTR_RDONLY',
  'root.writablePaths': 'bind mounts over a read-only root',
  'root.missingMountPoints': 'overlay with a layer of mount points',
  'mount.bind': 'bind mount',
  'mount.tmpfs': 'tmpfs with size= and nr_inodes=',
  'mount.proc': 'proc of the pid namespace, masked',
  'mount.dev': 'tmpfs with six device nodes, own devpts and mqueue',
  'mount.sysfs': 'read-only sysfs of the network namespace, masked',
  workspace: 'bind mount',
  cwd: 'chdir',
  env: 'execve',
  hostname: 'sethostname in a uts namespace',
  umask: 'umask',
  user: 'setresuid, setresgid',
  idMappings: 'uid_map and gid_map of a user namespace',
  'idMappings.ranges': 'newuidmap, newgidmap',
  'namespace.user': 'user namespace',
  'namespace.pid': 'pid namespace, own init as pid 1',
  'namespace.mount': 'mount namespace, private, old root detached',
  'namespace.network': 'network namespace',
  'namespace.ipc': 'ipc namespace',
  'namespace.uts': 'uts namespace',
  'namespace.cgroup': 'cgroup namespace',
  'network.none': 'network namespace with nothing but lo',
  'network.host': "the host's network namespace",
  'limits.wallMs': "the launcher's monotonic clock",
  'limits.processCpuMs': 'RLIMIT_CPU, each process by itself',
  ...groupMechanisms,
  ...samplingMechanisms,
  'limits.openFiles': 'RLIMIT_NOFILE',
  'limits.fileBytes': 'RLIMIT_FSIZE',
  'limits.stackBytes': 'RLIMIT_STACK',
  'limits.coreBytes': 'RLIMIT_CORE',
  'limits.outputBytes': 'pipes through the launcher',
  ...overlayMechanisms,
  'limits.diskBytes': diskMechanism,
  'seccomp.default': 'seccomp filter',
  'seccomp.strict': 'seccomp filter of SECCOMP_MODE_STRICT and exit_group',
  'seccomp.custom': 'seccomp filter of the profile',
  'seccomp.notify': 'seccomp user notification, answered by our init',
  ...landlockMechanisms,
  'capabilities.drop': 'empty capability sets, locked securebits',
  'capabilities.keep': 'ambient capabilities of the user namespace',
  noNewPrivileges: 'PR_SET_NO_NEW_PRIVS',
  terminal: "pseudo-terminal of the sandbox's devpts",
  descriptors: 'close_range, dup2',
  architecture: 'binfmt_misc of a user namespace, static user-mode QEMU',
  'lifecycle.killTree': 'end of pid 1 of the pid namespace',
  'lifecycle.dieWithParent': 'end of file on the channel, PR_SET_PDEATHSIG',
  'usage.wall': "the launcher's monotonic clock",
  'usage.cpu': 'wait4 of pid 1 of the pid namespace',
};

/** For a report, where there is no spec. */
export function mechanismOf(feature: Feature): string {
  const mechanism = mechanisms[feature];
  if (mechanism === undefined) throw new InternalError(`the native backend does not say how it enforces ${feature}`);
  return mechanism;
}

export function appliedFeatures(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  emulation: Emulation | undefined,
): AppliedFeature[] {
  // Nobody has to ask for the user namespace: it is how the rest is done.
  const applied = features.filter((feature) => granted.has(feature) || feature === 'namespace.user');
  return applied.map((feature) => ({
    feature,
    mechanism: mechanismBeside(feature, mechanismFor(feature, spec, emulation), granted),
  }));
}

function mechanismFor(feature: Feature, spec: NormalizedSpec, emulation: Emulation | undefined): string {
  const overlaid = spec.root.readonly && spec.root.missingMountPoints.length > 0;
  if (feature === 'root.path' && overlaid) return 'read-only overlay over the directory, pivot_root';
  if (feature === 'architecture' && emulation !== undefined) return describeEmulation(emulation);
  if (feature === 'capabilities.keep') return `${mechanismOf(feature)}: ${spec.capabilities.join(', ')}`;
  return mechanismOf(feature);
}
