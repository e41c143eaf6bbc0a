// Output is kept as the bytes that came, and decoded once, as a whole: a character that two chunks share stays whole.
import { SandboxError } from '../errors/errors.ts';
import type { Output } from './types.ts';

/** How much is kept of one run, stdout and stderr together, when `limits.outputBytes` names no other bound. */
export const COLLECT_BYTES_MAX: number = 64 * 1024 * 1024;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What may still be kept of a run; its two outputs share one. */
export class Budget {
  #left: number = COLLECT_BYTES_MAX;
  readonly #onOverflow: () => void;

  constructor(onOverflow: () => void) {
    this.#onOverflow = onOverflow;
  }

  /** The backend itself counts and ends the run: what comes through is wanted. Preconditions: nothing was taken yet. */
  leaveToBackend(): void {
    this.#left = Number.POSITIVE_INFINITY;
  }

  /** How many of `bytes` may be kept. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#left);
    this.#left -= taken;
    if (taken < bytes) this.#onOverflow();
    return taken;
  }

  giveBack(bytes: number): void {
    this.#left += bytes;
  }
}

export class Collector {
  readonly #budget: Budget;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** Whether something was dropped. */
  truncated = false;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  push(chunk: Uint8Array): void {
    const kept = this.#budget.take(chunk.length);
    if (kept < chunk.length) this.truncated = true;
    if (kept === 0) return;
    this.#chunks.push(kept === chunk.length ? chunk : chunk.subarray(0, kept));
    this.#bytes += kept;
  }

  bytes(): Uint8Array {
    const only = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    return only ?? Buffer.concat(this.#chunks, this.#bytes);
  }

  /** Hands over what was kept, to a reader that came late; nothing is left here. */
  release(): Uint8Array {
    const bytes = this.bytes();
    this.#budget.giveBack(this.#bytes);
    this.#chunks = [];
    this.#bytes = 0;
    return bytes;
  }
}

/** Collected bytes as the caller asked for them. Bytes that are no UTF-8 become U+FFFD. */
export function decodeOutput(bytes: Uint8Array, encoding: 'utf8' | 'buffer', stripFinalNewline: boolean): Output {
  if (encoding === 'buffer') return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 0) return '';
  const text = decodeText(bytes);
  return stripFinalNewline ? text.replace(/\r?\n$/, '') : text;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new SandboxError('SBX_OUTPUT_TOO_LONG', `cannot make one string of ${bytes.length} bytes of output`, {
      remedy: "use encoding: 'buffer', read the stream, or lower limits.outputBytes",
      cause: error,
    });
  }
}
