// What firejail gives together with our init inside of it, and by which mechanism. Apart from the backend, so that negotiation need not load that.
//
// Nothing of files is here. firejail starts from everything that the host has and takes away what it is told to (a list of what is denied, which is
// never complete), and as it is shipped it lets nobody choose another root.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...wornInPidNamespace,
  'lifecycle.killTree': 'end of our init, and with it of the pid namespace by firejail',
  hostname: 'sethostname in a uts namespace by firejail',
  'namespace.pid': 'pid namespace by firejail',
  'namespace.mount': 'mount namespace by firejail',
  'namespace.network': 'network namespace by firejail',
  'namespace.ipc': 'ipc namespace by firejail',
  'namespace.uts': 'uts namespace by firejail',
  'network.none': 'network namespace with nothing but lo by firejail',
  'network.host': "the host's network namespace",
  'capabilities.drop': 'empty capability sets by firejail',
  terminal: 'pseudo-terminal of a devpts by firejail',
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
