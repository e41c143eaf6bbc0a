// Archives of every kind unpacked for real, as root and as an ordinary user (unpack.test.ts, unpack-user.test.ts). Around each target is a neighbourhood
// that nothing may touch: it is compared before and after.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ImageError } from '../../src/errors/errors.ts';
import { type UnpackOptions, type UnpackReport, unpack } from '../../src/image/unpack.ts';
import { requires } from '../helpers/requires.ts';
import { END, header, type Member, member, tar } from '../helpers/tar.ts';

let base: string;
let target: string;
let before: string;

/** Everything of the neighbourhood: names, modes, sizes, times and content. */
function neighbourhood(): string {
  const lines: string[] = [];
  const walk = (directory: string): void => {
    for (const name of readdirSync(directory).sort()) {
      const path = join(directory, name);
      if (path === target) continue;
      const { mode, size, mtimeMs, nlink, uid } = lstatSync(path);
      const content = lstatSync(path).isFile() ? readFileSync(path, 'latin1') : '';
      lines.push([path, mode, size, mtimeMs, nlink, uid, content].join(' '));
      if (lstatSync(path).isDirectory()) walk(path);
    }
  };
  walk(base);
  return lines.join('\n');
}

function archive(content: Uint8Array, name = 'archive.tar'): string {
  const path = join(base, 'archives', name);
  writeFileSync(path, content);
  return path;
}

async function unpacked(content: Uint8Array | readonly Uint8Array[], options?: UnpackOptions): Promise<UnpackReport> {
  const contents = content instanceof Uint8Array ? [content] : content;
  const paths = contents.map((bytes, index) => archive(bytes, `archive${index}.tar`));
  before = neighbourhood();
  return unpack(paths, target, options);
}

/** That it is refused, and nothing is left of it. */
async function refused(content: Uint8Array | readonly Uint8Array[], options?: UnpackOptions): Promise<ImageError> {
  const error = await unpacked(content, options).then(
    () => undefined,
    (error: ImageError) => error,
  );
  expect(error?.code).toMatch(/^SBX_IMAGE_/);
  expect(existsSync(target)).toBe(false);
  return error as ImageError;
}

/** Extended attributes, by python: getfattr(1) is a package of its own. */
function attributesOf(path: string): Record<string, string> {
  const script =
    'import json, os, sys; f = os.fsencode(sys.argv[1]); print(json.dumps({n: os.getxattr(f, n, follow_symlinks=False).hex() for n in os.listxattr(f, follow_symlinks=False)}))';
  return JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' })) as Record<string, string>;
}

const hex = (text: string): string => Buffer.from(text).toString('hex');
const inTarget = (path: string): string => join(target, path);
const read = (path: string): string => readFileSync(inTarget(path), 'utf8');
const names = (): string[] => readdirSync(target).sort();

