// Files that belong to ranges of ids (subuid(5)) may neither be read nor removed by the ordinary user whose ranges they are, except in a user namespace with
// these ids. There this library works on them itself: a Node of its own (image/worker.ts), in a sandbox with the files and what they lie over, and without
// a network.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { LaunchEnd, LaunchedProcess } from '../backends/backend.ts';
import { outputOf, textOf } from '../backends/own-output.ts';
import { OwnSandbox } from '../backends/own-sandbox.ts';
import { SandboxError, SpecError } from '../errors/errors.ts';
import { packageRoot } from '../host/package-root.ts';
import type { CapturedView } from '../spec/captures.ts';
import type { RootLayer } from '../spec/layered-root.ts';
import { commonParent } from '../spec/paths.ts';
import type { MountSpec, SandboxSpec } from '../spec/types.ts';
import type { CapturedIds } from './ids.ts';
import type { Capture } from './store.ts';
import type { ApplyReport, Change, ExportFormat } from './types.ts';
import type { UpperEntry } from './upper.ts';
import type { Work } from './work.ts';

/** What the worker is asked, as JSON on its standard input. `own`: the ids that it has. */
export type Job =
  | { readonly task: 'entries' | 'diff' | 'apply' | 'empty'; readonly capture: Capture }
  | { readonly task: 'export'; readonly capture: Capture; readonly format: ExportFormat }
  | { readonly task: 'upper'; readonly directory: string }
  | { readonly task: 'merge'; readonly layers: readonly RootLayer[]; readonly target: string };

export interface Assignment {
  readonly job: Job;
  readonly own: Pick<CapturedIds, 'uid' | 'gid'>;
}

/** What a worker writes to standard error where it fails, as JSON. */
export interface Failure {
  readonly code: string;
  /** Without the remedy. */
  readonly message: string;
  readonly remedy?: string;
}

const NODE = '/node';
const PACKAGE = '/sandboxlib';
/** Above the package, so that its modules find it. */
const MODULES = '/node_modules';
const WORKER = `${PACKAGE}/dist/image/worker.js`;
/** For what is closed to its owner; for owners, modes and bits set-ID of what is made. */
const capabilities = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID'];

/** @throws {SandboxError} `SBX_CHANGES_UNREADABLE` */
export async function workInRanges(capture: Capture): Promise<Work> {
  const entries = JSON.parse(await answer({ task: 'entries', capture }, mountsFor(capture, true))) as Change[];
  return {
    entries,
    diff: () => answer({ task: 'diff', capture }, mountsFor(capture, true)),
    export: (format) => exported(capture, format),
    apply: async () => JSON.parse(await answer({ task: 'apply', capture }, mountsFor(capture, false))) as ApplyReport,
  };
}

/** Leaves what belongs to the caller. @throws {SandboxError} `SBX_CHANGES_UNREADABLE` */
export async function emptyInRanges(capture: Capture): Promise<void> {
  await answer({ task: 'empty', capture }, [bind(capture.directory, false)]);
}

/** @throws {SandboxError} `SBX_CHANGES_UNREADABLE` */
export async function listUpperInRanges(directory: string): Promise<UpperEntry[]> {
  return JSON.parse(await answer({ task: 'upper', directory }, [bind(directory, true)])) as UpperEntry[];
}

/** As `mergeLayers`, and all that is made belongs to the caller. `target` lies in a directory that is writable inside. */
export async function mergeInRanges(
  layers: readonly RootLayer[],
  target: string,
): Promise<ReadonlyMap<string, number>> {
  const mounts = [...layersOf([{ layers }]), bind(dirname(target), false)];
  const leftOut = JSON.parse(await answer({ task: 'merge', layers, target }, mounts)) as [string, number][];
  return new Map(leftOut);
}

async function* exported(capture: Capture, format: ExportFormat): AsyncGenerator<Uint8Array> {
  const { running, failure, ended } = await start({ task: 'export', capture, format }, mountsFor(capture, true));
  try {
    yield* outputOf(running, 1);
  } finally {
    // Whoever reads it may have had enough.
    running.kill();
  }
  check(await ended, await failure);
}

