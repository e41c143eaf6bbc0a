// What bubblewrap gives together with our init inside of it, and by which mechanism. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import { groupMechanisms } from '../launcher/cgroups.ts';
import { diskMechanism } from '../launcher/disk-mechanism.ts';
import { overlayMechanisms } from '../launcher/overlay-mechanisms.ts';
import { samplingMechanisms } from '../launcher/sampling.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  ...groupMechanisms,
  ...samplingMechanisms,
  'root.host': 'tmpfs with read-only bind mounts of system directories, pivot_root',
  'root.path': 'bind mount, pivot_root',
  'root.readonly': 'read-only mount',
  'root.writablePaths': 'bind mounts over a read-only root',
  'mount.bind': 'bind mount of what bwrap shows init',
  'mount.tmpfs': 'tmpfs',
  ...overlayMechanisms,
  'limits.diskBytes': diskMechanism,
  'mount.proc': 'proc of the pid namespace by bwrap, masked',
  'mount.dev': 'tmpfs with six device nodes, own devpts and mqueue',
  workspace: 'bind mount of what bwrap shows init',
  hostname: 'sethostname in a uts namespace by bwrap',
  user: 'uid_map and gid_map of one id by bwrap',
  'namespace.user': 'user namespace by bwrap',
  'namespace.pid': 'pid namespace by bwrap, our init as pid 1',
  'namespace.mount': 'mount namespace by bwrap, old root detached',
  'namespace.network': 'network namespace by bwrap',
  'namespace.ipc': 'ipc namespace by bwrap',
  'namespace.uts': 'uts namespace by bwrap',
  'namespace.cgroup': 'cgroup namespace by bwrap',
  'network.none': 'network namespace with nothing but lo by bwrap',
  'network.host': "the host's network namespace",
  'capabilities.drop': 'empty capability sets, locked securebits',
  terminal: "pseudo-terminal of the sandbox's devpts",
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
