// bzip2, block by block. A library for it reads some 2 MB in a second, and brings four packages along.
import { ByteReader } from './bytes.ts';
import type { Subject } from './failure.ts';
import { broken, truncated } from './failure.ts';

/** No block of 900,000 symbols, each of 20 bits at most, with its tables, is as long as this. */
const BLOCK_BYTES_MAX = 3 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const SYMBOLS_MAX = 258;
const CODE_BITS_MAX = 20;
const SYMBOLS_OF_SELECTOR = 50;
const SELECTORS_USED_MAX = 18002;
const BLOCK_MAGIC = [0x314159, 0x265359] as const;
const END_MAGIC = [0x177245, 0x385090] as const;

export async function* bunzip2(
  source: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const input = new BitInput(new ByteReader(source), subject);
  try {
    do yield* oneStream(input, subject);
    while (await input.more());
  } finally {
    await input.close();
  }
}

/** Several streams may follow one another. */
async function* oneStream(input: BitInput, subject: Subject): AsyncGenerator<Uint8Array, void, undefined> {
  await input.fill();
  const magic = input.bits(24);
  const level = input.bits(8) - 0x30;
  if (magic !== 0x425a68 || level < 1 || level > 9) throw broken('bzip2', 'is followed by something else', subject);
  const block = new Block(level * 100_000, subject);
  let combined = 0;
  for (;;) {
    await input.fill();
    const [high, low] = [input.bits(24), input.bits(24)];
    const checksum = ((input.bits(16) << 16) | input.bits(16)) >>> 0;
    if (high === END_MAGIC[0] && low === END_MAGIC[1]) {
      if (checksum !== combined) throw broken('bzip2', 'has a wrong checksum', subject);
      input.align();
      return;
    }
    if (high !== BLOCK_MAGIC[0] || low !== BLOCK_MAGIC[1])
      throw broken('bzip2', 'has no block where one begins', subject);
    block.read(input);
    yield* block.write();
    if (block.checksum !== checksum) throw broken('bzip2', 'has a block with a wrong checksum', subject);
    combined = (((combined << 1) | (combined >>> 31)) ^ checksum) >>> 0;
  }
}

/** Bits from the highest of each byte on. Enough for a whole block is there before it is read, so that no bit is waited for. */
class BitInput {
  readonly #reader: ByteReader;
  readonly #subject: Subject;
  #bytes = new Uint8Array(2 * BLOCK_BYTES_MAX);
  #at = 0;
  #end = 0;
  #ended = false;
  #held = 0;
  #count = 0;

  constructor(reader: ByteReader, subject: Subject) {
    this.#reader = reader;
    this.#subject = subject;
  }

