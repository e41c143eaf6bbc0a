// One line for a command that failed because something of the host is not there by design. Pure: what the host has comes through HintHost.
import { isSandboxError, type LaunchError } from '../errors/errors.ts';
import { formatCommand } from '../run/result.ts';
import { isWithin } from '../spec/paths.ts';
import type { NormalizedSpec } from '../spec/types.ts';
import { subcommands } from './option.ts';

export type Failure =
  /** With a status other than 0. */
  { readonly kind: 'exited' } | { readonly kind: 'failed'; readonly error: unknown };

export interface HostFile {
  readonly kind: 'directory' | 'file' | 'device' | 'other';
  readonly executable: boolean;
  readonly uid: number;
  readonly gid: number;
}

export interface HintHost {
  /** Absolute, as all paths here. */
  readonly cwd: string;
  readonly home: string | undefined;
  readonly uid: number;
  /** The caller's PATH. */
  readonly searchPath: readonly string[];
  /** Absolute path of `path`, seen from `directory`; without `.` and `..`. */
  resolve(directory: string, path: string): string;
  /** What is there, symlinks followed. */
  find(path: string): HostFile | undefined;
  realpath(path: string): string | undefined;
  /** Whether the host view shows it. */
  inHostView(path: string): boolean;
}

/** What to say about it, if anything is known. */
export function hintFor(
  failure: Failure,
  spec: NormalizedSpec,
  argv: readonly string[],
  host: HintHost,
): string | undefined {
  if (failure.kind === 'exited') {
    return (
      hintForArguments(spec, argv, host) ??
      hintForProject(spec, argv, host) ??
      hintForNetwork(spec, argv) ??
      hintForOwner(spec, host)
    );
  }
  if (!isSandboxError(failure.error) || failure.error.code !== 'SBX_LAUNCH_FAILED') return undefined;
  const { step, reason, interpreter } = failure.error as LaunchError;
  if (step === 'cwd') return hintForPath(spec.cwd, spec, host);
  if (step !== 'exec') return undefined;
  if (reason === 'missing-interpreter')
    return interpreter === undefined ? undefined : hintForPath(interpreter, spec, host);
  if (reason !== 'not-found') return undefined;
  return hintForProgram(argv[0] ?? '', spec, host);
}

function hintForProgram(program: string, spec: NormalizedSpec, host: HintHost): string | undefined {
  if (program.includes('/')) return hintForPath(host.resolve(host.cwd, program), spec, host);
  if ((subcommands as readonly string[]).includes(program)) {
    return `to run-sandbox itself, ${program} means something only as its very first argument`;
  }
  // A directory as root has programs of its own; those of this host would not run there.
  if (spec.root.kind !== 'host') return undefined;
  const found = host.searchPath
    .map((directory) => host.resolve(directory, program))
    .find((path) => host.find(path)?.kind === 'file' && host.find(path)?.executable === true);
  if (found === undefined) return undefined;
  const target = host.realpath(found) ?? found;
  const hidden = [...(isShown(found, spec, host) ? [] : [found]), ...(isVisible(target, spec, host) ? [] : [target])];
  const directory = found.slice(0, found.lastIndexOf('/')) || '/';
  const searched = spec.env['PATH']?.split(':').includes(directory) === true;
  if (hidden.length === 0 && searched) return undefined;
  const binds = hidden
    .map(installationOf)
    .filter((path, index, all) => !all.slice(0, index).some((other) => isWithin(path, other)));
  const options = [...binds.map((path) => `--bind ${quote(path)}`), ...(searched ? [] : ['--env PATH'])].join(' ');
  return hidden.length === 0
    ? `${program} is ${found} on this host, which is not on PATH in the sandbox; add ${options}`
    : `${program} is ${found} on this host, which is not in the sandbox; add ${options}`;
}

/** A program of `PREFIX/bin` mostly needs what lies beside it. */
function installationOf(program: string): string {
  const directory = program.slice(0, program.lastIndexOf('/'));
  const prefix = /^(?<prefix>.+)\/s?bin$/.exec(directory)?.groups?.['prefix'];
  return prefix ?? program;
}

function hintForArguments(spec: NormalizedSpec, argv: readonly string[], host: HintHost): string | undefined {
  for (const [index, argument] of argv.entries()) {
    // A program without a slash is looked up on PATH, not in the current directory.
    if (index === 0 && !argument.includes('/')) continue;
    for (const candidate of pathsIn(argument)) {
      // Inside, `.` is some other directory, and always there.
      const here = !spec.cwdGiven && (candidate === '.' || candidate === '..');
      if (!here && isVisible(host.resolve(spec.cwd, candidate), spec, host)) continue;
      const hint = hintForPath(host.resolve(host.cwd, candidate), spec, host);
      if (hint !== undefined) return hint;
    }
  }
  return undefined;
}

/** Programs that look for a project where they are started, without any argument that names it. */
const projectTools: ReadonlySet<string> = new Set([
  ...['make', 'ninja', 'cmake', 'meson', 'bazel', 'scons', 'rake', 'just'],
  ...['npm', 'npx', 'yarn', 'pnpm', 'bun', 'deno', 'tsc', 'vitest', 'jest', 'eslint'],
  ...['cargo', 'go', 'mvn', 'gradle', 'dotnet', 'composer', 'bundle', 'mix', 'stack', 'cabal'],
  ...['pytest', 'tox', 'nox', 'poetry', 'uv', 'ruff', 'mypy', 'git', 'pre-commit'],
]);

