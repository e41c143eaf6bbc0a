// What `none` gives, and by what: all of it works on every host. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../features/feature.ts';

export type NoneFeature = Extract<
  Feature,
  'env' | 'cwd' | 'descriptors' | 'network.host' | 'limits.wallMs' | 'usage.wall'
>;

export const mechanisms: Readonly<Record<NoneFeature, string>> = {
  env: 'execve(2)',
  cwd: 'chdir(2)',
  descriptors: 'dup2(2)',
  'network.host': 'the network of this process',
  // It holds while this process runs its event loop, and for the process group only: a daemon that leaves the group goes on.
  'limits.wallMs': 'timer of this process, kill(2) of the process group',
  'usage.wall': 'monotonic clock',
};

export const noneFeatures: readonly NoneFeature[] = Object.keys(mechanisms) as NoneFeature[];
