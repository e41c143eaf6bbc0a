// One end of a socket whose other end a server holds (native/serve.c). It carries one run at a time: the plan and orders there, and back the last word, and
// the command's output where nobody needs a stream of it.
import type { Duplex, Readable, Writable } from 'node:stream';
import { InternalError, LaunchError } from '../../errors/errors.ts';
import type { LaunchEnd, LaunchedProcess, LaunchRequest } from '../backend.ts';
import { launchEnd } from './ending.ts';
import { launchError } from './failure.ts';
import { OrderedRun } from './ordered.ts';
import { control, encodeOrder } from './orders.ts';
import { type OutputLine, parseStatusLine, type StatusLine } from './status.ts';

export type LaneSocket = Duplex & { ref(): unknown; unref(): unknown };

/** The sockets of one run that are its stdin, stdout and stderr. */
export type LentStreams = Partial<Readonly<Record<0 | 1 | 2, LaneSocket>>>;

const NEWLINE = 10;
/** What is read is part of something larger, which a few bytes are not to keep. */
const SMALL_BYTES = 16 * 1024;

export class Lane {
  readonly #socket: LaneSocket;
  readonly #reader: LaneReader = new LaneReader(
    (line) => this.#hear(line),
    ({ stream }, bytes) => this.#run?.output(stream, bytes),
  );
  readonly #onIdle: (lane: Lane) => void;
  #run: LaneRun | undefined;
  /** Its end has been told, but not all of its output has been read. */
  #left: LaneRun | undefined;
  /** Where a sandbox waits here for its command: who is to know that it does no longer. */
  #onGone: (() => void) | undefined;
  #closed = false;

  /** `onIdle`: a run has ended, and the next may begin. `onClosed`: no other will. */
  constructor(socket: LaneSocket, onIdle: (lane: Lane) => void, onClosed: (lane: Lane) => void) {
    this.#socket = socket;
    this.#onIdle = onIdle;
    socket.unref();
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#reader.read(chunk);
      } catch (error) {
        this.#settle((run) => run.fail(error as Error));
        this.#left?.loseRest(error as Error);
        socket.destroy();
      }
    });
    // ECONNRESET, EPIPE: the server is gone, and the end says so too.
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#closed = true;
      onClosed(this);
      this.#settle((run) => run.fail(lost()));
      this.#left?.loseRest(lost());
    });
    socket.once('end', () => socket.destroy());
  }

  /** Preconditions: idle, and not closed. */
  start(plan: Uint8Array, request: LaunchRequest, confined: boolean, streams: LentStreams = {}): LaunchedProcess {
    const run = new LaneRun(request, confined, streams, (order) => this.#order(run, order), this.#socket);
    this.#run = run;
    this.#socket.ref();
    this.#socket.write(plan);
    return run;
  }

  /** A sandbox that waits for its command. `onGone`: it has ended before one came. Preconditions: as of `start`. */
  prepare(plan: Uint8Array, onGone: () => void): void {
    this.#onGone = onGone;
    this.#socket.write(plan);
  }

  /** Preconditions: prepared, and not gone. */
  call(order: Uint8Array, request: LaunchRequest, confined: boolean): LaunchedProcess {
    this.#onGone = undefined;
    return this.start(order, request, confined);
  }

  /** Ends what was prepared: nobody needs it. */
  drop(): void {
    this.#onGone = () => {};
    this.#socket.write(encodeOrder(control.kill, 0, 0));
  }

  close(): void {
    this.#socket.destroy();
  }

  #order(run: LaneRun, order: Uint8Array): void {
    if (this.#run === run && !this.#closed) this.#socket.write(order);
  }

  #hear(line: StatusLine): void {
    if (line.event === 'ended') {
      const { outputPending } = line;
      // Its supervisor lives on until somebody has read the rest. There will be no other run here.
      if (outputPending !== undefined) this.#left = this.#run;
      this.#settle((run) => run.finish(launchEnd(line), outputPending), outputPending !== undefined);
    } else if (line.event === 'delivered') {
      if (this.#left?.deliver(line.stream) === false) this.#socket.destroy();
    } else if (line.event === 'failed') {
      this.#settle((run) => run.fail(launchError(line, run.confined)));
    } else {
      this.#run?.hear(line);
    }
  }

  #settle(act: (run: LaneRun) => void, isLast = false): void {
    const run = this.#run;
    const onGone = this.#onGone;
    if (run === undefined && onGone === undefined) return;
    this.#run = this.#onGone = undefined;
    this.#socket.unref();
    onGone?.();
    if (run !== undefined) act(run);
    if (!this.#closed && !isLast) this.#onIdle(this);
  }
}

