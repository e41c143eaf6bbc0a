// Images of real directories, as root and as an ordinary user (build.test.ts, build-user.test.ts): what was packed comes out again, and the same content is
// the same bytes.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ImageError } from '../../src/errors/errors.ts';
import { type BuildOptions, type BuildReport, buildImage } from '../../src/image/aci/build.ts';
import { unpack } from '../../src/image/unpack.ts';
import { requires } from '../helpers/requires.ts';

const document = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/app' };

let base: string;
let tree: string;
let manifest: string;
let image: string;

const inTree = (path: string): string => join(tree, path);
const sh = (script: string): string => execFileSync('sh', ['-ec', script], { cwd: base, encoding: 'utf8' });
const build = (options?: BuildOptions, directory = tree): Promise<BuildReport> =>
  buildImage(directory, manifest, image, { overwrite: true, ...options });

/** That it is refused, and nothing is left of it. */
async function refused(options?: BuildOptions): Promise<ImageError> {
  const error = await buildImage(tree, manifest, image, options).then(
    () => undefined,
    (error: ImageError) => error,
  );
  expect(error).toBeInstanceOf(Error);
  expect(readdirSync(base).filter((name) => name.includes('.aci'))).toEqual([]);
  return error as ImageError;
}

/** What find(1) knows of everything below. */
function listing(directory: string): string[] {
  const format = '%p %m %s %T@ %l %y %U %G %n\\n';
  return execFileSync('find', ['.', '-printf', format], { cwd: directory, encoding: 'latin1' }).split('\n').sort();
}

