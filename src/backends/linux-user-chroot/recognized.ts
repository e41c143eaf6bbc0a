// What linux-user-chroot gives together with our init inside of it, and by which mechanism. Apart from the backend, so that negotiation need not load
// that. What it cannot do nobody does here: for an ordinary user, whom it is for, init has no privilege either.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

const directories = 'directories alone, each without what is mounted below it: bind mount by linux-user-chroot';

/** What is done as far as it goes, and not as far as the feature does. */
export const views: ReadonlyMap<Feature, string> = new Map<Feature, string>([
  ['mount.bind', directories],
  ['workspace', directories],
  ['mount.proc', 'proc of the pid namespace by linux-user-chroot, with nothing masked'],
  ['network.none', 'network namespace by linux-user-chroot, in which even lo is down'],
]);

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  'root.path': 'the directory moved over the root of a mount namespace, chroot, by linux-user-chroot',
  'root.readonly': 'MS_RDONLY remount by linux-user-chroot',
  'namespace.pid': 'pid namespace by linux-user-chroot, our init as pid 1',
  'namespace.mount': 'mount namespace by linux-user-chroot',
  'namespace.network': 'network namespace by linux-user-chroot',
  'namespace.ipc': 'ipc namespace by linux-user-chroot',
  'namespace.uts': 'uts namespace by linux-user-chroot',
  'network.host': "the host's network namespace",
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