  async fill(): Promise<void> {
    if (this.#ended || this.#end - this.#at >= BLOCK_BYTES_MAX) return;
    this.#bytes.copyWithin(0, this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
    while (!this.#ended && this.#end < BLOCK_BYTES_MAX) {
      const bytes = await this.#reader.some(this.#bytes.length - this.#end);
      this.#bytes.set(bytes, this.#end);
      this.#end += bytes.length;
      this.#ended = bytes.length === 0;
    }
  }

  async more(): Promise<boolean> {
    await this.fill();
    return this.#at < this.#end;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  /** `count`: at most 24. */
  bits(count: number): number {
    while (this.#count < count) {
      if (this.#at === this.#end) throw this.#overrun();
      this.#held = ((this.#held << 8) | (this.#bytes[this.#at++] as number)) & 0xffffffff;
      this.#count += 8;
    }
    this.#count -= count;
    return (this.#held >>> this.#count) & ((1 << count) - 1);
  }

  align(): void {
    this.#count -= this.#count % 8;
    // Whole bytes that were taken ahead go back.
    this.#at -= this.#count / 8;
    this.#count = 0;
  }

  #overrun(): Error {
    if (this.#ended) return truncated('bzip2', this.#subject);
    return broken('bzip2', 'has a block that is longer than any', this.#subject);
  }
}

/** One table of a Huffman code: for each length the highest code, and where its symbols begin. */
interface Table {
  readonly limit: Int32Array;
  readonly base: Int32Array;
  readonly symbols: Uint16Array;
  readonly shortest: number;
}

class Block {
  readonly #links: Uint32Array;
  readonly #subject: Subject;
  #length = 0;
  #origin = 0;
  checksum = 0;

  constructor(size: number, subject: Subject) {
    this.#links = new Uint32Array(size);
    this.#subject = subject;
  }

  read(input: BitInput): void {
    if (input.bits(1) === 1) throw this.#broken('has a randomized block, which nothing has made since 1999');
    this.#origin = input.bits(24);
    const used = readUsed(input);
    if (used.length === 0) throw this.#broken('has a block without symbols');
    const groups = input.bits(3);
    if (groups < 2 || groups > 6) throw this.#broken('has a wrong number of tables');
    const selectors = this.#readSelectors(input, groups);
    const tables = Array.from({ length: groups }, () => this.#readTable(input, used.length + 2));
    const counts = this.#readSymbols(input, used, selectors, tables);
    if (this.#origin >= this.#length) throw this.#broken('has a block that begins outside of itself');
    this.#link(counts);
  }

  #readSelectors(input: BitInput, groups: number): Uint8Array {
    const count = input.bits(15);
    if (count === 0) throw this.#broken('has a block without selectors');
    const order = Array.from({ length: groups }, (_, index) => index);
    const selectors = new Uint8Array(Math.min(count, SELECTORS_USED_MAX));
    for (let index = 0; index < count; index++) {
      let place = 0;
      while (input.bits(1) === 1) if (++place >= groups) throw this.#broken('has a wrong selector');
      const [chosen = 0] = order.splice(place, 1);
      order.unshift(chosen);
      // Some writers say more of them than can be used.
      if (index < selectors.length) selectors[index] = chosen;
    }
    return selectors;
  }

  #readTable(input: BitInput, symbols: number): Table {
    const lengths = new Uint8Array(symbols);
    let length = input.bits(5);
    for (let symbol = 0; symbol < symbols; symbol++) {
      for (;;) {
        if (length < 1 || length > CODE_BITS_MAX) throw this.#broken('has a code of a wrong length');
        if (input.bits(1) === 0) break;
        length += input.bits(1) === 0 ? 1 : -1;
      }
      lengths[symbol] = length;
    }
    return tableOf(lengths);
  }

  /** Symbols, runs of the front one undone, into bytes; how many there are of each. */
  #readSymbols(input: BitInput, used: Uint8Array, selectors: Uint8Array, tables: readonly Table[]): Uint32Array {
    const front = used.slice();
    const counts = new Uint32Array(256);
    const links = this.#links;
    const end = used.length + 1;
    let length = 0;
    let run = 0;
    let weight = 1;
    let group = 0;
    let left = 0;
    let table = tables[0] as Table;
    for (;;) {
      if (left === 0) {
        const selector = selectors[group++];
        if (selector === undefined) throw this.#broken('has a block with too few selectors');
        table = tables[selector] as Table;
        left = SYMBOLS_OF_SELECTOR;
      }
      left--;
      const symbol = this.#decode(input, table);
      if (symbol <= 1) {
        if (weight > links.length) throw this.#broken('has a block that is too long');
        run += weight << symbol;
        weight <<= 1;
        continue;
      }
      if (run > 0) {
        const byte = front[0] as number;
        if (length + run > links.length) throw this.#broken('has a block that is too long');
        links.fill(byte, length, length + run);
        counts[byte] = (counts[byte] as number) + run;
        length += run;
        run = 0;
        weight = 1;
      }
      if (symbol === end) break;
      if (length === links.length) throw this.#broken('has a block that is too long');
      const place = symbol - 1;
      const byte = front[place] as number;
      front.copyWithin(1, 0, place);
      front[0] = byte;
      links[length++] = byte;
      counts[byte] = (counts[byte] as number) + 1;
    }
    this.#length = length;
    return counts;
  }

  #decode(input: BitInput, { limit, base, symbols, shortest }: Table): number {
    let code = input.bits(shortest);
    for (let bits = shortest; bits <= CODE_BITS_MAX; bits++) {
      if (code <= (limit[bits] as number)) {
        const symbol = symbols[code - (base[bits] as number)];
        if (symbol === undefined) break;
        return symbol;
      }
      code = (code << 1) | input.bits(1);
    }
    throw this.#broken('has a code that is none');
  }

  /** The inverse of the Burrows-Wheeler transform: above each byte the place of the one that follows it. */
  #link(counts: Uint32Array): void {
    const links = this.#links;
    const next = new Uint32Array(256);
    for (let byte = 1; byte < 256; byte++) next[byte] = (next[byte - 1] as number) + (counts[byte - 1] as number);
    for (let index = 0; index < this.#length; index++) {
      const byte = (links[index] as number) & 0xff;
      const place = next[byte] as number;
      next[byte] = place + 1;
      links[place] = (links[place] as number) | (index << 8);
    }
  }

  /** The bytes: after four that are the same comes how often it follows. */
  *write(): Generator<Uint8Array, void, undefined> {
    const links = this.#links;
    let at = (links[this.#origin] as number) >>> 8;
    let chunk = new Uint8Array(CHUNK_BYTES);
    let used = 0;
    let crc = 0xffffffff;
    let previous = -1;
    let same = 0;
    for (let index = 0; index < this.#length; index++) {
      const link = links[at] as number;
      const byte = link & 0xff;
      at = link >>> 8;
      let times = 1;
      let value = byte;
      if (same === 4) {
        times = byte;
        value = previous;
        same = 0;
        previous = -1;
      } else if (byte === previous) same++;
      else {
        previous = byte;
        same = 1;
      }
      for (; times > 0; times--) {
        chunk[used++] = value;
        crc = (crc << 8) ^ (crcTable[(crc >>> 24) ^ value] as number);
        if (used < CHUNK_BYTES) continue;
        yield chunk;
        chunk = new Uint8Array(CHUNK_BYTES);
        used = 0;
      }
    }
    this.checksum = ~crc >>> 0;
    if (used > 0) yield chunk.subarray(0, used);
  }

  #broken(what: string): Error {
    return broken('bzip2', what, this.#subject);
  }
}

/** Bytes that occur: sixteen bits say in which sixteenths, and sixteen more for each of these. */
function readUsed(input: BitInput): Uint8Array {
  const used: number[] = [];
  const ranges = input.bits(16);
  for (let range = 0; range < 16; range++) {
    if (((ranges >>> (15 - range)) & 1) === 0) continue;
    const members = input.bits(16);
    for (let member = 0; member < 16; member++) {
      if (((members >>> (15 - member)) & 1) === 1) used.push(range * 16 + member);
    }
  }
  return Uint8Array.from(used);
}

function tableOf(lengths: Uint8Array): Table {
  const limit = new Int32Array(CODE_BITS_MAX + 2).fill(-1);
  const base = new Int32Array(CODE_BITS_MAX + 2);
  const symbols = new Uint16Array(SYMBOLS_MAX);
  let count = 0;
  let code = 0;
  for (let bits = 1; bits <= CODE_BITS_MAX; bits++) {
    base[bits] = code - count;
    for (const [symbol, length] of lengths.entries()) {
      if (length !== bits) continue;
      symbols[count++] = symbol;
      code++;
    }
    limit[bits] = code - 1;
    code <<= 1;
  }
  return { limit, base, symbols: symbols.subarray(0, count), shortest: Math.min(...lengths) };
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = (value << 1) ^ ((value & 0x80000000) === 0 ? 0 : 0x04c11db7);
  return value >>> 0;
});
