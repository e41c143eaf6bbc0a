// Every default filled in, every path absolute and looked at, every unit resolved. On the way of every run: no schema library, no needless
// system call. Pure, given the host.
//
// Preconditions: the spec has the right shape (validateSpec, or options of the command line), and negotiation has let it through. Features that
// are not served yet therefore only come here where the caller can do without them; each then gives way to the stricter thing.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { resolveUser } from './accounts.ts';
import { checkCapability } from './capabilities.ts';
import { checkHostname, checkInteger, checkPathInside, TERMINAL_MAX } from './checks.ts';
import { resolveEnv } from './environment.ts';
import type { SpecHost } from './host.ts';
import { resolveIdMappings } from './id-mappings.ts';
import type { LookupCache } from './in-root.ts';
import type { Reporter } from './issues.ts';
import { resolveLandlock } from './landlock.ts';
import { LayeredHost, type LayeredRoot } from './layered-root.ts';
import { builtinMountPoints, checkMountPoints, placeWorkspace } from './mount-points.ts';
import { collect, type PlacedMount, resolveMounts, resolveWorkspace } from './mounts.ts';
import { nearest } from './nearest.ts';
import { cleanPath } from './paths.ts';
import { resolveRoot, resolveWritablePaths } from './root.ts';
import { coveredDirectories, placeForHosts } from './skeleton.ts';
import type {
  Limits,
  NormalizedMount,
  NormalizedOnSyscall,
  NormalizedSeccomp,
  NormalizedSpec,
  SandboxSpec,
} from './types.ts';
import { formatBytes, parseBytes, parseMilliseconds } from './units.ts';

const HOSTNAME_DEFAULT = 'sandbox';
const UMASK_DEFAULT = 0o022;

/** What the compiler of filters made of a spec, and what is wrong with that. */
export interface ReadFilters {
  /** Of `spec.seccomp`, where that names a profile that is not the default one. */
  readonly seccomp: NormalizedSeccomp | undefined;
  /** Where the spec has rules for single calls. */
  readonly onSyscall: NormalizedOnSyscall | undefined;
  /** Where `spec.landlock` names ports. */
  readonly portsFilter: string | undefined;
  readonly issues: readonly SpecIssue[];
}

/** What is known of the image that a spec names as its root. */
export interface ImageRoot extends LayeredRoot {
  /** For a person. */
  readonly reference: string;
  /** Of the user that the image runs as. */
  readonly home: string | undefined;
  readonly notes: readonly string[];
}

/** The images that a spec names, found and unpacked. */
export interface SpecImages {
  readonly root: ImageRoot | undefined;
  /** Of mounts, by their source. */
  readonly mounts: ReadonlyMap<string, LayeredRoot>;
}

const noImages: SpecImages = { root: undefined, mounts: new Map() };

/**
 * `compiled`: where the spec needs a filter that is not the default one. `images`: where it names some.
 *
 * @throws {SpecError} with every issue. Nothing was created.
 */
