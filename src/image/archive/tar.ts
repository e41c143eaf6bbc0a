// A strict reader of tar: what two readers could understand in two ways is refused, for then what was checked is not what is unpacked. Entries come one
// by one, and their content as it is read; nothing is held but headers, and those up to a bound.
import { ByteReader, concat, latin1 } from './bytes.ts';
import { isZero } from './detect.ts';
import { beyond, invalid, type Subject } from './failure.ts';
import { BLOCK, type Header, HeaderError, parseHeader } from './header.ts';
import type { ArchiveLimits } from './limits.ts';
import { checkTarget, cleanName, LimitError } from './names.ts';
import { lostBy, PaxHeaders, type PaxRecords, parsePax, takesBack } from './pax.ts';
import { checkMap, gnuSparse, paxSparse, type SparseMap } from './sparse.ts';

export type EntryKind = 'directory' | 'file' | 'symlink' | 'link' | 'fifo' | 'character' | 'block';

export interface TarData {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface TarEntry {
  /** Counted from 1; headers that belong to an entry are part of it. */
  readonly number: number;
  /** Clean and relative to the top, which is `''`. One character for each byte: names need not be UTF-8. */
  readonly name: string;
  readonly kind: EntryKind;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a file, holes included; else 0. */
  readonly size: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly major: number;
  readonly minor: number;
  /** Of a symlink as it is, of a hard link as `name`; else `''`. */
  readonly target: string;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** What the archive says of it that cannot be kept, by the keys of its extended header. */
  readonly lost: readonly string[];
  /** Good until the next entry is asked for. What is not read is skipped. */
  readonly content: AsyncIterable<TarData>;
}

const CHUNK_BYTES = 128 * 1024;

const kinds: Readonly<Record<string, EntryKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/**
 * The entries of an uncompressed archive, to the end of `source`.
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID` or `SBX_IMAGE_LIMIT`, with the number and the name of the entry.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  archive: string,
  limits: ArchiveLimits,
): AsyncGenerator<TarEntry, void, undefined> {
  const reader = new ByteReader(source);
  try {
    yield* new TarReader(reader, archive, limits).entries();
  } finally {
    await reader.close();
  }
}

/** Headers that come before the one of the entry and belong to it. */
interface Before {
  pax: PaxRecords | undefined;
  longName: string | undefined;
  longLink: string | undefined;
  bytes: number;
}

class TarReader {
  readonly #reader: ByteReader;
  readonly #archive: string;
  readonly #limits: ArchiveLimits;
  #globals = new Map<string, Uint8Array>();
  #number = 0;
  #bytes = 0;
  /** Of the entry that is read, for messages. */
  #name: string | undefined;

  constructor(reader: ByteReader, archive: string, limits: ArchiveLimits) {
    this.#reader = reader;
    this.#archive = archive;
    this.#limits = limits;
  }

  async *entries(): AsyncGenerator<TarEntry, void, undefined> {
    for (;;) {
      let entry: (TarEntry & { readonly finish: () => Promise<void> }) | undefined;
      try {
        entry = await this.#next();
      } catch (error) {
        throw this.#explain(error);
      }
      if (entry === undefined) return;
      yield entry;
      await entry.finish();
    }
  }

  async #next(): Promise<(TarEntry & { readonly finish: () => Promise<void> }) | undefined> {
    const before: Before = { pax: undefined, longName: undefined, longLink: undefined, bytes: 0 };
    this.#number += 1;
    this.#name = undefined;
    for (;;) {
      const block = await this.#block();
      if (isZero(block)) {
        if (before.bytes > 0) throw new HeaderError('headers of an entry come, and no entry after them');
        await this.#end();
        return undefined;
      }
      const header = parseHeader(block);
      this.#name ??= header.name;
      if (await this.#isBefore(header, before)) continue;
      if (this.#number > this.#limits.entries)
        throw new LimitError('entries', `it has ${this.#number} entries or more`);
      return this.#entry(header, block, before);
    }
  }

  async #block(): Promise<Uint8Array> {
    const block = await this.#reader.read(BLOCK);
    if (block.length === 0) throw new HeaderError('the archive is truncated: it ends without the two blocks of zeros');
    if (block.length < BLOCK) throw new HeaderError('the archive is truncated: it ends within a header');
    return block;
  }

