// A stream of Node that transforms, as an async iterable: read as fast as who iterates, and no faster.
import { once } from 'node:events';
import type { Transform } from 'node:stream';

/**
 * What `transform` makes of `source`.
 *
 * @returns how many bytes of `source` it was offered; it may have ended before them.
 * @throws what `explain` makes of an error of the transform; an error of the source as it is.
 */
export async function* throughTransform(
  source: AsyncIterable<Uint8Array>,
  transform: Transform,
  explain: (error: NodeJS.ErrnoException) => unknown,
): AsyncGenerator<Uint8Array, number, undefined> {
  let offered = 0;
  let failure: { readonly error: unknown } | undefined;
  const feed = async (): Promise<void> => {
    for await (const chunk of source) {
      offered += chunk.length;
      if (transform.destroyed || transform.readableEnded) return;
      if (!transform.write(chunk)) await roomOrEnd(transform);
    }
    transform.end();
  };
  const fed = feed().catch((error: unknown) => {
    failure = { error };
    transform.destroy();
  });
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
  } catch (error) {
    if (failure === undefined) throw explain(error as NodeJS.ErrnoException);
  } finally {
    transform.destroy();
    await fed;
  }
  if (failure !== undefined) throw failure.error;
  return offered;
}

async function roomOrEnd(transform: Transform): Promise<void> {
  const controller = new AbortController();
  const events = ['drain', 'close', 'end'].map((event) => once(transform, event, { signal: controller.signal }));
  // An error is for who reads; here it only ends the wait.
  await Promise.race(events.map((event) => event.catch(() => undefined)));
  controller.abort();
}
