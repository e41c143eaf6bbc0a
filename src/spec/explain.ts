// A normalized spec in words: what the command will see and may do.
import { builtinMountPoints } from './mount-points.ts';
import { isWithin } from './paths.ts';
import type { NormalizedMount, NormalizedSpec } from './types.ts';
import { formatBytes, formatMilliseconds } from './units.ts';
import { joinWords } from './words.ts';

/** Short sentences, without a capital or a full stop, one for each thing that a person would ask about; `skipped`: what it has to do without. */
export function describeSpec(spec: NormalizedSpec, skipped: ReadonlySet<string> = new Set()): string[] {
  if (skipped.has('root.host')) return describeConfined(spec, skipped);
  return [
    describeRoot(spec),
    ...writablePaths(spec),
    ...spec.mounts.map(describeMount),
    ...describePrivate(spec),
    spec.network === 'host' ? "the network is this host's, all of it" : "no network but the sandbox's own loopback",
    describeUser(spec),
    ...describeIds(spec),
    describeSeccomp(spec),
    ...describeOnSyscall(spec),
    ...describeLandlock(spec),
    `starts in ${spec.cwd}, on a host called ${spec.hostname}, with umask ${octal(spec.umask)}`,
    describeEnvironment(spec),
    ...describeTerminal(spec),
    ...(spec.architecture === undefined ? [] : [`runs programs made for ${spec.architecture}`]),
    ...describeLimits(spec.limits),
    ...spec.notes,
  ];
}

/** In the root of this host, which nothing changes: what is left of a sandbox without it. */
function describeConfined(spec: NormalizedSpec, skipped: ReadonlySet<string>): string[] {
  const { seccomp, landlock, limits } = spec;
  const filter = typeof seccomp === 'string' ? seccomp : seccomp.kind;
  const without = (kind: string): boolean => skipped.has(`landlock.${kind}`);
  const bounds = Object.entries(limits).filter(([name]) => !skipped.has(`limits.${name}`));
  return [
    "sees all of this host's files and processes, and may do with them what its user may, less what follows",
    skipped.has('network.none') || spec.network === 'host'
      ? "the network is this host's, all of it"
      : "no network but the sandbox's own loopback",
    describeUser({ ...spec, capabilities: skipped.has('capabilities.keep') ? [] : spec.capabilities }),
    skipped.has(`seccomp.${filter}`) ? 'system calls are not filtered' : describeSeccomp(spec),
    ...describeLandlock({
      ...spec,
      landlock: landlock && {
        ...landlock,
        ...(without('paths') ? { paths: undefined } : {}),
        ...(without('tcp') ? { bindTcp: undefined, connectTcp: undefined } : {}),
        ...(without('scopes') ? { scopes: [] } : {}),
      },
    }),
    ...(spec.cwdGiven && !skipped.has('cwd') ? [`starts in ${spec.cwd}`] : []),
    ...(skipped.has('umask') ? [] : [`has umask ${octal(spec.umask)}`]),
    describeEnvironment(spec),
    ...(skipped.has('terminal') ? [] : describeTerminal(spec)),
    ...describeLimits(Object.fromEntries(bounds) as NormalizedSpec['limits']),
    ...spec.notes,
  ];
}

function describeEnvironment({ env }: NormalizedSpec): string {
  return `has ${count(Object.keys(env).length, 'environment variable')}: ${Object.keys(env).join(', ')}`;
}

function describeRoot({ root }: NormalizedSpec): string {
  const what =
    root.kind === 'host'
      ? "this host's system directories"
      : root.kind === 'image'
        ? `the image ${root.image}`
        : `the directory ${root.path}`;
  if (root.changes === 'keep') return `the root is ${what}, ${access(root.readonly)}`;
  return `the root is a view of ${what}: ${beside(root.changes)}`;
}

function writablePaths({ root }: NormalizedSpec): string[] {
  if (root.writablePaths.length === 0) return [];
  return [
    `${joinWords(root.writablePaths)} of the root ${root.writablePaths.length === 1 ? 'stays' : 'stay'} writable`,
  ];
}

function describeMount(mount: NormalizedMount): string {
  const { type, destination, source, readonly, origin } = mount;
  switch (type) {
    case 'bind': {
      const name = origin === 'workspace' ? `the workspace ${destination}` : destination;
      const place = source === destination ? "this host's own" : `bound from ${source}`;
      return `${name} is ${place}, ${access(readonly)}`;
    }
    case 'overlay': {
      const name = origin === 'workspace' ? `the workspace ${destination}` : destination;
      if (readonly) return `${name} is an image, read-only`;
      const bound = mount.sizeBytes === undefined ? '' : `, at most ${formatBytes(mount.sizeBytes)} of it`;
      return `${name} is a view of ${source === destination ? "this host's own" : source}: ${beside(mount.changes)}${bound}`;
    }
    case 'tmpfs': {
      const bound = mount.sizeBytes === undefined ? '' : ` of at most ${formatBytes(mount.sizeBytes)}`;
      return `${destination} is an empty tmpfs${bound}, ${access(readonly)}`;
    }
    case 'proc':
      return `${destination} is a proc of the sandbox's own processes`;
    case 'sysfs':
      return `${destination} is a sysfs of the sandbox's own network, read-only, without the devices of this host`;
    case 'dev':
      return `${destination} has a few harmless devices`;
  }
}

function beside(changes: NormalizedMount['changes']): string {
  return `what the command changes there is ${changes === 'capture' ? 'kept beside it' : 'thrown away'}`;
}

