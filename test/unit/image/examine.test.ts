import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { examineImage } from '../../../src/image/examine.ts';
import type { Examined } from '../../../src/image/examined.ts';
import { type LayoutParts, layoutFiles, sha256, tarOf, writeFiles } from '../../helpers/oci-layout.ts';
import { type Member, tar } from '../../helpers/tar.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'examine-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const document = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/app' };
const manifest: Member = { name: 'manifest', content: JSON.stringify(document) };
const rootfs: Member = { name: 'rootfs', type: '5' };

function file(content: Uint8Array | string, name = 'image.aci'): string {
  writeFileSync(join(base, name), content);
  return join(base, name);
}

function linesOf({ issues }: Examined): string[] {
  return issues.map(({ where, path, message }) => [where, path.join('.'), message].filter(Boolean).join(': '));
}

async function issuesOf(path: string): Promise<string[]> {
  return linesOf(await examineImage(path));
}

describe('an App Container image', () => {
  test('has the same ID plain and compressed (A14), and its manifest', async () => {
    const plain = tar(
      manifest,
      rootfs,
      { name: 'rootfs/a', content: 'x' },
      { name: 'rootfs/b', type: '1', linkname: 'rootfs/a' },
    );
    const imageId = `sha512-${createHash('sha512').update(plain).digest('hex')}`;
    for (const bytes of [plain, gzipSync(plain)]) {
      const examined = await examineImage(file(bytes));
      expect(examined).toMatchObject({ kind: 'aci', issues: [], notes: [], entries: 4 });
      expect(examined.archive?.imageId).toBe(imageId);
      expect(examined.manifest?.name).toBe('example.com/app');
      expect(examined.documents).toEqual({ manifest: document });
    }
  });

  test('has all its issues said: of its entries, of what they would become, and of its manifest', async () => {
    const bytes = tar(
      { name: 'manifest', content: JSON.stringify({ ...document, name: 'A', app: { user: '0' } }) },
      rootfs,
      { name: 'README' },
      { name: 'rootfs/a', type: '2', linkname: '/etc' },
      { name: 'rootfs/a/b' },
      { name: 'rootfs/c', type: '1', linkname: 'rootfs/later' },
      { name: 'rootfs/d', type: '1', linkname: 'manifest' },
      { name: 'rootfs/a' },
    );
    const lines = await issuesOf(file(bytes));
    expect(lines).toEqual([
      "archive: 'rootfs/a/b' lies below 'rootfs/a', which is a symlink",
      "archive: 'rootfs/c' is a hard link to 'rootfs/later', which does not come before it",
      "archive: 'rootfs/d' is a hard link to 'manifest', out of the rootfs",
      "archive: 'README' has no place: an App Container archive has 'manifest' and 'rootfs' at its top, nothing else",
      "archive: 'rootfs/a' stands twice in the archive",
      expect.stringMatching(/^manifest: name: 'A' is not an AC Identifier/),
      'manifest: app.group: is required',
    ]);
  });

  test.each<[string, () => Uint8Array, string]>([
    ['is truncated', () => tar(manifest, rootfs).subarray(0, 1500), 'the archive is truncated'],
    [
      'has something after its end',
      () => Buffer.concat([tar(manifest, rootfs), Buffer.from('x'.repeat(512))]),
      'something else',
    ],
    [
      'is compressed and truncated (A03)',
      () => gzipSync(tar(manifest, rootfs)).subarray(0, 60),
      'its gzip stream is truncated',
    ],
    [
      'is encrypted, as RFC 4880 has it (A12)',
      () => Buffer.from([0xc3, 0x0d, 0x04, 0x09, 0x03, 0x02]),
      'it is encrypted or signed by PGP; decrypt it first: gpg --decrypt',
    ],
    [
      'is encrypted and in armor (A12)',
      () => Buffer.from('-----BEGIN PGP MESSAGE-----\n\n'),
      'it is encrypted or signed by PGP; decrypt it first: gpg --decrypt',
    ],
    ['leads out of the tree', () => tar(manifest, rootfs, { name: 'rootfs/../../x' }), "its name has '..' in it"],
  ])('that %s is refused', async (_, bytes, message) => {
    const [line, ...more] = await issuesOf(file(bytes()));
    expect(line).toContain(message);
    expect(more).toEqual([]);
  });
});

