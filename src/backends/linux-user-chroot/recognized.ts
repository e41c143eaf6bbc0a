// What linux-user-chroot gives together with our init inside of it, and by which mechanism. Apart from the backend, so that negotiation need not load
// that. What it cannot do is made by nobody here: an init that has no privilege makes no mount, and brings no interface up.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  'root.path':
    'mount of the directory moved over the root, chroot, by linux-user-chroot; no device and no other file system in it',
  'root.readonly': 'MS_RDONLY remount by linux-user-chroot',
  'mount.bind': 'bind mount by linux-user-chroot',
  'mount.proc': 'proc of the pid namespace by linux-user-chroot, masked by bind mounts',
  'namespace.pid': 'pid namespace by linux-user-chroot, our init as pid 1',
  'namespace.mount': 'mount namespace by linux-user-chroot',
  'namespace.network': 'network namespace by linux-user-chroot',
  'namespace.ipc': 'ipc namespace by linux-user-chroot',
  'network.host': "the host's network namespace",
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
