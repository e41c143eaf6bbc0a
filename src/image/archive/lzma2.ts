// LZMA2, chunk by chunk: each has 64 KiB of compressed bytes at most and expands to 2 MiB at most, so that one is decoded at a time, from memory to memory.
// The method of the format's author, Igor Pavlov, as the specification of LZMA has it.

/** What is wrong with the stream, without its name. */
export class Lzma2Error extends Error {}

const CHUNK_BYTES_MAX = 2 * 1024 * 1024;
const FIRST_BYTES = 4 * 1024 * 1024;
/** Copied down less often than it is written. */
const SLIDE_BYTES_MAX = 32 * 1024 * 1024;

const PROBABILITY = 1024;
const TOP = 0x1000000;
const STATES = 12;
const POSITION_STATES = 16;
const LENGTH_STATES = 4;
const MATCH_MIN = 2;
const ALIGN_BITS = 4;
const END_POSITION_MODEL = 14;
const FULL_DISTANCES = 128;
/** Offsets in the table of probabilities: one array, so that it is reset at once. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITION_STATES;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const SLOTS = IS_REP0_LONG + STATES * POSITION_STATES;
const SPECIAL = SLOTS + LENGTH_STATES * 64;
const ALIGN = SPECIAL + FULL_DISTANCES - END_POSITION_MODEL;
const LENGTHS = ALIGN + (1 << ALIGN_BITS);
/** Of a coder of lengths: two choices, eight symbols of each position for the low and the middle ones, 256 for the high ones. */
const LENGTH_MIDDLE = 2 + POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MIDDLE + POSITION_STATES * 8;
const LENGTH_SIZE = LENGTH_HIGH + 256;
const REP_LENGTHS = LENGTHS + LENGTH_SIZE;
const LITERALS = REP_LENGTHS + LENGTH_SIZE;
const LITERAL_SIZE = 0x300;
const LITERAL_BITS_MAX = 4;

export class Lzma2Decoder {
  readonly #dictionaryBytes: number;
  readonly #capacity: number;
  readonly #probabilities = new Uint16Array(LITERALS + (LITERAL_SIZE << LITERAL_BITS_MAX));
  /** What was written last: at least the dictionary, where there is that much, and room for a chunk. */
  #window: Uint8Array;
  #end = 0;
  /** Of the window, bytes that a match may reach back to. */
  #reachable = 0;
  #literalContextBits = 0;
  #literalPositionMask = 0;
  #positionMask = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #needsDictionary = true;
  #needsProperties = true;
  #needsState = true;
  /** Bytes since the dictionary was reset: positions count from there. */
  #position = 0;
  #input: Uint8Array = new Uint8Array(0);
  #at = 0;
  #range = 0;
  #code = 0;

  constructor(dictionaryBytes: number) {
    this.#dictionaryBytes = Math.max(dictionaryBytes, 4096);
    this.#capacity = this.#dictionaryBytes + Math.min(this.#dictionaryBytes, SLIDE_BYTES_MAX) + CHUNK_BYTES_MAX;
    this.#window = new Uint8Array(Math.min(FIRST_BYTES, this.#capacity));
  }

