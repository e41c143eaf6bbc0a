// What all rules share: their input, and questions that more than one of them asks.
import type { Feature } from '../../features/feature.ts';
import type { Facility, Finding, HostFacts } from '../types.ts';

export interface Diagnosable {
  readonly host: HostFacts;
  /** Empty where nothing was tried. */
  readonly facilities: readonly Facility[];
  /** Absolute path of the launcher, for profiles that name it. */
  readonly launcher: string | undefined;
}

/** Nothing to say is an empty list. */
export type Rule = (input: Diagnosable) => readonly Finding[];

/** What comes from a user namespace and from nothing else. */
export const isolation: readonly Feature[] = [
  'root.host',
  'root.path',
  'root.image',
  'root.readonly',
  'root.writablePaths',
  'root.changes',
  'root.missingMountPoints',
  'mount.bind',
  'mount.tmpfs',
  'mount.proc',
  'mount.dev',
  'mount.sysfs',
  'mount.overlay',
  'mount.image',
  'workspace',
  'workspace.overlay',
  'changes.capture',
  'hostname',
  'idMappings',
  'idMappings.ranges',
  'namespace.user',
  'namespace.pid',
  'namespace.mount',
  'namespace.network',
  'namespace.ipc',
  'namespace.uts',
  'namespace.cgroup',
  'network.none',
  'limits.diskBytes',
  'capabilities.keep',
];

/** Root with CAP_SYS_ADMIN in the initial user namespace: switches for ordinary users do not concern it. */
export function isPrivileged({ user, container }: HostFacts): boolean {
  return user.uid === 0 && container.sysAdmin && user.mapsEveryId;
}

/** What a refused user namespace costs: there is no sandbox without one, for root neither (docs/decisions/0007). */
export const lostWithoutUserNamespace: Pick<Finding, 'severity' | 'features'> = {
  severity: 'error',
  features: isolation,
};

export function failed(input: Diagnosable, facility: string): Facility | undefined {
  return input.facilities.find((tried) => tried.facility === facility && !tried.ok);
}

/** Whether new user namespaces were tried and work, with capabilities inside. */
export function userNamespacesWork(input: Diagnosable): boolean {
  return input.facilities.some((tried) => tried.facility === 'namespace.user' && tried.ok);
}

/** The commands that set a sysctl now and for later starts. */
export function setSysctl(name: string, value: string): string {
  return `sudo sysctl -w ${name}=${value}\necho '${name} = ${value}' | sudo tee /etc/sysctl.d/60-sandboxlib.conf`;
}

/** `6.1.0-18-amd64` against 5, 12. A release that is no number at all counts as older. */
export function isAtLeast(release: string, major: number, minor: number): boolean {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) return false;
  return Number(match[1]) > major || (Number(match[1]) === major && Number(match[2]) >= minor);
}
