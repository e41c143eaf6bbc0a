// xz, by its specification (tukaani.org/xz/xz-file-format.txt, 1.2.1): streams of blocks, each of LZMA2 alone, with every check there is. A library for it
// never ends where a stream is truncated, does not see what follows one, does not know SHA-256, and serves one stream at a time.
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { ByteReader, concat } from './bytes.ts';
import { Crc64 } from './checksums.ts';
import { broken, type Subject, truncated, unsupported } from './failure.ts';
import { Lzma2Decoder, Lzma2Error } from './lzma2.ts';

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const LZMA2 = 0x21;
/** Of `xz -9`: 64 MiB. */
const DICTIONARY_BYTES_MAX = 128 * 1024 * 1024;
const COPY_BYTES = 64 * 1024;

const filters: ReadonlyMap<number, string> = new Map([
  [0x03, 'delta'],
  [0x04, 'x86'],
  [0x05, 'powerpc'],
  [0x06, 'ia64'],
  [0x07, 'arm'],
  [0x08, 'armthumb'],
  [0x09, 'sparc'],
  [0x0a, 'arm64'],
  [0x0b, 'riscv'],
]);

export async function* unxz(
  source: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new ByteReader(source);
  try {
    const stream = new XzStream(reader, subject);
    do yield* stream.decode();
    while (await stream.hasMore());
  } finally {
    await reader.close();
  }
}

/** Sizes of the blocks of one stream, in their order, which its index repeats: as a hash, for there may be any number of them. */
class BlockSizes {
  readonly #hash = createHash('sha256');
  count = 0;

  add(unpadded: number, uncompressed: number): void {
    this.count += 1;
    this.#hash.update(`${unpadded} ${uncompressed}\n`);
  }

  equals(other: BlockSizes): boolean {
    return this.count === other.count && this.#hash.copy().digest().equals(other.#hash.copy().digest());
  }
}

class XzStream {
  readonly #reader: ByteReader;
  readonly #subject: Subject;

  constructor(reader: ByteReader, subject: Subject) {
    this.#reader = reader;
    this.#subject = subject;
  }

