// What a container around this process withholds, and the options of its engine that give it.
import type { Finding, HostFacts } from '../types.ts';
import { type Diagnosable, failed, isolation, lostWithoutUserNamespace, type Rule } from './rule.ts';

export const containerRules: readonly Rule[] = [userNamespacesRefused, procCovered, sysCovered, rootWithoutPrivilege];

/** Root in a container without CAP_SYS_ADMIN, or an ordinary user there, under the engine's filter of system calls. */
function userNamespacesRefused(input: Diagnosable): Finding[] {
  const { host } = input;
  const trial = failed(input, 'namespace.user');
  if (trial?.step !== 'clone' || !['EPERM', 'EACCES', 'ENOSYS'].includes(trial.errno ?? '')) return [];
  if (host.kernel.sysctls['kernel.unprivileged_userns_clone'] === '0') return [];
  if (!host.container.inside && host.container.seccomp !== 'filter') return [];
  return [
    {
      id: 'container-refuses-userns',
      ...lostWithoutUserNamespace,
      cause: `${describe(host)} refuses new user namespaces (${trial.errno})`,
      remedy: openContainer(host),
    },
  ];
}

/** The kernel refuses a fresh proc that would show what is covered in the one that is there: "mount too revealing" in its log. */
function procCovered(input: Diagnosable): Finding[] {
  const { host } = input;
  if (host.container.maskedProc.length === 0) return [];
  if (input.facilities.length > 0 && failed(input, 'proc.fresh')?.step !== 'mount') return [];
  return [
    {
      id: 'container-masks-proc',
      severity: 'error',
      // Not only mount.proc: every sandbox has a /proc of its own.
      features: isolation,
      cause: `${describe(host)} covers parts of /proc (${host.container.maskedProc.join(', ')}), so that the kernel refuses a fresh one inside a user namespace`,
      remedy: openContainer(host),
    },
  ];
}

/** The same of a fresh sysfs. Every engine covers /sys/firmware. */
function sysCovered(input: Diagnosable): Finding[] {
  const { host } = input;
  if (!host.container.inside || failed(input, 'sysfs')?.step !== 'mount') return [];
  return [
    {
      id: 'container-masks-sys',
      severity: 'warning',
      features: ['mount.sysfs'],
      cause: `${describe(host)} covers parts of /sys, or has none, so that the kernel refuses a fresh one inside a user namespace`,
      remedy: openContainer(host),
    },
  ];
}

function rootWithoutPrivilege({ host }: Diagnosable): Finding[] {
  if (host.user.uid !== 0 || host.container.sysAdmin) return [];
  return [
    {
      id: 'root-without-sys-admin',
      severity: 'info',
      features: [],
      cause: 'uid 0 without CAP_SYS_ADMIN: a sandbox needs a user namespace here, as for an ordinary user',
      remedy: 'nothing, where user namespaces work; else give the container what is named above',
    },
  ];
}

function describe({ container }: HostFacts): string {
  return container.kind === undefined || container.kind === 'other'
    ? 'the sandbox or container around this process'
    : `the ${container.kind} container around this process`;
}

const docker = `docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...
(or in place of "unconfined" a seccomp profile that allows clone, unshare, setns, mount, umount2, pivot_root and the mount API to everybody)`;

const podman =
  'podman run --security-opt seccomp=unconfined --security-opt unmask=ALL --security-opt label=disable ...';

const kubernetes = `in the pod: hostUsers: false, and for the container
securityContext:
  procMount: Unmasked
  seccompProfile: { type: Unconfined }
  appArmorProfile: { type: Unconfined }`;

function openContainer({ container }: HostFacts): string {
  if (container.kind === 'docker') return docker;
  if (container.kind === 'podman') return podman;
  if (container.kind === 'kubernetes') return kubernetes;
  return `start the container around with one of\n${docker}\n${podman}\nKubernetes: ${kubernetes}`;
}
