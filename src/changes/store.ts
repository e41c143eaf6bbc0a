// Where captured changes are kept: one directory for each run, with a directory for each view, and what is to be known of the run.
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { SandboxError } from '../errors/errors.ts';
import { Directory } from '../host/directory.ts';
import { startTimeOf } from '../host/processes.ts';
import type { CapturedView } from '../spec/captures.ts';
import { isWithin } from '../spec/paths.ts';
import type { CapturedIds } from './ids.ts';

/** What `capture.json` holds. */
export interface Capture {
  readonly version: 1;
  readonly id: string;
  readonly directory: string;
  readonly views: readonly CapturedView[];
  /** Of what the root's view lies over, where that is an image. */
  readonly image?: CapturedImage;
  /** Absent in those of a version that knew no others than the caller's. */
  readonly ids?: CapturedIds;
  readonly command: readonly string[];
  /** Of the real-time clock, as the kernel stamps files with it: what has been touched since has a later ctime. In nanoseconds. */
  readonly startedNs: string;
  /** Who started the run: its process id, and when that began (proc_pid_stat(5), field 22). */
  readonly caller: { readonly pid: number; readonly startTime: string };
  readonly ended: boolean;
}

export interface CapturedImage {
  readonly reference: string;
  readonly kind: string;
  /** Of an OCI image: the digest of its manifest, or of its configuration where it came from an archive of `docker save`. */
  readonly id: string;
}

type Stored = Omit<Capture, 'id' | 'directory'>;

/** Of kernels that tick 100 times a second, and some more. */
const TICK_MAX_MS = 50;
const FILE = 'capture.json';
const ID = /^[0-9a-f]{10}$/;

/** `$XDG_STATE_HOME/sandboxlib/changes` (XDG Base Directory Specification 0.8). */
export function capturesDirectory(): string {
  const given = process.env['XDG_STATE_HOME'];
  const state = given?.startsWith('/') === true ? given : join(homedir(), '.local', 'state');
  return join(state, 'sandboxlib', 'changes');
}

/** A home may lie behind a symlink, and the launcher follows none. */
function realCapturesDirectory(): string {
  const directory = capturesDirectory();
  return existsSync(directory) ? realpathSync(directory) : directory;
}

/**
 * Makes room for the changes of one run.
 *
 * @throws {SandboxError} `SBX_CHANGES_UNREADABLE` where there can be none.
 */
export function createCapture({
  views,
  command,
  ids,
  image,
}: Pick<Capture, 'views' | 'command' | 'image'> & { readonly ids: CapturedIds }): Capture {
  const given = capturesDirectory();
  const id = randomBytes(5).toString('hex');
  try {
    mkdirSync(given, { recursive: true, mode: 0o700 });
    const parent = realCapturesDirectory();
    refuseOthers(parent);
    refuseOverlap(parent, views);
    const directory = join(parent, id);
    mkdirSync(directory, { mode: 0o700 });
    for (const path of viewDirectories(directory, views).flatMap((view) => [view, `${view}/upper`, `${view}/work`]))
      mkdirSync(path, { mode: 0o700 });
    const startedNs = String(nextTick(directory));
    const caller = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
    const named = image === undefined ? {} : { image: { reference: image.reference, kind: image.kind, id: image.id } };
    return write({ version: 1, id, directory, views, ids, ...named, command, startedNs, caller, ended: false });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || error instanceof SandboxError) throw error;
    throw unusable(
      `no changes can be captured in ${given}: ${message}`,
      'set XDG_STATE_HOME to a directory that can be written to',
      error,
    );
  }
}

/** The clock of files goes on by some milliseconds at once: a time that nothing has which was changed before this was called. */
function nextTick(directory: string): bigint {
  const ctime = (): bigint => lstatSync(directory, { bigint: true }).ctimeNs;
  const before = ctime();
  // A file system may count in seconds. Then what was changed shortly before the run counts as changed since.
  const patience = performance.now() + TICK_MAX_MS;
  let now = before;
  while (now === before && performance.now() < patience) {
    chmodSync(directory, 0o700);
    now = ctime();
  }
  return now;
}

/** For `LaunchRequest.captures`. */
export function viewDirectories(directory: string, views: readonly CapturedView[]): string[] {
  return views.map((_view, index) => join(directory, String(index)));
}

