import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { padding, type TarEntry, tarEnd, tarHeader } from '../../src/archive/tar-writer.ts';
import { requires } from '../helpers/requires.ts';

/** Python's own reader of tar archives. */
const reader = `
import io, json, sys, tarfile
with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), encoding='latin1', errors='strict') as archive:
    print(json.dumps([[m.name, m.type.decode(), m.mode, m.uid, m.gid, m.size, m.linkname, m.mtime, m.devmajor, m.devminor] for m in archive]))
`;

function read(archive: Buffer): unknown {
  requires('command:python3');
  // PAX records are UTF-8 by the standard; names that are none stay bytes.
  const { status, stdout, stderr } = spawnSync('python3', ['-c', reader], { input: archive, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const part = fc
  .stringMatching(/^[a-zA-Z0-9 _.,:"-]{1,120}$/)
  .filter((name) => name !== '.' && name !== '..' && name.trim() === name);
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const id = fc.oneof(fc.integer({ min: 0, max: 0o7777777 }), fc.integer({ min: 0o10000000, max: 2 ** 32 - 2 }));
const entry = fc.oneof(
  fc.record({ type: fc.constantFrom('directory', 'fifo'), path, mode: mode(), uid: id, gid: id, mtime: mtime() }),
  fc.record({
    type: fc.constantFrom('character', 'block'),
    path,
    mode: mode(),
    uid: id,
    gid: id,
    mtime: mtime(),
    major: fc.nat(0xfff),
    minor: fc.nat(0xfffff),
  }),
  fc.record({
    type: fc.constantFrom('symlink', 'link'),
    path,
    mode: mode(),
    uid: id,
    gid: id,
    mtime: mtime(),
    target: path,
  }),
  fc.record({ type: fc.constant('file'), path, mode: mode(), uid: id, gid: id, mtime: mtime(), size: fc.nat(2000) }),
) as fc.Arbitrary<TarEntry>;

function mode(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 0o7777 });
}

function mtime(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 2 ** 33 });
}

const flags = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const;

describe('another reader finds', () => {
  test('every entry as it was written', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 200, maxLength: 400 }), (entries) => {
        const blocks = entries.flatMap((each) => [
          tarHeader(each),
          Buffer.alloc(each.size ?? 0, 'x'),
          padding(each.size ?? 0),
        ]);
        expect(read(Buffer.concat([...blocks, tarEnd()]))).toEqual(
          entries.map(
            ({
              type,
              path: name,
              mode: bits,
              uid,
              gid,
              size = 0,
              target = '',
              mtime: seconds,
              major = 0,
              minor = 0,
            }) => [...[name, flags[type], bits, uid, gid, size, target, seconds, major, minor]],
          ),
        );
      }),
      { numRuns: 3, endOnFailure: true },
    );
  });

  test('sizes beyond what a header of 1988 holds, fractions of seconds and times before 1970', () => {
    const common = { type: 'file', mode: 0o644, uid: 0, gid: 0 } as const;
    const header = tarHeader({ ...common, path: 'huge', size: 2 ** 40, mtime: 1.5 });
    expect(header.toString('latin1')).toContain(' size=1099511627776\n');
    expect(header.toString('latin1')).toContain(' mtime=1.5\n');
    expect(read(Buffer.concat([tarHeader({ ...common, path: 'old', mtime: -5 }), tarEnd()]))).toEqual([
      ['old', '0', 0o644, 0, 0, 0, '', -5, 0, 0],
    ]);
  });
});

test.each([
  [1_700_000_000, 123_456_789, '1700000000.123456789'],
  [1, 500_000_000, '1.5'],
  [0, 1, '0.000000001'],
  [-5, 500_000_000, '-4.5'],
  [-1, 1, '-0.999999999'],
])('%s seconds and %s nanoseconds are %s', (mtime, nanoseconds, text) => {
  const header = tarHeader({ type: 'directory', path: 'd', mode: 0o755, uid: 0, gid: 0, mtime, nanoseconds });
  expect(header.toString('latin1')).toContain(` mtime=${text}\n`);
});

test('every header is of whole blocks, and the same entry is the same bytes', () => {
  fc.assert(
    fc.property(entry, (each) => {
      const header = tarHeader(each);
      expect(header.length % 512).toBe(0);
      expect(tarHeader(each).equals(header)).toBe(true);
    }),
  );
});
