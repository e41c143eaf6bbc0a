// `config.json` of an OCI runtime bundle as a spec (OCI runtime spec 1.2, config.md and config-linux.md). A runtime that cannot apply a setting must
// not run: every setting that is not served is refused, all of them at once, unless the caller takes them as notes.
import type { SpecIssue } from '../../errors/errors.ts';
import type { IdMapping, MountSpec, SandboxSpec } from '../../spec/types.ts';
import { parseJson } from '../json.ts';
import { type Place, readDocument } from '../place.ts';
import { readCapabilities, readProcessLimits, readResources } from './bundle-limits.ts';
import { type BundleMounts, readBundleMounts } from './bundle-mounts.ts';
import { checkAssignment } from './config.ts';
import { hasMembers, readAbsent, type Unserved } from './unserved.ts';

export interface BundleOptions {
  /** Directory of the bundle, on this host: a relative `root.path` starts there. */
  readonly directory: string;
  /** `note`: what is not served is left out and listed. */
  readonly unserved?: 'refuse' | 'note';
}

export interface BundleRun {
  readonly spec: SandboxSpec;
  readonly command: readonly [string, ...string[]];
  readonly notes: readonly SpecIssue[];
}

/** @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` with every issue. */
export function parseBundle(
  document: string | Uint8Array,
  { directory, unserved = 'refuse' }: BundleOptions,
): BundleRun {
  const say: Unserved = (place, because) => {
    if (unserved === 'refuse') place.report(because);
    else place.note(`${because}; it is left out`);
  };
  const json = parseJson(document, 'config.json');
  return readDocument(json, 'config.json', (place) => readBundle(place, directory, say), 'SBX_IMAGE_UNSUPPORTED');
}

const keys = ['ociVersion', 'root', 'mounts', 'process', 'hostname', 'domainname', 'hooks', 'annotations', 'linux'];

function readBundle(place: Place, directory: string, unserved: Unserved): Omit<BundleRun, 'notes'> {
  for (const key of ['solaris', 'windows', 'vm', 'zos', 'freebsd']) {
    if (place.at(key).present) unserved(place.at(key), 'is about another platform than linux');
  }
  if (place.isObject([...keys, 'solaris', 'windows', 'vm', 'zos', 'freebsd'])) readVersion(place.at('ociVersion'));
  readAbsent(place, ['domainname'], 'a domain name is not set', unserved);
  if (hasMembers(place.at('hooks'))) unserved(place.at('hooks'), 'hooks run on the host, and are not run');
  const process = readProcess(place.at('process'), unserved);
  const linux = readLinux(place.at('linux'), unserved);
  const mounts = readBundleMounts(place.at('mounts'), directory, unserved);
  const hostname = place.at('hostname').optionalString();
  const limits = { ...process.limits, ...linux.limits };
  return {
    spec: {
      root: readRoot(place.at('root'), directory, mounts),
      ...(mounts.mounts.length === 0 ? {} : { mounts: mounts.mounts as MountSpec[] }),
      ...(hostname === undefined || hostname === '' ? {} : { hostname }),
      ...process.spec,
      ...linux.spec,
      ...(Object.keys(limits).length === 0 ? {} : { limits }),
    },
    command: process.command,
  };
}

function readVersion(place: Place): void {
  place.string((text) =>
    /^1\.\d+\.\d+/.test(text) ? undefined : `must be a version 1 of the runtime spec, not '${text}'`,
  );
}

function readRoot(place: Place, directory: string, { readonlyMounts }: BundleMounts): NonNullable<SandboxSpec['root']> {
  if (readonlyMounts) place.note('what a sandbox mounts by itself is as it makes it');
  place.note('/tmp and the home directory are of the sandbox itself, in memory, and hide what the root has there');
  if (!place.isObject(['path', 'readonly'])) return directory;
  const path = place.at('path').string((text) => (text === '' ? 'must not be empty' : undefined));
  const absolute = path.startsWith('/') ? path : `${directory}/${path}`;
  return place.at('readonly').boolean() === true
    ? { path: absolute, readonly: true }
    : { path: absolute, readonly: false, changes: 'keep' };
}