export function markEnded(capture: Capture): Capture {
  return write({ ...capture, ended: true });
}

/** @throws {SandboxError} `SBX_CHANGES_UNKNOWN`, `SBX_CHANGES_UNREADABLE`, or `SBX_CHANGES_IN_USE` where the run has not ended. */
export function readCapture(id: string): Capture {
  const parent = realCapturesDirectory();
  const directory = join(parent, id);
  if (!ID.test(id) || !existsSync(directory)) {
    throw new SandboxError('SBX_CHANGES_UNKNOWN', `there are no changes called ${JSON.stringify(id)}`, {
      remedy: 'run-sandbox changes lists those that there are',
    });
  }
  refuseOthers(parent);
  const capture = readFrom(directory);
  if (!capture.ended && startTimeOf(capture.caller.pid) === capture.caller.startTime) {
    throw new SandboxError('SBX_CHANGES_IN_USE', `the run whose changes are ${id} has not ended`, {
      remedy: `it was started by process ${capture.caller.pid}`,
    });
  }
  return capture;
}

/** Those that can be read, the oldest first; what else lies there is somebody's own business. */
export function readCaptures(): Capture[] {
  const parent = realCapturesDirectory();
  if (existsSync(parent)) refuseOthers(parent);
  const ids = existsSync(parent) ? readdirSync(parent).filter((name) => ID.test(name)) : [];
  const known = ids.filter((id) => existsSync(join(parent, id, FILE)));
  return known
    .map((id) => readFrom(join(parent, id)))
    .sort((a, b) => (BigInt(a.startedNs) < BigInt(b.startedNs) ? -1 : 1));
}

export function removeCapture({ directory }: Pick<Capture, 'directory'>): void {
  if (!existsSync(directory)) return;
  using parent = Directory.open(dirname(directory));
  parent.remove(basename(directory));
}

/** All that a command left in it, and nothing of what is ours. */
export function emptyCapture({ directory, views }: Pick<Capture, 'directory' | 'views'>): void {
  for (const path of viewDirectories(directory, views)) {
    using view = Directory.open(path);
    for (const name of view.names()) view.remove(name);
  }
}

function readFrom(directory: string): Capture {
  try {
    const stored = JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as Stored;
    if (stored.version !== 1) throw new Error(`it is of version ${stored.version}, and this is version 1`);
    return { ...stored, id: basename(directory), directory };
  } catch (cause) {
    throw unusable(
      `the changes in ${directory} cannot be read: ${(cause as Error).message}`,
      `remove that directory`,
      cause,
    );
  }
}

function write(capture: Capture): Capture {
  const { id: _id, directory, ...stored } = capture;
  // Whole or not at all, whenever this process is killed.
  const beside = join(directory, `${FILE}.new`);
  writeFileSync(beside, `${JSON.stringify(stored satisfies Stored)}\n`, { mode: 0o600 });
  renameSync(beside, join(directory, FILE));
  return capture;
}

/** overlayfs.rst: a layer above must not lie in one below. */
function refuseOverlap(parent: string, views: readonly CapturedView[]): void {
  const around = views.find(({ source, layers }) => layers === undefined && isWithin(parent, source));
  if (around === undefined) return;
  throw unusable(
    `changes of ${around.source} cannot be captured in ${parent}, which lies in it`,
    'set XDG_STATE_HOME to a directory elsewhere',
  );
}

/**
 * Who could write there could have us apply what they like where they like, and see what others captured: `$XDG_STATE_HOME` may be a place for
 * everybody, in which somebody was first.
 */
function refuseOthers(parent: string): void {
  const state = statSync(dirname(dirname(parent)));
  // In one like /tmp nobody can rename what is another's.
  const mayBeMoved = (state.mode & 0o022) !== 0 && (state.mode & 0o1000) === 0;
  for (const path of [dirname(parent), parent]) {
    const status = lstatSync(path);
    const own = status.isDirectory() && status.uid === process.geteuid?.() && (status.mode & 0o022) === 0;
    if (!own || mayBeMoved)
      throw unusable(
        `${path} belongs to others, or others may write to it`,
        'set XDG_STATE_HOME to a directory of your own',
      );
  }
}

function unusable(message: string, remedy: string, cause?: unknown): SandboxError {
  return new SandboxError('SBX_CHANGES_UNREADABLE', message, { remedy, cause });
}
