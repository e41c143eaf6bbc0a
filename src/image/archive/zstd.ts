// zstd, frame by frame (RFC 8878). Frames and blocks are walked through here: so that one follows another, so that the end is where it should be, and so that
// no frame makes the decoder take memory as it likes. What is in the blocks is for zlib, where Node has it (22.15), else for fzstd, which does not compare the
// checksum of a frame.
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { ByteReader, concat } from './bytes.ts';
import { broken, type Subject, truncated, unsupported } from './failure.ts';
import { throughTransform } from './transform.ts';

const FRAME = 0xfd2fb528;
/** Any of sixteen, by the last four bits. */
const SKIPPABLE = 0x184d2a50;
/** Of `zstd --long`: what the reference decoder takes by itself. */
const WINDOW_BYTES_MAX = 128 * 1024 * 1024;
const BLOCK_BYTES_MAX = 128 * 1024;

export async function* unzstd(
  source: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new ByteReader(source);
  const walker = new Walker(reader, subject);
  try {
    do yield* decodeFrame(walker, subject);
    while ((await reader.peek(1)).length > 0);
  } finally {
    await reader.close();
  }
}

async function* decodeFrame(walker: Walker, subject: Subject): AsyncGenerator<Uint8Array, void, undefined> {
  const frame = await walker.next();
  if (frame === undefined) return;
  const createZstdDecompress = (zlib as { createZstdDecompress?: () => Transform }).createZstdDecompress;
  const decoded =
    createZstdDecompress === undefined
      ? byFzstd(frame.pieces, subject)
      : throughTransform(frame.pieces, createZstdDecompress(), (error) => explain(error, subject));
  let bytes = 0;
  for await (const chunk of decoded) {
    bytes += chunk.length;
    yield chunk;
  }
  if (frame.contentBytes !== undefined && bytes !== frame.contentBytes) {
    throw broken('zstd', 'has a frame of a wrong size', subject);
  }
}

function explain(error: NodeJS.ErrnoException, subject: Subject): unknown {
  return /^(ZSTD_|Z_)/.test(error.code ?? '') ? broken('zstd', `is broken (${error.message})`, subject, error) : error;
}

async function* byFzstd(
  pieces: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { Decompress } = await import('fzstd');
  let made: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => made.push(chunk));
  const push = (bytes: Uint8Array, isLast: boolean): Uint8Array[] => {
    made = [];
    try {
      decoder.push(bytes, isLast);
    } catch (error) {
      // A decoder without bounds checks: what goes wrong in it is wrong with the stream.
      throw broken('zstd', `is broken (${(error as Error).message})`, subject, error);
    }
    return made;
  };
  // The last piece has to be told as such, and is known by the one after it.
  let held: Uint8Array | undefined;
  for await (const piece of pieces) {
    if (held !== undefined) yield* push(held, false);
    held = piece.slice();
  }
  yield* push(held ?? new Uint8Array(0), true);
}

interface Frame {
  /** The head, then each block; the last with the checksum, where there is one. */
  readonly pieces: AsyncGenerator<Uint8Array, void, undefined>;
  readonly contentBytes: number | undefined;
}

class Walker {
  readonly #reader: ByteReader;
  readonly #subject: Subject;

  constructor(reader: ByteReader, subject: Subject) {
    this.#reader = reader;
    this.#subject = subject;
  }

  /** `undefined` for one that holds nothing. */
  async next(): Promise<Frame | undefined> {
    const head = Buffer.from(await this.#bytes(4));
    const magic = head.readUInt32LE(0);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      await this.#skip(Buffer.from(await this.#bytes(4)).readUInt32LE(0));
      return undefined;
    }
    if (magic !== FRAME) throw broken('zstd', 'is followed by something else', this.#subject);
    return this.#frame(head);
  }

  async #skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      const bytes = await this.#reader.some(left);
      if (bytes.length === 0) throw truncated('zstd', this.#subject);
      left -= bytes.length;
    }
  }

  async #frame(magic: Uint8Array): Promise<Frame> {
    const [descriptor = 0] = await this.#bytes(1);
    const isSingle = (descriptor & 0x20) !== 0;
    if ((descriptor & 0x08) !== 0) throw broken('zstd', 'has a frame of a kind that is not known', this.#subject);
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    const rest = Buffer.from(await this.#bytes((isSingle ? 0 : 1) + dictionaryBytes + sizeBytes));
    const dictionaryAt = isSingle ? 0 : 1;
    if (rest.subarray(dictionaryAt, dictionaryAt + dictionaryBytes).some((byte) => byte !== 0)) {
      throw unsupported('its zstd stream needs a dictionary', this.#subject, 'compress it again, without one');
    }
    const contentBytes = sizeOf(rest.subarray(dictionaryAt + dictionaryBytes));
    const windowBytes = isSingle ? (contentBytes ?? 0) : windowOf(rest[0] ?? 0);
    if (windowBytes > WINDOW_BYTES_MAX) {
      const what = `its zstd stream needs a window of ${windowBytes} bytes, more than ${WINDOW_BYTES_MAX}`;
      throw unsupported(what, this.#subject, 'compress it again: zstd --long=27 needs as much');
    }
    const start = concat([magic, Uint8Array.of(descriptor), rest]);
    return { pieces: this.#pieces(start, (descriptor & 4) !== 0), contentBytes };
  }

  async *#pieces(start: Uint8Array, hasChecksum: boolean): AsyncGenerator<Uint8Array, void, undefined> {
    yield start;
    for (;;) {
      const head = (await this.#bytes(3)).slice();
      const [a = 0, b = 0, c = 0] = head;
      const type = (a >> 1) & 3;
      const size = (a >> 3) | (b << 5) | (c << 13);
      if (type === 3 || size > BLOCK_BYTES_MAX)
        throw broken('zstd', 'has a block of a wrong kind or size', this.#subject);
      const block = concat([head, await this.#bytes(type === 1 ? 1 : size)]);
      if ((a & 1) === 0) {
        yield block;
        continue;
      }
      yield hasChecksum ? concat([block, await this.#bytes(4)]) : block;
      return;
    }
  }

  async #bytes(count: number): Promise<Uint8Array> {
    const bytes = await this.#reader.read(count);
    if (bytes.length < count) throw truncated('zstd', this.#subject);
    return bytes;
  }
}

function sizeOf(field: Buffer): number | undefined {
  if (field.length === 0) return undefined;
  if (field.length === 1) return field[0];
  if (field.length === 2) return field.readUInt16LE(0) + 256;
  // More than a number holds is more than any window, and more than comes.
  return field.length === 4 ? field.readUInt32LE(0) : Number(field.readBigUInt64LE(0));
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}
