// What podman gives together with our launcher around it and our init inside, and by which mechanism.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  'root.host': 'tmpfs with read-only bind mounts of system directories, pivot_root',
  'root.path': 'bind mount, pivot_root',
  'root.readonly': 'MOUNT_ATTR_RDONLY',
  'root.writablePaths': 'bind mounts over a read-only root',
  'root.missingMountPoints': 'overlay with a layer of mount points',
  'mount.bind': 'bind mount',
  'mount.tmpfs': 'tmpfs with size= and nr_inodes=',
  'mount.proc': 'proc of the pid namespace, masked',
  'mount.dev': 'tmpfs with six device nodes, own devpts and mqueue',
  workspace: 'bind mount',
  hostname: 'sethostname in a uts namespace by podman',
  user: 'setresuid, setresgid; for an ordinary user uid_map and gid_map of one id',
  idMappings: 'uid_map and gid_map of a user namespace around podman',
  'idMappings.ranges': 'uid_map and gid_map of a user namespace around podman',
  'namespace.user': 'user namespace around podman',
  'namespace.pid': 'pid namespace by podman, our init as pid 1',
  'namespace.mount': 'mount namespace by podman, old root detached',
  'namespace.network': 'network namespace by podman',
  'namespace.ipc': 'ipc namespace by podman',
  'namespace.uts': 'uts namespace by podman',
  'namespace.cgroup': 'cgroup namespace around podman',
  'network.none': 'network namespace with nothing but lo by podman',
  'network.host': "the host's network namespace",
  'capabilities.drop': 'empty capability sets, locked securebits',
  terminal: "pseudo-terminal of the sandbox's devpts",
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