  async *decode(): AsyncGenerator<Uint8Array, void, undefined> {
    const flags = await this.#header();
    const type = flags & 0xf;
    const checkBytes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64][type] as number;
    const sizes = new BlockSizes();
    for (;;) {
      const start = this.#reader.position;
      const [size = 0] = await this.#bytes(1);
      if (size === 0) break;
      yield* this.#block(size, start, type, checkBytes, sizes);
    }
    await this.#index(sizes, flags);
  }

  /** Whether another stream follows. Between them, and after the last, may be zeros, four by four. */
  async hasMore(): Promise<boolean> {
    for (;;) {
      const head = await this.#reader.peek(4);
      if (head.length === 0) return false;
      if (head.some((byte) => byte !== 0)) return true;
      if (head.length < 4) throw this.#broken('is followed by something else');
      await this.#reader.read(4);
    }
  }

  async #header(): Promise<number> {
    const header = (await this.#bytes(12)).slice();
    if (MAGIC.some((byte, index) => header[index] !== byte)) throw this.#broken('is followed by something else');
    this.#compare(header.subarray(8), crcOf(header.subarray(6, 8)), 'header');
    const flags = header[7] as number;
    if (header[6] !== 0 || flags > 0xf) throw this.#broken('has flags that are not known');
    const type = flags & 0xf;
    if (type !== 0 && type !== 1 && type !== 4 && type !== 10) {
      throw unsupported(
        `its xz stream has a check of type ${type}`,
        this.#subject,
        'compress it again: xz --check=crc64',
      );
    }
    return flags;
  }

  async *#block(
    size: number,
    start: number,
    type: number,
    checkBytes: number,
    sizes: BlockSizes,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const rest = (await this.#bytes((size + 1) * 4 - 1)).slice();
    const header = concat([Uint8Array.of(size), rest.subarray(0, -4)]);
    this.#compare(rest.subarray(-4), crcOf(header), 'header of a block');
    const { dictionaryBytes, compressed, uncompressed } = this.#blockHeader(header);
    const contentStart = this.#reader.position;
    const check = newCheck(type);
    let written = 0;
    for await (const bytes of this.#chunks(new Lzma2Decoder(dictionaryBytes))) {
      check?.update(bytes);
      written += bytes.length;
      if (uncompressed !== undefined && written > uncompressed) throw this.#broken('has a block of a wrong size');
      yield bytes;
    }
    const contentBytes = this.#reader.position - contentStart;
    if ((compressed ?? contentBytes) !== contentBytes || (uncompressed ?? written) !== written) {
      throw this.#broken('has a block of a wrong size');
    }
    const padding = await this.#bytes((4 - (contentBytes % 4)) % 4);
    if (padding.some((byte) => byte !== 0)) throw this.#broken('has padding that is none');
    this.#compare(await this.#bytes(checkBytes), check?.digest() ?? new Uint8Array(0), 'block');
    sizes.add(this.#reader.position - start - padding.length, written);
  }

  #blockHeader(header: Uint8Array): {
    readonly dictionaryBytes: number;
    readonly compressed: number | undefined;
    readonly uncompressed: number | undefined;
  } {
    const flags = header[1] as number;
    if ((flags & 0x3c) !== 0) throw this.#broken('has a block with flags that are not known');
    const cursor = { at: 2 };
    const compressed = (flags & 0x40) === 0 ? undefined : this.#number(header, cursor);
    const uncompressed = (flags & 0x80) === 0 ? undefined : this.#number(header, cursor);
    const id = this.#number(header, cursor);
    if ((flags & 3) !== 0 || id !== LZMA2) {
      const name = filters.get(id) ?? `0x${id.toString(16)}`;
      throw unsupported(`its xz stream has the filter ${name}`, this.#subject, 'compress it again, by plain xz');
    }
    const propertyBytes = this.#number(header, cursor);
    const bits = header[cursor.at] ?? 0xff;
    if (propertyBytes !== 1 || bits > 40) throw this.#broken('has a block with properties that are none');
    const dictionaryBytes = bits === 40 ? 0xffffffff : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11);
    if (dictionaryBytes > DICTIONARY_BYTES_MAX) {
      const what = `its xz stream needs a dictionary of ${dictionaryBytes} bytes, more than ${DICTIONARY_BYTES_MAX}`;
      throw unsupported(what, this.#subject, 'compress it again: xz -9 needs 64 MiB');
    }
    if (header.subarray(cursor.at + 1).some((byte) => byte !== 0)) throw this.#broken('has padding that is none');
    return { dictionaryBytes, compressed, uncompressed };
  }

  async *#chunks(decoder: Lzma2Decoder): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const [control = 0] = await this.#bytes(1);
        if (control === 0) return;
        const bytes = await this.#chunk(decoder, control);
        // The window is written over by later chunks, and who reads may be some behind.
        for (let at = 0; at < bytes.length; at += COPY_BYTES) yield bytes.slice(at, at + COPY_BYTES);
      }
    } catch (error) {
      if (error instanceof Lzma2Error) throw this.#broken(error.message, error);
      throw error;
    }
  }

  async #chunk(decoder: Lzma2Decoder, control: number): Promise<Uint8Array> {
    if (control < 0x80) {
      if (control > 2) throw this.#broken('has a chunk of a kind that is not known');
      const [high = 0, low = 0] = await this.#bytes(2);
      return decoder.copy(control, await this.#bytes(((high << 8) | low) + 1));
    }
    const [a = 0, b = 0, c = 0, d = 0] = await this.#bytes(4);
    const length = (((control & 0x1f) << 16) | (a << 8) | b) + 1;
    const [properties] = control >= 0xc0 ? await this.#bytes(1) : [];
    return decoder.decode(control, properties, await this.#bytes(((c << 8) | d) + 1), length);
  }

  async #index(sizes: BlockSizes, flags: number): Promise<void> {
    // Its first byte, the zero that is no block, was read.
    const start = this.#reader.position - 1;
    const crc = new IndexReader(this.#reader, () => truncated('xz', this.#subject));
    crc.add(0);
    const count: number = await this.#readNumber(crc);
    if (count !== sizes.count) throw this.#broken('has a wrong index');
    const said = new BlockSizes();
    for (let block = 0; block < count; block++) said.add(await this.#readNumber(crc), await this.#readNumber(crc));
    if (!said.equals(sizes)) throw this.#broken('has a wrong index');
    while ((this.#reader.position - start) % 4 !== 0) {
      if ((await crc.byte()) !== 0) throw this.#broken('has padding that is none');
    }
    this.#compare(await this.#bytes(4), crc.digest(), 'index');
    const indexBytes = this.#reader.position - start;
    const footer = (await this.#bytes(12)).slice();
    this.#compare(footer.subarray(0, 4), crcOf(footer.subarray(4, 10)), 'footer');
    const view = Buffer.from(footer);
    const isFooter = FOOTER_MAGIC.every((byte, index) => footer[10 + index] === byte);
    if (!isFooter || (view.readUInt32LE(4) + 1) * 4 !== indexBytes || footer[8] !== 0 || footer[9] !== flags) {
      throw this.#broken('has a wrong footer');
    }
  }

  #number(bytes: Uint8Array, cursor: { at: number }): number {
    let value = 0;
    for (let index = 0; index < 9; index++) {
      const byte = bytes[cursor.at++] ?? 0x80;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if ((byte & 0x80) === 0) return this.#checkNumber(value, byte, index);
    }
    throw this.#broken('has a number that is none');
  }

  async #readNumber(reader: IndexReader): Promise<number> {
    let value = 0;
    for (let index = 0; index < 9; index++) {
      const byte = await reader.byte();
      value += (byte & 0x7f) * 2 ** (7 * index);
      if ((byte & 0x80) === 0) return this.#checkNumber(value, byte, index);
    }
    throw this.#broken('has a number that is none');
  }

  #checkNumber(value: number, last: number, index: number): number {
    if ((last === 0 && index > 0) || !Number.isSafeInteger(value)) throw this.#broken('has a number that is none');
    return value;
  }

  #compare(said: Uint8Array, found: Uint8Array, where: string): void {
    if (Buffer.compare(said, found) !== 0) throw this.#broken(`has a ${where} with a wrong checksum`);
  }

  async #bytes(count: number): Promise<Uint8Array> {
    const bytes = await this.#reader.read(count);
    if (bytes.length < count) throw truncated('xz', this.#subject);
    return bytes;
  }

  #broken(what: string, cause?: unknown): Error {
    return broken('xz', what, this.#subject, cause);
  }
}