async function answer(job: Job, mounts: readonly MountSpec[]): Promise<string> {
  const { running, failure, ended } = await start(job, mounts);
  const [said, complaint, end] = await Promise.all([textOf(running, 1), failure, ended]);
  check(end, complaint);
  return said;
}

interface Running {
  readonly running: LaunchedProcess;
  readonly failure: Promise<string>;
  readonly ended: Promise<LaunchEnd | { readonly error: unknown }>;
}

async function start(job: Job, mounts: readonly MountSpec[]): Promise<Running> {
  const sandbox = await sandboxWith(mounts);
  const { uid, gid } = sandbox.idMappings;
  const running = sandbox.launch([NODE, WORKER], ['pipe', 'pipe', 'pipe']);
  const ended = running.ended.catch((error: unknown) => ({ error }));
  const stdin = running.stdin;
  // A worker that has ended says why by its end.
  stdin?.on('error', () => undefined);
  stdin?.end(JSON.stringify({ job, own: { uid, gid } } satisfies Assignment));
  return { running, failure: textOf(running, 2), ended };
}

async function sandboxWith(mounts: readonly MountSpec[]): Promise<OwnSandbox> {
  const spec: SandboxSpec = {
    mounts: [...program(), ...mounts],
    user: { uid: 0, gid: 0 },
    uidMappings: 'subordinate',
    gidMappings: 'subordinate',
    network: 'none',
    capabilities,
  };
  try {
    return await OwnSandbox.of(spec, { view: 'system' });
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    // Ranges that were taken away since, or a source that is not there any more.
    throw unworkable(error.issues.map(({ message }) => message).join('; '), error);
  }
}

function unworkable(why: string, cause?: unknown): SandboxError {
  const message = `what belongs to your ranges of ids cannot be worked on: ${why}`;
  return new SandboxError('SBX_CHANGES_UNREADABLE', message, { cause });
}

function check(end: LaunchEnd | { readonly error: unknown }, complaint: string): void {
  if ('error' in end) throw end.error;
  if (end.code === 0) return;
  const told = failureOf(complaint);
  if (told !== undefined) throw new SandboxError(told.code, told.message, { remedy: told.remedy });
  const how = end.signal === undefined ? `with status ${end.code}` : `by ${end.signal}`;
  const last = complaint.trim().split('\n').at(-1) ?? '';
  throw unworkable(`the process for it ended ${how}${last === '' ? '' : `: ${last}`}`);
}

function failureOf(complaint: string): Failure | undefined {
  try {
    return JSON.parse(complaint) as Failure;
  } catch {
    // Node's own words then, which are said as they are.
    return undefined;
  }
}

function program(): MountSpec[] {
  const diff = dirname(createRequire(import.meta.url).resolve('diff/package.json'));
  return [
    { type: 'bind', source: process.execPath, destination: NODE, readonly: true },
    { type: 'bind', source: packageRoot(), destination: PACKAGE, readonly: true },
    { type: 'bind', source: diff, destination: `${MODULES}/diff`, readonly: true },
  ];
}

function mountsFor({ directory, views }: Capture, readonly: boolean): MountSpec[] {
  const sources = views.flatMap(({ source, layers }) => (layers === undefined ? [bind(source, readonly)] : []));
  return [...sources, ...layersOf(views), bind(directory, false)];
}

function layersOf(views: readonly Pick<CapturedView, 'layers'>[]): MountSpec[] {
  const [first, ...rest] = views.flatMap(({ layers = [] }) => layers.map(({ directory }) => directory));
  // One mount for all, where an image has a hundred of them.
  return first === undefined ? [] : [bind(commonParent([first, ...rest]), true)];
}

/** Where it is on the host: paths in answers and complaints are the caller's. */
function bind(path: string, readonly: boolean): MountSpec {
  return { type: 'bind', source: path, destination: path, readonly };
}
