// JSON that somebody else wrote (RFC 8259). JSON.parse says neither line nor column, keeps the last of two members with one name, and rounds
// numbers: a document that two readers understand differently is how a check is passed by. So this reader is strict, and its depth is bounded.
import { ImageError } from '../errors/errors.ts';

/** Deeper than any manifest, and far from what the stack takes. */
const DEPTH_MAX = 100;
/** Manifests are held in memory; the OCI distribution spec expects registries to take 4 MiB. */
export const DOCUMENT_BYTES_MAX: number = 4 * 1024 * 1024;

/**
 * Integers from 2^53 on are bigints: a filter's argument may have 64 bits.
 *
 * `what` the document is, for messages.
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID` with line and column.
 */
export function parseJson(document: string | Uint8Array, what: string): unknown {
  const size = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  if (size > DOCUMENT_BYTES_MAX) {
    throw new ImageError(
      'SBX_IMAGE_INVALID',
      `${what} has ${size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`,
    );
  }
  return new JsonReader(typeof document === 'string' ? document : decode(document, what), what).document();
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new ImageError('SBX_IMAGE_INVALID', `${what} is not UTF-8`, {}, { cause });
  }
}

class JsonReader {
  readonly #text: string;
  readonly #what: string;
  #at = 0;

  constructor(text: string, what: string) {
    this.#text = text;
    this.#what = what;
  }

  document(): unknown {
    if (this.#text.startsWith('\uFEFF')) this.#fail('begins with a byte order mark, which JSON must not have');
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail(`unexpected ${this.#here()} after the end of the document`);
    return value;
  }

  #value(depth: number): unknown {
    this.#space();
    if (depth > DEPTH_MAX) this.#fail(`is nested more than ${DEPTH_MAX} deep`);
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      default:
        return this.#word();
    }
  }

  #object(depth: number): Record<string, unknown> {
    const members = new Map<string, unknown>();
    this.#at += 1;
    for (let first = true; !this.#takes('}'); first = false) {
      if (!first && !this.#takes(',')) this.#fail(`expected ',' or '}', found ${this.#here()}`);
      this.#space();
      const start = this.#at;
      if (this.#text[start] !== '"') this.#fail(`expected the name of a member in quotes, found ${this.#here()}`);
      const name = this.#string();
      if (members.has(name)) this.#fail(`the member '${name}' stands twice in one object`, start);
      if (!this.#takes(':')) this.#fail(`expected ':' after '${name}', found ${this.#here()}`);
      members.set(name, this.#value(depth + 1));
    }
    // Own properties, even for a name such as __proto__.
    return Object.fromEntries(members);
  }

  #array(depth: number): unknown[] {
    const elements: unknown[] = [];
    this.#at += 1;
    for (let first = true; !this.#takes(']'); first = false) {
      if (!first && !this.#takes(',')) this.#fail(`expected ',' or ']', found ${this.#here()}`);
      elements.push(this.#value(depth + 1));
    }
    return elements;
  }

  #string(): string {
    const start = this.#at;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in a string
    const token = /"(?:[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*("?)/y;
    token.lastIndex = start;
    const [text = '', end] = token.exec(this.#text) ?? [];
    this.#at += text.length;
    if (end !== '"') this.#badString(start);
    const value = JSON.parse(text) as string;
    // No path and no variable can be made of it.
    if (/\p{Surrogate}/u.test(value)) this.#fail('a string has half of a surrogate pair in it', start);
    return value;
  }

  #badString(start: number): never {
    if (this.#at >= this.#text.length) this.#fail('a string has no end', start);
    if (this.#text[this.#at] === '\\') this.#fail('a backslash begins nothing that JSON knows');
    this.#fail('a string has a control character in it, such as the end of a line');
  }

  #word(): unknown {
    const token = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|true|false|null/y;
    token.lastIndex = this.#at;
    const match = token.exec(this.#text);
    const [text = '', fraction, exponent] = match ?? [];
    // 01, 1.2.3 and truer are no words.
    const next = this.#text[this.#at + text.length] ?? ' ';
    if (match === null || /[\w.+-]/.test(next)) this.#fail(`expected a value, found ${this.#here()}`);
    this.#at += text.length;
    if (text === 'true' || text === 'false') return text === 'true';
    if (text === 'null') return null;
    const number = Number(text);
    if (fraction === undefined && exponent === undefined && !Number.isSafeInteger(number)) return BigInt(text);
    if (!Number.isFinite(number)) this.#fail(`the number ${text.slice(0, 40)} is too large`);
    return number;
  }

  #takes(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    while (' \t\n\r'.includes(this.#text[this.#at] ?? 'x')) this.#at += 1;
  }

  #here(): string {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    if (rest === '') return 'the end';
    const word = /^[\w.+-]+/.exec(rest)?.[0] ?? [...rest][0] ?? '';
    return JSON.stringify(word);
  }

  #fail(message: string, at: number = this.#at): never {
    const before = this.#text.slice(0, at).split('\n');
    const column = [...(before.at(-1) ?? '')].length + 1;
    throw new ImageError('SBX_IMAGE_INVALID', `${this.#what} is not JSON`, {
      issues: [{ path: [], message: `line ${before.length}, column ${column}: ${message}` }],
    });
  }
}
