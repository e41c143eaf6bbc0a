// Node's words for stdio, turned into what a backend needs: a descriptor where there is one, a pipe otherwise.
import { closeSync, createWriteStream, fstatSync, openSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { LaunchRequest } from '../backends/backend.ts';
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import type { CallOptions } from './options.ts';
import type { InputData, InputSource, OutputTarget } from './types.ts';

type StdioEntry = LaunchRequest['stdio'][number];

/** A stream that gets a copy of an output. */
export interface Sink {
  readonly stream: Writable;
  /** Whether it ends with the output; the streams of this process do not. */
  readonly end: boolean;
}

export interface StdioRoutes {
  readonly entries: LaunchRequest['stdio'];
  readonly input: InputData | undefined;
  readonly stdout: readonly Sink[];
  readonly stderr: readonly Sink[];
  /** Closes this side's copies of the files that were opened. Preconditions: the launch has its own. */
  close(): void;
}

/**
 * Opens what is named by URL (outputs are created or truncated) and finds a descriptor for the rest.
 *
 * @throws {SpecError} when a file cannot be opened; then nothing stays open.
 */
export function routeStdio(call: CallOptions): StdioRoutes {
  if (call.plainStdio) {
    const entries: StdioEntry[] = [call.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'];
    return { entries, input: call.input, stdout: [], stderr: [], close: () => {} };
  }
  const files = new Files();
  const [stdin, input] = routeInput(call, files);
  const [stdoutEntry, stdout] = routeOutput(call.stdout, 1, files);
  const [stderrEntry, stderr] =
    call.stderr === 'stdout' ? (['stdout', []] as const) : routeOutput(call.stderr, 2, files);
  for (const [number, source] of call.descriptors) files.check(source, `descriptors.${number}`);
  files.throwIssues();
  const entries: StdioEntry[] = [stdin, stdoutEntry, stderrEntry];
  for (const [number, source] of call.descriptors) entries[number] = source;
  return { entries: Array.from(entries), input, stdout, stderr, close: () => files.close() };
}

/** `run` hands out no stream to write to: the command would wait for its input for ever. */
export function refuseUnwritableStdin({ options, issues }: { options: CallOptions; issues: SpecIssue[] }): void {
  if (options.stdin !== 'pipe' || options.input !== undefined) return;
  issues.push({
    path: ['options', 'stdin'],
    message: "'pipe' needs the handle of spawn(); give run() its input as 'input'",
  });
}

function routeInput(call: CallOptions, files: Files): [StdioEntry, InputData | undefined] {
  if (call.input !== undefined) return ['pipe', call.input];
  const source: InputSource = call.stdin;
  files.check(source, 'stdin');
  if (typeof source === 'string' || typeof source === 'number') return [source, undefined];
  if (source instanceof URL) return [files.open(source, 'r', 'stdin'), undefined];
  const descriptor = descriptorOf(source);
  return descriptor === undefined ? ['pipe', source] : [descriptor, undefined];
}

function routeOutput(targets: readonly OutputTarget[], own: 1 | 2, files: Files): [StdioEntry, readonly Sink[]] {
  const wanted = targets.filter((target) => target !== 'ignore');
  for (const target of wanted) files.check(target, own === 1 ? 'stdout' : 'stderr');
  const [only] = wanted;
  if (only === undefined) return ['ignore', []];
  if (wanted.length === 1) {
    const direct = directEntry(only, own, files);
    if (direct !== undefined) return [direct, []];
  }
  return ['pipe', wanted.filter((target) => target !== 'pipe').map((target) => sinkFor(target, own, files))];
}

function directEntry(target: OutputTarget, own: 1 | 2, files: Files): StdioEntry {
  if (target === 'inherit' || typeof target === 'number') return target;
  if (target instanceof URL) return files.open(target, 'w', own === 1 ? 'stdout' : 'stderr');
  return typeof target === 'string' ? undefined : descriptorOf(target);
}

function sinkFor(target: Exclude<OutputTarget, 'pipe' | 'ignore'>, own: 1 | 2, files: Files): Sink {
  if (target === 'inherit') return { stream: own === 1 ? process.stdout : process.stderr, end: false };
  if (typeof target === 'number') {
    return { stream: createWriteStream('', { fd: target, autoClose: false }), end: true };
  }
  if (target instanceof URL) return { stream: files.writer(target, own === 1 ? 'stdout' : 'stderr'), end: true };
  return { stream: target, end: target !== process.stdout && target !== process.stderr };
}

/** Streams of files, terminals and sockets that are open have one; it lets the command read or write without us in between. */
function descriptorOf(stream: Readable | Writable): number | undefined {
  const { fd } = stream as { readonly fd?: unknown };
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

class Files {
  readonly #opened: number[] = [];
  readonly #writers: Writable[] = [];
  readonly #issues: SpecIssue[] = [];

  open(url: URL, flags: 'r' | 'w', option: string): number {
    const descriptor = this.#try(url, flags, option);
    if (descriptor === undefined) return -1;
    this.#opened.push(descriptor);
    return descriptor;
  }

  /** A number that is not open would soon be some descriptor of Node's own. */
  check(target: unknown, option: string): void {
    if (typeof target !== 'number') return;
    try {
      fstatSync(target);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const why = code === 'EBADF' ? 'is not open in this process' : `cannot be used (${code})`;
      this.#issues.push({ path: ['options', option], message: `descriptor ${target} ${why}` });
    }
  }

  /** A stream that owns its descriptor. */
  writer(url: URL, option: string): Writable {
    const descriptor = this.#try(url, 'w', option);
    // A placeholder that is never written: `throwIssues` follows.
    const stream = descriptor === undefined ? process.stderr : createWriteStream('', { fd: descriptor });
    if (descriptor !== undefined) this.#writers.push(stream);
    return stream;
  }

  close(): void {
    for (const descriptor of this.#opened.splice(0)) closeSync(descriptor);
  }

  throwIssues(): void {
    if (this.#issues.length === 0) return;
    this.close();
    for (const writer of this.#writers) writer.destroy();
    throw new SpecError(this.#issues);
  }

  #try(url: URL, flags: 'r' | 'w', option: string): number | undefined {
    try {
      return openSync(fileURLToPath(url), flags, 0o666);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const what = flags === 'r' ? 'opened for reading' : 'opened for writing';
      this.#issues.push({ path: ['options', option], message: `${url.href} cannot be ${what}: ${code ?? message}` });
      return undefined;
    }
  }
}
