// The reader of tar: against what real writers write, against what none should, and against whatever chance makes.
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isSandboxError } from '../../src/errors/errors.ts';
import { type ArchiveLimits, defaultArchiveLimits } from '../../src/image/archive/limits.ts';
import { openArchive } from '../../src/image/archive/open.ts';
import { readTar, type TarEntry } from '../../src/image/archive/tar.ts';
import { requires } from '../helpers/requires.ts';
import { END, header, type Member, member, paxRecords, seal, tar } from '../helpers/tar.ts';

type Read = Omit<TarEntry, 'content'> & { readonly text: string };

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(bytes: Uint8Array, limits: Partial<ArchiveLimits> = {}, chunk = 1 << 16): Promise<Read[]> {
  const entries: Read[] = [];
  const all = { ...defaultArchiveLimits, ...limits };
  for await (const { content, ...entry } of readTar(inChunks(bytes, chunk), 'it', all)) {
    const text = Buffer.alloc(Math.min(entry.size, 1 << 24));
    for await (const { offset, bytes } of content) text.set(bytes, offset);
    entries.push({ ...entry, text: text.toString('latin1') });
  }
  return entries;
}

async function fault(bytes: Uint8Array): Promise<string> {
  return read(bytes).then(
    () => 'none',
    (error: Error) => error.message,
  );
}

describe('archives of real writers', () => {
  let base: string;
  const long = `${'long-directory-name/'.repeat(7)}${'f'.repeat(99)}`;

  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'tar-'));
    mkdirSync(join(base, 't/long-directory-name'.concat('/long-directory-name'.repeat(6))), { recursive: true });
    writeFileSync(join(base, 't', long), 'long');
    writeFileSync(join(base, 't/file'), 'content');
    execFileSync(
      'sh',
      [
        '-c',
        `chmod 4751 file; ln file hard; ln -s file soft; ln -s ${long} far; mkfifo fifo; mkdir empty; : > nothing`,
      ],
      {
        cwd: join(base, 't'),
      },
    );
    execFileSync('sh', ['-c', 'touch -hd @1234567890 file soft fifo empty nothing'], { cwd: join(base, 't') });
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  const python = (format: string): string[] => [
    'python3',
    '-c',
    `import sys, tarfile; t = tarfile.open("a.tar", "w", format=tarfile.${format}_FORMAT); t.add("t", "."); t.close()`,
  ];
  const gnu = (format: string): string[] => ['tar', `--format=${format}`, '-cf', 'a.tar', '-C', 't', '.'];
  const bsd = (format: string): string[] => ['bsdtar', `--format=${format}`, '-cf', 'a.tar', '-C', 't', '.'];
  const writers: readonly string[][] = [
    gnu('gnu'),
    gnu('oldgnu'),
    gnu('posix'),
    bsd('pax'),
    bsd('paxr'),
    bsd('gnutar'),
    ['busybox', 'tar', '-cf', 'a.tar', '-C', 't', '.'],
    python('PAX'),
    python('GNU'),
  ];

  test.each(writers.map((command) => [command.slice(0, 3).join(' ').slice(0, 120), command] as const))(
    '%s',
    async (_, [program = '', ...args]) => {
      requires(`command:${program}`);
      execFileSync(program, args, { cwd: base, stdio: ['ignore', 'ignore', 'ignore'] });
      const entries = new Map((await read(readFileSync(join(base, 'a.tar')))).map((entry) => [entry.name, entry]));
      expect([...entries.keys()].filter((name) => !name.includes('/')).sort()).toEqual(
        ['', 'empty', 'far', 'fifo', 'file', 'hard', 'long-directory-name', 'nothing', 'soft'].filter(
          (name) => name !== 'fifo' || entries.has('fifo'),
        ),
      );
      const { uid, gid } = lstatSync(join(base, 't/file'));
      const [first = '', second = ''] = entries.get('file')?.kind === 'file' ? ['file', 'hard'] : ['hard', 'file'];
      expect(entries.get(first)).toMatchObject({
        kind: 'file',
        mode: 0o4751,
        uid,
        gid,
        text: 'content',
        seconds: 1234567890,
      });
      expect(entries.get(second)).toMatchObject({ kind: 'link', target: first, size: 0 });
      expect(entries.get('soft')).toMatchObject({ kind: 'symlink', target: 'file', seconds: 1234567890 });
      expect(entries.get('far')).toMatchObject({ kind: 'symlink', target: long });
      expect(entries.get('empty')).toMatchObject({ kind: 'directory', seconds: 1234567890 });
      expect(entries.get('nothing')).toMatchObject({ kind: 'file', size: 0 });
      expect(entries.get(long)).toMatchObject({ text: 'long' });
    },
  );

  test.each(
    [gnu('ustar'), gnu('v7'), bsd('ustar')].map((command) => [command.slice(0, 2).join(' '), command] as const),
  )('%s, which has no long names', async (_, [program = '', ...args]) => {
    requires(`command:${program}`);
    execFileSync(program, [...args.slice(0, -1), 'file', 'hard', 'soft', 'empty'], { cwd: base });
    const entries = await read(readFileSync(join(base, 'a.tar')));
    expect(entries.map(({ name, kind, target }) => [name, kind, target])).toEqual([
      ['file', 'file', ''],
      ['hard', 'link', 'file'],
      ['soft', 'symlink', 'file'],
      ['empty', 'directory', ''],
    ]);
  });

  test('times before 1970 and with fractions, sizes and ids of base 256', async () => {
    const entries = await read(
      tar(
        { name: 'old', mtime: -5 },
        { name: 'older', pax: { mtime: '-1.25' } },
        { name: 'exact', pax: { mtime: '12.3456789019' } },
        { name: 'id', uid: 3_000_000_000, gid: 0o10000000 },
      ),
    );
    expect(entries.map(({ seconds, nanoseconds }) => [seconds, nanoseconds]).slice(0, 3)).toEqual([
      [-5, 0],
      [-2, 750_000_000],
      [12, 345_678_901],
    ]);
    expect(entries[3]).toMatchObject({ uid: 3_000_000_000, gid: 0o10000000 });
  });
});

