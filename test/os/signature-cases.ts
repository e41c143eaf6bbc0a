// Detached signatures by real keys, as root and as an ordinary user (signature.test.ts, signature-user.test.ts).
import { createHash } from 'node:crypto';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ImageError } from '../../src/errors/errors.ts';
import { verifyDetached } from '../../src/image/aci/signature.ts';
import { examineImage } from '../../src/image/examine.ts';
import { openStore } from '../../src/image/open/open.ts';
import { listImages, type MountSpec, type RunResult, run } from '../../src/index.ts';
import { Gpg } from '../helpers/gpg.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

/** Before and after a key of two days has expired. */
const LONG_AGO = '--faked-system-time=20200101T000000!';

export function describeSignatures(): void {
  let base: string;
  let gpg: Gpg | undefined;
  let file: string;
  let ring: string;
  const keys: Record<string, string> = {};
  const at = (name: string): string => join(base, name);

  /** Returns the path of a signature of the file. */
  function sign(user: string, ...options: readonly string[]): string {
    const path = at(`${Math.random()}.asc`);
    gpg?.run('--armor', '-u', user, '-o', path, ...(options.length > 0 ? options : ['--detach-sign']), file);
    return path;
  }

  async function refused(signature: string, keyring = ring, image = file): Promise<string> {
    const error = await verifyDetached(image, signature, keyring).then(
      () => undefined,
      (error: ImageError) => error,
    );
    expect(error?.code).toBe('SBX_IMAGE_SIGNATURE');
    return error?.message ?? '';
  }

  beforeAll(() => {
    if (whyMissing('command:gpg') !== undefined) return;
    // A socket of the agent has a short path.
    base = mkdtempSync(join(tmpdir(), 'g'));
    mkdirSync(at('k'));
    gpg = new Gpg(at('k'));
    for (const user of ['good', 'second', 'revoked', 'stranger']) keys[user] = gpg.key(`${user}@example.com`);
    keys['expired'] = gpg.key('expired@example.com', LONG_AGO);
    file = at('app.aci');
    writeFileSync(file, Buffer.alloc(1_000_000, 'image\n'));
    ring = at('ring.gpg');
  });

  afterAll(() => {
    gpg?.end();
    if (base !== undefined) rmSync(base, { recursive: true, force: true });
  });

  /** After the keys are as they are to be. */
  function exportRing(...more: readonly string[]): void {
    const users = ['good', 'second', ...more].map((user) => `${user}@example.com`);
    writeFileSync(ring, gpg?.run('--export', ...users) ?? '');
  }

  describe('an image that must be signed', () => {
    function makeImage(): string {
      const manifest = '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app"}';
      const image = at(`${Math.random()}.aci`);
      writeFileSync(image, tar({ name: 'manifest', content: manifest }, { name: 'rootfs', type: '5' }));
      return image;
    }

    test('is valid with a good signature beside it, and tells its signers', async () => {
      exportRing();
      const image = makeImage();
      gpg?.run('--armor', '-u', 'good@example.com', '-o', `${image}.asc`, '--detach-sign', image);
      expect(await examineImage(image, { keyring: ring })).toMatchObject({
        kind: 'aci',
        issues: [],
        signers: [{ fingerprint: keys['good'] }],
      });
    });

    test('is not without one, and neither is an image that has none', async () => {
      exportRing();
      const image = makeImage();
      const said = async (path: string): Promise<string[]> =>
        (await examineImage(path, { keyring: ring })).issues.map(({ where, message }) => `${where}: ${message}`);
      expect(await said(image)).toEqual([`signature: there is no signature ${image}.asc`]);
      copyFileSync(sign('good@example.com'), `${image}.asc`);
      expect(await said(image)).toEqual([expect.stringMatching(/^signature: .*it is not of these bytes/)]);
      writeFileSync(at('files.tar'), tar({ name: 'file' }));
      expect(await said(at('files.tar'))).toEqual([
        'signature: only App Container images have a detached signature here, and this is none',
      ]);
    });
  });

  describe('an image that must be signed to be run', () => {
    requires(`file:${BUSYBOX}`);
    beforeAll(() => {
      process.env['XDG_CACHE_HOME'] = at('cache');
    });

    function write(content: Uint8Array): string {
      const path = at(`${Math.random()}.aci`);
      writeFileSync(path, content);
      return path;
    }

    function signed(path: string, user = 'good'): string {
      rmSync(`${path}.asc`, { force: true });
      gpg?.run('--armor', '-u', `${user}@example.com`, '-o', `${path}.asc`, '--detach-sign', path);
      return path;
    }

    const app = (says: string, more: object = {}): Buffer =>
      aci(busyboxRoot(), { exec: ['/bin/sh', '-c', `echo ${says}`] }, more);

    async function runs(image: string, dependencies: readonly string[] = []): Promise<RunResult> {
      return await run([], { root: { image } }, { image: { keyring: ring, dependencies } });
    }

    async function isRefused(image: string, dependencies: readonly string[] = []): Promise<string> {
      const error = await runs(image, dependencies).then(
        () => undefined,
        (error: ImageError) => error,
      );
      expect(error?.code).toBe('SBX_IMAGE_SIGNATURE');
      return error?.message ?? '';
    }

    test('runs with a good signature, and says whose it is; the second time too', async () => {
      exportRing();
      const image = signed(write(app('one')));
      for (const _round of [1, 2]) {
        const { stdout, enforcement } = await runs(image);
        expect(stdout).toBe('one\n');
        expect(enforcement.image?.signatures).toEqual([
          {
            id: enforcement.image?.id,
            name: 'example.com/app',
            signers: [{ fingerprint: keys['good'], userId: 'good@example.com' }],
          },
        ]);
      }
      const { enforcement } = await run([], { root: { image } });
      expect(enforcement.image).not.toHaveProperty('signatures');
    });

    test('is refused without one, before anything of it is unpacked, also when the store has it', async () => {
      exportRing();
      const image = write(app('two'));
      expect(await isRefused(image)).toBe(`there is no signature ${image}.asc`);
      expect((await listImages()).map(({ reference }) => reference)).not.toContain(image);
      await run([], { root: { image } });
      expect(await isRefused(image)).toBe(`there is no signature ${image}.asc`);
      signed(image, 'stranger');
      expect(await isRefused(image)).toContain(`it is by a key that is not in ${ring}: ${keys['stranger']}`);
    });

    test('is refused where it is not the one that was signed', async () => {
      exportRing();
      const image = signed(write(app('three')));
      expect((await runs(image)).stdout).toBe('three\n');
      writeFileSync(image, app('other'));
      expect(await isRefused(image)).toContain('it is not of these bytes, or was changed');
    });

    test('is refused where the store has other bytes of it than were signed', async () => {
      exportRing();
      const image = signed(write(app('four')));
      expect((await runs(image)).stdout).toBe('four\n');
      // As if it had been another file when it was read, between two looks at the one that is signed.
      const { store } = openStore();
      const record = store.find(image)?.record;
      const archives = record?.archives?.map((archive) => ({ ...archive, digest: `sha256:${'0'.repeat(64)}` }));
      if (record !== undefined && archives !== undefined) store.records.put({ ...record, archives });
      expect(await isRefused(image)).toMatch(
        /is not what was unpacked of it: it is sha256:[0-9a-f]{64}, and was sha256:0/,
      );
    });

    test('wants a signature of each image that it depends on, given or from the store', async () => {
      exportRing();
      const library = write(aci([{ name: 'lib', content: 'library' }], {}, { name: 'example.com/lib' }));
      const dependencies = [{ imageName: 'example.com/lib' }];
      const image = signed(write(app('$(cat /lib)', { dependencies })));
      const missing = `the dependency ${library}: there is no signature ${library}.asc`;
      expect(await isRefused(image, [library])).toBe(missing);
      await run([], { root: { image: library, entrypoint: ['/x'] } }).catch(() => undefined);
      expect(await isRefused(image)).toBe(missing);
      signed(library, 'second');
      for (const given of [[], [library]]) {
        const { stdout, enforcement } = await runs(image, given);
        expect(stdout).toBe('library\n');
        expect(enforcement.image?.signatures?.map(({ name, signers }) => [name, signers[0]?.userId])).toEqual([
          ['example.com/app', 'good@example.com'],
          ['example.com/lib', 'second@example.com'],
        ]);
      }
      rmSync(library);
      expect(await isRefused(image)).toBe(`${library} is gone, and its signature cannot be checked; put it back`);
    });

    test('is none of another kind, and no command without an image', async () => {
      exportRing();
      const files = at('some.tar');
      writeFileSync(files, tar(...busyboxRoot()));
      expect(await isRefused(files)).toContain(`${files} is an archive of files, and only App Container images`);
      const layout = writeLayout(at('layout'), ociImage([tar(...busyboxRoot())]));
      expect(await isRefused(layout)).toContain('is an image of OCI');
      expect(await isRefused('docker://localhost:1/app')).toContain('is an image at a registry');
      expect(await isRefused(`bundle:${layout}`)).toContain('is the bundle of a runtime');
      const mounted = signed(write(app('five')));
      const mounts: MountSpec[] = [{ type: 'image', source: files, destination: '/mnt' }];
      await expect(
        run(['true'], { root: { image: mounted, entrypoint: [] }, mounts }, { image: { keyring: ring } }),
      ).rejects.toMatchObject({ code: 'SBX_IMAGE_SIGNATURE' });
      await expect(run(['true'], {}, { image: { keyring: ring } })).rejects.toMatchObject({
        code: 'SBX_SPEC_INVALID',
        issues: [{ path: ['options', 'image', 'keyring'] }],
      });
    });
  });

  describe('a detached signature', () => {
    test('by a key of the keyring is good, and its signer is told with the digest of what was read', async () => {
      exportRing();
      const { signers, digest } = await verifyDetached(file, sign('good@example.com'), ring);
      expect(signers).toEqual([{ fingerprint: keys['good'], userId: 'good@example.com', signedAt: expect.any(Date) }]);
      expect(digest).toBe(`sha256:${createHash('sha256').update(Buffer.alloc(1_000_000, 'image\n')).digest('hex')}`);
      const binary = at('binary.sig');
      gpg?.run('-u', 'good@example.com', '-o', binary, '--detach-sign', file);
      expect((await verifyDetached(file, binary, ring)).signers.length).toBe(1);
    });

    test('of several people is good where one is known', async () => {
      exportRing();
      const both = sign('good@example.com', '-u', 'second@example.com', '--detach-sign');
      expect((await verifyDetached(file, both, ring)).signers.map(({ userId }) => userId)).toEqual([
        'good@example.com',
        'second@example.com',
      ]);
      const one = sign('good@example.com', '-u', 'stranger@example.com', '--detach-sign');
      expect((await verifyDetached(file, one, ring)).signers.map(({ userId }) => userId)).toEqual(['good@example.com']);
    });

    test('of other bytes is bad', async () => {
      exportRing();
      const signature = sign('good@example.com');
      const other = at('other.aci');
      writeFileSync(other, Buffer.alloc(1_000_000, 'image\n'));
      appendFileSync(other, 'x');
      expect(await refused(signature, ring, other)).toContain(
        'it is not of these bytes, or was changed (a signature by good@example.com)',
      );
    });

    test('by a key that is not in the keyring is refused, and that key is named', async () => {
      exportRing();
      expect(await refused(sign('stranger@example.com'))).toMatch(
        new RegExp(`it is by a key that is not in .*ring.gpg: ${keys['stranger']}; get that key`),
      );
    });

    test('by a key that was revoked is bad, whatever the exit status of gpgv is; also beside a good one', async () => {
      const [signature, both] = [
        sign('revoked@example.com'),
        sign('good@example.com', '-u', 'revoked@example.com', '--detach-sign'),
      ];
      exportRing('revoked');
      expect((await verifyDetached(file, signature, ring)).signers.length).toBe(1);
      gpg?.revoke(keys['revoked'] ?? '');
      exportRing('revoked');
      for (const each of [signature, both])
        expect(await refused(each)).toContain('the key of revoked@example.com was revoked');
    });

    test('by a key that has expired is bad, and so is one that has expired itself', async () => {
      exportRing('expired');
      expect(await refused(sign('expired@example.com', LONG_AGO, '--detach-sign'))).toContain(
        'the key of expired@example.com has expired',
      );
      const short = sign('good@example.com', '--default-sig-expire=seconds=1', '--detach-sign');
      await expect
        .poll(() => refused(short).catch(() => ''), { timeout: 20_000, interval: 500 })
        .toContain('the signature by good@example.com has expired');
    });

    test('by way of SHA-1 is bad', async () => {
      exportRing();
      expect(await refused(sign('good@example.com', '--digest-algo=SHA1', '--detach-sign'))).toContain(
        'is by way of SHA-1, which can be forged',
      );
    });

    test('of text, which leaves line ends out of account, is bad', async () => {
      exportRing();
      expect(await refused(sign('good@example.com', '--textmode', '--detach-sign'))).toContain('is of kind 01');
    });

    test.each([
      ['a signed message', ['--sign']],
      ['a signed text', ['--clear-sign']],
      ['stored content', ['--store']],
    ])('is not %s, which has content of its own', async (_, options) => {
      exportRing();
      expect(await refused(sign('good@example.com', ...options))).toContain('it is no detached signature');
    });

    test('that is missing, empty or no signature is refused', async () => {
      exportRing();
      expect(await refused(at('none.asc'))).toBe(`there is no signature ${at('none.asc')}`);
      for (const content of ['', 'text', Buffer.alloc(1000, 0x99)]) {
        writeFileSync(at('odd.asc'), content);
        expect(await refused(at('odd.asc'))).toContain('it is no detached signature');
      }
    });

    test('needs a keyring that gpgv reads', async () => {
      exportRing();
      const signature = sign('good@example.com');
      expect(await refused(signature, at('none.gpg'))).toContain('cannot be read (ENOENT from open(2))');
      writeFileSync(at('empty.gpg'), '');
      expect(await refused(signature, at('empty.gpg'))).toContain('is empty; write keys into it: gpg --export KEY');
      writeFileSync(at('ring.asc'), gpg?.run('--armor', '--export', 'good@example.com') ?? '');
      expect(await refused(signature, at('ring.asc'))).toContain(
        'is in armor, which gpgv does not read; take that off: gpg --dearmor',
      );
    });

    test('of a file that is not there is no word on it', async () => {
      exportRing();
      await expect(verifyDetached(at('none.aci'), sign('good@example.com'), ring)).rejects.toMatchObject({
        code: 'SBX_IMAGE_INVALID',
      });
    });
  });
}
