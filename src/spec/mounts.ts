// Mounts and the workspace: each one sound by itself, and all of them together.
import { resolve } from 'node:path/posix';
import { SpecError } from '../errors/errors.ts';
import { checkInteger, checkPath, checkPathInside } from './checks.ts';
import type { SpecHost } from './host.ts';
import { systemDirectories } from './host-view.ts';
import type { Reporter } from './issues.ts';
import type { LayeredRoot } from './layered-root.ts';
import { parseMountString } from './mount-string.ts';
import { cleanPath, hasParentComponent, isWithin } from './paths.ts';
import type { MountSpec, NormalizedMount, NormalizedSpec, SandboxSpec } from './types.ts';
import { parseBytes } from './units.ts';
import { describeLookup, joinWords } from './words.ts';

/** The kernel's own default would be half of the machine's memory. */
const TMPFS_BYTES_DEFAULT = 64 * 1024 * 1024;
/** As much as `/tmp` and `$HOME` may hold. */
export const OVERLAY_BYTES_DEFAULT: number = 512 * 1024 * 1024;
const MODE_MAX = 0o7777;

export interface MountContext {
  readonly host: SpecHost;
  readonly images: ReadonlyMap<string, LayeredRoot>;
  readonly report: Reporter;
  readonly notes: string[];
}

/** A mount with its place in the spec. */
export interface PlacedMount extends NormalizedMount {
  readonly at: readonly (string | number)[];
}

export function resolveMounts(given: SandboxSpec['mounts'], context: MountContext): PlacedMount[] {
  const mounts: PlacedMount[] = [];
  for (const [index, mount] of (given ?? []).entries()) {
    const at = ['mounts', index];
    const spec = typeof mount === 'string' ? fromString(mount, at, context.report) : mount;
    const resolved = spec === undefined ? undefined : resolveMount(spec, at, typeof mount === 'string', context);
    if (resolved !== undefined) mounts.push(resolved);
  }
  return mounts;
}

function fromString(text: string, at: PlacedMount['at'], report: Reporter): MountSpec | undefined {
  const parsed = parseMountString(text);
  if (!('problem' in parsed)) return { type: 'bind', ...parsed };
  report(at, parsed.problem);
  return undefined;
}

function resolveMount(
  mount: MountSpec,
  at: PlacedMount['at'],
  inString: boolean,
  context: MountContext,
): PlacedMount | undefined {
  const { report, notes } = context;
  // In a string there are no keys to point at.
  const field = (key: string): PlacedMount['at'] => (inString ? at : [...at, key]);
  const origin = `mounts[${at[1]}]`;
  const { type } = mount;
  for (const [key, types] of Object.entries(fieldTypes)) {
    if (mount[key as keyof typeof fieldTypes] !== undefined && !types.includes(type)) {
      report(field(key), `is for ${joinWords(types)} mounts, and this is a ${type} mount`);
    }
  }
  if (sourceTypes.includes(type) && mount.source === undefined) report(at, `a ${type} mount needs a source`);
  const problem = checkPathInside(mount.destination);
  const destination = problem === undefined ? cleanPath(mount.destination) : undefined;
  if (problem !== undefined) report(field('destination'), problem);
  else if (destination === '/') report(field('destination'), "must not be '/': that is the root, so set 'root'");
  const common = { origin, at, destination: destination ?? '/' };
  if (type === 'image') return resolveImage(mount, common, field, context);
  if (type === 'overlay') return resolveOverlay(mount, { ...common, type }, field, context);
  if (type !== 'bind') {
    const isTmpfs = type === 'tmpfs';
    const sizeBytes = isTmpfs
      ? resolveSize(mount.sizeBytes, TMPFS_BYTES_DEFAULT, field('sizeBytes'), report)
      : undefined;
    if (type === 'sysfs' && mount.readonly === false)
      report(field('readonly'), 'must not be false: who writes there sets the machine');
    const mode = isTmpfs ? resolveMode(mount.mode, destination, field('mode'), report) : undefined;
    return {
      ...common,
      type,
      source: undefined,
      sourceKind: undefined,
      readonly: type === 'sysfs' || (mount.readonly ?? false),
      sizeBytes,
      mode,
    };
  }
  if (mount.source === undefined) return undefined;
  const source = resolveSource(mount.source, field('source'), mount.optional === true, context);
  if (source === 'skipped') {
    notes.push(`${origin} is skipped: ${mount.source} does not exist`);
    return undefined;
  }
  if (source === undefined) return undefined;
  return {
    ...common,
    type,
    source: source.path,
    sourceKind: source.kind,
    readonly: mount.readonly ?? true,
    sizeBytes: undefined,
    mode: undefined,
  };
}