  /** A chunk that is not compressed. */
  copy(control: number, bytes: Uint8Array): Uint8Array {
    if (control === 1) this.#resetDictionary();
    else if (this.#needsDictionary) throw new Lzma2Error('begins without a dictionary');
    this.#makeRoom(bytes.length);
    this.#window.set(bytes, this.#end);
    return this.#written(bytes.length);
  }

  /** One that is: `properties` are those of the chunk, where it has them. Good until the next chunk. */
  decode(control: number, properties: number | undefined, input: Uint8Array, length: number): Uint8Array {
    const reset = (control >> 5) & 3;
    if (reset === 3) this.#resetDictionary();
    else if (this.#needsDictionary) throw new Lzma2Error('begins without a dictionary');
    if (properties !== undefined) this.#setProperties(properties);
    else if (this.#needsProperties) throw new Lzma2Error('has a chunk before any properties');
    if (reset > 0) this.#resetState();
    else if (this.#needsState) throw new Lzma2Error('has a chunk that goes on from nothing');
    this.#makeRoom(length);
    this.#begin(input);
    this.#run(length);
    this.#normalize();
    // At its end the coder has taken in all of the chunk, and nothing is left over.
    if (this.#at !== input.length || this.#code !== 0) throw new Lzma2Error('has a chunk of a wrong length');
    return this.#written(length);
  }

  #resetDictionary(): void {
    this.#needsDictionary = false;
    this.#reachable = 0;
    this.#position = 0;
    this.#needsProperties = true;
    this.#needsState = true;
  }

  #setProperties(byte: number): void {
    const contextBits = byte % 9;
    const positionBits = Math.floor(byte / 9) % 5;
    const bits = Math.floor(byte / 45);
    if (bits > 4 || contextBits + positionBits > LITERAL_BITS_MAX) throw new Lzma2Error('has properties that are none');
    this.#literalContextBits = contextBits;
    this.#literalPositionMask = (1 << positionBits) - 1;
    this.#positionMask = (1 << bits) - 1;
    this.#needsProperties = false;
  }

  #resetState(): void {
    this.#probabilities.fill(PROBABILITY);
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
    this.#needsState = false;
  }

  #makeRoom(length: number): void {
    if (this.#end + length <= this.#window.length) return;
    const kept = Math.min(this.#reachable, this.#dictionaryBytes);
    if (this.#window.length < this.#capacity) {
      const window = new Uint8Array(Math.min(this.#capacity, Math.max(2 * this.#window.length, kept + length)));
      window.set(this.#window.subarray(this.#end - kept, this.#end));
      this.#window = window;
    } else this.#window.copyWithin(0, this.#end - kept, this.#end);
    this.#end = kept;
    this.#reachable = kept;
  }

  #written(length: number): Uint8Array {
    const bytes = this.#window.subarray(this.#end, this.#end + length);
    this.#end += length;
    this.#reachable = Math.min(this.#reachable + length, this.#end);
    this.#position += length;
    return bytes;
  }

  #begin(input: Uint8Array): void {
    if (input.length < 5 || input[0] !== 0)
      throw new Lzma2Error('has a chunk that is too short, or does not begin as one');
    this.#input = input;
    this.#range = 0xffffffff;
    this.#code =
      (((input[1] as number) << 24) |
        ((input[2] as number) << 16) |
        ((input[3] as number) << 8) |
        (input[4] as number)) >>>
      0;
    this.#at = 5;
  }

  #normalize(): void {
    if (this.#range >= TOP) return;
    this.#range = (this.#range << 8) >>> 0;
    // Past the end zeros are read, and the check at the end of the chunk tells.
    this.#code = ((this.#code << 8) | (this.#input[this.#at++] ?? 0)) >>> 0;
  }

  #bit(index: number): number {
    const probabilities = this.#probabilities;
    if (this.#range < TOP) this.#normalize();
    const probability = probabilities[index] as number;
    const bound = (this.#range >>> 11) * probability;
    if (this.#code < bound) {
      this.#range = bound;
      probabilities[index] = probability + ((2048 - probability) >> 5);
      return 0;
    }
    this.#range -= bound;
    this.#code -= bound;
    probabilities[index] = probability - (probability >> 5);
    return 1;
  }

  #tree(base: number, bits: number): number {
    let symbol = 1;
    for (let count = bits; count > 0; count--) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(base: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let count = 0; count < bits; count++) {
      const bit = this.#bit(base + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << count;
    }
    return value;
  }

  #directBits(bits: number): number {
    let value = 0;
    for (let count = bits; count > 0; count--) {
      this.#normalize();
      this.#range >>>= 1;
      const isOne = this.#code >= this.#range;
      if (isOne) this.#code -= this.#range;
      value = (value << 1) | (isOne ? 1 : 0);
    }
    return value >>> 0;
  }

  #length(base: number, positionState: number): number {
    if (this.#bit(base) === 0) return MATCH_MIN + this.#tree(base + 2 + positionState * 8, 3);
    if (this.#bit(base + 1) === 0) return MATCH_MIN + 8 + this.#tree(base + LENGTH_MIDDLE + positionState * 8, 3);
    return MATCH_MIN + 16 + this.#tree(base + LENGTH_HIGH, 8);
  }

  #distance(length: number): number {
    const slot = this.#tree(SLOTS + Math.min(length - MATCH_MIN, LENGTH_STATES - 1) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) << bits;
    if (slot < END_POSITION_MODEL) return high + this.#reverseTree(SPECIAL + high - slot - 1, bits);
    const middle = this.#directBits(bits - ALIGN_BITS);
    return (high >>> 0) + middle * (1 << ALIGN_BITS) + this.#reverseTree(ALIGN, ALIGN_BITS);
  }

  #run(length: number): void {
    const window = this.#window;
    const start = this.#end;
    const stop = start + length;
    const reachable = this.#reachable;
    let to = start;
    while (to < stop) {
      const position = this.#position + (to - start);
      const positionState = position & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * POSITION_STATES + positionState) === 0) {
        window[to] = this.#literal(position, to, reachable + (to - start));
        to++;
        continue;
      }
      const count = this.#bit(IS_REP + this.#state) === 0 ? this.#match(positionState) : this.#repeat(positionState);
      const distance = this.#rep0 + 1;
      if (distance > reachable + (to - start) || distance > this.#dictionaryBytes) {
        throw new Lzma2Error('reaches back to before its beginning');
      }
      if (to + count > stop) throw new Lzma2Error('has a match that goes beyond its chunk');
      // Overlapping on purpose: what was just written is what follows.
      if (distance >= count && count > 16) window.copyWithin(to, to - distance, to - distance + count);
      else for (let index = 0; index < count; index++) window[to + index] = window[to + index - distance] as number;
      to += count;
    }
  }

