// What bytes are, by what they are: names of archives say little. Pure.

export type Compression = 'gzip' | 'bzip2' | 'xz' | 'zstd';
export type Content = Compression | 'tar' | 'squashfs' | 'erofs' | 'zip' | 'pgp' | 'ar' | 'cpio' | 'empty' | 'unknown';

/** What `detect` looks at: the magic number of erofs ends there. */
export const DETECT_BYTES = 1028;
const BLOCK = 512;

const magics: readonly (readonly [content: Content, offset: number, bytes: readonly number[]])[] = [
  ['gzip', 0, [0x1f, 0x8b]],
  ['bzip2', 0, [0x42, 0x5a, 0x68]],
  ['xz', 0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', 0, [0x28, 0xb5, 0x2f, 0xfd]],
  ['tar', 257, [0x75, 0x73, 0x74, 0x61, 0x72]],
  ['squashfs', 0, [0x68, 0x73, 0x71, 0x73]],
  ['erofs', 1024, [0xe2, 0xe1, 0xf5, 0xe0]],
  ['zip', 0, [0x50, 0x4b, 0x03, 0x04]],
  ['zip', 0, [0x50, 0x4b, 0x05, 0x06]],
  ['ar', 0, [0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e]],
  ['cpio', 0, [0x30, 0x37, 0x30, 0x37, 0x30]],
];

/** `head`: the first `DETECT_BYTES` bytes, or all there are. */
export function detect(head: Uint8Array): Content {
  if (head.length === 0) return 'empty';
  for (const [content, offset, bytes] of magics) {
    if (bytes.every((byte, index) => head[offset + index] === byte)) return content;
  }
  if (isSkippableZstd(head)) return 'zstd';
  if (isPgp(head)) return 'pgp';
  // The oldest archives have no magic number, and an empty one is all zeros.
  if (head.length >= BLOCK && (isZero(head.subarray(0, BLOCK)) || hasChecksum(head))) return 'tar';
  return 'unknown';
}

/** A frame that readers skip may come first (RFC 8878, 3.1.2). */
function isSkippableZstd(head: Uint8Array): boolean {
  return ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18;
}

/** Armoured, or a packet of those that a message begins with: a session key, encrypted or compressed data, a signature (RFC 4880, 4.2). */
function isPgp(head: Uint8Array): boolean {
  if (Buffer.from(head.subarray(0, 15)).toString('latin1') === '-----BEGIN PGP ') return true;
  const first = head[0] ?? 0;
  if ((first & 0x80) === 0) return false;
  const isNew = (first & 0x40) !== 0;
  const tag = isNew ? first & 0x3f : (first >> 2) & 0xf;
  // The version of the packet follows its length.
  const lengthBytes = isNew ? 1 : [1, 2, 4, 0][first & 3];
  const version = head[1 + (lengthBytes ?? 0)] ?? 0;
  if (tag === 1) return version === 3;
  if (tag === 3) return version === 4 || version === 5;
  return tag === 18 && version === 1;
}

export function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

/** Whether a header of tar has the checksum that it says: over unsigned bytes, or signed ones as some made it (tar(5)). */
export function hasChecksum(header: Uint8Array): boolean {
  const said = /^[ \0]*([0-7]+)[ \0]*$/.exec(Buffer.from(header.subarray(148, 156)).toString('latin1'));
  if (said === null) return false;
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < BLOCK; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const sum = Number.parseInt(said[1] ?? '', 8);
  return sum === unsigned || sum === signed;
}