/** One layer that nobody writes to is a directory like others; more are an overlay. */
function resolveImage(
  mount: MountSpec,
  common: Pick<PlacedMount, 'origin' | 'at' | 'destination'>,
  field: (key: string) => PlacedMount['at'],
  { images, report, notes }: MountContext,
): PlacedMount | undefined {
  if (mount.source === undefined) return undefined;
  const image = images.get(mount.source);
  if (image === undefined) {
    // Reached only where the caller can do without this feature.
    notes.push(`${common.origin}, which is of type image, is left out`);
    return undefined;
  }
  const readonly = mount.readonly ?? true;
  if (readonly && mount.sizeBytes !== undefined)
    report(field('sizeBytes'), 'bounds changes, and there are none where it is read-only');
  const [top, ...below] = image.layers.map(({ directory }) => directory);
  const layers = { source: top, sourceKind: 'directory', layers: below, mode: undefined } as const;
  if (!readonly) {
    const sizeBytes = resolveSize(mount.sizeBytes, OVERLAY_BYTES_DEFAULT, field('sizeBytes'), report);
    return { ...common, ...layers, type: 'overlay', readonly, sizeBytes, changes: 'discard' };
  }
  return { ...common, ...layers, type: below.length === 0 ? 'bind' : 'overlay', readonly, sizeBytes: undefined };
}

const MOUNTS_SHOWN = 3;

/** mount_namespaces(7), "Restrictions on mount namespaces": what is mounted over a directory stays over it in a user namespace, and overlayfs shows no mounts. */
export function refuseMountsBelow(
  source: string,
  at: PlacedMount['at'],
  { host, report }: Pick<MountContext, 'host' | 'report'>,
): void {
  const below = host.mountsBelow(source);
  if (below.length === 0) return;
  const named = joinWords([...below.slice(0, MOUNTS_SHOWN), ...(below.length > MOUNTS_SHOWN ? ['more'] : [])]);
  report(
    at,
    `${source} cannot be shown as an overlay, because other file systems are mounted in it (${named}): unmount them, name a directory in which there are none, or give each an overlay of its own`,
  );
}

function resolveOverlay(
  mount: MountSpec,
  common: Pick<PlacedMount, 'origin' | 'at' | 'type' | 'destination'>,
  field: (key: string) => PlacedMount['at'],
  context: MountContext,
): PlacedMount | undefined {
  const { report } = context;
  const { changes = 'discard' } = mount;
  if (mount.readonly === true)
    report(field('readonly'), 'is not for an overlay mount, which is there to be written to; use a bind mount');
  if (changes === 'capture' && mount.sizeBytes !== undefined)
    report(field('sizeBytes'), "bounds changes that are in memory, and with changes: 'capture' they are not");
  if (mount.source === undefined) return undefined;
  const source = resolveSource(mount.source, field('source'), false, context);
  if (source === undefined || source === 'skipped') return undefined;
  if (source.kind !== 'directory') {
    report(field('source'), `${mount.source} is a ${source.kind}; only directories can be the source of an overlay`);
    return undefined;
  }
  refuseMountsBelow(source.path, field('source'), context);
  const sizeBytes =
    changes === 'capture' ? undefined : resolveSize(mount.sizeBytes, OVERLAY_BYTES_DEFAULT, field('sizeBytes'), report);
  return {
    ...common,
    source: source.path,
    sourceKind: 'directory',
    readonly: false,
    sizeBytes,
    mode: undefined,
    changes,
  };
}

const sourceTypes: readonly MountSpec['type'][] = ['bind', 'overlay', 'image'];

/** Which fields mean something for which types only. */
const fieldTypes: Readonly<
  Record<'source' | 'sizeBytes' | 'mode' | 'optional' | 'changes', readonly MountSpec['type'][]>
> = {
  source: sourceTypes,
  sizeBytes: ['tmpfs', 'overlay', 'image'],
  mode: ['tmpfs'],
  optional: ['bind', 'sysfs'],
  changes: ['overlay'],
};

function resolveSize(
  given: MountSpec['sizeBytes'],
  otherwise: number,
  at: PlacedMount['at'],
  report: Reporter,
): number {
  if (given === undefined) return otherwise;
  const size = collect(() => parseBytes(given, at), report);
  if (size === 0) report(at, 'must be at least 1 byte: tmpfs(5) takes 0 for no bound at all');
  return size ?? 0;
}

function resolveMode(
  given: number | undefined,
  destination: string | undefined,
  at: PlacedMount['at'],
  report: Reporter,
): number {
  if (given === undefined) return destination === '/tmp' || destination === '/dev/shm' ? 0o1777 : 0o755;
  const problem = checkInteger(given, 0, MODE_MAX);
  if (problem !== undefined) report(at, problem);
  return given;
}

/** What `attempt` gives; its issues are reported. */
export function collect<T>(attempt: () => T, report: Reporter): T | undefined {
  try {
    return attempt();
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    for (const { path, message } of error.issues) report(path, message);
    return undefined;
  }
}

interface Source {
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'device';
}