  #literal(position: number, to: number, behind: number): number {
    const window = this.#window;
    const previous = behind > 0 ? (window[to - 1] as number) : 0;
    const context =
      ((position & this.#literalPositionMask) << this.#literalContextBits) +
      (previous >> (8 - this.#literalContextBits));
    const base = LITERALS + LITERAL_SIZE * context;
    let symbol = 1;
    if (this.#state >= 7) {
      // After a match the byte that would have followed it is a likely one.
      if (this.#rep0 >= behind) throw new Lzma2Error('reaches back to before its beginning');
      let matched = window[to - this.#rep0 - 1] as number;
      while (symbol < 0x100) {
        const expected = (matched >> 7) & 1;
        matched <<= 1;
        const bit = this.#bit(base + ((1 + expected) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== expected) break;
      }
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(base + symbol);
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
    return symbol & 0xff;
  }

  #match(positionState: number): number {
    this.#rep3 = this.#rep2;
    this.#rep2 = this.#rep1;
    this.#rep1 = this.#rep0;
    this.#state = this.#state < 7 ? 7 : 10;
    const length = this.#length(LENGTHS, positionState);
    this.#rep0 = this.#distance(length);
    return length;
  }

  #repeat(positionState: number): number {
    if (this.#bit(IS_REP0 + this.#state) === 0) {
      if (this.#bit(IS_REP0_LONG + this.#state * POSITION_STATES + positionState) === 0) {
        this.#state = this.#state < 7 ? 9 : 11;
        return 1;
      }
    } else {
      let distance = this.#rep1;
      if (this.#bit(IS_REP1 + this.#state) === 1) {
        distance = this.#rep2;
        if (this.#bit(IS_REP2 + this.#state) === 1) {
          distance = this.#rep3;
          this.#rep3 = this.#rep2;
        }
        this.#rep2 = this.#rep1;
      }
      this.#rep1 = this.#rep0;
      this.#rep0 = distance;
    }
    this.#state = this.#state < 7 ? 8 : 11;
    return this.#length(REP_LENGTHS, positionState);
  }
}
