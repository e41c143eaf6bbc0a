// What systemd-nspawn gives together with our init inside of it, and by which mechanism. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import { groupMechanisms } from '../launcher/cgroups.ts';
import { diskMechanism } from '../launcher/disk-mechanism.ts';
import { overlayMechanisms } from '../launcher/overlay-mechanisms.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  ...groupMechanisms,
  'root.host': 'tmpfs with read-only bind mounts of system directories, pivot_root by our init',
  'root.path': 'bind mount, pivot_root by our init',
  'root.readonly': 'MOUNT_ATTR_RDONLY',
  'root.writablePaths': 'bind mounts over a read-only root',
  'root.missingMountPoints': 'overlay with a layer of mount points',
  'mount.bind': 'bind mount, handed in by systemd-nspawn',
  'mount.tmpfs': 'tmpfs with size= and nr_inodes=',
  'mount.proc': 'proc of the pid namespace, masked',
  'mount.dev': 'tmpfs with six device nodes, own devpts and mqueue',
  workspace: 'bind mount, handed in by systemd-nspawn',
  ...overlayMechanisms,
  'limits.diskBytes': diskMechanism,
  hostname: 'sethostname in a uts namespace by systemd-nspawn',
  user: 'setresuid, setresgid',
  'namespace.user': 'user namespace by systemd-nspawn',
  'namespace.pid': 'pid namespace by systemd-nspawn, our init as pid 1',
  'namespace.mount': 'mount namespace by systemd-nspawn, old root detached',
  'namespace.network': 'network namespace by systemd-nspawn',
  'namespace.ipc': 'ipc namespace by systemd-nspawn',
  'namespace.uts': 'uts namespace by systemd-nspawn',
  'namespace.cgroup': 'cgroup namespace by systemd-nspawn',
  'network.none': 'network namespace with nothing but lo by systemd-nspawn',
  'network.host': "the host's network namespace",
  'capabilities.drop': 'empty capability sets, locked securebits',
  terminal: "pseudo-terminal of the sandbox's devpts",
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
