// What this kernel is too old for, lacks, or leaves open.
import type { Feature } from '../../features/feature.ts';
import type { Facility, Finding } from '../types.ts';
import { type Diagnosable, failed, isAtLeast, lostWithoutUserNamespace, type Rule } from './rule.ts';

export const kernelRules: readonly Rule[] = [noUserNamespaces, missingFacilities, terminalInjection];

interface Since {
  readonly facility: string;
  readonly release: readonly [major: number, minor: number];
  readonly severity: Finding['severity'];
  readonly features: readonly Feature[];
  readonly consequence: string;
}

const facilities: readonly Since[] = [
  {
    facility: 'seccomp.filter',
    release: [3, 17],
    severity: 'error',
    features: ['seccomp.default', 'seccomp.strict', 'seccomp.custom'],
    consequence: 'no system call can be filtered',
  },
  {
    facility: 'overlay.readonly',
    release: [5, 11],
    severity: 'warning',
    features: ['root.image', 'mount.image', 'root.missingMountPoints'],
    consequence: 'images cannot be run, and a mount point that a read-only root lacks cannot be made',
  },
  {
    facility: 'overlay',
    release: [5, 11],
    severity: 'warning',
    features: ['root.changes', 'mount.overlay', 'workspace.overlay', 'changes.capture'],
    consequence: 'a command cannot be given a view of a directory that it may change',
  },
  {
    facility: 'mount_setattr',
    release: [5, 12],
    severity: 'warning',
    features: [],
    consequence: 'a read-only bind mount cannot cover the mounts below its source, and is refused where there are any',
  },
  {
    facility: 'mount-api',
    release: [5, 2],
    severity: 'info',
    features: [],
    consequence: 'mount(2) is used instead',
  },
  {
    facility: 'openat2',
    release: [5, 6],
    severity: 'info',
    features: [],
    consequence: 'paths inside the root are walked one component at a time',
  },
  {
    facility: 'close_range',
    release: [5, 9],
    severity: 'info',
    features: [],
    consequence: 'descriptors are closed one by one',
  },
  {
    facility: 'clone3.cgroup',
    release: [5, 7],
    severity: 'info',
    features: [],
    consequence: 'a process cannot be born in its cgroup',
  },
  {
    facility: 'seccomp.notify',
    release: [5, 5],
    severity: 'info',
    features: ['seccomp.notify', 'network.allow'],
    consequence: 'nobody can be asked about single system calls',
  },
  {
    facility: 'binfmt_misc',
    release: [6, 7],
    severity: 'warning',
    features: ['architecture'],
    consequence: 'programs of another architecture run only where the host has registered their format',
  },
  { facility: 'landlock', release: [5, 13], severity: 'info', features: [], consequence: 'no Landlock' },
  {
    facility: 'landlock.truncate',
    release: [6, 2],
    severity: 'info',
    features: ['landlock.paths'],
    consequence: 'Landlock could not keep a file from being emptied, so that no paths are left to it',
  },
  {
    facility: 'landlock.tcp',
    release: [6, 7],
    severity: 'info',
    features: ['landlock.tcp'],
    consequence: 'Landlock knows no ports',
  },
  {
    facility: 'landlock.scope',
    release: [6, 12],
    severity: 'info',
    features: ['landlock.scopes'],
    consequence: 'Landlock knows no scopes',
  },
];

/** ENOSYS has two reasons that a release number tells apart: an old kernel, and a filter that plays one. */
function missingFacilities(input: Diagnosable): Finding[] {
  return facilities.flatMap((since) => {
    const trial = failed(input, since.facility);
    return trial === undefined || !isMissing(trial, since, input) ? [] : [describe(since, trial, input)];
  });
}

function isMissing(trial: Facility, since: Since, { host }: Diagnosable): boolean {
  if (trial.errno === 'ENOSYS' || trial.errno === 'EOPNOTSUPP') return true;
  return (trial.errno === 'EPERM' || trial.errno === 'EINVAL') && !isAtLeast(host.kernel.release, ...since.release);
}

function describe(since: Since, trial: Facility, { host }: Diagnosable): Finding {
  const [major, minor] = since.release;
  const { facility, severity, features, consequence } = since;
  const old = !isAtLeast(host.kernel.release, major, minor);
  const filtered = host.container.seccomp === 'filter';
  const cause = old
    ? `Linux ${host.kernel.release} is too old for ${facility} (${major}.${minor}): ${consequence}`
    : filtered
      ? `a seccomp filter around this process hides ${facility}: ${consequence}`
      : `this kernel was built or started without ${facility} (${trial.detail}): ${consequence}`;
  const remedy = old
    ? `use Linux ${major}.${minor} or later`
    : filtered
      ? 'update the container engine, or give it a seccomp profile that knows this system call'
      : 'use the kernel of a current distribution, without an lsm= parameter that leaves it out';
  return { id: `kernel-without-${facility}`, severity, features, cause, remedy };
}

function noUserNamespaces(input: Diagnosable): Finding[] {
  const trial = failed(input, 'namespace.user');
  const filtered = input.host.container.seccomp === 'filter' || input.host.container.inside;
  if (trial?.step !== 'clone') return [];
  if (trial.errno !== 'EINVAL' && !(trial.errno === 'ENOSYS' && !filtered)) return [];
  return [
    {
      id: 'kernel-without-userns',
      ...lostWithoutUserNamespace,
      cause: `Linux ${input.host.kernel.release} was built without user namespaces (CONFIG_USER_NS)`,
      remedy: 'use the kernel of a current distribution',
    },
  ];
}

/** Nothing is lost: a sandbox has its own session, and the default filter refuses TIOCSTI. It matters with seccomp "unconfined". */
function terminalInjection({ host }: Diagnosable): Finding[] {
  if (host.kernel.sysctls['dev.tty.legacy_tiocsti'] !== '1') return [];
  return [
    {
      id: 'tiocsti-allowed',
      severity: 'info',
      features: [],
      cause:
        'programs may type into their own terminal (dev.tty.legacy_tiocsti is 1); the default seccomp profile refuses it',
      remedy: 'sudo sysctl -w dev.tty.legacy_tiocsti=0',
    },
  ];
}
