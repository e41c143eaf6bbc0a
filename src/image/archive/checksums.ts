// Checksums that node:crypto and node:zlib do not have.

/** Reflected polynomial 0xC96C5795D7870F42 of ECMA-182, as xz has it; in two halves, for numbers here have 53 bits. */
const CRC64_HIGH = 0xc96c5795;
const CRC64_LOW = 0xd7870f42;
const SLICES = 4;

/** For each of four bytes that are taken at once: what it does to the high and to the low half. */
function crc64Tables(): { readonly high: Uint32Array; readonly low: Uint32Array } {
  const high = new Uint32Array(SLICES * 256);
  const low = new Uint32Array(SLICES * 256);
  for (let slice = 0; slice < SLICES; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      let h = slice === 0 ? 0 : (high[(slice - 1) * 256 + byte] as number);
      let l = slice === 0 ? byte : (low[(slice - 1) * 256 + byte] as number);
      for (let bit = 0; bit < 8; bit++) {
        const isOdd = (l & 1) === 1;
        l = ((l >>> 1) | (h << 31)) >>> 0;
        h >>>= 1;
        if (!isOdd) continue;
        h = (h ^ CRC64_HIGH) >>> 0;
        l = (l ^ CRC64_LOW) >>> 0;
      }
      high[slice * 256 + byte] = h;
      low[slice * 256 + byte] = l;
    }
  }
  return { high, low };
}

let tables: ReturnType<typeof crc64Tables> | undefined;

export class Crc64 {
  #high = 0xffffffff;
  #low = 0xffffffff;

  update(bytes: Uint8Array): void {
    tables ??= crc64Tables();
    const { high, low } = tables;
    let h = this.#high;
    let l = this.#low;
    let at = 0;
    for (const end = bytes.length - (bytes.length % 4); at < end; at += 4) {
      const word =
        l ^
        ((bytes[at] as number) |
          ((bytes[at + 1] as number) << 8) |
          ((bytes[at + 2] as number) << 16) |
          ((bytes[at + 3] as number) << 24));
      const [a, b, c, d] = [
        768 + (word & 0xff),
        512 + ((word >>> 8) & 0xff),
        256 + ((word >>> 16) & 0xff),
        word >>> 24,
      ];
      l = h ^ (low[a] as number) ^ (low[b] as number) ^ (low[c] as number) ^ (low[d] as number);
      h = (high[a] as number) ^ (high[b] as number) ^ (high[c] as number) ^ (high[d] as number);
    }
    for (; at < bytes.length; at++) {
      const index = (l ^ (bytes[at] as number)) & 0xff;
      l = ((l >>> 8) | (h << 24)) ^ (low[index] as number);
      h = (h >>> 8) ^ (high[index] as number);
    }
    this.#high = h >>> 0;
    this.#low = l >>> 0;
  }

  /** Little endian. */
  digest(): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(~this.#low >>> 0, 0);
    bytes.writeUInt32LE(~this.#high >>> 0, 4);
    return bytes;
  }
}
