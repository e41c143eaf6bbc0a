import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatPath, ImageError } from '../../../src/errors/errors.ts';
import { hashBytes, parseDigest, verified, verifiedBytes } from '../../../src/image/digest.ts';
import { type OciImageConfig, parseImageConfig } from '../../../src/image/oci/config.ts';
import {
  blobPath,
  checkOciLayout,
  parseDockerArchive,
  selectFromArchive,
  selectFromLayout,
} from '../../../src/image/oci/layout.ts';
import { type OciIndex, type OciManifest, parseOciDocument } from '../../../src/image/oci/manifest.ts';
import { choosePlatform, formatPlatform, parsePlatform, platformOf } from '../../../src/image/oci/platform.ts';
import { checkLayers, type OciContext, ociToSpec } from '../../../src/image/oci/spec.ts';
import { resolveImageUser } from '../../../src/image/oci/user.ts';
import { validateSpec } from '../../../src/spec/schema.ts';

const digest = `sha256:${'0a'.repeat(32)}`;
const types = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};
const descriptor = (mediaType: string, more: object = {}): object => ({ mediaType, digest, size: 10, ...more });
const manifest = {
  schemaVersion: 2,
  mediaType: types.manifest,
  config: descriptor(types.config),
  layers: [descriptor(types.layer)],
};
const index = { schemaVersion: 2, mediaType: types.index, manifests: [descriptor(types.manifest)] };

function issuesOf(attempt: () => unknown): Record<string, string> {
  try {
    attempt();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return Object.fromEntries(error.issues.map(({ path, message }) => [formatPath(path), message]));
  }
  return {};
}

const read = (document: unknown, mediaType?: string): OciIndex | OciManifest =>
  parseOciDocument(JSON.stringify(document), 'the manifest', mediaType);

