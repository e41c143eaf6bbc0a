// Trying again, where that may help: a connection that broke, a server that is busy. Bounded, with growing pauses, and ended by a signal.
import { setTimeout as sleep } from 'node:timers/promises';

/** Something that may go well the next time. */
export class TransientError extends Error {
  /** What the server asked for. */
  readonly retryAfterMs: number | undefined;
  constructor(message: string, options: { retryAfterMs?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs;
  }
}

export interface Patience {
  /** How often something is tried in all. */
  readonly attempts: number;
  readonly wait: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

/** A server that wants more than this is asked again by a person. */
const PAUSE_MS_MAX = 60_000;
const PAUSE_MS_FIRST = 250;

/** @throws the last error, or at once one that is not transient. */
export async function withRetries<T>(work: () => Promise<T>, patience: Patience): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      await pauseAfter(error, attempt, patience);
    }
  }
}

/** Waits before the next attempt. @throws `error` where there is none. */
export async function pauseAfter(error: unknown, attempt: number, { attempts, wait, signal }: Patience): Promise<void> {
  signal?.throwIfAborted();
  if (!(error instanceof TransientError) || attempt >= attempts) throw error;
  const { retryAfterMs } = error;
  if (retryAfterMs !== undefined && retryAfterMs > PAUSE_MS_MAX) throw error;
  // Half of it by chance, so that many clients of one server do not come back together.
  const pause = Math.min(PAUSE_MS_FIRST * 2 ** (attempt - 1), PAUSE_MS_MAX);
  try {
    await wait(retryAfterMs ?? pause / 2 + (Math.random() * pause) / 2, signal);
  } finally {
    // With the caller's own reason, whatever the wait ended with.
    signal?.throwIfAborted();
  }
}

export async function waitFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal });
}

/** `Retry-After` of RFC 9110: seconds, or a date. */
export function retryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