describe('headers', () => {
  test('of the whole archive count until they are taken back', async () => {
    const global = (pax: Record<string, string>): Buffer => member({ name: 'g', type: 'g', content: paxRecords(pax) });
    const entries = await read(
      Buffer.concat([
        global({ uid: '7', 'SCHILY.xattr.user.a': 'b' }),
        member({ name: 'a' }),
        member({ name: 'b', pax: { uid: '8' } }),
        global({ uid: '' }),
        member({ name: 'c', uid: 9 }),
        END,
      ]),
    );
    expect(entries.map(({ uid }) => uid)).toEqual([7, 8, 9]);
    expect(entries.map(({ xattrs }) => xattrs.size)).toEqual([1, 1, 1]);
  });

  test('have names and targets of GNU, and extended ones over them', async () => {
    const name = 'n'.repeat(150);
    const entries = await read(
      Buffer.concat([
        member({ name: '././@LongLink', type: 'L', content: `${name}\0` }),
        member({ name: '././@LongLink', type: 'K', content: 't'.repeat(120) }),
        member({ name: 'n', type: '2', linkname: 't' }),
        member({ name: '././@LongLink', type: 'L', content: `${name}\0` }),
        member({ name: 'n', pax: { path: 'from-pax' } }),
        END,
      ]),
    );
    expect(entries.map((entry) => [entry.name, entry.target])).toEqual([
      [name, 't'.repeat(120)],
      ['from-pax', ''],
    ]);
  });

  test('have extended attributes of star, libarchive and SELinux', async () => {
    const [entry] = await read(
      tar({
        name: 'a',
        pax: {
          'SCHILY.xattr.user.%3D%25x': 'v\0w',
          'SCHILY.xattr.user.empty': '',
          'LIBARCHIVE.xattr.user.b%20c': 'AAH/',
          'RHT.security.selinux': 'a:b:c\0',
          'SCHILY.acl.access': 'user::rw-',
        },
      }),
    );
    expect(
      Object.fromEntries(
        [...(entry?.xattrs ?? [])].map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
      ),
    ).toEqual({
      'user.=%x': 'v\0w',
      'user.empty': '',
      'user.b c': '\0\x01\xff',
      'security.selinux': 'a:b:c\0',
    });
    expect(entry?.lost).toEqual(['SCHILY.acl.access']);
  });

  const wrong: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
    [
      'two extended headers',
      () =>
        Buffer.concat([
          member({ name: 'x', type: 'x', content: paxRecords({ uid: '1' }) }),
          member({ name: 'a', pax: { uid: '1' } }),
          END,
        ]),
      /two extended headers$/,
    ],
    [
      'an extended header at the end',
      () => Buffer.concat([member({ name: 'x', type: 'x', content: paxRecords({ uid: '1' }) }), END]),
      /no entry after them$/,
    ],
    [
      'a record that is too short',
      () => Buffer.concat([member({ name: 'x', type: 'x', content: '4 a\n' }), member({ name: 'a' }), END]),
      /record without a key$/,
    ],
    [
      'a record that is too long',
      () => Buffer.concat([member({ name: 'x', type: 'x', content: '99 a=b\n' }), member({ name: 'a' }), END]),
      /record of a wrong length$/,
    ],
    [
      'a record of no length',
      () => Buffer.concat([member({ name: 'x', type: 'x', content: 'abc a=b\n' }), member({ name: 'a' }), END]),
      /record of a wrong length$/,
    ],
    [
      'a key twice',
      () =>
        tar({
          name: 'a',
          pax: [
            ['path', 'b'],
            ['path', 'c'],
          ],
        }),
      /says path twice$/,
    ],
    ['a uid that is none', () => tar({ name: 'a', pax: { uid: '-1' } }), /its uid is no number, or absurd$/],
    ['a time that is none', () => tar({ name: 'a', pax: { mtime: 'now' } }), /its mtime is no time$/],
    [
      'an attribute that is no base64',
      () => tar({ name: 'a', pax: { 'LIBARCHIVE.xattr.user.a': '*' } }),
      /not base64$/,
    ],
    [
      'an attribute with two values',
      () => tar({ name: 'a', pax: { 'LIBARCHIVE.xattr.user.a': 'eA==', 'SCHILY.xattr.user.a': 'y' } }),
      /twice, with two values$/,
    ],
    ['a mode that is none', () => tar({ name: 'a', raw: [[100, 'rwxr-xr']] }), /its mode is no number$/],
    [
      'a map that overlaps',
      () => tar({ name: 'a', content: 'xx', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '0,1,0,1' } }),
      /overlaps itself, or goes beyond/,
    ],
    [
      'a map beyond the file',
      () => tar({ name: 'a', content: 'xx', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '9,2' } }),
      /overlaps itself, or goes beyond/,
    ],
    [
      'a map of other bytes',
      () => tar({ name: 'a', content: 'xx', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '0,1' } }),
      /not as many bytes as the archive$/,
    ],
    [
      'a map without its last number',
      () => tar({ name: 'a', content: 'xx', pax: { 'GNU.sparse.size': '10', 'GNU.sparse.map': '0,1,2' } }),
      /lacks a number$/,
    ],
    [
      'a map of an unknown version',
      () => tar({ name: 'a', content: 'xx', pax: { 'GNU.sparse.major': '2', 'GNU.sparse.minor': '0' } }),
      /version 2\.0, which is not known$/,
    ],
    [
      'a map without an end',
      () =>
        tar({
          name: 'a',
          content: '9\n1\n'.padEnd(512, '\0'),
          pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' },
        }),
      /has no end$/,
    ],
    ['a part of several volumes', () => tar({ name: 'a', type: 'M' }), /of the type "M", which is not known$/],
  ];
  test.each(wrong)('with %s are refused', async (_, bytes, message) => {
    expect(await fault(bytes())).toMatch(message);
  });
});

