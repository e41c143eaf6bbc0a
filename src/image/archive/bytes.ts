// Bytes that come in chunks, read in the pieces that a format has.

/** Reads from `source` what is asked for and no more; holds one chunk and what was put together for the last piece. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #ended = false;
  /** Bytes handed out so far. */
  position = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Exactly `length` bytes, or what is left where that is less. Good until the next call. */
  async read(length: number): Promise<Uint8Array> {
    return this.takeBuffered(length) ?? (await this.#gather(length));
  }

  /** As `read`, where that need not wait: no promise for each of many small pieces. */
  takeBuffered(length: number): Uint8Array | undefined {
    if (this.#chunk.length < length) return undefined;
    const bytes = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    this.position += length;
    return bytes;
  }

  /** Bytes as they come, at most `most`; none at the end. */
  async some(most: number): Promise<Uint8Array> {
    if (this.#chunk.length === 0) await this.#fill();
    return this.takeBuffered(Math.min(most, this.#chunk.length)) as Uint8Array;
  }

  /** The next bytes without taking them; fewer than `length` only at the end. */
  async peek(length: number): Promise<Uint8Array> {
    if (this.#chunk.length < length) {
      const bytes = await this.#gather(length);
      this.position -= bytes.length;
      this.#chunk = concat([bytes, this.#chunk]);
    }
    return this.#chunk.subarray(0, length);
  }

  /** What is left, chunk by chunk. Who stops before the end closes the source. */
  async *rest(): AsyncGenerator<Uint8Array> {
    try {
      for (let bytes = await this.some(Number.MAX_SAFE_INTEGER); bytes.length > 0; ) {
        yield bytes;
        bytes = await this.some(Number.MAX_SAFE_INTEGER);
      }
    } finally {
      await this.close();
    }
  }

  /** Tells the source that nothing more is wanted. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#source.return?.();
  }

  async #gather(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await this.some(missing);
      if (part.length === 0) break;
      parts.push(part);
      missing -= part.length;
    }
    return concat(parts);
  }

  async #fill(): Promise<void> {
    while (!this.#ended && this.#chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) this.#ended = true;
      else this.#chunk = next.value;
    }
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Bytes as text of one character for each: what names in archives are held as here. They need not be UTF-8, and come back exactly.
 */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** A name for a person: read as UTF-8 where it is that; what would not be printed, and else what is not ASCII, is escaped byte by byte. */
export function shown(name: string): string {
  const bytes = Buffer.from(name, 'latin1');
  const text = bytes.toString('utf8');
  const escaped = Buffer.from(text).equals(bytes)
    ? text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => escapeBytes(Buffer.from(character)))
    : name.replace(/[^ -~]/g, (character) => escapeBytes(Buffer.from(character, 'latin1')));
  return escaped.length <= SHOWN_MAX ? escaped : `${escaped.slice(0, SHOWN_MAX)}…`;
}

function escapeBytes(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

const SHOWN_MAX = 200;
