// Maps of sparse files, in the four ways that GNU tar has written them: which bytes of the file the archive has, one after another. The rest are holes.
import type { ByteReader } from './bytes.ts';
import { latin1 } from './bytes.ts';
import { BLOCK, HeaderError, number } from './header.ts';
import type { PaxHeaders } from './pax.ts';

export interface Piece {
  readonly offset: number;
  readonly length: number;
}

export interface SparseMap {
  /** Of the file as a whole. */
  readonly size: number;
  readonly pieces: readonly Piece[];
  /** Bytes of the entry that the map itself took. */
  readonly mapBytes: number;
}

/** Of the types that POSIX knows: versions 0.0, 0.1 and 1.0, by what the extended header says. */
export async function paxSparse(
  headers: PaxHeaders,
  reader: ByteReader,
  headerBytes: number,
): Promise<SparseMap | undefined> {
  const major = headers.natural('GNU.sparse.major');
  if (major !== undefined) {
    const minor = headers.natural('GNU.sparse.minor') ?? 0;
    if (major !== 1 || minor !== 0)
      throw new HeaderError(`it is a sparse file of version ${major}.${minor}, which is not known`);
    const size = headers.natural('GNU.sparse.realsize');
    if (size === undefined) throw new HeaderError('it is a sparse file without a size');
    return { size, ...(await mapInContent(reader, headerBytes)) };
  }
  const size = headers.natural('GNU.sparse.size');
  if (size === undefined) return undefined;
  const map = headers.text('GNU.sparse.map');
  const pairs = map === undefined ? repeatedPairs(headers) : map === '' ? [] : map.split(',').map(natural);
  return { size, pieces: piecesOf(pairs), mapBytes: 0 };
}

/** Version 0.0: a record for each number, in their order. */
function repeatedPairs(headers: PaxHeaders): number[] {
  const records = headers.repeated('GNU.sparse.offset', 'GNU.sparse.numbytes');
  for (const [index, [key]] of records.entries()) {
    if (key !== (index % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes')) {
      throw new HeaderError('its map of a sparse file is out of order');
    }
  }
  return records.map(([, value]) => natural(value));
}

/** Version 1.0: lines at the start of the content, padded to a block. */
async function mapInContent(reader: ByteReader, most: number): Promise<Omit<SparseMap, 'size'>> {
  const numbers: number[] = [];
  let text = '';
  for (let mapBytes = BLOCK; mapBytes <= most; mapBytes += BLOCK) {
    const block = await reader.read(BLOCK);
    if (block.length < BLOCK) break;
    text += latin1(block);
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      numbers.push(natural(line));
      if (numbers.length === 1 + 2 * (numbers[0] ?? 0)) return { pieces: piecesOf(numbers.slice(1)), mapBytes };
    }
  }
  throw new HeaderError('its map of a sparse file has no end');
}

/** The old way, type `S`: four pieces in the header, more in blocks after it. */
export async function gnuSparse(block: Uint8Array, reader: ByteReader, most: number): Promise<SparseMap> {
  const size = number(block, 483, 12, 'size');
  if (size < 0) throw new HeaderError('its size is negative');
  const pairs = pairsIn(block, 386, 4);
  let extended = block[482] !== 0;
  for (let read = 0; extended; read += BLOCK) {
    const more = await reader.read(BLOCK);
    if (more.length < BLOCK || read >= most) throw new HeaderError('its map of a sparse file has no end');
    pairs.push(...pairsIn(more, 0, 21));
    extended = more[504] !== 0;
  }
  return { size, pieces: piecesOf(pairs), mapBytes: 0 };
}

function pairsIn(block: Uint8Array, at: number, count: number): number[] {
  const pairs: number[] = [];
  for (let index = 0; index < count; index++) {
    const offset = at + index * 24;
    // An unused place is all NULs.
    if (block[offset] === 0) break;
    pairs.push(
      number(block, offset, 12, 'map of a sparse file'),
      number(block, offset + 12, 12, 'map of a sparse file'),
    );
  }
  return pairs;
}

function natural(text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new HeaderError('its map of a sparse file has what is no number');
  return value;
}

function piecesOf(pairs: readonly number[]): Piece[] {
  if (pairs.length % 2 !== 0) throw new HeaderError('its map of a sparse file lacks a number');
  const pieces: Piece[] = [];
  for (let index = 0; index < pairs.length; index += 2) {
    pieces.push({ offset: pairs[index] ?? 0, length: pairs[index + 1] ?? 0 });
  }
  return pieces;
}

/** Whether the map is one: in order, within the file, and of as many bytes as there are. */
export function checkMap({ size, pieces, mapBytes }: SparseMap, contentBytes: number): void {
  let end = 0;
  let sum = mapBytes;
  for (const { offset, length } of pieces) {
    if (offset < end || length < 0 || offset + length > size) {
      throw new HeaderError('its map of a sparse file overlaps itself, or goes beyond the file');
    }
    end = offset + length;
    sum += length;
  }
  if (sum !== contentBytes) throw new HeaderError('its map of a sparse file has not as many bytes as the archive');
}