describe('whatever chance makes', () => {
  const names = fc.stringMatching(/^[a-z\xe9]{1,120}(\/[a-z.]{1,3}x){0,3}$/);
  const entries = fc.array(
    fc.record({
      name: names,
      content: fc.string({ maxLength: 2000 }),
      mode: fc.nat(0o7777),
      uid: fc.nat(0xfffffffe),
      gid: fc.nat(0xfffffffe),
      mtime: fc.integer(),
    }),
    { maxLength: 8 },
  );

  test('what is written is read, in chunks of any size', async () => {
    await fc.assert(
      fc.asyncProperty(entries, fc.integer({ min: 1, max: 1500 }), async (given, chunk) => {
        const members = given.map(
          (entry): Member => ({
            ...entry,
            content: Buffer.from(entry.content),
            ...(entry.name.length > 100 ? { pax: { path: entry.name } } : {}),
          }),
        );
        const found = await read(tar(...members), {}, chunk);
        expect(
          found.map(({ name, mode, uid, gid, seconds, text }) => ({ name, mode, uid, gid, mtime: seconds, text })),
        ).toEqual(given.map(({ content, ...rest }) => ({ ...rest, text: Buffer.from(content).toString('latin1') })));
      }),
      { numRuns: 200 },
    );
  });

  const seed = tar(
    { name: 'dir/', type: '5' },
    {
      name: 'dir/file',
      content: 'x'.repeat(700),
      pax: { mtime: '1.5', 'SCHILY.xattr.user.a': 'b', path: 'dir/other' },
    },
    {
      name: 's',
      content: '1\n5\n2\n'.padEnd(512, '\0').concat('xx'),
      pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 's', 'GNU.sparse.realsize': '100' },
    },
    { name: 'l', type: '1', linkname: 'dir/other' },
    { name: '././@LongLink', type: 'L', content: `${'n'.repeat(120)}\0` },
    { name: 'n', type: '2', linkname: '../up' },
    { name: 'c', type: '3', major: 1, minor: 3 },
  );

  test('never gives a name that leads out, and never fails but with an error of ours', async () => {
    const edits = fc.array(
      fc.tuple(fc.nat(seed.length - 1), fc.constantFrom(0, 0x20, 0x2f, 0x2e, 0x30, 0x37, 0x80, 0xff, 0x78, 0x53)),
      { minLength: 1, maxLength: 6 },
    );
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(edits, fc.boolean(), async (changes, seals) => {
        const bytes = Buffer.from(seed);
        for (const [at, byte] of changes) bytes[at] = byte;
        // With its checksum made right again, or nothing behind it would be looked at.
        if (seals) for (const [at] of changes) seal(bytes.subarray(at - (at % 512), at - (at % 512) + 512));
        try {
          for (const { name, kind, target, size } of await read(bytes)) {
            const paths = kind === 'link' ? [name, target] : [name];
            for (const path of paths) {
              expect(path.startsWith('/') || path.split('/').some((part) => part === '..' || part === '.')).toBe(false);
              expect(path).not.toContain('\0');
            }
            expect(Number.isSafeInteger(size) && size >= 0).toBe(true);
          }
          accepted += 1;
        } catch (error) {
          if (!isSandboxError(error)) throw error;
          expect(error.message).toMatch(/^it(,|:)/);
        }
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });
});

test('an archive of nothing has no entries', async () => {
  expect(await read(END)).toEqual([]);
});

test('content that nobody reads is skipped', async () => {
  const found: string[] = [];
  for await (const { name } of readTar(
    inChunks(tar({ name: 'a', content: 'x'.repeat(5000) }, { name: 'b' }), 100),
    'it',
    defaultArchiveLimits,
  ))
    found.push(name);
  expect(found).toEqual(['a', 'b']);
});

test('the oldest format is known by its checksum', async () => {
  const block = header({ name: 'a' });
  block.fill(0, 257);
  seal(block);
  const { entries } = await openArchive(inChunks(Buffer.concat([block, END]), 4096), 'it', defaultArchiveLimits);
  const found: string[] = [];
  for await (const { name } of entries) found.push(name);
  expect(found).toEqual(['a']);
});