export function describeUnpacking(who: { readonly isRoot: boolean }): void {
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'unpack-'));
    target = join(base, 'target');
    mkdirSync(join(base, 'archives'));
    mkdirSync(join(base, 'victim'));
    writeFileSync(join(base, 'victim', 'file'), 'untouched');
    before = '';
  });

  afterEach(() => {
    if (before !== '') expect(neighbourhood()).toBe(before);
    // Directories that were closed on purpose.
    execFileSync('chmod', ['-R', 'u+rwX', base]);
    rmSync(base, { recursive: true, force: true });
  });

  describe('a tree', () => {
    const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

    test('comes out as tar(1) packed it, times and modes of directories too', async () => {
      const tree = join(base, 'tree');
      mkdirSync(join(tree, 'd/e'), { recursive: true });
      writeFileSync(join(tree, 'd/e/file'), 'content');
      execFileSync(
        'sh',
        [
          '-c',
          'ln d/e/file d/hard; ln -s ../nowhere d/soft; mkfifo d/fifo; chmod 4755 d/e/file; chmod 550 d/e; touch -hd @12345.5 d/soft d/e d',
        ],
        { cwd: tree },
      );
      const list = (at: string): string =>
        execFileSync('find', ['.', '-mindepth', '1', '-printf', '%p %m %s %T@ %l %y %n\n'], {
          cwd: at,
          encoding: 'utf8',
        })
          .split('\n')
          .sort()
          .join('\n');
      const path = join(base, 'archives', 'tree.tar');
      execFileSync('tar', ['--format=posix', '--owner=0', '--group=0', '-cf', path, '-C', tree, '.']);
      const report = await unpack(path, target);
      expect(list(target)).toBe(list(tree));
      expect(report).toMatchObject({ entries: 7, bytes: 7, leftOut: { devices: 0, xattrs: 0, modes: 0, others: 0 } });
    });

    test('has the digests of its archive', async () => {
      const content = tar({ name: 'a', content: 'x' });
      const [facts] = (await unpacked(content)).archives;
      const sum = (program: string): string =>
        execFileSync(program, { input: content, encoding: 'utf8' }).split(' ')[0] ?? '';
      expect(facts).toMatchObject({
        compression: 'none',
        digest: `sha256:${sum('sha256sum')}`,
        diffId: `sha256:${sum('sha256sum')}`,
        imageId: `sha512-${sum('sha512sum')}`,
      });
    });

    test.each([
      ['gzip', 'gzip'],
      ['bzip2', 'bzip2'],
      ['xz', 'xz'],
      ['zstd', 'zstd'],
    ])('comes out of %s, with the same digests of what is in it', async (compression, program) => {
      requires(`command:${program}`);
      const content = tar({ name: 'a', content: 'x'.repeat(100_000) });
      const [plain] = (await unpacked(content)).archives;
      rmSync(target, { recursive: true });
      const [facts] = (await unpacked(execFileSync(program, ['-c'], { input: content }))).archives;
      expect(facts).toMatchObject({
        compression,
        diffId: plain?.diffId,
        imageId: plain?.imageId,
        bytes: content.length,
      });
      expect(facts?.digest).not.toBe(plain?.digest);
      expect(read('a')).toBe('x'.repeat(100_000));
    });

    test('may have its holes', async () => {
      const path = join(base, 'archives', 'sparse.tar');
      execFileSync(
        'sh',
        ['-c', 'truncate -s 10M s; printf end >> s; printf x | dd of=s bs=1 seek=5000000 conv=notrunc 2>&1'],
        { cwd: base },
      );
      for (const format of [
        ['--format=gnu'],
        ['--format=posix', '--sparse-version=0.0'],
        ['--format=posix', '--sparse-version=0.1'],
        ['--format=posix', '--sparse-version=1.0'],
      ]) {
        execFileSync('tar', ['-S', ...format, '-cf', path, 's'], { cwd: base });
        await unpack(path, target);
        expect(names()).toEqual(['s']);
        expect(readFileSync(inTarget('s')).equals(readFileSync(join(base, 's')))).toBe(true);
        expect(lstatSync(inTarget('s')).blocks * 512).toBeLessThan(1_000_000);
        rmSync(target, { recursive: true });
      }
    });

    test('may have names that are no UTF-8, and very long ones', async () => {
      const odd = 'caf\xe9\xff\n';
      const long = `${'d'.repeat(200)}/${'e'.repeat(200)}/f`;
      await unpacked(tar({ name: odd, content: 'odd' }, { name: 'short', pax: { path: long }, content: 'long' }));
      expect(readFileSync(Buffer.from(`${target}/${odd}`, 'latin1'), 'utf8')).toBe('odd');
      expect(read(long)).toBe('long');
    });

    test('may have a name twice: the last counts', async () => {
      await unpacked(
        tar({ name: 'a', content: 'first' }, { name: 'b', type: '1', linkname: 'a' }, { name: 'a', content: 'second' }),
      );
      expect([read('a'), read('b')]).toEqual(['second', 'first']);
    });

    test('may have a name twice, unless that is refused', async () => {
      const error = await refused(tar({ name: 'a' }, { name: './/a' }), { duplicates: 'refuse' });
      expect(error.message).toMatch(/archive0\.tar, entry 2 'a': the archive has that name twice$/);
    });

    test('of 100000 entries comes out', async () => {
      const many = Array.from({ length: 100_000 }, (_, index) => header({ name: `${index % 100}/${index}` }));
      expect(await unpacked(Buffer.concat([...many, END]))).toMatchObject({ entries: 100_000 });
      expect(names().length).toBe(100);
    });

    test('keeps the owners that it can, and says which it cannot', async () => {
      const report = await unpacked(tar({ name: 'mine', ...own }, { name: 'else', uid: 4_000_000_000, gid: 7 }));
      if (who.isRoot) expect(report.leftOut.owners).toBe(0);
      else {
        expect(report.leftOut.owners).toBeGreaterThan(0);
        expect(report.leftOut.first.map(({ what, path }) => [what, path])).toContainEqual(['owner', 'else']);
      }
      expect(lstatSync(inTarget('else')).uid).toBe(who.isRoot ? 4_000_000_000 : own.uid);
    });

    test('keeps set-user-ID bits with their owner, drops them without, and drops them where that is asked for', async () => {
      const content = tar({ name: 'mine', mode: 0o6755 }, { name: 'else', uid: 4_000_000_000, mode: 0o6755 });
      const report = await unpacked(content);
      expect(lstatSync(inTarget('mine')).mode & 0o7777).toBe(0o6755);
      expect(lstatSync(inTarget('else')).mode & 0o7777).toBe(who.isRoot ? 0o6755 : 0o755);
      expect(report.leftOut.modes).toBe(who.isRoot ? 0 : 1);
      rmSync(target, { recursive: true });
      expect((await unpacked(content, { setid: 'drop' })).leftOut.others).toBe(2);
      expect(lstatSync(inTarget('mine')).mode & 0o7777).toBe(0o755);
    });

    test('lacks devices, and says so', async () => {
      const report = await unpacked(
        tar(
          { name: 'null', type: '3', major: 1, minor: 3 },
          { name: 'disk', type: '4', major: 8, minor: 0 },
          { name: 'pipe', type: '6' },
        ),
      );
      expect(names()).toEqual(['pipe']);
      expect(report.leftOut).toMatchObject({ devices: 2 });
      expect(report.leftOut.first).toContainEqual({
        what: 'device',
        path: 'null',
        because: 'devices cannot be made in a user namespace',
      });
    });

    test('keeps its extended attributes, capabilities of files among them, and says which it cannot', async () => {
      requires('command:python3');
      const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex').toString('latin1');
      const report = await unpacked(
        tar(
          {
            name: 'f',
            pax: {
              'SCHILY.xattr.user.one': 'two',
              'SCHILY.xattr.trusted.three': 'four',
              'LIBARCHIVE.xattr.user.five': 'c2l4',
            },
          },
          { name: 'ping', mode: 0o755, pax: { 'SCHILY.xattr.security.capability': capability } },
        ),
      );
      expect(attributesOf(inTarget('f'))).toMatchObject({ 'user.one': hex('two'), 'user.five': hex('six') });
      expect(report.leftOut.first).toContainEqual({ what: 'trusted.three', path: 'f', because: 'EPERM' });
      expect(report.leftOut.xattrs).toBe(1);
      expect(attributesOf(inTarget('ping'))).toHaveProperty(['security.capability']);
    });

    test('may be layers: what a later one removes, hides or replaces is gone, and its own stays', async () => {
      const lower = tar(
        { name: 'gone', content: '1' },
        { name: 'd/', type: '5' },
        { name: 'd/old', content: '2' },
        { name: 'd/sub/', type: '5' },
        { name: 'd/sub/old', content: '3' },
        { name: 'tree/deep/file', content: '4' },
        { name: 'becomes/dir', content: '5' },
        { name: 'link', type: '2', linkname: '/etc' },
      );
      const upper = tar(
        { name: '.wh.gone' },
        { name: '.wh.absent' },
        { name: 'd/.early', content: 'own' },
        { name: 'd/sub/', type: '5', mode: 0o700 },
        { name: 'd/sub/new', content: 'own' },
        { name: 'd/.wh..wh..opq' },
        { name: 'd/late', content: 'own' },
        { name: 'becomes', content: 'a file' },
        { name: 'link/', type: '5' },
        { name: 'link/passwd', content: 'inside' },
        { name: '.wh.tree' },
        { name: '.wh..wh.plnk/', type: '5' },
      );
      const report = await unpacked([lower, upper]);
      expect(names()).toEqual(['becomes', 'd', 'link']);
      expect(readdirSync(inTarget('d')).sort()).toEqual(['.early', 'late', 'sub']);
      expect(readdirSync(inTarget('d/sub'))).toEqual(['new']);
      expect(lstatSync(inTarget('d/sub')).mode & 0o777).toBe(0o700);
      expect([read('becomes'), read('link/passwd')]).toEqual(['a file', 'inside']);
      expect(report.archives.length).toBe(2);
      expect(report.leftOut.first).toContainEqual(expect.objectContaining({ what: 'aufs' }));
    });

    test('may become a layer of overlayfs, with its marks', async () => {
      requires('command:python3');
      await unpacked(
        tar(
          { name: 'd/.wh.gone' },
          { name: 'o/.wh..wh..opq' },
          { name: 'o/own', content: 'x' },
          { name: '.wh.r' },
          { name: 'r/', type: '5' },
        ),
        { whiteouts: 'overlay' },
      );
      const gone = lstatSync(inTarget('d/gone'));
      expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0]);
      for (const name of ['o', 'r']) expect(attributesOf(inTarget(name))).toEqual({ 'user.overlay.opaque': hex('y') });
      expect(read('o/own')).toBe('x');
    });

    test('is unpacked into an empty directory, which keeps its name', async () => {
      mkdirSync(target);
      await unpacked(tar({ name: './', type: '5', mode: 0o711 }, { name: 'a' }));
      expect(names()).toEqual(['a']);
      expect(lstatSync(target).mode & 0o777).toBe(0o711);
    });

    test('is not unpacked into one that has something in it', async () => {
      mkdirSync(target);
      writeFileSync(inTarget('mine'), '');
      await expect(unpacked(tar({ name: 'a' }))).rejects.toThrow(
        `cannot unpack into ${target}: it is not empty; choose another one, or empty it`,
      );
      expect(names()).toEqual(['mine']);
    });

    test('leaves an empty directory as it was where it fails', async () => {
      mkdirSync(target, { mode: 0o750 });
      await expect(
        unpacked(tar({ name: './', type: '5', mode: 0 }, { name: 'a/b' }, { name: 'a/b/c' })),
      ).rejects.toThrow('is no directory');
      expect(names()).toEqual([]);
      expect(lstatSync(target).mode & 0o777).toBe(0o750);
    });

    test('that nobody wants any more is removed', async () => {
      const controller = new AbortController();
      const running = unpacked(tar(...Array.from({ length: 1000 }, (_, index) => ({ name: String(index) }))), {
        signal: controller.signal,
      });
      controller.abort(new Error('enough'));
      await expect(running).rejects.toThrow('enough');
      expect(existsSync(target)).toBe(false);
    });
  });

  describe('a hostile archive', () => {
    const cases: readonly (readonly [string, () => readonly Member[], RegExp])[] = [
      [
        'that leads up',
        () => [{ name: '../victim/file', content: 'x' }],
        /entry 1 '\.\.\/victim\/file': its name has '\.\.' in it$/,
      ],
      [
        'that leads up in the middle',
        () => [{ name: 'a/../../victim/file', content: 'x' }],
        /its name has '\.\.' in it$/,
      ],
      [
        'that is absolute',
        () => [{ name: '/etc/passwd', content: 'x' }],
        /entry 1 '\/etc\/passwd': its name is absolute$/,
      ],
      [
        'that is absolute by its extended header',
        () => [{ name: 'fine', pax: { path: join(base, 'victim/file') }, content: 'x' }],
        /its name is absolute$/,
      ],
      ['without a name', () => [{ name: '', content: 'x' }], /entry 1 '': its name is empty$/],
      ['whose name has a NUL', () => [{ name: 'a', pax: { path: 'a\0b' } }], /its path has a NUL in it$/],
      [
        'that is called as the directory',
        () => [{ name: '.', content: 'x' }],
        /its name is that of the top, and it is no directory$/,
      ],
      [
        'that writes through its own symlink',
        () => [
          { name: 'l', type: '2', linkname: join(base, 'victim') },
          { name: 'l/file', content: 'x' },
        ],
        /cannot write 'l\/file': the way to it leads through a symlink of the archive \(ELOOP from openat2\(2\)\)$/,
      ],
      [
        'that writes through a relative symlink',
        () => [
          { name: 'd/l', type: '2', linkname: '../../victim' },
          { name: 'd/l/file', content: 'x' },
        ],
        /leads through a symlink/,
      ],
      [
        'that makes a directory through a symlink',
        () => [
          { name: 'l', type: '2', linkname: base },
          { name: 'l/new/', type: '5' },
        ],
        /leads through a symlink/,
      ],
      [
        'with a hard link to a file of the host',
        () => [{ name: 'h', type: '1', linkname: '/etc/passwd' }],
        /its target of the hard link is absolute$/,
      ],
      [
        'with a hard link that leads up',
        () => [{ name: 'h', type: '1', linkname: '../victim/file' }],
        /its target of the hard link has '\.\.' in it$/,
      ],
      [
        'with a hard link through a symlink',
        () => [
          { name: 'l', type: '2', linkname: join(base, 'victim') },
          { name: 'h', type: '1', linkname: 'l/file' },
        ],
        /cannot write 'h': the way to it leads through a symlink of the archive \(ELOOP from linkat\(2\)\)$/,
      ],
      [
        'with a hard link to what comes later',
        () => [{ name: 'h', type: '1', linkname: 'later' }, { name: 'later' }],
        /cannot write 'h': it is a hard link to what the archive has not had yet \(ENOENT/,
      ],
      [
        'with a hard link to itself',
        () => [{ name: 'h', type: '1', linkname: './h' }],
        /it is a hard link to the top, or to itself$/,
      ],
      [
        'with a hard link to a directory',
        () => [
          { name: 'd/', type: '5' },
          { name: 'h', type: '1', linkname: 'd' },
        ],
        /cannot write 'h': .*EPERM from linkat/,
      ],
      [
        'with a file where a directory is',
        () => [{ name: 'd/a' }, { name: 'd', content: 'x' }],
        /cannot write 'd': a directory is there already, and it is none \(EISDIR/,
      ],
      [
        'with a file below a file',
        () => [{ name: 'f' }, { name: 'f/a' }],
        /cannot write 'f\/a': what is above it is no directory \(ENOTDIR/,
      ],
      [
        'of a TiB that it does not have',
        () => [
          {
            name: 's',
            type: 'S',
            size: 0,
            raw: [
              [257, 'ustar  \0'],
              [386, '\0'],
              [483, '\x80\0\0\0\0\0\x01\0\0\0\0\0'],
            ],
          },
        ],
        /its files have \d+ bytes or more, more than the limit of 68719476736; if you trust it, raise limits\.bytes$/,
      ],
      [
        'that is 4096 deep',
        () => [{ name: 'd', pax: { path: `${'d/'.repeat(4096)}f` } }],
        /more than the limit of 4095; if you trust it, raise limits\.nameBytes$/,
      ],
      [
        'that is 2000 deep',
        () => [{ name: 'd', pax: { path: `${'d/'.repeat(2000)}f` } }],
        /its name is 2001 levels deep, more than the limit of 512; if you trust it, raise limits\.depth$/,
      ],
      [
        'with a component that is too long',
        () => [{ name: 'd', pax: { path: 'd'.repeat(256) } }],
        /its name has a component of 256 bytes; Linux takes 255$/,
      ],
      [
        'whose extended header says another size than its header',
        () => [{ name: 'a', pax: { size: '512' }, size: 0 }, { name: 'hidden' }],
        /its header says 0 bytes, and its extended header 512$/,
      ],
      [
        'whose content is beyond its end',
        () => [{ name: 'a', size: 100_000 }],
        /entry 1 'a': the archive is truncated: it ends within the content of this entry$/,
      ],
      ['of a negative size', () => [{ name: 'a', size: -512 }], /its size is negative$/],
      [
        'of an absurd size',
        () => [{ name: 'a', size: 0, raw: [[124, `\x80${'\xff'.repeat(11)}`]] }],
        /its size is absurd$/,
      ],
      [
        'with a wrong checksum',
        () => [{ name: 'a', damage: [[0, 'b']] }],
        /its header has a wrong checksum$|it is no tar archive/,
      ],
      ['of an unknown type', () => [{ name: 'a', type: 'Q' }], /it is of the type "Q", which is not known$/],
      [
        'with a directory that has content',
        () => [{ name: 'd', type: '5', content: 'x' }],
        /it is a directory and has content, which readers understand differently$/,
      ],
      ['with an owner that means none', () => [{ name: 'a', pax: { uid: '4294967295' } }], /its uid is absurd$/],
    ];
    test.each(cases)('%s is refused, and nothing is left of it', async (_, members, message) => {
      expect(
        (await refused(tar({ name: 'ok', content: 'fine' }, ...members()).subarray(0))).message.replace(
          /entry (\d+)/,
          (_, number: string) => `entry ${Number(number) - 1}`,
        ),
      ).toMatch(message);
    });

    test('that is truncated anywhere is refused', async () => {
      const whole = tar({ name: 'a', content: 'x'.repeat(600) }, { name: 'b' });
      for (const length of [511, 512, 1000, 1536, 2047, 2048, 2560, 3071]) {
        expect((await refused(whole.subarray(0, length))).message, `${length} bytes`).toMatch(
          /truncated|no tar archive/,
        );
      }
    });

    test('with something after its end is refused', async () => {
      expect((await refused(Buffer.concat([tar({ name: 'a' }), member({ name: 'b' })]))).message).toMatch(
        /after its end there is something else$/,
      );
      expect(
        (await refused(Buffer.concat([member({ name: 'a' }), Buffer.alloc(512), member({ name: 'b' }), END]))).message,
      ).toMatch(/a block of zeros is followed by something else$/);
    });

    test('that swaps a symlink and a directory under its own files stays inside', async () => {
      const swap: Member[] = [];
      for (let round = 0; round < 50; round++) {
        swap.push({ name: 'x', type: '2', linkname: join(base, 'victim') }, { name: 'x/', type: '5' });
        swap.push({ name: 'x/file', content: String(round) });
      }
      await unpacked(tar(...swap), { whiteouts: 'apply' });
      expect(read('x/file')).toBe('49');
      rmSync(target, { recursive: true });
      expect((await refused(tar(...swap))).message).toMatch(
        /cannot write 'x': a directory is there already, and it is none/,
      );
    });

    test('with a hard link to a symlink gets that symlink, not what it leads to', async () => {
      await unpacked(
        tar({ name: 'l', type: '2', linkname: join(base, 'victim/file') }, { name: 'h', type: '1', linkname: 'l' }),
      );
      expect(readlinkSync(inTarget('h'))).toBe(join(base, 'victim/file'));
    });

    test('of FIFOs and closed directories is removed where it fails', async () => {
      await refused(
        tar(
          { name: 'd/', type: '5', mode: 0 },
          { name: 'd/p', type: '6', mode: 0 },
          { name: 'd/e/', type: '5', mode: 0, uid: 5 },
          { name: 'd/e/f', uid: 7 },
          { name: 'd/e/f/g' },
        ),
      );
    });

    test('of 500 levels is removed where it fails', async () => {
      const deep = 'd/'.repeat(500);
      await refused(tar({ name: 'x', pax: { path: `${deep}f` } }, { name: 'x', pax: { path: `${deep}f/g` } }));
    });

    test.each([
      ['gzip', 'gzip -c'],
      ['bzip2', 'bzip2 -c'],
      ['xz', 'xz -c -T1'],
      ['zstd', 'zstd -c'],
    ])('that is a bomb of %s ends early', async (program, command) => {
      requires(`command:${program}`);
      const path = join(base, 'archives', 'bomb');
      writeFileSync(join(base, 'head'), header({ name: 'zeros', size: 600_000_000 }));
      execFileSync('sh', ['-c', `(cat head; head -c 600000000 /dev/zero) | ${command} > ${path}`], { cwd: base });
      before = neighbourhood();
      const error = await unpack(path, target).catch((error: ImageError) => error);
      expect((error as ImageError).message).toMatch(
        /bomb: \d+ bytes of it expand to 268\d{6} or more, \d+ to one, more than the limit of 200; if you trust it, raise limits\.ratio$/,
      );
      expect(existsSync(target)).toBe(false);
      expect((error as ImageError).limit).toBe('ratio');
    });

    test('of too many entries, or too many bytes, ends there', async () => {
      expect(await refused(tar({ name: 'a' }, { name: 'b' }, { name: 'c' }), { limits: { entries: 2 } })).toMatchObject(
        { limit: 'entries', entry: { number: 3, name: 'c' } },
      );
      expect(
        await refused(tar({ name: 'a', content: 'xx' }, { name: 'b', content: 'xx' }), { limits: { bytes: 3 } }),
      ).toMatchObject({ limit: 'bytes', entry: { number: 2, name: 'b' } });
      expect(
        await refused(tar({ name: 'a', pax: { 'SCHILY.xattr.user.x': 'y'.repeat(100) } }), {
          limits: { xattrBytes: 99 },
        }),
      ).toMatchObject({ limit: 'xattrBytes' });
      expect(
        await refused(tar({ name: 'a', pax: { comment: 'y'.repeat(2000) } }), { limits: { headerBytes: 1999 } }),
      ).toMatchObject({ limit: 'headerBytes' });
    });

    test('that is none is refused by what it is', async () => {
      const pad = (text: string): Buffer => Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(2000)]);
      expect((await refused(Buffer.alloc(0))).message).toMatch(/archive0\.tar: it is empty$/);
      expect((await refused(Buffer.from('hello'))).message).toMatch(/it is no tar archive, compressed or not$/);
      expect((await refused(pad('hsqs'))).message).toMatch(
        /it is an image of squashfs, and not an archive; make it one/,
      );
      expect((await refused(Buffer.concat([Buffer.alloc(1024), Buffer.from('e2e1f5e0', 'hex')]))).message).toMatch(
        /it is an image of erofs/,
      );
      expect((await refused(pad('PK\x03\x04'))).message).toMatch(/it is of the format zip; make it a tar archive$/);
      expect((await refused(pad('-----BEGIN PGP MESSAGE-----'))).message).toMatch(
        /it is encrypted or signed by PGP; decrypt it first: gpg --decrypt$/,
      );
      expect(
        (
          await refused(
            execFileSync('gzip', ['-c'], { input: execFileSync('gzip', ['-c'], { input: tar({ name: 'a' }) }) }),
          )
        ).message,
      ).toMatch(/within gzip it is gzip; unpack it by hand first$/);
    });
  });

  test('an archive that cannot be read, or is none, is named', async () => {
    await expect(unpack(join(base, 'absent'), target)).rejects.toThrow(
      `${join(base, 'absent')}: it cannot be read (ENOENT from stat(2))`,
    );
    await expect(unpack('/dev/zero', target)).rejects.toThrow('/dev/zero: it is no regular file');
    expect(existsSync(target)).toBe(false);
    await expect(unpack(archive(tar({ name: 'a' })), join(base, 'no/where'))).rejects.toThrow(
      'there is no directory to make where in; make that first',
    );
  });
}
