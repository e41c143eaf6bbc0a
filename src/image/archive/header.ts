// One block of 512 bytes that describes an entry, as tar(5) has it: v7, ustar, GNU. Pure. What is wrong is thrown as a HeaderError; who reads knows the
// entry that it belongs to.
import { latin1 } from './bytes.ts';
import { hasChecksum } from './detect.ts';

export const BLOCK = 512;

/** What is wrong with an archive, without its name and that of the entry. */
export class HeaderError extends Error {}

export interface Header {
  readonly type: string;
  readonly name: string;
  readonly linkname: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

export function parseHeader(block: Uint8Array): Header {
  if (!hasChecksum(block)) throw new HeaderError('its header has a wrong checksum');
  const type = latin1(block.subarray(156, 157));
  const isUstar = text(block, 257, 6) === 'ustar';
  return {
    type,
    name: fullName(block),
    linkname: text(block, 157, 100),
    mode: number(block, 100, 8, 'mode') & 0o7777,
    uid: natural(block, 108, 8, 'uid'),
    gid: natural(block, 116, 8, 'gid'),
    size: natural(block, 124, 12, 'size'),
    mtime: number(block, 136, 12, 'mtime'),
    // Of a file some leave rubbish there, and v7 has no such fields.
    major: isUstar && isDevice(type) ? natural(block, 329, 8, 'devmajor') : 0,
    minor: isUstar && isDevice(type) ? natural(block, 337, 8, 'devminor') : 0,
  };
}

function isDevice(type: string): boolean {
  return type === '3' || type === '4';
}

/** Only the format of POSIX has a prefix there, GNU has times; star(1) has times after it, and says `tar` at the end. */
function fullName(block: Uint8Array): string {
  const name = text(block, 0, 100);
  if (latin1(block.subarray(257, 263)) !== 'ustar\0') return name;
  const prefix = text(block, 345, latin1(block.subarray(508, 512)) === 'tar\0' ? 131 : 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Up to the first NUL. */
function text(block: Uint8Array, at: number, length: number): string {
  const field = latin1(block.subarray(at, at + length));
  const end = field.indexOf('\0');
  return end === -1 ? field : field.slice(0, end);
}

function natural(block: Uint8Array, at: number, length: number, field: string): number {
  const value = number(block, at, length, field);
  if (value < 0) throw new HeaderError(`its ${field} is negative`);
  return value;
}

/** Octal digits, or with the highest bit set a number of base 256 in two's complement, which GNU made. */
export function number(block: Uint8Array, at: number, length: number, field: string): number {
  const first = block[at] ?? 0;
  if ((first & 0x80) !== 0) return binary(block.subarray(at, at + length), field);
  const digits = /^[ \0]*([0-7]*)[ \0]*$/.exec(latin1(block.subarray(at, at + length)));
  if (digits === null) throw new HeaderError(`its ${field} is no number`);
  return digits[1] === '' ? 0 : Number.parseInt(digits[1] ?? '', 8);
}

function binary(field: Uint8Array, name: string): number {
  const isNegative = ((field[0] ?? 0) & 0x40) !== 0;
  // The highest bit only marks the form; the next is the sign.
  let value = isNegative ? -1n : 0n;
  for (const [index, byte] of field.entries()) {
    value = (value << 8n) | BigInt(index === 0 ? (isNegative ? byte : byte & 0x7f) : byte);
  }
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw new HeaderError(`its ${name} is absurd`);
  return result;
}
