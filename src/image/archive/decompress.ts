// Compressed bytes as bytes, chunk by chunk: nothing is read ahead of who reads, and no chunk is large, however much the next byte expands to. Whatever is
// wrong with the stream names it, and its compression.
import type { Compression } from './detect.ts';
import type { Subject } from './failure.ts';

/** `archive`: as messages call it. */
export async function* decompress(
  compression: Compression,
  source: AsyncIterable<Uint8Array>,
  archive: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const subject: Subject = { archive };
  switch (compression) {
    case 'gzip':
      return yield* (await import('./gzip.ts')).gunzip(source, subject);
    case 'bzip2':
      return yield* (await import('./bzip2.ts')).bunzip2(source, subject);
    case 'xz':
      return yield* (await import('./xz.ts')).unxz(source, subject);
    case 'zstd':
      return yield* (await import('./zstd.ts')).unzstd(source, subject);
  }
}