function hintForProject(spec: NormalizedSpec, argv: readonly string[], host: HintHost): string | undefined {
  const program = argv[0]?.split('/').pop() ?? '';
  if (spec.cwdGiven || !projectTools.has(program) || isVisible(host.cwd, spec, host)) return undefined;
  return 'the current directory is not in the sandbox; add -w to work in it';
}

/** `--file=x` may mean the file x. */
function pathsIn(argument: string): string[] {
  const value = /^-{1,2}[\w-]+=(?<value>.+)$/s.exec(argument)?.groups?.['value'];
  if (value !== undefined) return [value];
  return argument === '' || argument.startsWith('-') || argument.includes('\0') ? [] : [argument];
}

function hintForPath(path: string, spec: NormalizedSpec, host: HintHost): string | undefined {
  const file = host.find(path);
  if (file === undefined || isVisible(path, spec, host)) return undefined;
  // A directory as root has a system of its own, and what it lacks it lacks.
  if (spec.root.kind !== 'host' && host.inHostView(path)) return undefined;
  if (isShown(path, spec, host)) {
    const target = host.realpath(path) ?? path;
    return `${path} leads to ${target}, which is not in the sandbox; add --bind ${quote(target)}`;
  }
  const absent = `${path} is not in the sandbox`;
  if (isWithin(path, '/sys') && spec.network !== 'host') return `${absent}; add --mount type=sysfs,destination=/sys`;
  if (file.kind === 'device') return `${absent}; add --bind ${quote(path)}`;
  const inProject =
    spec.workspace === undefined && isWithin(path, host.cwd) && host.cwd !== '/' && host.cwd !== host.home;
  if (!inProject) return `${absent}; add --bind ${quote(path)}`;
  const directory = file.kind === 'directory' ? path : path.slice(0, path.lastIndexOf('/'));
  return `${absent}; add -w to work in the current directory, or --bind ${quote(directory)}`;
}

function hintForNetwork(spec: NormalizedSpec, argv: readonly string[]): string | undefined {
  if (spec.network !== 'none') return undefined;
  const url = argv.slice(1).find((argument) => /^(?:https?|ftp|ssh|git|wss?):\/\/[^/]/i.test(argument));
  return url === undefined
    ? undefined
    : `there is no network in the sandbox, so ${quote(url)} cannot be reached; add --network host`;
}

/** Root without capabilities is bound by the permissions of a directory of somebody else. */
function hintForOwner(spec: NormalizedSpec, host: HintHost): string | undefined {
  const { workspace, user, capabilities } = spec;
  if (workspace?.access !== 'rw' || host.uid !== 0 || user.uid !== 0 || capabilities.includes('CAP_DAC_OVERRIDE'))
    return undefined;
  const owner = host.find(workspace.path);
  if (owner === undefined || owner.uid === 0) return undefined;
  return (
    `${workspace.path} belongs to uid ${owner.uid}, and root without capabilities may not write there; ` +
    `add --user ${owner.uid}:${owner.gid}, or --cap-keep CAP_DAC_OVERRIDE`
  );
}

/** What is always there, whatever the root. */
const devices = [
  'null',
  'zero',
  'full',
  'random',
  'urandom',
  'tty',
  'ptmx',
  'pts',
  'shm',
  'mqueue',
  'fd',
  'stdin',
  'stdout',
  'stderr',
  'core',
  'console',
];

/** Whether what the host has at `path` is to be seen at the same path inside. */
export function isVisible(path: string, spec: NormalizedSpec, host: HintHost): boolean {
  return isThere(path, spec, host, 8);
}

function isThere(path: string, spec: NormalizedSpec, host: HintHost, symlinksLeft: number): boolean {
  if (!isShown(path, spec, host)) return false;
  // In a directory as root, and through a mount from elsewhere, a symlink means something else than here.
  if (sourceOf(path, spec, host) !== path || symlinksLeft === 0) return true;
  const real = host.realpath(path);
  return real === undefined || real === path || isThere(real, spec, host, symlinksLeft - 1);
}

/** Whether the place itself is inside; if it is a symlink, it may lead nowhere. */
function isShown(path: string, spec: NormalizedSpec, host: HintHost): boolean {
  const source = sourceOf(path, spec, host);
  return typeof source === 'boolean' ? source : host.find(source) !== undefined;
}

/** Where on the host `path` inside comes from; `true` and `false` where that is no question. */
function sourceOf(path: string, spec: NormalizedSpec, host: HintHost): string | boolean {
  if (path === '/') return true;
  // The later of two mounts at one place covers the earlier.
  const mount = spec.mounts
    .filter(({ destination }) => isWithin(path, destination))
    .reduce<NormalizedSpec['mounts'][number] | undefined>(
      (best, next) => (best !== undefined && best.destination.length > next.destination.length ? best : next),
      undefined,
    );
  if (mount !== undefined) {
    if (mount.type !== 'bind') return mount.type !== 'tmpfs';
    const source = mount.source ?? '/';
    return path === mount.destination
      ? source
      : `${source === '/' ? '' : source}${path.slice(mount.destination.length)}`;
  }
  if (isWithin(path, '/proc')) return true;
  if (isWithin(path, '/dev')) return path === '/dev' || devices.includes(path.split('/')[2] ?? '');
  if (isWithin(path, '/tmp') || isWithin(path, spec.home)) return path === '/tmp' || path === spec.home;
  if (spec.root.kind === 'host') return host.inHostView(path) ? path : false;
  return `${spec.root.path ?? ''}${path}`;
}

function quote(word: string): string {
  return formatCommand([word]);
}