export function normalize(
  spec: SandboxSpec,
  outside: SpecHost,
  compiled?: ReadFilters,
  images: SpecImages = noImages,
): NormalizedSpec {
  const issues: SpecIssue[] = [...(compiled?.issues ?? [])];
  const report: Reporter = (path, message) => {
    issues.push({ path, message });
  };
  const image = images.root;
  const notes: string[] = [...(image?.notes ?? [])];
  const cache: LookupCache = new Map();
  const layered = image === undefined ? undefined : new LayeredHost(outside, image);
  const host = layered ?? outside;

  const root = resolveRoot(spec.root, image, host, report, notes);
  const resolvedUser = resolveUser(spec.user, host, root.lookupPath, report, cache);
  const { idMappings, user } = resolveIdMappings(spec, resolvedUser, host, report, notes);
  const home = image?.home ?? (user.uid === 0 ? '/root' : `/home/${user.name}`);
  const own = builtinMountPoints(home, root);
  const writablePaths = resolveWritablePaths(spec.root, root, own, host, report, notes, cache);

  const context = { host, images: images.mounts, report, notes };
  const { workspace, mount } = resolveWorkspace(spec.workspace, context);
  const resolved = resolveMounts(spec.mounts, context);
  const placed = placeWorkspace(resolved, mount);
  const mounts = spec.limits?.diskBytes === undefined ? placed : placed.map(sharing(spec));
  const missingMountPoints = checkMountPoints(mounts, { ...context, root, home, cache });
  const skeleton = { root, host, layered, cache };
  const destinations = mounts.map(({ destination }) => destination);
  const hostsFile = spec.network === 'host' ? undefined : placeForHosts(destinations, skeleton);
  const added = [...missingMountPoints.map(({ path }) => path), ...(hostsFile === undefined ? [] : [hostsFile])];
  const terminal = resolveTerminal(spec.terminal, report);

  const normalized: NormalizedSpec = {
    root: {
      kind: root.kind,
      path: root.path,
      layers: root.layers,
      image: image?.reference,
      readonly: root.readonly,
      changes: root.changes,
      writablePaths,
      missingMountPoints,
      coveredDirectories: coveredDirectories(added, skeleton),
      hostsFile,
    },
    mounts: mounts.map(withoutPlace),
    workspace,
    cwd: resolveCwd(spec.cwd, workspace?.path ?? home, report),
    cwdGiven: spec.cwd !== undefined || workspace !== undefined,
    env: resolveEnv(spec.env, { env: host.env, home, user: user.name, terminal: terminal !== undefined }, report),
    home,
    hostname: resolveHostname(spec.hostname, report),
    umask: resolveUmask(spec.umask, report),
    user,
    idMappings,
    network: spec.network === 'host' ? 'host' : 'none',
    limits: resolveLimits(spec.limits, sizesOf(root, mounts), report),
    seccomp: resolveSeccomp(spec, compiled?.seccomp, report),
    onSyscall: compiled?.onSyscall,
    capabilities: resolveCapabilities(spec.capabilities, report),
    landlock: resolveLandlock(spec.landlock, compiled?.portsFilter, report),
    terminal,
    architecture: spec.architecture,
    notes,
  };
  if (issues.length > 0) throw new SpecError(issues);
  return normalized;
}

function withoutPlace({ at: _at, ...mount }: PlacedMount): NormalizedMount {
  return mount;
}

function resolveCwd(given: string | undefined, otherwise: string, report: Reporter): string {
  if (given === undefined) return otherwise;
  const problem = checkPathInside(given);
  if (problem !== undefined) report(['cwd'], problem);
  return cleanPath(given);
}

function resolveHostname(given: string | undefined, report: Reporter): string {
  const problem = given === undefined ? undefined : checkHostname(given);
  if (problem !== undefined) report(['hostname'], problem);
  return given ?? HOSTNAME_DEFAULT;
}

function resolveUmask(given: number | undefined, report: Reporter): number {
  const problem = given === undefined ? undefined : checkInteger(given, 0, 0o777);
  if (problem !== undefined) report(['umask'], problem);
  return given ?? UMASK_DEFAULT;
}

function resolveTerminal(given: SandboxSpec['terminal'], report: Reporter): NormalizedSpec['terminal'] {
  if (given === undefined || typeof given === 'boolean') return given || undefined;
  for (const key of ['columns', 'rows'] as const) {
    const problem = checkInteger(given[key], 1, TERMINAL_MAX);
    if (problem !== undefined) report(['terminal', key], problem);
  }
  return { columns: given.columns, rows: given.rows };
}

function resolveSeccomp(
  { seccomp, seccompUnknownSyscalls }: SandboxSpec,
  compiled: NormalizedSeccomp | undefined,
  report: Reporter,
): NormalizedSpec['seccomp'] {
  if (seccompUnknownSyscalls !== undefined && typeof seccomp !== 'object')
    report(['seccompUnknownSyscalls'], 'is about the names in a profile of your own, and seccomp is none');
  return compiled ?? (seccomp === 'unconfined' ? 'unconfined' : 'default');
}