describe('an image layout', () => {
  const forms: readonly (readonly [string, (parts?: LayoutParts) => string])[] = [
    [
      'in a directory',
      (parts) => {
        writeFiles(join(base, 'layout'), layoutFiles(parts));
        return join(base, 'layout');
      },
    ],
    ['in an archive', (parts) => file(tarOf(layoutFiles(parts)), 'layout.tar')],
    ['in a compressed archive', (parts) => file(gzipSync(tarOf(layoutFiles(parts))), 'layout.tgz')],
  ];

  describe.each(forms)('%s', (_, make) => {
    test('is valid, and its image is found', async () => {
      const examined = await examineImage(make());
      expect(linesOf(examined)).toEqual([]);
      expect(examined.kind).toMatch(/^oci-/);
      expect(examined.images).toMatchObject([
        { names: ['latest'], config: { cmd: ['sh'] }, layers: [{ mediaType: expect.stringContaining('gzip') }] },
      ]);
    });

    const digest = sha256(Buffer.from('no blob'));
    const nothing = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1 };
    test.each<[string, LayoutParts, RegExp[]]>([
      [
        'a blob is not what its name says',
        { files: { [`blobs/${digest.replace(':', '/')}`]: Buffer.from('x') } },
        [/^blobs\/sha256\/.*: the content has the digest sha256:/],
      ],
      [
        'there is no version of the layout',
        { files: { 'oci-layout': Buffer.from('{}') } },
        [/^oci-layout: imageLayoutVersion: is required/],
      ],
      [
        'a layer is missing',
        { manifest: { layers: [nothing] } },
        [/^manifest sha256:.{12}: layers.0.digest: there is no blob sha256:/],
      ],
      [
        'a size is wrong',
        { descriptor: { size: 7 } },
        [/^index.json: manifests.0.size: is 7, and the blob has \d+ bytes/],
      ],
      ['a manifest is missing', { descriptor: { digest } }, [/^index.json: manifests.0.digest: there is no blob/]],
      [
        'the configuration is of another image',
        { config: { rootfs: { type: 'layers', diff_ids: [digest] } } },
        [/^layer sha256:.{12}: uncompressed it has the digest sha256:.*, and the configuration says sha256:/],
      ],
      [
        'it has another number of layers',
        { config: { rootfs: { type: 'layers', diff_ids: [] } } },
        [/^manifest .*: has 1 layers, and the configuration has 0 in rootfs.diff_ids/],
      ],
      [
        'it is for another platform',
        { descriptor: { platform: { os: 'linux', architecture: 's390x' } } },
        [/^configuration .*: it is for linux\/amd64, and was announced for linux\/s390x/],
      ],
      [
        'a layer is not compressed as it says',
        { layer: (plain) => plain },
        [/^layer .*: it is compressed by none, and its media type is .*tar\+gzip/],
      ],
      [
        'a layer is no archive',
        { layer: () => gzipSync('nothing') },
        [/^layer sha256:.{12}: it is no tar archive, within gzip$/],
      ],
      ['a layer is cut short', { layer: (plain) => gzipSync(plain.subarray(0, 700)) }, [/^layer .*truncated/]],
      [
        'documents are wrong',
        { config: { os: 1, config: { Env: ['x'] } }, manifest: { schemaVersion: 1 } },
        [/^manifest .*: schemaVersion: is 1/],
      ],
      [
        'the configuration is wrong',
        { config: { os: 1, config: { Env: ['x'] } } },
        [/^configuration .*: os: must be a string/, /^configuration .*: config.Env.0: 'x' is not NAME=value/],
      ],
      ['there is no image', { index: { manifests: [] } }, [/^index.json: there is no image in it/]],
    ])('%s: said', async (_, parts, patterns) => {
      const lines = await issuesOf(make(parts));
      expect(lines).toEqual(patterns.map((pattern) => expect.stringMatching(pattern)));
    });

    test('an index that lists itself many times ends', async () => {
      const child = (bytes: Buffer, mediaType: string): object => ({
        mediaType,
        digest: sha256(bytes),
        size: bytes.length,
      });
      let bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      const files: Record<string, Uint8Array> = {};
      for (let depth = 0; depth < 6; depth += 1) {
        files[`blobs/${sha256(bytes).replace(':', '/')}`] = bytes;
        const one = child(bytes, 'application/vnd.oci.image.index.v1+json');
        bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: Array(100).fill(one) }));
      }
      const lines = await issuesOf(make({ files: { ...files, 'index.json': bytes } }));
      expect(lines).toEqual([expect.stringContaining('it is an index of indexes, more than 4 deep')]);
    });
  });

  test('in a directory, a blob that is a symlink is not followed', async () => {
    writeFiles(join(base, 'layout'), layoutFiles());
    symlinkSync('/etc/passwd', join(base, 'layout/blobs/sha256', 'a'.repeat(64)));
    expect(await issuesOf(join(base, 'layout'))).toEqual([expect.stringMatching(/cannot be read \(ELOOP/)]);
  });

  test('in an archive, a name that stands twice is said', async () => {
    const again = { name: 'index.json', content: '{"schemaVersion":2,"manifests":[]}' };
    expect(await issuesOf(file(tarOf(layoutFiles(), again), 'layout.tar'))).toContain(
      "'index.json' stands twice in the archive",
    );
  });
});

