// The bundle of an OCI runtime as a root: only where it is named as one, for it says which directories of this host are shown.
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';
requires('linux', 'userns', `file:${BUSYBOX}`);

let bundle: string;
let shown: string;

beforeAll(() => {
  bundle = realpathSync(mkdtempSync(join(tmpdir(), 'bundle-')));
  shown = join(bundle, 'shown');
  for (const name of ['rootfs/bin', 'rootfs/srv', 'bin', 'shown']) mkdirSync(join(bundle, name), { recursive: true });
  for (const root of ['rootfs', '.']) {
    copyFileSync(BUSYBOX, join(bundle, root, 'bin/busybox'));
    symlinkSync('busybox', join(bundle, root, 'bin/sh'));
  }
  const process = {
    args: ['/bin/sh', '-c', 'echo "$X"; pwd; echo x > /srv/file'],
    cwd: '/srv',
    env: ['X=of the bundle'],
    user: { uid: 0, gid: 0 },
  };
  const mounts = [{ destination: '/srv', type: 'bind', source: shown, options: ['rbind', 'rw'] }];
  const namespaces = ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type }));
  const root = { path: 'rootfs', readonly: true };
  writeFileSync(
    join(bundle, 'config.json'),
    JSON.stringify({ ociVersion: '1.0.2', root, process, mounts, linux: { namespaces } }),
  );
});

afterAll(() => {
  if (bundle !== undefined) rmSync(bundle, { recursive: true });
});

test('is run as it says, with the directories that it names', async () => {
  const { stdout, enforcement } = await run([], { root: { image: `bundle:${bundle}` } });
  expect(stdout).toBe('of the bundle\n/srv\n');
  expect(readFileSync(join(shown, 'file'), 'utf8')).toBe('x\n');
  expect(enforcement.image).toMatchObject({ kind: 'bundle', reference: bundle });
  const other = await run(['/bin/sh', '-c', 'echo other'], { root: { image: `bundle:${bundle}` } });
  expect(other.stdout).toBe('other\n');
});

test('is a root like others where nobody says that it is one', async () => {
  rmSync(join(shown, 'file'), { force: true });
  const script = ['/bin/sh', '-c', 'test -e /config.json && ! test -e /srv/file && echo plain'];
  expect((await run(script, { root: bundle })).stdout).toBe('plain\n');
  await expect(run([], { root: { image: bundle } })).rejects.toMatchObject({
    code: 'SBX_IMAGE_REFERENCE',
    message: expect.stringContaining('is the bundle of a runtime'),
  });
  await expect(run([], { root: { image: `bundle:${shown}` } })).rejects.toThrow('is no bundle');
});
