// The stream that `launcher unpack` reads, as native/README.md has it.
import type { EntryKind } from './archive/tar.ts';

export interface FileAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

export interface EntryRecord extends FileAttributes {
  readonly kind: EntryKind;
  /** Clean and relative, one character for each byte, as everywhere here; `''` is the directory itself. */
  readonly name: string;
  readonly target: string;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
  /** It may take the place of a directory, with all that is in it. */
  readonly replacesDirectory: boolean;
}

const types = { entry: 1, data: 2, attributes: 3, remove: 4, end: 5 } as const;
const kinds: Readonly<Record<EntryKind, number>> = {
  directory: 0,
  file: 1,
  symlink: 2,
  link: 3,
  fifo: 4,
  character: 5,
  block: 6,
};
/** Owners, devices and extended attributes may be left out where the kernel refuses them: what was is in the report. */
const MAY_LACK = 1 | 2 | 4;
const REPLACES_DIRECTORY = 8;
const MAY_BE_ABSENT = 1;
const CONTENTS_ONLY = 2;
/** Of names that a removal keeps. */
export const KEPT_MAX = 4096;

export function header(): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.write('SBXU', 0, 'latin1');
  bytes.writeUInt32LE(1, 4);
  return bytes;
}

export function entryRecord(entry: EntryRecord): Uint8Array {
  return entryOf(types.entry, entry);
}

/** Of a directory that is there: at the end, for what is written into it changes its times, and its mode may forbid that. */
export function attributesRecord(name: string, attributes: FileAttributes): Uint8Array {
  const rest = { target: '', size: 0, major: 0, minor: 0, replacesDirectory: false };
  return entryOf(types.attributes, { ...attributes, ...rest, name, kind: 'directory' });
}

function entryOf(type: number, entry: EntryRecord): Uint8Array {
  const xattrs = [...entry.xattrs];
  const xattrBytes = xattrs.reduce((sum, [name, value]) => sum + 4 + name.length + 1 + 4 + value.length, 0);
  const writer = new Writer(type, 48 + 4 + entry.name.length + 1 + 4 + entry.target.length + 1 + 4 + xattrBytes);
  writer.u32(kinds[entry.kind]);
  writer.u32(MAY_LACK | (entry.replacesDirectory ? REPLACES_DIRECTORY : 0));
  writer.u32(entry.mode);
  writer.u32(entry.uid);
  writer.u32(entry.gid);
  writer.i64(entry.seconds);
  writer.u32(entry.nanoseconds);
  writer.i64(entry.size);
  writer.u32(entry.major);
  writer.u32(entry.minor);
  writer.string(entry.name);
  writer.string(entry.target);
  writer.u32(xattrs.length);
  for (const [name, value] of xattrs) {
    writer.string(name);
    writer.blob(value);
  }
  return writer.bytes;
}

/** The head of a record of `bytes`, which follow by themselves. */
export function dataHead(offset: number, bytes: Uint8Array): Uint8Array {
  const head = Buffer.alloc(8 + 12);
  head.writeUInt16LE(types.data, 0);
  head.writeUInt32LE(12 + bytes.length, 4);
  head.writeBigInt64LE(BigInt(offset), 8);
  head.writeUInt32LE(bytes.length, 16);
  return head;
}

/** Whatever is there by that name, if anything. */
export function removeRecord(name: string): Uint8Array {
  const writer = new Writer(types.remove, 4 + 4 + name.length + 1 + 4);
  writer.u32(MAY_BE_ABSENT);
  writer.string(name);
  writer.u32(0);
  return writer.bytes;
}

/** What is in a directory, if there is one, but for entries of these names. */
export function emptyRecord(name: string, kept: readonly string[]): Uint8Array {
  const keptBytes = kept.reduce((sum, one) => sum + 4 + one.length + 1, 0);
  const writer = new Writer(types.remove, 4 + 4 + name.length + 1 + 4 + keptBytes);
  writer.u32(MAY_BE_ABSENT | CONTENTS_ONLY);
  writer.string(name);
  writer.u32(kept.length);
  for (const one of kept) writer.string(one);
  return writer.bytes;
}

export function endRecord(): Uint8Array {
  return new Writer(types.end, 0).bytes;
}

class Writer {
  readonly bytes: Buffer;
  #at = 8;

  constructor(type: number, length: number) {
    this.bytes = Buffer.allocUnsafe(8 + length);
    this.bytes.writeUInt32LE(type, 0);
    this.bytes.writeUInt32LE(length, 4);
  }

  u32(value: number): void {
    this.#at = this.bytes.writeUInt32LE(value, this.#at);
  }

  i64(value: number): void {
    this.#at = this.bytes.writeBigInt64LE(BigInt(value), this.#at);
  }

  string(text: string): void {
    this.u32(text.length + 1);
    this.#at += this.bytes.write(text, this.#at, 'latin1');
    this.#at = this.bytes.writeUInt8(0, this.#at);
  }

  blob(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}
