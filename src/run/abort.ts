// An AbortSignal outlives the runs it is given to: each run takes its listener away again.

/**
 * Calls `onAbort` once with the reason, at once when the signal is aborted already.
 *
 * @returns a function that forgets the listener; idempotent.
 */
export function followAbort(signal: AbortSignal | undefined, onAbort: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    onAbort(signal.reason);
    return () => {};
  }
  const listener = (): void => onAbort(signal.reason);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
