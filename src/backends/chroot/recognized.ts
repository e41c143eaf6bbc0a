// What a root that is only entered gives, and by which mechanism. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import { groupMechanisms } from '../launcher/cgroups.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { worn } from '../launcher/worn.ts';

/** On Linux, where the launcher enters the root and the command wears what it wears everywhere. */
export const byLauncher: Mechanisms = {
  ...worn,
  ...groupMechanisms,
  'root.path':
    'chroot, without a capability to leave it, a device or another file system in it, or a call that reaches into other processes',
  user: 'setresuid, setresgid, setgroups',
  'network.host': "the host's network",
  'capabilities.drop': 'empty capability sets, locked securebits',
  descriptors: 'close_range, dup2',
  'usage.cpu': 'wait4 of the command and what it leaves',
};

/** On other systems, by chroot(8): the command is root there and could leave, so that the root is a view and no promise. */
export const byProgram: Mechanisms = {
  env: 'execve',
  descriptors: 'dup2',
  'network.host': "the host's network",
  // It holds while this process runs its event loop, and for the process group only.
  'limits.wallMs': 'timer of this process, kill of the process group',
  'usage.wall': 'monotonic clock',
};

export const recognized: ReadonlySet<Feature> = recognizedOn(process.platform);

export function recognizedOn(platform: NodeJS.Platform): ReadonlySet<Feature> {
  return new Set(Object.keys(platform === 'linux' ? byLauncher : byProgram) as Feature[]);
}