/** Owners of the paths in the image, as GNU tar has them. */
function tarLines(): string[] {
  // GNU tar warns of hdrcharset, which it does not know.
  const output = execFileSync('tar', ['--numeric-owner', '-tvf', image], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return output.trim().split('\n');
}

function makeTree(): void {
  for (const path of ['bin', 'etc/empty', `var/${'long'.repeat(40)}`]) mkdirSync(inTree(path), { recursive: true });
  writeFileSync(inTree('bin/program'), 'a program');
  chmodSync(inTree('bin/program'), 0o4755);
  linkSync(inTree('bin/program'), inTree('bin/again'));
  linkSync(inTree('bin/program'), inTree('a'));
  symlinkSync('../../outside', inTree('etc/out'));
  symlinkSync('/', inTree('etc/top'));
  writeFileSync(inTree('etc/größe'), 'x'.repeat(1_000_000));
  writeFileSync(Buffer.from(`${tree}/etc/n\xff`, 'latin1'), '');
  sh(
    'mkfifo tree/var/fifo; chmod 1777 tree/etc/empty; touch -hd @12345.000000678 tree/etc/out; touch -d @-5.5 tree/etc',
  );
}

export function describeBuilding(who: { readonly isRoot: boolean }): void {
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'build-'));
    tree = join(base, 'tree');
    manifest = join(base, 'manifest.json');
    image = join(base, 'app.aci');
    mkdirSync(tree);
    writeFileSync(manifest, JSON.stringify(document));
  });

  afterEach(() => rmSync(base, { recursive: true, force: true }));

  describe('an image', () => {
    test('unpacks to the tree that it was made of', async () => {
      makeTree();
      // Who may not give files away keeps set-user-ID bits only of its own.
      const report = await build(who.isRoot ? {} : { owner: { uid: 0, gid: 0 } });
      await unpack(image, join(base, 'out'));
      const out = join(base, 'out/rootfs');
      expect(listing(out)).toEqual(listing(tree));
      expect(sh('diff -r --no-dereference tree/bin out/rootfs/bin; cmp out/manifest manifest.json')).toBe('');
      expect(statSync(join(out, 'a')).ino).toBe(statSync(join(out, 'bin/program')).ino);
      expect(report).toMatchObject({ name: document.name, leftOut: { sockets: 0, xattrs: 'not-read' }, notes: [] });
    });

    test('is the same bytes whenever it is made, and of a copy whose directories are in another order', async () => {
      makeTree();
      const first = await build();
      const bytes = readFileSync(image);
      expect((await build()).imageId).toBe(first.imageId);
      expect(readFileSync(image).equals(bytes)).toBe(true);
      sh(
        'mkdir copy; cd tree; find . -mindepth 1 | LC_ALL=C sort -r | tar --no-recursion --format=posix -cf - -T - | tar -xpf - -C ../copy 2>/dev/null; chmod --reference=. ../copy; touch -r . ../copy',
      );
      const copy = join(base, 'copy');
      expect(listing(copy)).toEqual(listing(tree));
      expect((await build({}, copy)).imageId).toBe(first.imageId);
      expect(readFileSync(image).equals(bytes)).toBe(true);
    });

    test('has the ID of its uncompressed archive, whatever it is compressed by', async () => {
      requires('command:xz', 'command:bzip2');
      makeTree();
      const { imageId } = await build({ compression: 'none' });
      const plain = readFileSync(image);
      expect(imageId).toBe(`sha512-${createHash('sha512').update(plain).digest('hex')}`);
      expect((await build({ compression: 'gzip' })).imageId).toBe(imageId);
      // Neither the time nor the name of RFC 1952.
      expect([...readFileSync(image).subarray(3, 8)]).toEqual([0, 0, 0, 0, 0]);
      expect(gunzipSync(readFileSync(image)).equals(plain)).toBe(true);
      for (const compression of ['xz', 'bzip2'] as const) {
        const report = await build({ compression });
        expect(report).toMatchObject({ imageId, compression, compressedBytes: statSync(image).size });
        const out = execFileSync(compression, ['-dc', image], { maxBuffer: 2 ** 26 });
        expect(out.equals(plain)).toBe(true);
      }
    });

    test('lists by GNU tar and by bsdtar, the manifest first and names in the order of their bytes', async () => {
      requires('command:bsdtar');
      makeTree();
      await build();
      const list = (program: string): string[] => {
        const { status, stdout } = spawnSync(program, ['-tf', image], { encoding: 'utf8', env: { LC_ALL: 'C.UTF-8' } });
        expect(status).toBe(0);
        return stdout.trim().split('\n');
      };
      const names = list('bsdtar');
      expect(list('tar').length).toBe(names.length);
      expect(names.slice(0, 6)).toEqual([
        'manifest',
        'rootfs/',
        'rootfs/a',
        'rootfs/bin/',
        'rootfs/bin/again',
        'rootfs/bin/program',
      ]);
      expect(tarLines().find((line) => line.includes('bin/again'))).toMatch(/^hrwsr-xr-x .* link to rootfs\/a$/);
    });

    test('has the time of SOURCE_DATE_EPOCH where a file is later', async () => {
      writeFileSync(inTree('old'), '');
      writeFileSync(inTree('new'), '');
      utimesSync(inTree('old'), 1000.25, 1000.25);
      utimesSync(inTree('new'), 2000.25, 2000.25);
      utimesSync(tree, 2000, 2000);
      await build({ sourceDateEpoch: 2000 });
      await unpack(image, join(base, 'out'));
      const time = (path: string): number => statSync(join(base, 'out/rootfs', path)).mtimeMs;
      expect([time('old'), time('new'), time('.')]).toEqual([1_000_250, 2_000_000, 2_000_000]);
    });

    test('has the owner that was asked for, on every file', async () => {
      makeTree();
      await build({ owner: { uid: 4_000_000_000, gid: 7 } });
      const owners = new Set(
        tarLines()
          .slice(1)
          .map((line) => line.split(/\s+/)[1]),
      );
      expect([...owners]).toEqual(['4000000000/7']);
      expect(tarLines()[0]).toMatch(/^-rw-r--r-- 0\/0 .* manifest$/);
    });

    test('leaves sockets out and says so', async () => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(inTree('socket'), done));
      try {
        expect((await build()).leftOut).toMatchObject({ sockets: 1, first: ['/socket'] });
      } finally {
        server.close();
      }
      expect(tarLines().map((line) => line.split(' ').at(-1))).toEqual(['manifest', 'rootfs/']);
    });

    if (who.isRoot) {
      test('has devices by their numbers, and files of other owners', async () => {
        sh('mknod tree/null c 1 3; mknod tree/disk b 4095 1048575; touch tree/file; chown 12:34 tree/file');
        await build();
        const lines = tarLines().join('\n');
        expect(lines).toMatch(/^crw-r--r-- 0\/0 +1,3 .*null$/m);
        expect(lines).toMatch(/^brw-r--r-- 0\/0 +4095,1048575 .*disk$/m);
        expect(lines).toMatch(/^-rw-r--r-- 12\/34 .*file$/m);
      });
    }

    test('does not follow a symlink, of the directory or in it, but for the directory itself', async () => {
      mkdirSync(join(base, 'outside'));
      writeFileSync(join(base, 'outside/secret'), 'secret');
      symlinkSync(join(base, 'outside'), inTree('link'));
      const { imageId } = await build({ compression: 'none' });
      expect(readFileSync(image, 'latin1')).not.toContain('secret');
      symlinkSync(tree, join(base, 'way'));
      expect((await build({ compression: 'none' }, join(base, 'way'))).imageId).toBe(imageId);
    });
  });

  describe('nothing is left where', () => {
    test('the manifest is not valid: every issue is said', async () => {
      writeFileSync(manifest, JSON.stringify({ ...document, acVersion: 'x', app: { user: '0' } }));
      const { code, issues } = await refused();
      expect(code).toBe('SBX_IMAGE_INVALID');
      expect(issues.map(({ path }) => path.join('.'))).toEqual(['acVersion', 'app.group']);
    });

    test('several things are wrong: all of them are said', async () => {
      writeFileSync(manifest, '{}');
      const error = await buildImage(join(base, 'none'), manifest, join(base, 'image.tar'), {
        owner: { uid: -1, gid: 0 },
      }).catch((error: ImageError) => error);
      expect(error).toMatchObject({ code: 'SBX_IMAGE_BUILD' });
      expect((error as ImageError).issues.map(({ message }) => message)).toEqual([
        `${base}/image.tar: the name of an App Container image ends in .aci`,
        `${base}/none: it does not exist`,
        'the owner must be two ids up to 4294967294, not -1:0',
        'is required',
        'is required',
        'is required',
      ]);
    });

    if (!who.isRoot) {
      test('a file may not be read', async () => {
        writeFileSync(inTree('closed'), 'x');
        chmodSync(inTree('closed'), 0);
        const error = await refused();
        expect(error).toMatchObject({ code: 'SBX_IMAGE_BUILD', errno: 'EACCES' });
        expect(error.message).toBe(
          `cannot pack ${tree}/closed: it may not be read (EACCES from open(2)); build as somebody who may`,
        );
      });
    }

    test('a file changes while it is read', async () => {
      const path = inTree('log');
      writeFileSync(path, Buffer.alloc(64 << 20));
      // Its content takes many turns of the streams; this takes the first that there is.
      const building = refused({ compression: 'none' });
      const timer = setInterval(() => appendFileSync(path, 'x'), 1);
      const error = await building.finally(() => clearInterval(timer));
      expect(error.message).toContain(`cannot pack ${path}: it changed while it was read`);
    });

    test('it is ended', async () => {
      writeFileSync(inTree('file'), Buffer.alloc(16 << 20));
      const controller = new AbortController();
      const building = refused({ signal: controller.signal });
      setImmediate(() => controller.abort(new Error('enough')));
      expect((await building).message).toMatch(/enough|aborted/);
    });

    test('there is a directory too deep for a reader', async () => {
      sh(`cd tree; for i in $(seq 520); do mkdir d; cd d; done`);
      expect((await refused()).message).toContain('it is more than 512 directories deep');
    });
  });

  test('an image does not become part of itself', async () => {
    image = inTree('app.aci');
    const error = await buildImage(tree, manifest, image).catch((error: ImageError) => error);
    expect((error as ImageError).message).toMatch(/the image would be part of itself; write it somewhere else$/);
    expect(readdirSync(tree)).toEqual([]);
  });

  test('what is there is not replaced unless that is asked for', async () => {
    writeFileSync(image, 'somebody’s');
    const error = await buildImage(tree, manifest, image).catch((error: ImageError) => error);
    expect((error as ImageError).message).toContain(`${image}: it exists already`);
    expect(readFileSync(image, 'utf8')).toBe('somebody’s');
    await build();
    expect(tarLines().length).toBe(2);
    expect(readdirSync(base).sort()).toEqual(['app.aci', 'manifest.json', 'tree']);
  });
}
