// What docker gives together with our launcher around its client and our processes in its container, and by which mechanism.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInRoom } from '../launcher/worn.ts';

/** The client reaches the engine from within the room, as its caller: who maps that id to nobody has no way there. */
const beyond: ReadonlySet<string> = new Set<Feature>(['idMappings', 'idMappings.ranges']);

export const mechanisms: Mechanisms = {
  ...Object.fromEntries(Object.entries(wornInRoom('docker')).filter(([feature]) => !beyond.has(feature))),
  hostname: 'sethostname in a uts namespace in the container',
  'namespace.user': 'user namespace entered from the container',
  'namespace.pid': 'pid namespace in that of the container, our init as pid 1',
  'namespace.mount': 'mount namespace in the container, its root detached',
  'namespace.network': 'network namespace beside that of the container',
  'namespace.ipc': 'ipc namespace beside that of the container',
  'namespace.uts': 'uts namespace beside that of the container',
  'namespace.cgroup': 'cgroup namespace beside that of the container',
  'network.none': 'network namespace with nothing but lo',
  'network.host': "the caller's network namespace, entered from the container",
  'lifecycle.killTree': 'end of our init, pid 1 of its pid namespace',
  'usage.cpu': 'wait4 in the container, and of the client',
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