function resolveCapabilities(given: readonly string[] | undefined, report: Reporter): readonly string[] {
  for (const [index, name] of (given ?? []).entries()) {
    const problem = checkCapability(name, nearest);
    if (problem !== undefined) report(['capabilities', index], problem);
  }
  return [...new Set(given)];
}

/** For init, and the exec of the command. */
const MEMORY_MIN = 2 * 1024 * 1024;

/** Where there is one bound for all, a tmpfs or an overlay for which the spec names no size has none by itself. */
function sharing({ mounts = [] }: SandboxSpec): (mount: PlacedMount) => PlacedMount {
  const bounded = new Set(
    mounts.flatMap((mount, index) =>
      typeof mount === 'object' && mount.sizeBytes !== undefined ? [`mounts[${index}]`] : [],
    ),
  );
  return (mount) =>
    (mount.type !== 'tmpfs' && mount.type !== 'overlay') || bounded.has(mount.origin)
      ? mount
      : { ...mount, sizeBytes: undefined };
}

/** For a directory and a file. */
const DISK_MIN = 64 * 1024;
/** Of a host view that is not read-only, with a file system of its own (hostViewOptions). */
const WRITABLE_ROOT = 1024 * 1024;

/** What of the sandbox's own file systems has a bound by itself. */
function sizesOf(root: Pick<NormalizedSpec['root'], 'kind' | 'readonly'>, mounts: readonly NormalizedMount[]): number {
  const bounded = mounts.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  return bounded + (root.kind === 'host' && !root.readonly ? WRITABLE_ROOT : 0);
}

/** `taken`: of `diskBytes`. */
function resolveLimits(given: Limits = {}, taken: number, report: Reporter): NormalizedSpec['limits'] {
  const milliseconds = (key: 'wallMs' | 'cpuMs' | 'processCpuMs'): number | undefined => {
    const value = given[key];
    if (value === undefined) return undefined;
    const parsed = collect(() => parseMilliseconds(value, ['limits', key]), report);
    if (parsed === 0) report(['limits', key], 'must be at least 1 ms; for no bound leave it out');
    return parsed;
  };
  const bytes = (
    key: 'memoryBytes' | 'fileBytes' | 'stackBytes' | 'coreBytes' | 'outputBytes' | 'diskBytes',
  ): number | undefined => {
    const value = given[key];
    return value === undefined ? undefined : collect(() => parseBytes(value, ['limits', key]), report);
  };
  const whole = (key: 'openFiles' | 'pids', minimum: number): number | undefined => {
    const value = given[key];
    const problem = value === undefined ? undefined : checkInteger(value, minimum, Number.MAX_SAFE_INTEGER);
    if (problem !== undefined) report(['limits', key], problem);
    return value;
  };
  const memoryBytes = bytes('memoryBytes');
  if (memoryBytes !== undefined && memoryBytes < MEMORY_MIN)
    report(['limits', 'memoryBytes'], `must be at least ${formatBytes(MEMORY_MIN)}: a sandbox itself takes some`);
  const diskBytes = bytes('diskBytes');
  if (diskBytes !== undefined && diskBytes - taken < DISK_MIN) {
    const why = taken === 0 ? '' : `, for ${formatBytes(taken)} of it are those of mounts with a size of their own`;
    report(['limits', 'diskBytes'], `must be at least ${formatBytes(DISK_MIN + taken)}${why}`);
  }
  const found = {
    wallMs: milliseconds('wallMs'),
    cpuMs: milliseconds('cpuMs'),
    processCpuMs: milliseconds('processCpuMs'),
    cpus: given.cpus,
    memoryBytes,
    pids: whole('pids', 1),
    openFiles: whole('openFiles', 0),
    fileBytes: bytes('fileBytes'),
    stackBytes: bytes('stackBytes'),
    outputBytes: bytes('outputBytes'),
    diskBytes: diskBytes === undefined ? undefined : diskBytes - taken,
  };
  const set = Object.entries(found).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(set), coreBytes: bytes('coreBytes') ?? 0 };
}
