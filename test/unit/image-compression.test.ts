// Decoders against what the real programs write, whole, damaged and cut off.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSandboxError } from '../../src/errors/errors.ts';
import { Crc64 } from '../../src/image/archive/checksums.ts';
import { decompress } from '../../src/image/archive/decompress.ts';
import { type Compression, detect } from '../../src/image/archive/detect.ts';
import { requires } from '../helpers/requires.ts';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function expand(compression: Compression, bytes: Uint8Array, chunk = 1 << 16): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of decompress(compression, inChunks(bytes, chunk), 'it')) {
    expect(part.length).toBeLessThanOrEqual(128 * 1024);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Text, noise and long runs, the same in every run: each asks something else of a decoder. */
function sample(length: number): Buffer {
  const parts: Buffer[] = [];
  let seed = createHash('sha256').update('seed').digest();
  for (let total = 0; total < length; ) {
    seed = createHash('sha256').update(seed).digest();
    const [kind = 0, size = 0] = seed;
    const part =
      kind < 90
        ? Buffer.concat([seed, seed])
        : kind < 180
          ? Buffer.from(`${seed.toString('base64')}\n`.repeat(1 + (size % 4)))
          : Buffer.alloc(size * 40, size);
    parts.push(part);
    total += part.length;
  }
  return Buffer.concat(parts).subarray(0, length);
}

const run = (command: string, input: Uint8Array): Buffer =>
  execFileSync('sh', ['-c', command], { input, maxBuffer: 1 << 28 });

interface Kind {
  readonly compression: Compression;
  readonly variants: readonly string[];
}

const kinds: readonly Kind[] = [
  { compression: 'gzip', variants: ['gzip -c', 'gzip -1c', 'gzip -9c'] },
  { compression: 'bzip2', variants: ['bzip2 -c', 'bzip2 -1c'] },
  {
    compression: 'xz',
    // The first is the one of which bytes are changed: without a check nobody would notice each of them.
    variants: [
      ...['crc64', 'none', 'crc32', 'sha256'].map((check) => `xz -c -T1 --check=${check}`),
      'xz -0c',
      'xz -9ec',
      'xz -c -T2 --block-size=100000',
      'xz -c --lzma2=lc=0,lp=2,pb=0',
    ],
  },
  {
    compression: 'zstd',
    variants: ['zstd -c', 'zstd -1c --no-check', 'zstd -19c', 'zstd -c --long=27', 'zstd -c -3 --fast=5'],
  },
];

describe.each(kinds)('$compression', ({ compression, variants }) => {
  const data = sample(1_200_000);
  const compressed = (input: Uint8Array, variant = variants[0] ?? ''): Buffer => {
    requires(`command:${compression}`);
    return run(variant, input);
  };

  test.each(variants)('of %s is expanded', async (variant) => {
    const bytes = compressed(data, variant);
    expect(detect(bytes)).toBe(compression);
    expect((await expand(compression, bytes)).equals(data)).toBe(true);
  });

  test('of nothing, of one byte, and of a long run is expanded', async () => {
    for (const input of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(3_000_000, 7)]) {
      expect((await expand(compression, compressed(input))).equals(input)).toBe(true);
    }
  });

  test('may come in any chunks', async () => {
    const bytes = compressed(data.subarray(0, 50_000));
    for (const chunk of [1, 7, 4096]) {
      expect((await expand(compression, bytes, chunk)).equals(data.subarray(0, 50_000))).toBe(true);
    }
  });

  test('may be several streams, one after another', async () => {
    const bytes = Buffer.concat([
      compressed(data.subarray(0, 1000)),
      compressed(Buffer.alloc(0)),
      compressed(data.subarray(1000, 90_000)),
    ]);
    expect((await expand(compression, bytes)).equals(data.subarray(0, 90_000))).toBe(true);
  });

  test('that is cut off anywhere is an error that says so', async () => {
    const bytes = compressed(data.subarray(0, 20_000));
    const cuts = [
      ...Array.from({ length: 40 }, (_, index) => index + 4),
      ...Array.from({ length: 40 }, (_, index) => Math.floor((bytes.length * index) / 40)),
      ...Array.from({ length: 30 }, (_, index) => bytes.length - 1 - index),
    ];
    for (const length of cuts.filter((cut) => cut > 3 && cut < bytes.length)) {
      await expect(expand(compression, bytes.subarray(0, length)), `${length} of ${bytes.length}`).rejects.toThrow(
        `it: its ${compression} stream is truncated`,
      );
    }
  });

  test('with something after it is an error that says so', async () => {
    const bytes = compressed(data.subarray(0, 20_000));
    for (const garbage of ['garbage, and more of it', '\0\0\0\0garbage', '\0']) {
      const expected = new RegExp(`^it: its ${compression} stream (is followed by|is truncated|is broken)`);
      await expect(expand(compression, Buffer.concat([bytes, Buffer.from(garbage)]))).rejects.toThrow(expected);
    }
  });

  test('with any byte changed is an error of ours, or has the same content', async () => {
    const input = data.subarray(0, 30_000);
    const bytes = compressed(input);
    // fzstd does not compare the checksum of a frame, which zlib of later releases of Node does.
    const isChecked = compression !== 'zstd' || 'createZstdDecompress' in zlib;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ change;
        try {
          const found = await expand(compression, changed);
          if (isChecked) expect(found.equals(input)).toBe(true);
        } catch (error) {
          if (!isSandboxError(error)) throw error;
          refused += 1;
        }
      }),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(isChecked ? 250 : 20);
  });
});