function lost(): LaunchError {
  return new LaunchError('the launcher ended without a word; everything in the sandbox ended with it', {
    step: 'lost',
  });
}

/** Splits what comes into lines, and the bytes of output that some of them announce. */
export class LaneReader {
  readonly #onLine: (line: StatusLine) => void;
  readonly #onOutput: (line: OutputLine, bytes: Buffer) => void;
  #rest: Buffer | undefined;
  #output: OutputLine | undefined;
  #left = 0;

  constructor(onLine: (line: StatusLine) => void, onOutput: (line: OutputLine, bytes: Buffer) => void) {
    this.#onLine = onLine;
    this.#onOutput = onOutput;
  }

  /** @throws {InternalError} for what no launcher writes. */
  read(chunk: Buffer): void {
    const all = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    for (let at = 0; at < all.length; ) at = this.#output === undefined ? this.#line(all, at) : this.#bytes(all, at);
  }

  #line(all: Buffer, at: number): number {
    const end = all.indexOf(NEWLINE, at);
    if (end < 0) {
      this.#rest = all.subarray(at);
      return all.length;
    }
    const line = parseStatusLine(all.toString('latin1', at, end));
    if (line.event !== 'output') {
      this.#onLine(line);
    } else if (line.bytes > 0) {
      this.#output = line;
      this.#left = line.bytes;
    }
    return end + 1;
  }

  #bytes(all: Buffer, at: number): number {
    const output = this.#output;
    if (output === undefined) throw new InternalError('output that no line announced');
    const bytes = all.subarray(at, at + this.#left);
    this.#left -= bytes.length;
    if (this.#left === 0) this.#output = undefined;
    this.#onOutput(output, bytes.length < SMALL_BYTES ? Buffer.from(bytes) : bytes);
    return at + bytes.length;
  }
}

class LaneRun extends OrderedRun implements LaunchedProcess {
  pid: number | undefined;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  readonly extra: ReadonlyMap<number, Readable & Writable> = new Map();
  readonly confined: boolean;
  readonly started: Promise<void>;
  readonly ended: Promise<LaunchEnd>;
  readonly #order: (order: Uint8Array) => void;
  readonly #socket: LaneSocket;
  #begin: () => void = () => {};
  #resolve: (end: LaunchEnd) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #leavesOutput = false;

  constructor(
    request: LaunchRequest,
    confined: boolean,
    streams: LentStreams,
    order: (order: Uint8Array) => void,
    socket: LaneSocket,
  ) {
    super(request);
    this.confined = confined;
    this.stdin = streams[0];
    this.stdout = streams[1];
    this.stderr = streams[2];
    this.#order = order;
    this.#socket = socket;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Where output is collected nobody is told of the start before the end.
    const begun = new Promise<void>((resolve) => {
      this.#begin = resolve;
    });
    this.started = Promise.race([begun, this.ended.then(() => {})]);
    // Whoever awaits them sees the rejection; nobody has to.
    this.started.catch(() => {});
  }

  output(stream: 1 | 2, bytes: Uint8Array): void {
    this.request.collect?.onOutput(stream, bytes);
  }

  hear(line: StatusLine): void {
    if (line.event === 'started') {
      this.pid = line.supervisor;
      this.#begin();
    } else if (line.event === 'syscall') {
      this.decide(line);
    }
  }

  finish(end: LaunchEnd, pending: readonly (1 | 2)[] = []): void {
    this.#leavesOutput = pending.length > 0;
    if (this.#leavesOutput) this.leaveRest(pending).then(() => this.#resolve(end), this.#reject);
    else this.#resolve(end);
  }

  fail(error: Error): void {
    this.#reject(error);
  }

  protected send(order: Buffer): void {
    this.#order(order);
  }

  override kill(): void {
    // All that may still be there is output that nobody took.
    if (this.#leavesOutput) this.#socket.destroy();
    else super.kill();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}
