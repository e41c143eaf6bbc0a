// What bwrap(1) is told: namespaces, and a root made from nothing in which the trees of the host lie side by side. Pure.
//
// It gets no destination of the spec. While bwrap mounts, the root of the host is in its /oldroot, and it follows every symlink in a destination: one
// to /oldroot in a directory that somebody hostile prepared, or in one that an earlier run could write to, would have it make files and directories
// on the host, and mount elsewhere than was asked. So init inside does what native does (launcher/filesystem.ts), whose every path is resolved in
// the new root.
import type { NormalizedSpec } from '../../spec/types.ts';
import { type Place, withPlaces } from '../launcher/sources.ts';
import type { Step } from '../launcher/steps.ts';
import type { Sources } from '../launcher/tool.ts';

const STAGE = '/of-host';

export function namespaceArgs({ network, hostname, user }: NormalizedSpec): string[] {
  return [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...(network === 'none' ? ['--unshare-net'] : []),
    '--die-with-parent',
    ...['--hostname', hostname, '--uid', String(user.uid), '--gid', String(user.gid)],
  ];
}

export interface Staged {
  readonly args: readonly string[];
  /** The same steps, with the places where bwrap has put what they take from the host. */
  readonly steps: readonly Step[];
}

export function stage(steps: readonly Step[], sources: Sources): Staged {
  const args = ['--proc', '/proc', '--dir', STAGE];
  const put: Place = (source, sourceKind, device) => {
    const number = String(sources.add({ source, sourceKind }));
    const place = `${STAGE}/${number}`;
    // There is no --dev-bind-fd. What bwrap makes of the path of a descriptor is the path of the file that was opened.
    args.push(...(device ? ['--dev-bind', `/proc/self/fd/${number}`, place] : ['--bind-fd', number, place]));
    return place;
  };
  return { args, steps: steps.map((step) => staged(step, put)) };
}

function staged(step: Step, put: Place): Step {
  // The kernel lets nobody in a user namespace mount a proc where the one that is there has mounts over it (mount_too_revealing()), as that of bwrap
  // has for root: it is shown once more instead.
  if (step.step === 'mount' && step.kind === 'proc')
    return { ...step, kind: 'bind', flags: [...step.flags, 'recursive'], sourceKind: 'directory', source: '/proc' };
  return withPlaces(step, put);
}