describe('an archive of docker save', () => {
  const [a, b] = ['a', 'b'].map((letter) => letter.repeat(64)) as [string, string];
  const missing = `manifest.json: 0.Layers.1: there is no file '${b}/layer.tar'`;
  const plain = tar({ name: 'file', content: 'content' });
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [sha256(plain), sha256(plain)] },
    }),
  );
  const name = `${sha256(config).slice(7)}.json`;
  const make = (members: Record<string, Uint8Array>, more: readonly Member[] = []): string =>
    file(
      tarOf(
        {
          [name]: config,
          [`${a}/layer.tar`]: plain,
          'manifest.json': Buffer.from(
            JSON.stringify([{ Config: name, RepoTags: ['app:1'], Layers: [`${a}/layer.tar`, `${b}/layer.tar`] }]),
          ),
          ...members,
        },
        ...more,
      ),
      'docker.tar',
    );
  const link: Member = { name: `${b}/layer.tar`, type: '2', linkname: `../${a}/layer.tar` };

  test('is valid, also where a layer is a link to another', async () => {
    const examined = await examineImage(make({}, [link]));
    expect(linesOf(examined)).toEqual([]);
    expect(examined.images).toMatchObject([{ names: ['app:1'], digest: sha256(config), layers: [{}, {}] }]);
  });

  test('what is missing or changed is said', async () => {
    expect(await issuesOf(make({}))).toEqual([missing]);
    expect(await issuesOf(make({}, [{ ...link, linkname: `../../${a}/layer.tar` }]))).toEqual([missing]);
    expect(await issuesOf(make({ [`${a}/layer.tar`]: tar({ name: 'other' }) }, [link]))).toEqual([
      expect.stringMatching(/^layer a+\/layer.tar: uncompressed it has the digest/),
    ]);
    expect(await issuesOf(make({ [name]: Buffer.concat([config, Buffer.from(' ')]) }, [link]))).toEqual([
      expect.stringMatching(/\.json: the content has the digest sha256:.*, which is not that of its name/),
    ]);
  });
});

describe('what else there is', () => {
  test.each<[string, object, string]>([
    ['image-manifest', document, ''],
    ['pod-manifest', { acKind: 'PodManifest', acVersion: '0.8.11', apps: [] }, 'apps: must name an app'],
    ['image-manifest', { ...document, acKind: 'ImageManifst' }, "acKind: must be 'ImageManifest', not 'ImageManifst'"],
    ['oci-index', { schemaVersion: 2, manifests: [] }, ''],
    ['oci-manifest', { schemaVersion: 2, layers: [] }, 'config: is required'],
    ['oci-config', { os: 'linux', architecture: 'arm64', rootfs: { type: 'layers', diff_ids: [] } }, ''],
    [
      'bundle-config',
      { ociVersion: '2.0.0', process: { args: ['sh'], cwd: '/' }, root: { path: '.' } },
      'config.json: ociVersion: must be a version 1',
    ],
    ['unknown', { name: 'x' }, 'it is no document that is known'],
  ])('a document: %s', async (kind, content, message) => {
    const examined = await examineImage(file(JSON.stringify(content), 'document.json'));
    expect(examined.kind).toBe(kind);
    const [first = ''] = linesOf(examined);
    if (message === '') expect(first).toBe('');
    else expect(first).toContain(message);
  });

  test('a bundle: what is not served of it is a note', async () => {
    mkdirSync(join(base, 'b/rootfs'), { recursive: true });
    const config = {
      ociVersion: '1.2.0',
      process: { args: ['sh'], cwd: '/' },
      root: { path: 'rootfs' },
      domainname: 'x',
    };
    writeFileSync(join(base, 'b/config.json'), JSON.stringify(config));
    const examined = await examineImage(join(base, 'b'));
    expect(examined).toMatchObject({ kind: 'bundle', issues: [] });
    expect(examined.notes.map(({ message }) => message)).toContain('a domain name is not set; it is left out');
    writeFileSync(join(base, 'b/config.json'), JSON.stringify({ ...config, root: { path: 'gone' } }));
    expect(await issuesOf(join(base, 'b'))).toEqual([`config.json: root.path: there is no directory ${base}/b/gone`]);
  });

  test('an archive of files, a directory, and nothing at all', async () => {
    const bytes = tar({ name: 'a' }, { name: 'a/b' });
    expect(await examineImage(file(tar({ name: 'a' }), 'a.tar'))).toMatchObject({
      kind: 'tar',
      entries: 1,
      issues: [],
    });
    expect(await issuesOf(file(bytes, 'b.tar'))).toEqual(["archive: 'a/b' lies below 'a', which is a file"]);
    expect(await issuesOf(base)).toEqual([expect.stringContaining('it is a directory and no image')]);
    expect(await issuesOf(join(base, 'none'))).toEqual(['does not exist']);
    expect(await issuesOf('/dev/null')).toEqual([expect.stringContaining('it is no regular file')]);
  });

  test('names cannot move a cursor', async () => {
    const lines = await issuesOf(file(tar(manifest, rootfs, { name: 'x\x1b[2J' })));
    expect(lines.join()).toContain('\\u{1b}[2J');
    expect(lines.join()).not.toContain('\x1b');
  });
});