/** Bytes of the index, which has a checksum of its own. */
class IndexReader {
  readonly #reader: ByteReader;
  readonly #truncated: () => Error;
  #crc = 0;

  constructor(reader: ByteReader, onEnd: () => Error) {
    this.#reader = reader;
    this.#truncated = onEnd;
  }

  async byte(): Promise<number> {
    const [byte] = this.#reader.takeBuffered(1) ?? (await this.#reader.read(1));
    if (byte === undefined) throw this.#truncated();
    this.add(byte);
    return byte;
  }

  add(byte: number): void {
    this.#crc = crc32(Uint8Array.of(byte), this.#crc);
  }

  digest(): Uint8Array {
    return u32(this.#crc);
  }
}

interface Check {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

function newCheck(type: number): Check | undefined {
  if (type === 1) return new Crc32();
  if (type === 4) return new Crc64();
  return type === 10 ? sha256() : undefined;
}

function sha256(): Check {
  const hash: Hash = createHash('sha256');
  return {
    update: (bytes) => {
      hash.update(bytes);
    },
    digest: () => hash.digest(),
  };
}

class Crc32 implements Check {
  #value = 0;

  update(bytes: Uint8Array): void {
    this.#value = crc32(bytes, this.#value);
  }

  digest(): Uint8Array {
    return u32(this.#value);
  }
}

function crcOf(bytes: Uint8Array): Uint8Array {
  return u32(crc32(bytes));
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}