interface ProcessPart {
  readonly spec: SandboxSpec;
  readonly limits: NonNullable<SandboxSpec['limits']>;
  readonly command: readonly [string, ...string[]];
}

const processKeys = [
  'terminal',
  'consoleSize',
  'user',
  'args',
  'commandLine',
  'env',
  'cwd',
  'capabilities',
  'rlimits',
  'noNewPrivileges',
];
const unservedOfProcess: Readonly<Record<string, string>> = {
  apparmorProfile: 'profiles of AppArmor are not served',
  selinuxLabel: 'labels of SELinux are not served',
  oomScoreAdj: 'a sandbox has no weight of its own for the OOM killer',
  scheduler: 'scheduling is not set',
  ioPriority: 'priorities of input and output are not set',
  execCPUAffinity: 'processors are not chosen',
  commandLine: 'is about another platform than linux',
};

function readProcess(place: Place, unserved: Unserved): ProcessPart {
  if (!place.isObject([...processKeys, ...Object.keys(unservedOfProcess)]))
    return { spec: {}, limits: {}, command: [''] };
  for (const [key, because] of Object.entries(unservedOfProcess)) readAbsent(place, [key], because, unserved);
  const [program = '', ...args] = place.at('args').strings();
  if (program === '') place.at('args').report('must name a program');
  if (place.at('noNewPrivileges').boolean() !== true)
    place.at('noNewPrivileges').note('nothing in a sandbox gains privileges, whatever is asked for');
  const capabilities = readCapabilities(place.at('capabilities'), unserved);
  return {
    spec: {
      cwd: place
        .at('cwd')
        .string((path) => (path.startsWith('/') ? undefined : `must be an absolute path, not '${path}'`)),
      env: { set: Object.fromEntries(place.at('env').list(readVariable)) },
      ...readUser(place.at('user')),
      ...readTerminal(place),
      ...(capabilities.length === 0 ? {} : { capabilities }),
    },
    limits: readProcessLimits(place.at('rlimits'), unserved),
    command: [program, ...args],
  };
}

function readVariable(place: Place): [string, string] | undefined {
  const text = place.string(checkAssignment);
  const at = text.indexOf('=');
  return at < 1 ? undefined : [text.slice(0, at), text.slice(at + 1)];
}

const ID_MAX = 4_294_967_294;

function readUser(place: Place): Pick<SandboxSpec, 'user' | 'umask'> {
  if (!place.present || !place.isObject(['uid', 'gid', 'umask', 'additionalGids', 'username']))
    return { user: { uid: 0, gid: 0 } };
  if (place.at('username').present) place.at('username').report('is about another platform than linux');
  const umask = place.at('umask').integer(0, 0o777);
  const additionalGids = place.at('additionalGids').list((gid) => gid.requiredInteger(0, ID_MAX));
  return {
    user: {
      uid: place.at('uid').requiredInteger(0, ID_MAX),
      gid: place.at('gid').requiredInteger(0, ID_MAX),
      ...(additionalGids.length === 0 ? {} : { additionalGids }),
    },
    ...(umask === undefined ? {} : { umask }),
  };
}

function readTerminal(process: Place): Pick<SandboxSpec, 'terminal'> {
  const size = process.at('consoleSize');
  if (process.at('terminal').boolean() !== true) return {};
  if (!size.present || !size.isObject(['height', 'width'])) return { terminal: true };
  return {
    terminal: {
      columns: size.at('width').requiredInteger(1, 65_535),
      rows: size.at('height').requiredInteger(1, 65_535),
    },
  };
}

const linuxKeys = [
  'namespaces',
  'uidMappings',
  'gidMappings',
  'devices',
  'resources',
  'seccomp',
  'rootfsPropagation',
  'maskedPaths',
  'readonlyPaths',
];
const unservedOfLinux: Readonly<Record<string, string>> = {
  cgroupsPath: 'a sandbox has a control group of its own, where it finds a place for it',
  sysctl: 'kernel parameters are not set',
  mountLabel: 'labels of SELinux are not served',
  intelRdt: 'is not served',
  personality: 'is not set',
  timeOffsets: 'there is no time namespace',
  netDevices: 'no device of the host is moved into a sandbox',
  memoryPolicy: 'is not set',
};

