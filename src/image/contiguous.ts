// The content of an entry as it would be in a file: with the zeros of its holes.
import type { TarEntry } from './archive/tar.ts';

const ZEROS = new Uint8Array(64 * 1024);

export async function* contiguous({ size, content }: Pick<TarEntry, 'size' | 'content'>): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const { offset, bytes } of content) {
    yield* zeros(offset - at);
    yield bytes;
    at = offset + bytes.length;
  }
  yield* zeros(size - at);
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}

/** All of it, copied; `undefined` where it is larger than `most`. */
export async function wholeContent(
  entry: { readonly size: number; readonly content: AsyncIterable<Uint8Array> },
  most: number,
): Promise<Uint8Array | undefined> {
  if (entry.size > most) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry.content) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}