describe('digests', () => {
  test.each([`sha256:${'0'.repeat(64)}`, `sha512:${'f'.repeat(128)}`])('%s is one', (text) => {
    expect(parseDigest(text)).not.toHaveProperty('problem');
  });
  test.each([
    '',
    'sha256',
    'sha256:',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'0'.repeat(63)}`,
    `sha384:${'0'.repeat(96)}`,
    `../x:${'0'.repeat(64)}`,
  ])('%j is none that can be verified', (text) => expect(parseDigest(text)).toHaveProperty('problem'));

  async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }

  test('content passes as it comes, and only whole and unchanged', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 50 }), async (bytes, size) => {
        for (const algorithm of ['sha256', 'sha512'] as const) {
          const expected = { digest: hashBytes(bytes, algorithm), size: bytes.length, what: 'it' };
          expect([...(await verifiedBytes(inPieces(bytes, size), expected))]).toEqual([...bytes]);
        }
      }),
    );
  });

  test.each([
    ['x', 'it is not what sha256:'],
    ['too long', 'is longer than the 7 bytes'],
    ['', 'ends after 0 of 7 bytes'],
    ['changed', 'it is not what sha256:'],
  ])('%j is not the content that was announced: %s', async (text, part) => {
    const size = text === 'x' ? 1 : 7;
    const expected = { digest: hashBytes(Buffer.from('content')), size, what: 'it' };
    await expect(verifiedBytes(inPieces(Buffer.from(text), 3), expected)).rejects.toThrow(part);
  });

  test('a source without an end is left at the announced size', async () => {
    let given = 0;
    let closed = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          given += 1;
          yield Buffer.alloc(10);
        }
      } finally {
        closed = true;
      }
    }
    const read = async (): Promise<void> => {
      for await (const chunk of verified(endless(), { digest, size: 25, what: 'it' })) expect(chunk.length).toBe(10);
    };
    await expect(read()).rejects.toMatchObject({ code: 'SBX_IMAGE_DIGEST' });
    expect([given, closed]).toEqual([3, true]);
  });

  test('the path of a blob cannot lead elsewhere', () => {
    expect(blobPath(digest)).toBe(`blobs/sha256/${'0a'.repeat(32)}`);
    expect(() => blobPath('sha256:../../etc/passwd')).toThrow(ImageError);
  });
});

describe('indexes and manifests', () => {
  test('are read, of OCI and of Docker’s schema 2', () => {
    expect(read(index)).toMatchObject({ kind: 'index', manifests: [{ digest, size: 10 }] });
    expect(read(manifest, types.manifest)).toMatchObject({ kind: 'manifest', layers: [{ mediaType: types.layer }] });
    const docker = {
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: descriptor('application/vnd.docker.container.image.v1+json'),
      layers: [descriptor('application/vnd.docker.image.rootfs.diff.tar.gzip')],
    };
    expect(read(docker)).toMatchObject({ kind: 'manifest' });
    expect(
      read({
        ...docker,
        mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
        config: null,
        layers: null,
        manifests: [],
      }),
    ).toMatchObject({ kind: 'index' });
    const { mediaType: _, ...untyped } = manifest;
    expect(read(untyped).kind).toBe('manifest');
  });

  test('that say two things are refused (CVE-2021-41190)', () => {
    expect(issuesOf(() => read({ ...manifest, manifests: [] }))).toEqual({
      spec: 'has manifests and layers: it is an index or a manifest, not both',
    });
    expect(issuesOf(() => read(manifest, types.index))).toMatchObject({
      mediaType: `is '${types.manifest}', and the document came as '${types.index}'`,
    });
  });

  test('are refused with all issues at once', () => {
    expect(
      issuesOf(() =>
        read({
          schemaVersion: 3,
          config: descriptor('application/vnd.example+json', { digest: 'sha256:0', size: -1 }),
          layers: [descriptor('application/x-tar'), 5, descriptor(types.layer, { size: 2 ** 53, digest: undefined })],
        }),
      ),
    ).toEqual({
      schemaVersion: 'must be 2, not 3',
      'config.mediaType': expect.stringContaining('may be an artifact of another kind'),
      'config.digest': expect.stringContaining('64 hexadecimal digits'),
      'config.size': 'must be a whole number from 0 to 1099511627776, not -1',
      'layers[0].mediaType': "'application/x-tar' is not the media type of a layer that can be unpacked",
      'layers[1]': 'must be an object, not 5',
      'layers[2].digest': 'is required',
      'layers[2].size': expect.stringContaining('must be a whole number'),
    });
    expect(issuesOf(() => read({ ...manifest, layers: [] }))).toEqual({
      layers: 'must have a layer: without one there is nothing to run',
    });
    expect(issuesOf(() => read({ schemaVersion: 2, mediaType: types.index }))).toEqual({ manifests: 'is required' });
  });

  test('of Docker’s schema 1 are refused with what to do', () => {
    const older = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    expect(issuesOf(() => read({ schemaVersion: 1, fsLayers: [] }, older))).toMatchObject({
      mediaType: expect.stringContaining('push the image again'),
      schemaVersion: expect.stringContaining('older form'),
    });
  });

  test('never send a client elsewhere', () => {
    const { notes } = read({ ...manifest, layers: [descriptor(types.layer, { urls: ['http://evil.example/'] })] });
    expect(notes).toEqual([
      { path: ['layers', 0, 'urls'], message: 'is passed over: content comes from where the image is' },
    ]);
  });
});

describe('the platform', () => {
  const offer = (...names: string[]): { platform: ReturnType<typeof platformOf> }[] =>
    names.map((name) => ({ platform: parsePlatform(name) as ReturnType<typeof platformOf> }));
  const choose = (wanted: string, ...names: string[]): string =>
    formatPlatform(
      choosePlatform(offer(...names), parsePlatform(wanted) as ReturnType<typeof platformOf>, 'the image').platform,
    );

  test.each([
    ['linux/amd64', ['windows/amd64', 'linux/arm64', 'linux/amd64'], 'linux/amd64'],
    ['linux/arm64', ['linux/arm64/v8'], 'linux/arm64/v8'],
    ['linux/arm64/v8', ['linux/arm64'], 'linux/arm64'],
    ['linux/arm', ['linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6'], 'linux/arm/v7'],
    ['linux/arm/v6', ['linux/arm/v7', 'linux/arm/v5'], 'linux/arm/v5'],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64'], 'linux/amd64'],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v3'], 'linux/amd64/v3'],
  ])('%s of %j is %s', (wanted, offered, expected) => expect(choose(wanted, ...offered)).toBe(expected));

  test('that is not there is refused with those that are', () => {
    expect(() => choose('linux/riscv64', 'linux/amd64', 'linux/arm/v7', 'unknown/unknown')).toThrow(
      'the image has no image for linux/riscv64: there is linux/amd64, linux/arm/v7',
    );
    expect(() => choose('linux/arm/v6', 'linux/arm/v7')).toThrow('there is linux/arm/v7');
    expect(() => choosePlatform([{ platform: undefined }], platformOf('x64'), 'it')).toThrow(
      'it names no platform at all',
    );
  });

  test('is written as container tools write it', () => {
    expect(formatPlatform(platformOf('x64'))).toBe('linux/amd64');
    for (const text of ['', 'linux', 'linux/', 'a/b/c/d', 'linux/AMD64'])
      expect(parsePlatform(text)).toHaveProperty('problem');
  });
});

const config = {
  os: 'linux',
  architecture: 'amd64',
  config: {
    Env: ['PATH=/bin', 'EMPTY=', 'A=b=c', 'A=last'],
    Entrypoint: ['/entry'],
    Cmd: ['default'],
    WorkingDir: 'srv//app/',
    User: 'app:staff',
    Volumes: { '/data': {} },
    ExposedPorts: { '80/tcp': {} },
    StopSignal: 'SIGQUIT',
    Labels: { a: 'b' },
  },
  rootfs: { type: 'layers', diff_ids: [digest] },
};
const readConfig = (document: unknown): OciImageConfig => parseImageConfig(JSON.stringify(document));

const files = {
  '/etc/passwd': 'root:x:0:0::/:\napp:x:100:101::/:\n4:x:5:6::/:\nbroken:x::\n',
  '/etc/group': 'root:x:0:\nstaff:x:50:app,other\nwheel:x:10:app\napp:x:101:app\n',
};
const context: OciContext = { root: '/images/root', accounts: (path) => files[path], architecture: 'x64' };

describe('the configuration of an image', () => {
  test('becomes a spec that the schema takes, and a command', () => {
    const { spec, command, stopSignal, notes } = ociToSpec(readConfig(config), context);
    expect(validateSpec(spec)).toEqual(spec);
    expect(spec).toEqual({
      root: { path: '/images/root', readonly: false, changes: 'discard' },
      cwd: '/srv/app',
      env: { set: { PATH: '/bin', EMPTY: '', A: 'last' } },
      user: { uid: 100, gid: 50, additionalGids: [] },
    });
    expect(command).toEqual(['/entry', 'default']);
    expect(stopSignal).toBe('SIGQUIT');
    expect(notes).toEqual([expect.stringContaining('/data is given up')]);
    const readonly = ociToSpec(readConfig(config), { ...context, readonly: true });
    expect(readonly.spec.root).toEqual({ path: '/images/root', readonly: true, writablePaths: ['/data'] });
  });

  test('the caller’s command replaces Cmd, and its entry point both', () => {
    const commandWith = (more: Partial<OciContext>): readonly string[] =>
      ociToSpec(readConfig(config), { ...context, ...more }).command;
    expect(commandWith({ command: ['x'] })).toEqual(['/entry', 'x']);
    expect(commandWith({ entrypoint: ['/other'] })).toEqual(['/other']);
    expect(commandWith({ entrypoint: [], command: ['sh'] })).toEqual(['sh']);
    expect(() => commandWith({ entrypoint: [] })).toThrow('the image names no command; name one to run in it');
    const bare = { ...config, config: null };
    expect(ociToSpec(readConfig(bare), { ...context, command: ['id'] }).spec).toMatchObject({
      cwd: '/',
      user: { uid: 0, gid: 0 },
    });
  });

  test('what the caller names goes before what the image says', () => {
    const { spec } = ociToSpec(readConfig(config), {
      ...context,
      user: '7',
      workingDir: '/w',
      environment: { A: 'mine' },
    });
    expect(spec).toMatchObject({ user: { uid: 7, gid: 0 }, cwd: '/w', env: { set: { A: 'mine' } } });
  });

  test('is refused with all issues at once', () => {
    expect(
      issuesOf(() =>
        readConfig({
          architecture: 5,
          config: {
            Env: ['NOVALUE', '=x'],
            Cmd: 'sh',
            WorkingDir: '/a/../b',
            Volumes: { '../x': {} },
            ExposedPorts: { http: {} },
            StopSignal: 'please',
            User: 5,
          },
          rootfs: { type: 'tar', diff_ids: ['x'] },
        }),
      ),
    ).toEqual({
      os: 'is required',
      architecture: 'must be a string, not 5',
      'config.Env[0]': "'NOVALUE' is not NAME=value",
      'config.Env[1]': "'=x' is not NAME=value",
      'config.Cmd': 'must be a list, not a string',
      'config.WorkingDir': "must not have '..' in it: '/a/../b'",
      'config.Volumes.../x': "must not have '..' in it: '../x'",
      'config.ExposedPorts.http': "'http' is no port such as '8080/tcp'",
      'config.StopSignal': "'please' is no signal such as 'SIGTERM'",
      'config.User': 'must be a string, not 5',
      'rootfs.type': "must be 'layers', not 'tar'",
      'rootfs.diff_ids[0]': expect.stringContaining('is no digest'),
    });
  });

  test.each([
    ['SIGTERM', 'SIGTERM'],
    ['TERM', 'SIGTERM'],
    ['15', 'SIGTERM'],
    ['', undefined],
  ])('is stopped by %j as %s', (text, signal) => {
    const document = { ...config, config: { ...config.config, StopSignal: text } };
    expect(ociToSpec(readConfig(document), context).stopSignal).toBe(signal);
  });

  test('a signal without a name here is noted', () => {
    const document = { ...config, config: { ...config.config, StopSignal: 'SIGRTMIN+3' } };
    const { stopSignal, notes } = ociToSpec(readConfig(document), context);
    expect(stopSignal).toBeUndefined();
    expect(notes.join()).toContain('SIGRTMIN+3');
  });

  test('for another platform is emulated, or refused', () => {
    expect(ociToSpec(readConfig({ ...config, architecture: 'arm64' }), context).spec.architecture).toBe('arm64');
    expect(() => ociToSpec(readConfig({ ...config, os: 'windows' }), context)).toThrow(
      'the image is for windows/amd64, which neither',
    );
    expect(() => ociToSpec(readConfig({ ...config, architecture: 's390x' }), context)).toThrow('linux/s390x');
  });

  test('has as many layers as its manifest', () => {
    const layers = (read(manifest) as OciManifest).layers;
    checkLayers({ layers }, { diffIds: [digest] });
    expect(() => checkLayers({ layers }, { diffIds: [] })).toThrow('has 0 elements, and the manifest has 1 layers');
  });
});

describe('the user of an image', () => {
  const resolve = (text: string): unknown => resolveImageUser(text, context.accounts);
  test.each([
    ['', { uid: 0, gid: 0, additionalGids: [] }],
    ['app', { uid: 100, gid: 101, additionalGids: [50, 10] }],
    ['100', { uid: 100, gid: 101, additionalGids: [50, 10] }],
    ['app:wheel', { uid: 100, gid: 10, additionalGids: [] }],
    ['1234', { uid: 1234, gid: 0, additionalGids: [] }],
    ['1234:5678', { uid: 1234, gid: 5678, additionalGids: [] }],
    // A name of digits is never looked up (CVE-2016-3697).
    ['4', { uid: 4, gid: 0, additionalGids: [] }],
  ])('%j is %j', (text, user) => expect(resolve(text)).toEqual(user));

  test.each([
    ['nobody', "'nobody', and has no such user"],
    ['app:nogroup', "group 'nogroup'"],
    ['a:b:c', 'is not USER or USER:GROUP'],
    [':5', 'is not USER or USER:GROUP'],
    ['4294967295', 'larger than any'],
    ['0:99999999999', 'larger than any'],
    ['broken', 'no such user'],
  ])('%j is refused: %s', (text, part) => expect(() => resolve(text)).toThrow(part));

  test('needs no file for numbers', () => {
    expect(resolveImageUser('5', () => undefined)).toEqual({ uid: 5, gid: 0, additionalGids: [] });
  });
});

describe('images in files', () => {
  test('a layout says its version', () => {
    checkOciLayout('{"imageLayoutVersion": "1.0.0"}');
    expect(() => checkOciLayout('{"imageLayoutVersion": "2.0.0"}')).toThrow("not '2.0.0'");
    expect(() => checkOciLayout('{}')).toThrow('is required');
  });

  const named = (name: string): object =>
    descriptor(types.manifest, {
      annotations: { 'org.opencontainers.image.ref.name': name },
      digest: hashBytes(Buffer.from(name)),
    });
  const layout = (...manifests: object[]): OciIndex => read({ ...index, manifests }) as OciIndex;

  test('an image of a layout is found by name, by digest, or because it is the only one', () => {
    const two = layout(named('v1'), named('v2'), descriptor('application/vnd.example+json'));
    expect(selectFromLayout(two, 'v2').annotations.get('org.opencontainers.image.ref.name')).toBe('v2');
    expect(selectFromLayout(two, hashBytes(Buffer.from('v1'))).digest).toBe(hashBytes(Buffer.from('v1')));
    expect(selectFromLayout(layout(named('v1')), undefined).mediaType).toBe(types.manifest);
    expect(() => selectFromLayout(two, undefined)).toThrow("the layout has no one image: it has 'v1', 'v2'");
    expect(() => selectFromLayout(two, 'v3')).toThrow("no image 'v3': it has 'v1', 'v2'");
    expect(() => selectFromLayout(layout(named('v1'), named('v1')), 'v1')).toThrow("more than one image 'v1'");
    expect(() => selectFromLayout(layout(), undefined)).toThrow('it has none');
  });

  const saved = { Config: `${'0a'.repeat(32)}.json`, RepoTags: ['example.org/a:1'], Layers: ['x/layer.tar'] };
  test('docker save has names, layers and the digest of the configuration', () => {
    const { images } = parseDockerArchive(
      JSON.stringify([saved, { ...saved, Config: `blobs/sha256/${'0b'.repeat(32)}`, RepoTags: null }]),
    );
    expect(images.map(({ configDigest }) => configDigest)).toEqual([digest, `sha256:${'0b'.repeat(32)}`]);
    expect(selectFromArchive(images, 'example.org/a:1')).toBe(images[0]);
    expect(() => selectFromArchive(images, undefined)).toThrow("the archive has 2 images: there is 'example.org/a:1'");
    expect(() => selectFromArchive(images, 'b')).toThrow("no image 'b'");
    expect(selectFromArchive(images.slice(0, 1), undefined)).toBe(images[0]);
  });

  test('docker save with paths that lead elsewhere is refused', () => {
    expect(
      issuesOf(() =>
        parseDockerArchive(JSON.stringify([{ Config: '../c.json', Layers: ['/etc/passwd', 'a//b', ''] }])),
      ),
    ).toEqual({
      '[0].Config': "'../c.json' is no path in the archive",
      '[0].Layers[0]': "'/etc/passwd' is no path in the archive",
      '[0].Layers[1]': "'a//b' is no path in the archive",
      '[0].Layers[2]': "'' is no path in the archive",
    });
    expect(issuesOf(() => parseDockerArchive('[]'))).toEqual({ spec: 'must be a list with an image in it' });
  });

  test('the hash is the one that others take', () => {
    expect(hashBytes(Buffer.from('x'))).toBe(`sha256:${createHash('sha256').update('x').digest('hex')}`);
  });
});
