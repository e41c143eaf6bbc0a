// Feeds stdin. A command that does not read its input is not an error; a source that breaks is.
import { Readable, type Writable } from 'node:stream';
import type { InputData } from './types.ts';

/** Writing to a command that closed its stdin or ended. */
const closedByReader: ReadonlySet<string> = new Set([
  'EPIPE',
  'ECONNRESET',
  'ENOTCONN',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Keeps an 'error' event of a command's stdin from ending the process: who writes there learns of it by the callback. */
export function tolerateClosedReader(stdin: Writable, onError: (error: Error) => void): void {
  stdin.on('error', (error: NodeJS.ErrnoException) => {
    if (!closedByReader.has(error.code ?? '')) onError(error);
  });
}

/**
 * Writes all of `input` to `stdin` and closes it, keeping backpressure.
 *
 * Preconditions: `stdin` has an 'error' listener.
 *
 * @returns a function that stops feeding: the command has ended.
 */
export function feed(stdin: Writable, input: InputData, onSourceError: (error: unknown) => void): () => void {
  if (typeof input === 'string' || input instanceof Uint8Array) {
    stdin.end(input);
    return () => {};
  }
  let iterator: AsyncIterator<string | Uint8Array>;
  try {
    iterator = iterate(input);
  } catch (error) {
    stdin.destroy();
    onSourceError(error);
    return () => {};
  }
  let stopped = false;
  const stop = (): void => {
    if (stopped) return;
    stopped = true;
    stdin.destroy();
    release(input, iterator);
  };
  stdin.once('close', stop);
  pump(iterator, stdin, () => stopped).then(
    () => {
      if (!stopped) stdin.end();
    },
    (error: unknown) => {
      if (stopped) return;
      stop();
      onSourceError(error);
    },
  );
  return stop;
}

async function pump(
  iterator: AsyncIterator<string | Uint8Array>,
  stdin: Writable,
  stopped: () => boolean,
): Promise<void> {
  for (;;) {
    const next = await iterator.next();
    if (stopped() || next.done === true) return;
    const chunk = next.value;
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) {
      throw new TypeError(`input must give strings or Uint8Arrays, not ${chunk === null ? 'null' : typeof chunk}`);
    }
    if (!stdin.write(chunk) && !stdin.destroyed) await roomOrClose(stdin);
    if (stopped()) return;
  }
}

function iterate(input: Exclude<InputData, string | Uint8Array>): AsyncIterator<string | Uint8Array> {
  if (!('getReader' in input)) return input[Symbol.asyncIterator]() as AsyncIterator<string | Uint8Array>;
  // A web stream's own iterator cannot be left while a read is pending; a reader can.
  const reader = input.getReader();
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done: false, value };
    },
    return: async () => {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}

function roomOrClose(stdin: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      stdin.off('drain', settle);
      stdin.off('close', settle);
      resolve();
    };
    stdin.on('drain', settle);
    stdin.on('close', settle);
  });
}

/** Lets a source go that may be stuck in the middle of `next()`: nothing here may wait for it. */
function release(input: InputData, iterator: AsyncIterator<unknown>): void {
  if (input instanceof Readable) {
    // The caller's own stdin belongs to everybody in this process.
    if (input !== process.stdin) input.destroy();
    return;
  }
  // A generator that is stuck gets to this only after its pending step; what it throws then interests nobody any more.
  Promise.resolve(iterator.return?.()).catch(() => undefined);
}