test('xz with a filter is refused by its name', async () => {
  requires('command:xz');
  await expect(expand('xz', run('xz -c --x86 --lzma2', Buffer.from('x')))).rejects.toThrow(
    'its xz stream has the filter x86; compress it again, by plain xz',
  );
});

test('xz and zstd that need very much memory are refused before they have it', async () => {
  requires('command:xz', 'command:zstd');
  await expect(expand('xz', run('xz -c --lzma2=dict=256MiB', Buffer.from('x')))).rejects.toThrow(
    'needs a dictionary of 268435456 bytes, more than 134217728',
  );
  await expect(expand('zstd', run('zstd -c --ultra --long=31 -1', Buffer.from('x')))).rejects.toThrow(
    /needs a window of \d+ bytes, more than 134217728/,
  );
});

test('what bytes are is known by what they are', () => {
  const of = (text: string): string => detect(Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(2000)]));
  expect([of('\x1f\x8b'), of('BZh9'), of('\xfd7zXZ\0'), of('(\xb5/\xfd'), of('\x50\x2a\x4d\x18')]).toEqual([
    'gzip',
    'bzip2',
    'xz',
    'zstd',
    'zstd',
  ]);
  expect([of('hsqs'), of('PK\x03\x04'), of('!<arch>\n'), of('070701'), of('-----BEGIN PGP MESSAGE-----')]).toEqual([
    'squashfs',
    'zip',
    'ar',
    'cpio',
    'pgp',
  ]);
  // A session key encrypted by a passphrase (new and old length), and a signature.
  expect([of('\x8c\x0d\x04\x09'), of('\xc3\x0d\x04'), of('\x85\x01\x0c\x03')]).toEqual(['pgp', 'pgp', 'pgp']);
  expect([detect(Buffer.alloc(0)), detect(Buffer.from('text')), of('text')]).toEqual(['empty', 'unknown', 'unknown']);
});

test('CRC-64 is that of ECMA-182', () => {
  const crc = new Crc64();
  crc.update(Buffer.from('1234'));
  crc.update(Buffer.from('56789'));
  expect(crc.digest().readBigUInt64LE(0).toString(16)).toBe('995dc9bbdf1939fa');
});
