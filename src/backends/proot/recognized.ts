// What holds under proot, and what it only shows. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { worn } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = {
  ...worn,
  'network.host': "the host's network",
  'usage.cpu': 'wait4 of proot and what it traces',
  architecture: 'static user-mode QEMU, started by proot',
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);

const because = 'shown, not enforced: proot translates paths by ptrace, and a hostile program can leave it';

/** What a command finds as the spec has it, as long as it means no harm. */
export const views: ReadonlyMap<Feature, string> = new Map<Feature, string>([
  ['root.path', because],
  ['mount.bind', because],
  ['workspace', because],
  ['mount.proc', "shown, not enforced: it is the host's own /proc"],
  ['mount.dev', "shown, not enforced: it is the host's own /dev"],
]);