interface LinuxPart {
  readonly spec: SandboxSpec;
  readonly limits: NonNullable<SandboxSpec['limits']>;
}

function readLinux(place: Place, unserved: Unserved): LinuxPart {
  if (!place.present || !place.isObject([...linuxKeys, ...Object.keys(unservedOfLinux)]))
    return { spec: readNamespaces(place.at('namespaces'), unserved), limits: {} };
  for (const [key, because] of Object.entries(unservedOfLinux)) readAbsent(place, [key], because, unserved);
  const propagation = place.at('rootfsPropagation').optionalString();
  if (propagation !== undefined && !['', 'private', 'rprivate', 'slave', 'rslave'].includes(propagation))
    unserved(place.at('rootfsPropagation'), 'mounts of a sandbox do not go to the host');
  readDevices(place.at('devices'), unserved);
  for (const key of ['maskedPaths', 'readonlyPaths']) readMasks(place.at(key), unserved);
  if (!place.at('seccomp').present) place.at('seccomp').note('without a filter of its own the default one holds');
  const uidMappings = readMappings(place.at('uidMappings'));
  const gidMappings = readMappings(place.at('gidMappings'));
  return {
    spec: {
      ...readNamespaces(place.at('namespaces'), unserved),
      ...(uidMappings.length === 0 ? {} : { uidMappings }),
      ...(gidMappings.length === 0 ? {} : { gidMappings }),
      // Checked where it is compiled.
      ...(place.at('seccomp').present
        ? { seccomp: place.at('seccomp').value as NonNullable<SandboxSpec['seccomp']> }
        : {}),
    },
    limits: readResources(place.at('resources'), unserved),
  };
}

/** What a sandbox always has one of. */
const always = ['pid', 'mount', 'ipc', 'uts'];

function readNamespaces(place: Place, unserved: Unserved): Pick<SandboxSpec, 'network'> {
  const types = place.list((namespace) => {
    if (!namespace.isObject(['type', 'path'])) return undefined;
    const type = namespace.at('type').oneOf(['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time']);
    if (namespace.at('path').optionalString())
      unserved(namespace.at('path'), 'a namespace that exists already cannot be joined');
    if (type === 'time') unserved(namespace, 'there is no time namespace');
    return type;
  });
  for (const type of always) {
    if (!types.some((present) => present === type))
      unserved(place, `the ${type} namespace of the host cannot be shared`);
  }
  return { network: types.includes('network') ? 'none' : 'host' };
}

function readMappings(place: Place): IdMapping[] {
  return place.list((mapping) => {
    if (!mapping.isObject(['containerID', 'hostID', 'size'])) return undefined;
    return {
      containerID: mapping.at('containerID').requiredInteger(0, ID_MAX),
      hostID: mapping.at('hostID').requiredInteger(0, ID_MAX),
      size: mapping.at('size').requiredInteger(1, ID_MAX + 1),
    };
  });
}

/** Those of config-linux.md that every container has, and a sandbox too. */
const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map((name) => `/dev/${name}`);

function readDevices(place: Place, unserved: Unserved): void {
  place.list((device) => {
    const path = device.at('path').string();
    if (!devices.includes(path)) unserved(device, `${path} is none of the devices that a sandbox has`);
    return undefined;
  });
}

function readMasks(place: Place, unserved: Unserved): void {
  const paths = place.strings();
  const others = paths.filter((path) => !/^\/(proc|sys)\//.test(path));
  if (others.length > 0)
    unserved(place, `${others.join(', ')}: what is hidden is what a sandbox hides by itself, in /proc and /sys`);
  else if (paths.length > 0) place.note('what a sandbox hides of /proc and /sys is its own choice');
}
