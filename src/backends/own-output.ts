// What a program that this library runs for itself has to say: all of it, or an error.
import type { LaunchedProcess } from './backend.ts';

type Spoken = Pick<LaunchedProcess, 'stdout' | 'stderr' | 'rest'>;

/** @throws {LaunchError} at the end where some of it is lost. */
export async function* outputOf(running: Spoken, output: 1 | 2): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of (output === 1 ? running.stdout : running.stderr) ?? []) yield chunk as Uint8Array;
  await running.rest?.(output);
}

/**
 * `maxBytes`: what is beyond is dropped. Who awaits it late, or not at all, gets no unhandled rejection.
 *
 * @throws {LaunchError} where some of it is lost.
 */
export function textOf(
  running: Spoken,
  output: 1 | 2,
  { encoding = 'utf8', maxBytes = Number.POSITIVE_INFINITY }: { encoding?: 'utf8' | 'latin1'; maxBytes?: number } = {},
): Promise<string> {
  const text = collect(running, output, maxBytes).then((bytes) => bytes.toString(encoding));
  text.catch(() => {});
  return text;
}

async function collect(running: Spoken, output: 1 | 2, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let left = maxBytes;
  for await (const chunk of outputOf(running, output)) {
    if (left <= 0) continue;
    chunks.push(chunk.subarray(0, left));
    left -= chunk.length;
  }
  return Buffer.concat(chunks);
}
