// A tar archive as pax(1) writes it (POSIX.1-2017, "pax Interchange Format"): ustar headers, and an extended header before each that does not say all. The
// same entries give the same bytes.

import { isUtf8 as isUtf8Bytes } from 'node:buffer';

const BLOCK = 512;
/** Octal digits that the fields of a ustar header have: 7 for ids, 11 for sizes and times. */
const ID_MAX = 0o7777777;
const SIZE_MAX = 0o77777777777;

export interface TarEntry {
  readonly type: 'file' | 'directory' | 'symlink' | 'link' | 'fifo' | 'character' | 'block';
  /** As bytes, one character each (latin1), relative and without `..`. A directory without the final slash. */
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a file, in bytes: so many follow the header, padded by `padding`. */
  readonly size?: number;
  /** In seconds; whole ones where there are `nanoseconds`. */
  readonly mtime: number;
  /** After `mtime`, also where that is before 1970. A number cannot hold both of them exactly. */
  readonly nanoseconds?: number;
  /** Of a symlink: what it holds, as bytes like `path`. Of a hard link: the `path` of the entry before. */
  readonly target?: string;
  /** Of a device. */
  readonly major?: number;
  readonly minor?: number;
}

const typeFlags: Readonly<Record<TarEntry['type'], string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** The header of an entry; its content comes next. */
export function tarHeader(entry: TarEntry): Buffer {
  const name = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  const { size = 0, target = '', uid, gid, nanoseconds = 0, major, minor } = entry;
  const mtime = Math.min(SIZE_MAX, Math.max(0, Math.floor(entry.mtime)));
  const extended: string[] = [];
  const extend = (key: string, value: string | number): unknown => extended.push(record(key, String(value)));
  // By the standard all of it is UTF-8, and bsdtar ends at a name that is not.
  if (!isUtf8(name) || !isUtf8(target)) extend('hdrcharset', 'BINARY');
  if (name.length > 100 || !isAscii(name)) extend('path', name);
  if (target.length > 100 || !isAscii(target)) extend('linkpath', target);
  if (size > SIZE_MAX) extend('size', size);
  if (uid > ID_MAX) extend('uid', uid);
  if (gid > ID_MAX) extend('gid', gid);
  if (entry.mtime !== mtime || nanoseconds > 0) extend('mtime', decimal(entry.mtime, nanoseconds));
  const flag = typeFlags[entry.type];
  const header = block({ name, mode: entry.mode, uid, gid, size, mtime, flag, target, major, minor });
  if (extended.length === 0) return header;
  const records = Buffer.from(extended.join(''), 'latin1');
  const before = block({
    // Nobody looks at it but old programs, which take it for a file.
    name: 'PaxHeaders/0',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: records.length,
    mtime: 0,
    flag: 'x',
    target: '',
  });
  return Buffer.concat([before, records, padding(records.length), header]);
}

/** -5 and half a second is -4.5. */
function decimal(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds);
  const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  const digits = String(total < 0n ? -total : total).padStart(10, '0');
  return `${total < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/0+$/, '');
}

/** What fills the last block of a content. */
export function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** Two empty blocks. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

interface Fields {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly flag: string;
  readonly target: string;
  readonly major?: number | undefined;
  readonly minor?: number | undefined;
}

function block({ name, mode, uid, gid, size, mtime, flag, target, major, minor }: Fields): Buffer {
  const header = Buffer.alloc(BLOCK);
  const text = (value: string, at: number, length: number): unknown =>
    header.write(value.slice(0, length), at, 'latin1');
  const octal = (value: number, at: number, length: number): unknown =>
    text(value.toString(8).padStart(length - 1, '0'), at, length - 1);
  text(name, 0, 100);
  octal(mode & 0o7777, 100, 8);
  octal(Math.min(uid, ID_MAX), 108, 8);
  octal(Math.min(gid, ID_MAX), 116, 8);
  octal(Math.min(size, SIZE_MAX), 124, 12);
  octal(mtime, 136, 12);
  text('        ', 148, 8);
  text(flag, 156, 1);
  text(target, 157, 100);
  text('ustar\0', 257, 6);
  text('00', 263, 2);
  if (major !== undefined) octal(major, 329, 8);
  if (minor !== undefined) octal(minor, 337, 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  text(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
  return header;
}

function isUtf8(text: string): boolean {
  return isAscii(text) || isUtf8Bytes(Buffer.from(text, 'latin1'));
}

function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all that a ustar header has
  return /^[\x00-\x7f]*$/.test(text);
}
