// The streams of a handle exist before the command does, and a late reader finds everything that came before it.
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { type Budget, Collector } from './collect.ts';
import { tolerateClosedReader } from './input.ts';
import type { Sink } from './stdio.ts';

/** Reading from a command that was killed. */
const endOfStream: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/**
 * One piped output. It is collected, unless a reader takes it: then it is the reader's alone, with backpressure down to the command.
 */
export class OutputPort {
  readonly #collector: Collector;
  readonly #onError: (error: unknown) => void;
  readonly #kept: boolean;
  #source: Readable | undefined;
  #reader: PassThrough | undefined;
  #ended = false;
  #alone = true;
  /** Settles when the command's side is at its end, or when all of it is a reader's business. */
  #resolveFinished: () => void = () => {};
  readonly finished: Promise<void> = new Promise((resolve) => {
    this.#resolveFinished = resolve;
  });

  /** `kept`: collected, or taken as a stream; otherwise only sinks get it. */
  constructor(kept: boolean, budget: Budget, onError: (error: unknown) => void) {
    this.#kept = kept;
    this.#collector = new Collector(budget);
    this.#onError = onError;
  }

  get kept(): boolean {
    return this.#kept;
  }

  /** The output as a stream; the same one each time. What was collected before comes first. */
  take(): Readable {
    if (this.#reader !== undefined) return this.#reader;
    const reader = new PassThrough();
    this.#reader = reader;
    if (this.#source !== undefined && this.#alone) this.#resolveFinished();
    // Nobody has to listen: the end of a run is in its result.
    reader.on('error', () => {});
    this.#source?.off('data', this.#collect);
    const before = this.#collector.release();
    if (before.length > 0) reader.write(before);
    if (this.#ended) reader.end();
    else if (this.#source !== undefined) this.#give(this.#source, reader);
    return reader;
  }

  /**
   * `soon`: the caller has the rest of this tick to take the stream. `rest`: whether the end of the source is that of the output, where this is still to be
   * known. Preconditions: called once.
   */
  connect(
    source: Readable,
    sinks: readonly Sink[],
    collect: 'now' | 'soon',
    rest: () => Promise<void> | undefined = () => undefined,
  ): void {
    this.#source = source;
    this.#alone = sinks.length === 0;
    const atEnd = (): void => {
      source.off('close', atEnd).off('end', atEnd);
      const known = rest();
      if (known === undefined) this.end();
      else
        known.then(
          () => this.end(),
          (error: Error) => this.#cutOff(error),
        );
    };
    source.on('close', atEnd).on('end', atEnd);
    // One of a server that has died a moment ago.
    if (source.closed || source.readableEnded) process.nextTick(atEnd);
    source.on('error', (error: NodeJS.ErrnoException) => {
      if (!endOfStream.has(error.code ?? '')) this.#cutOff(error);
    });
    if (this.#kept) this.#keep(source, collect);
    for (const { stream } of sinks) source.pipe(stream, { end: false });
  }

  /** What a backend hands out that has no stream for it. */
  push(chunk: Uint8Array): void {
    this.#collector.push(chunk);
  }

  /** No more output: the source is at its end, or there never was one. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reader?.end();
    this.#resolveFinished();
  }

  #cutOff(error: Error): void {
    this.#onError(error);
    this.#reader?.destroy(error);
    this.end();
  }

  /** There never was an output. What a source still has is its reader's. */
  abandon(): void {
    if (this.#source === undefined) this.end();
  }

  /** Nobody wants the rest: a reader that is not at its end does not get one. */
  drop(): void {
    if (this.#ended) return;
    this.#reader?.destroy();
    this.#source?.destroy();
  }

  /** A sink is gone: the others go on, and without any the rest is dropped. */
  detach(sink: Writable): void {
    this.#source?.unpipe(sink);
    this.#source?.resume();
  }

  /** What was collected; `undefined` when it went elsewhere. */
  collected(): { readonly bytes: Uint8Array | undefined; readonly truncated: boolean } {
    const bytes = this.#kept && this.#reader === undefined ? this.#collector.bytes() : undefined;
    return { bytes, truncated: this.#collector.truncated };
  }

  #keep(source: Readable, collect: 'now' | 'soon'): void {
    if (this.#reader !== undefined) {
      this.#give(source, this.#reader);
      if (this.#alone) this.#resolveFinished();
    } else if (collect === 'now' || !this.#alone) {
      // Sinks let the source flow at once; who takes the stream later in this tick still gets all of it.
      source.on('data', this.#collect);
    } else {
      process.nextTick(() => this.#reader ?? source.on('data', this.#collect));
    }
  }

  readonly #collect = (chunk: Uint8Array): void => this.#collector.push(chunk);

  /** A reader that goes away early closes the command's output, as the end of a shell's pipe does. */
  #give(source: Readable, reader: PassThrough): void {
    // Whether the end of the one is that of the other is not the pipe's to say.
    source.pipe(reader, { end: false });
    reader.once('close', () => {
      if (!this.#ended) source.destroy();
    });
  }
}

/** A piped stdin of a handle. What is written before the command exists waits. */
export class InputPort {
  #early: PassThrough | undefined;
  #real: Writable | undefined;

  get stream(): Writable {
    if (this.#real !== undefined && this.#early === undefined) return this.#real;
    this.#early ??= quiet(new PassThrough());
    return this.#early;
  }

  connect(real: Writable, onError: (error: unknown) => void): void {
    tolerateClosedReader(real, onError);
    this.#real = real;
    const early = this.#early;
    if (early === undefined) return;
    early.pipe(real);
    real.once('close', () => early.destroy());
  }

  /** The command will never read. */
  abandon(): void {
    this.#early?.destroy();
    this.#real?.destroy();
  }
}

function quiet<Stream extends Writable>(stream: Stream): Stream {
  return stream.on('error', () => {});
}

/** Destinations of the caller: each may get several outputs, ends after the last of them, and fails the run when it fails. */
export class Sinks {
  readonly #entries = new Map<Writable, SinkState>();

  add(sinks: readonly Sink[], port: OutputPort, onError: (error: unknown) => void): void {
    for (const { stream, end } of sinks) {
      let state = this.#entries.get(stream);
      if (state === undefined) {
        state = follow(stream, end, onError);
        this.#entries.set(stream, state);
      }
      state.ports.push(port);
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Nobody waits for them any more, and they get nothing more. */
  abandon(): void {
    for (const state of this.#entries.values()) state.abandon();
  }

  /** Ends those that end with the run; resolves when all have taken what they got. */
  async finish(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((state) => state.finish()));
  }
}

interface SinkState {
  readonly ports: OutputPort[];
  finish(): Promise<void>;
  abandon(): void;
}

function follow(stream: Writable, end: boolean, onError: (error: unknown) => void): SinkState {
  const ports: OutputPort[] = [];
  let settle: () => void = () => {};
  const gone = new Promise<void>((resolve) => {
    settle = resolve;
  });
  let failed = false;
  const fail = (error: unknown): void => {
    if (failed) return;
    failed = true;
    for (const port of ports) port.detach(stream);
    onError(error);
    settle();
  };
  const closed = (): void => {
    if (!stream.writableFinished) fail(new Error('the destination was closed before the output ended'));
    settle();
  };
  stream.on('error', fail);
  stream.on('close', closed);
  stream.on('finish', settle);
  const forget = (): void => {
    stream.off('close', closed);
    stream.off('finish', settle);
    // A destroyed stream may still say why.
    if (!stream.destroyed) stream.off('error', fail);
  };
  return {
    ports,
    abandon: () => {
      for (const port of ports) port.detach(stream);
      settle();
    },
    finish: async () => {
      if (end && !stream.destroyed) stream.end();
      else settle();
      await gone;
      forget();
    },
  };
}
