// An archive as it comes: what it is, decompressed, bounded and hashed on the way to who reads its entries.
import { createHash, type Hash } from 'node:crypto';
import { ByteReader } from './bytes.ts';
import { decompress } from './decompress.ts';
import { type Compression, type Content, DETECT_BYTES, detect } from './detect.ts';
import { beyond, invalid, unsupported } from './failure.ts';
import type { ArchiveLimits } from './limits.ts';
import { readTar, type TarEntry } from './tar.ts';

/** What passed by, once all entries were read. */
export interface ArchiveFacts {
  /** As messages call it. */
  readonly archive: string;
  readonly compression: Compression | 'none';
  readonly compressedBytes: number;
  readonly bytes: number;
  /** Of the bytes as they came: the digest of a layer in an OCI manifest. */
  readonly digest: string;
  /** Of the uncompressed archive, to its end: the diffID of OCI. */
  readonly diffId: string;
  /** The same by SHA-512: the image ID of App Container, `sha512-...`. */
  readonly imageId: string;
}

export interface OpenArchive {
  readonly compression: Compression | 'none';
  readonly entries: AsyncGenerator<TarEntry, void, undefined>;
  /** Preconditions: `entries` has come to its end. */
  facts(): ArchiveFacts;
}

/** @throws {ImageError} where it is nothing that can be read; `entries` throws what shows later. */
export async function openArchive(
  source: AsyncIterable<Uint8Array>,
  archive: string,
  limits: ArchiveLimits,
): Promise<OpenArchive> {
  const compressed = new Meter(['sha256']);
  const reader = new ByteReader(compressed.through(source));
  const compression = await compressionOf(reader, archive);
  const plain = compression === 'none' ? reader.rest() : decompress(compression, reader.rest(), archive);
  // What is not compressed has one SHA-256, and is hashed once.
  const uncompressed = new Meter(compression === 'none' ? ['sha512'] : ['sha256', 'sha512']);
  const bounded = boundRatio(plain, compressed, archive, limits);
  const checked = compression === 'none' ? bounded : requireTar(bounded, archive, compression);
  return {
    compression,
    entries: readTar(uncompressed.through(checked), archive, limits),
    facts: () => ({
      archive,
      compression,
      compressedBytes: compressed.bytes,
      bytes: uncompressed.bytes,
      digest: `sha256:${compressed.digest('sha256')}`,
      diffId: `sha256:${(compression === 'none' ? compressed : uncompressed).digest('sha256')}`,
      imageId: `sha512-${uncompressed.digest('sha512')}`,
    }),
  };
}

async function compressionOf(reader: ByteReader, archive: string): Promise<Compression | 'none'> {
  try {
    return asCompression(detect(await reader.peek(DETECT_BYTES)), archive);
  } catch (error) {
    await reader.close();
    throw error;
  }
}

function asCompression(content: Content, archive: string): Compression | 'none' {
  const subject = { archive };
  switch (content) {
    case 'tar':
      return 'none';
    case 'gzip':
    case 'bzip2':
    case 'xz':
    case 'zstd':
      return content;
    case 'empty':
      throw invalid('it is empty', subject);
    case 'squashfs':
      throw unsupported(`it is an image of ${content}, and not an archive`, subject, 'make it one: sqfs2tar FILE');
    case 'erofs':
      throw unsupported(
        `it is an image of ${content}, and not an archive`,
        subject,
        'unpack it, and run its directory as the root: fsck.erofs --extract=DIRECTORY FILE',
      );
    case 'pgp':
      throw unsupported('it is encrypted or signed by PGP', subject, 'decrypt it first: gpg --decrypt');
    case 'zip':
    case 'ar':
    case 'cpio':
      throw unsupported(`it is of the format ${content}`, subject, 'make it a tar archive');
    case 'unknown':
      throw invalid('it is no tar archive, compressed or not', subject);
  }
}

/** A bomb ends here, before what it expands to is looked at. */
async function* boundRatio(
  source: AsyncIterable<Uint8Array>,
  compressed: Meter,
  archive: string,
  limits: ArchiveLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > limits.ratioFloorBytes && bytes > limits.ratio * compressed.bytes) {
      const what = `${compressed.bytes} bytes of it expand to ${bytes} or more, ${Math.floor(bytes / compressed.bytes)} to one`;
      throw beyond('ratio', limits, what, { archive });
    }
    yield chunk;
  }
}

/** Of what was compressed the first bytes say what it is, as for what was not. */
async function* requireTar(
  source: AsyncIterable<Uint8Array>,
  archive: string,
  compression: Compression,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new ByteReader(source);
  try {
    const content = detect(await reader.peek(DETECT_BYTES));
    if (content === 'empty') throw invalid(`it is empty, within ${compression}`, { archive });
    if (content !== 'tar' && content !== 'unknown') {
      throw unsupported(`within ${compression} it is ${content}`, { archive }, 'unpack it by hand first');
    }
    if (content === 'unknown') throw invalid(`it is no tar archive, within ${compression}`, { archive });
    yield* reader.rest();
  } finally {
    await reader.close();
  }
}

/** Counts and hashes what passes. */
class Meter {
  readonly #hashes: ReadonlyMap<string, Hash>;
  bytes = 0;

  constructor(algorithms: readonly string[]) {
    this.#hashes = new Map(algorithms.map((algorithm) => [algorithm, createHash(algorithm)]));
  }

  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of source) {
      this.bytes += chunk.length;
      for (const hash of this.#hashes.values()) hash.update(chunk);
      yield chunk;
    }
  }

  digest(algorithm: string): string {
    return this.#hashes.get(algorithm)?.copy().digest('hex') ?? '';
  }
}
