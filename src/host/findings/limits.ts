// Limits on a sandbox as a whole need a cgroup that the caller may divide.
import type { Feature } from '../../features/feature.ts';
import type { Finding } from '../types.ts';
import type { Diagnosable, Rule } from './rule.ts';

export const limitRules: readonly Rule[] = [notDelegated, notUnified];

const cgroupLimits: readonly Feature[] = ['limits.memoryBytes', 'limits.pids', 'limits.cpus', 'limits.cpuMs'];

function notDelegated({ host }: Diagnosable): Finding[] {
  const { cgroups, user } = host;
  if (cgroups.delegated || cgroups.version === 'none') return [];
  const own = cgroups.path === undefined ? 'the own cgroup' : `the own cgroup ${cgroups.path}`;
  const service =
    user.uid === 0
      ? 'systemd-run --scope -p Delegate=yes -- COMMAND'
      : `systemd-run --user --scope -p Delegate=yes -- COMMAND\nwithout a login session first: sudo loginctl enable-linger ${user.name ?? user.uid}`;
  return [
    {
      id: 'cgroup-not-delegated',
      severity: 'warning',
      features: cgroupLimits,
      cause: `${own} may not be divided by ${user.name ?? `uid ${user.uid}`}`,
      remedy: service,
    },
  ];
}

function notUnified({ host }: Diagnosable): Finding[] {
  const { version } = host.cgroups;
  if (version === 'v2') return [];
  const cause =
    version === 'none'
      ? 'no cgroup tree is mounted'
      : `the controllers are in cgroup v1 trees (${version}), which only root can divide safely`;
  return [
    {
      id: 'cgroup-not-v2',
      severity: 'info',
      features: cgroupLimits,
      cause,
      remedy: 'start the kernel with systemd.unified_cgroup_hierarchy=1, or in a container mount /sys/fs/cgroup',
    },
  ];
}