  /** Two blocks of zeros, and nothing but zeros after them. */
  async #end(): Promise<void> {
    this.#number -= 1;
    const second = await this.#reader.read(BLOCK);
    if (second.length < BLOCK)
      throw new HeaderError('the archive is truncated: it ends within the two blocks of zeros');
    if (!isZero(second)) throw new HeaderError('a block of zeros is followed by something else');
    for await (const bytes of this.#reader.rest()) {
      if (!isZero(bytes)) throw new HeaderError('after its end there is something else');
    }
  }

  /** Takes in a header that belongs to the next one, or to all that follow. */
  async #isBefore(header: Header, before: Before): Promise<boolean> {
    switch (header.type) {
      case 'x':
      case 'X':
        if (before.pax !== undefined) throw new HeaderError('it has two extended headers');
        before.pax = parsePax(await this.#headerContent(header, before));
        return true;
      case 'g':
        if (before.bytes > 0) throw new HeaderError('headers of an entry come, and no entry after them');
        this.#addGlobals(parsePax(await this.#headerContent(header, before)));
        before.bytes = 0;
        return true;
      case 'L':
        if (before.longName !== undefined) throw new HeaderError('it has two long names');
        before.longName = longText(await this.#headerContent(header, before));
        this.#name = before.longName;
        return true;
      case 'K':
        if (before.longLink !== undefined) throw new HeaderError('it has two long targets');
        before.longLink = longText(await this.#headerContent(header, before));
        return true;
      default:
        return false;
    }
  }

  async #headerContent({ size }: Header, before: Before): Promise<Uint8Array> {
    before.bytes += size + BLOCK;
    if (before.bytes > this.#limits.headerBytes) {
      throw new LimitError('headerBytes', `its extended headers have ${before.bytes} bytes or more`);
    }
    // Kept beyond the next read, which the reader's own bytes are not.
    const content = concat([await this.#reader.read(size), new Uint8Array(0)]);
    const padding = await this.#reader.read(paddingOf(size));
    if (content.length < size || padding.length < paddingOf(size)) {
      throw new HeaderError('the archive is truncated: it ends within an extended header');
    }
    return content;
  }

  #addGlobals(records: PaxRecords): void {
    for (const [key, value] of records) {
      if (takesBack(key, value)) this.#globals.delete(key);
      else this.#globals.set(key, value);
    }
    const bytes = [...this.#globals].reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    if (bytes > this.#limits.headerBytes) throw new LimitError('headerBytes', `its global headers have ${bytes} bytes`);
  }

  async #entry(
    header: Header,
    block: Uint8Array,
    before: Before,
  ): Promise<TarEntry & { readonly finish: () => Promise<void> }> {
    // The block is the reader's, and gone with the next read.
    const own = block.slice();
    const headers = new PaxHeaders(this.#globals, before.pax ?? []);
    const rawName = headers.text('GNU.sparse.name') ?? headers.text('path') ?? before.longName ?? header.name;
    this.#name = rawName;
    const kind = this.#kindOf(header, rawName);
    const contentBytes = sizeOf(header, headers);
    const name = cleanName(rawName, 'name', this.#limits);
    if (name === '' && kind !== 'directory')
      throw new HeaderError('its name is that of the top, and it is no directory');
    if (kind !== 'file' && contentBytes !== 0) {
      throw new HeaderError(`it is a ${words[kind]} and has content, which readers understand differently`);
    }
    const map = kind === 'file' ? await this.#mapOf(header, own, headers, contentBytes) : undefined;
    const size = map?.size ?? contentBytes;
    this.#bytes += size;
    if (this.#bytes > this.#limits.bytes) throw new LimitError('bytes', `its files have ${this.#bytes} bytes or more`);
    const xattrs = headers.xattrs();
    const xattrBytes = [...xattrs].reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    if (xattrBytes > this.#limits.xattrBytes) {
      throw new LimitError('xattrBytes', `its extended attributes have ${xattrBytes} bytes`);
    }
    const mtime = headers.time('mtime') ?? { seconds: header.mtime, nanoseconds: 0 };
    const content = new Content(this.#reader, contentBytes, map, (error) => this.#explain(error));
    return {
      number: this.#number,
      name,
      kind,
      mode: header.mode,
      uid: u32(headers.natural('uid') ?? header.uid, 'uid'),
      gid: u32(headers.natural('gid') ?? header.gid, 'gid'),
      size,
      ...mtime,
      major: u32(headers.natural('SCHILY.devmajor') ?? header.major, 'devmajor'),
      minor: u32(headers.natural('SCHILY.devminor') ?? header.minor, 'devminor'),
      target: this.#targetOf(kind, headers.text('linkpath') ?? before.longLink ?? header.linkname, name),
      xattrs,
      lost: lostBy(headers),
      content,
      finish: () => content.finish(),
    };
  }

  #kindOf({ type }: Header, name: string): EntryKind {
    const kind = kinds[type];
    if (kind === undefined) throw new HeaderError(`it is of the type ${JSON.stringify(type)}, which is not known`);
    // v7 has no type for directories.
    return kind === 'file' && (type === '\0' || type === '0') && name.endsWith('/') ? 'directory' : kind;
  }

  #targetOf(kind: EntryKind, target: string, name: string): string {
    if (kind === 'symlink') checkTarget(target, this.#limits);
    if (kind === 'symlink') return target;
    if (kind !== 'link') return '';
    const clean = cleanName(target, 'target of the hard link', this.#limits);
    if (clean === '' || clean === name) throw new HeaderError('it is a hard link to the top, or to itself');
    return clean;
  }

  async #mapOf(
    header: Header,
    block: Uint8Array,
    headers: PaxHeaders,
    contentBytes: number,
  ): Promise<SparseMap | undefined> {
    const most = this.#limits.headerBytes;
    const map =
      header.type === 'S'
        ? await gnuSparse(block, this.#reader, most)
        : await paxSparse(headers, this.#reader, Math.min(most, contentBytes));
    if (map !== undefined) checkMap(map, contentBytes);
    return map;
  }

  #explain(error: unknown): unknown {
    const entry = this.#name === undefined ? undefined : { number: this.#number, name: this.#name };
    const subject: Subject = { archive: this.#archive, entry };
    if (error instanceof LimitError) return beyond(error.limit, this.#limits, error.message, subject);
    return error instanceof HeaderError ? invalid(error.message, subject) : error;
  }
}

/** Eleven digits of octal. */
const HEADER_SIZE_MAX = 8 ** 11 - 1;

/** An extended header is for a size that the header has no room for; where both have one, readers disagree which of two counts. */
function sizeOf(header: Header, headers: PaxHeaders): number {
  const size = headers.natural('size') ?? header.size;
  if (size !== header.size && size <= HEADER_SIZE_MAX) {
    throw new HeaderError(`its header says ${header.size} bytes, and its extended header ${size}`);
  }
  return size;
}

const words: Readonly<Record<EntryKind, string>> = {
  directory: 'directory',
  file: 'file',
  symlink: 'symlink',
  link: 'hard link',
  fifo: 'FIFO',
  character: 'character device',
  block: 'block device',
};

/** The last id is none: to chown(2) it says that the owner is to stay. */
function u32(value: number, field: string): number {
  if (value >= 0xffff_ffff) throw new HeaderError(`its ${field} is absurd`);
  return value;
}

/** GNU ends it with a NUL. */
function longText(bytes: Uint8Array): string {
  const text = latin1(bytes);
  return text.endsWith('\0') ? text.slice(0, -1) : text;
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

class Content implements AsyncIterable<TarData> {
  readonly #reader: ByteReader;
  readonly #pieces: readonly { readonly offset: number; readonly length: number }[];
  readonly #padding: number;
  readonly #explain: (error: unknown) => unknown;
  #piece = 0;
  #done = 0;

  constructor(
    reader: ByteReader,
    contentBytes: number,
    map: SparseMap | undefined,
    explain: (error: unknown) => unknown,
  ) {
    this.#reader = reader;
    this.#pieces = map?.pieces ?? [{ offset: 0, length: contentBytes }];
    this.#padding = paddingOf(contentBytes);
    this.#explain = explain;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TarData, void, undefined> {
    for (let data = await this.#next(); data !== undefined; data = await this.#next()) yield data;
  }

  /** Reads what was left, and the rest of the last block. */
  async finish(): Promise<void> {
    while ((await this.#next()) !== undefined);
    const padding = await this.#reader.read(this.#padding);
    if (padding.length < this.#padding) throw this.#truncated();
  }

  async #next(): Promise<TarData | undefined> {
    for (let piece = this.#pieces[this.#piece]; piece !== undefined; piece = this.#pieces[++this.#piece]) {
      const left = piece.length - this.#done;
      if (left > 0) {
        const bytes = await this.#reader.some(Math.min(left, CHUNK_BYTES));
        if (bytes.length === 0) throw this.#truncated();
        const offset = piece.offset + this.#done;
        this.#done += bytes.length;
        return { offset, bytes };
      }
      this.#done = 0;
    }
    return undefined;
  }

  #truncated(): unknown {
    return this.#explain(new HeaderError('the archive is truncated: it ends within the content of this entry'));
  }
}