function resolveSource(
  text: string,
  at: PlacedMount['at'],
  optional: boolean,
  { host, report }: MountContext,
): Source | 'skipped' | undefined {
  const problem = checkPath(text);
  if (problem !== undefined) {
    report(at, problem);
    return undefined;
  }
  const absolute = hostPath(text, host);
  // Resolved here: /proc/self/fd/3 is something else in another process, and a person wants to see what is really bound.
  const path = host.realpath(absolute);
  const found = host.stat(path ?? absolute);
  if (path !== undefined && (found.kind === 'directory' || found.kind === 'file')) return { path, kind: found.kind };
  if (path !== undefined && found.kind === 'character device') return { path, kind: 'device' };
  const missing = found.kind === 'nothing' && (found.errno === 'ENOENT' || found.errno === 'ENOTDIR');
  if (missing && optional) return 'skipped';
  const description = describeLookup(text, absolute, found);
  const hint = found.kind === 'nothing' ? '' : '; only files, directories and character devices can be bound';
  report(at, `the ${at[0] === 'workspace' ? 'workspace' : 'source'} ${description}${hint}`);
  return undefined;
}

/** Absolute, and not shortened: what `..` means after a symlink is the kernel's business. */
function hostPath(text: string, host: SpecHost): string {
  if (!hasParentComponent(text)) return resolve(host.cwd, text);
  return text.startsWith('/') ? text : `${host.cwd}/${text}`;
}

export interface ResolvedWorkspace {
  readonly workspace: NormalizedSpec['workspace'];
  readonly mount: PlacedMount | undefined;
}

/** The workspace as a bind mount at its own path. */
export function resolveWorkspace(given: SandboxSpec['workspace'], context: MountContext): ResolvedWorkspace {
  const none: ResolvedWorkspace = { workspace: undefined, mount: undefined };
  if (given === undefined) return none;
  const { host, report } = context;
  const { path: text, access = 'rw', changes } = typeof given === 'string' ? { path: given } : given;
  if (changes !== undefined && access !== 'overlay')
    report(['workspace', 'changes'], `is for access: 'overlay', and this is '${access}'`);
  const at = typeof given === 'string' ? ['workspace'] : ['workspace', 'path'];
  const source = resolveSource(text, at, false, context);
  if (source === undefined || source === 'skipped') return none;
  if (source.kind !== 'directory') {
    report(at, `${text} is a ${source.kind}; a workspace is a directory. To bind a file, use mounts`);
    return none;
  }
  // The path as the caller knows it: build trees remember it. After `..` only the resolved one is certain.
  const path = hasParentComponent(text) ? source.path : cleanPath(resolve(host.cwd, text));
  const reason = refusal(path, source.path);
  if (reason !== undefined) {
    report(at, reason);
    return none;
  }
  noteHome(path, source.path, access, context);
  const mount: PlacedMount = {
    type: 'bind',
    source: source.path,
    sourceKind: 'directory',
    destination: path,
    readonly: access === 'ro',
    sizeBytes: undefined,
    mode: undefined,
    origin: 'workspace',
    at: ['workspace'],
  };
  if (access !== 'overlay') return { workspace: { path, access }, mount };
  refuseMountsBelow(source.path, at, context);
  const sizeBytes = changes === 'capture' ? undefined : OVERLAY_BYTES_DEFAULT;
  return {
    workspace: { path, access },
    mount: { ...mount, type: 'overlay', readonly: false, sizeBytes, changes: changes ?? 'discard' },
  };
}

/** Directories without which nothing runs inside, with those that /bin and its like lead to on a merged /usr. */
const indispensable: readonly string[] = [
  ...systemDirectories,
  ...['/usr/bin', '/usr/sbin', '/usr/lib', '/usr/lib32', '/usr/lib64', '/usr/libx32'],
  ...['/etc', '/proc', '/sys', '/dev'],
];

function refusal(path: string, source: string): string | undefined {
  if (path === '/' || source === '/') {
    return "a workspace of '/' would be the whole file system of this host; name the directory that the command works in";
  }
  const hidden = indispensable.find((directory) => isWithin(directory, path));
  if (hidden !== undefined)
    return `a workspace at ${path} would hide the sandbox's ${hidden}; name a directory that lies elsewhere`;
  const kernel = ['/proc', '/sys'].find((directory) => isWithin(path, directory) || isWithin(source, directory));
  return kernel === undefined ? undefined : `${path} lies in ${kernel}, which is the kernel's and no place to work in`;
}

function noteHome(path: string, source: string, access: string, { host, notes }: MountContext): void {
  if (host.home === undefined) return;
  const home = host.realpath(host.home) ?? host.home;
  if (!isWithin(home, source)) return;
  const verb = access === 'rw' ? 'read and change' : 'read';
  const relation = home === source ? 'is' : 'contains';
  notes.push(
    `the workspace ${path} ${relation} the home directory ${host.home}: the command can ${verb} all of it, keys and tokens included`,
  );
}