/** The sandbox's own directories, but for those that a mount of the spec covers. */
function describePrivate({ home, mounts, root }: NormalizedSpec): string[] {
  const places = builtinMountPoints(home, root);
  const isOwn = (path: string): boolean =>
    places.includes(path) && !mounts.some(({ destination }) => isWithin(path, destination));
  const own = [...(isOwn(home) ? [`the home directory ${home}`] : []), ...(isOwn('/tmp') ? ['/tmp'] : [])];
  return own.length === 0 ? [] : [`${joinWords(own)} ${own.length === 1 ? 'is' : 'are'} private and empty at first`];
}

function describeUser({ user, capabilities }: NormalizedSpec): string {
  const groups = user.additionalGids.length === 0 ? '' : `, additional gids ${user.additionalGids.join(', ')}`;
  const kept = capabilities.length === 0 ? 'without capabilities' : `with ${joinWords(capabilities)}`;
  return `runs as uid ${user.uid}, gid ${user.gid}${groups}, ${kept}`;
}

function describeIds({ idMappings }: NormalizedSpec): string[] {
  return (['uid', 'gid'] as const).flatMap((kind) =>
    idMappings[kind]
      .filter(({ containerID, hostID }) => containerID !== hostID)
      .map(({ containerID, hostID, size }) =>
        size === 1
          ? `${kind} ${containerID} inside is ${kind} ${hostID} of this host`
          : `${kind}s ${containerID} to ${containerID + size - 1} inside are ${hostID} to ${hostID + size - 1} of this host`,
      ),
  );
}

function describeSeccomp({ seccomp }: NormalizedSpec): string {
  if (seccomp === 'default') return 'system calls are filtered by the default seccomp profile';
  if (seccomp === 'unconfined') return 'system calls are not filtered';
  if (seccomp.kind === 'strict')
    return 'may read and write what is open, end, and nothing else: any other system call kills it';
  const { defaultAction, syscalls } = seccomp.profile;
  return `system calls are filtered by a profile of ${count(syscalls?.length ?? 0, 'rule')}, and ${defaultAction} where none fits`;
}

function describeOnSyscall({ onSyscall }: NormalizedSpec): string[] {
  const words = {
    allow: () => 'go on',
    log: () => 'are told',
    errno: (name = 'EPERM') => `fail with ${name}, and are told`,
    kill: () => 'end their process, and are told',
    ask: () => 'are asked about',
  };
  return (onSyscall?.rules ?? []).map(({ names, action, errno, args = [] }) => {
    const which = args.length === 0 ? 'calls' : 'some calls';
    return `${which} of ${joinWords(names)} ${words[action](errno)}`;
  });
}

function describeLandlock({ landlock }: NormalizedSpec): string[] {
  if (landlock === undefined) return [];
  const { paths, bindTcp, connectTcp, scopes } = landlock;
  const listed = (paths ?? []).map(({ path, access }) => `${path} (${access})`);
  return [
    ...(paths === undefined
      ? []
      : [`Landlock leaves it ${listed.length === 0 ? 'no path at all' : joinWords(listed)}`]),
    ...describePorts('bind', bindTcp),
    ...describePorts('connect to', connectTcp),
    ...(scopes.includes('abstract-unix-socket') ? ['reaches no abstract unix socket of anybody else'] : []),
    ...(scopes.includes('signal') ? ['sends signals to nobody else'] : []),
  ];
}

function describePorts(what: string, ports: readonly number[] | undefined): string[] {
  if (ports === undefined) return [];
  if (ports.length === 0) return [`may ${what} no TCP port`];
  return [`may ${what} TCP ${ports.length === 1 ? 'port' : 'ports'} ${joinWords(ports.map(String))} alone`];
}

function describeTerminal({ terminal }: NormalizedSpec): string[] {
  if (terminal === undefined) return [];
  const size = terminal === true ? '' : ` of ${terminal.columns} columns and ${terminal.rows} rows`;
  return [`runs on a terminal of its own${size}`];
}

function describeLimits(limits: NormalizedSpec['limits']): string[] {
  const sentences = {
    wallMs: (value: number) => `ends after ${time(value)}`,
    cpuMs: (value: number) => `ends after ${time(value)} of processor time, of all processes together`,
    processCpuMs: (value: number) => `each process ends after ${time(value)} of processor time`,
    cpus: (value: number) => `has the time of ${value} ${value === 1 ? 'processor' : 'processors'}`,
    memoryBytes: (value: number) => `ends when all of it has more than ${formatBytes(value)} of memory`,
    pids: (value: number) =>
      `ends when it has more than ${value} ${value === 1 ? 'process or thread' : 'processes and threads'}`,
    openFiles: (value: number) => `each process opens descriptors below ${value}`,
    fileBytes: (value: number) => `writes no file larger than ${formatBytes(value)}`,
    stackBytes: (value: number) => `has stacks of at most ${formatBytes(value)}`,
    coreBytes: (value: number) =>
      value === 0 ? 'writes no core files' : `writes core files of at most ${formatBytes(value)}`,
    diskBytes: (value: number) => `its own directories hold at most ${formatBytes(value)} together`,
    outputBytes: (value: number) => `ends when it has written more than ${formatBytes(value)} to stdout and stderr`,
  };
  return (Object.keys(sentences) as (keyof typeof sentences)[]).flatMap((key) => {
    const value = limits[key];
    return value === undefined ? [] : [sentences[key](value)];
  });
}

/** `30s` as `30 s`. */
function time(milliseconds: number): string {
  return formatMilliseconds(milliseconds).replace(/(?<=\d)(?=[a-z])/, ' ');
}

function access(readonly: boolean): string {
  return readonly ? 'read-only' : 'writable';
}

function octal(value: number): string {
  return `0${value.toString(8).padStart(3, '0')}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
