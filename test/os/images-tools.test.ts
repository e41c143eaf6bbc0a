// Images that others have made, copied or saved: each has its own idea of layers, names and compression.
import { execFileSync } from 'node:child_process';
import { copyFileSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../src/index.ts';
import { BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const needs = ['linux', 'root', 'userns', `file:${BUSYBOX}`, 'command:umoci'] as const;
requires(...needs);

let work: string;
/** Two layers by umoci: of the second one file is, and of the first one is hidden. */
let layout: string;

function tool(file: string, ...args: readonly string[]): string {
  const env = { PATH: process.env['PATH'], HOME: work };
  return execFileSync(file, args, { cwd: work, encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

beforeAll(() => {
  if (needs.some((need) => whyMissing(need) !== undefined)) return;
  work = mkdtempSync(join(tmpdir(), 'images-tools-'));
  process.env['XDG_CACHE_HOME'] = join(work, 'cache');
  for (const name of ['bin', 'etc']) mkdirSync(join(work, 'root', name), { recursive: true });
  copyFileSync(BUSYBOX, join(work, 'root/bin/busybox'));
  for (const name of ['sh', 'cat', 'ls']) symlinkSync('busybox', join(work, 'root/bin', name));
  writeFileSync(join(work, 'root/etc/gone'), 'gone\n');
  tool('umoci', 'init', '--layout', 'layout');
  tool('umoci', 'new', '--image', 'layout:base');
  tool('umoci', 'unpack', '--image', 'layout:base', 'bundle');
  tool('cp', '-a', 'root/.', 'bundle/rootfs/');
  tool('umoci', 'repack', '--refresh-bundle', '--image', 'layout:base', 'bundle');
  rmSync(join(work, 'bundle/rootfs/etc/gone'));
  writeFileSync(join(work, 'bundle/rootfs/etc/two'), 'of the second\n');
  tool('umoci', 'repack', '--image', 'layout:two', 'bundle');
  const command = ['--config.entrypoint', '/bin/sh', '--config.cmd', '-c', '--config.cmd', 'ls /etc; cat /etc/two'];
  tool('umoci', 'config', '--image', 'layout:two', ...command);
  layout = `oci:${join(work, 'layout')}:two`;
});

afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

async function runs(image: string): Promise<void> {
  const { stdout, stderr } = await run([], { root: { image } });
  // /etc/hosts is ours, for it has none.
  expect([stdout, stderr]).toEqual(['hosts\ntwo\nof the second\n', '']);
}

test('umoci makes layouts that run', async () => {
  await runs(layout);
});

test('directories that a layer only implies are what umoci makes of them', async () => {
  const folder = { type: '5', uid: 7, gid: 8, mtime: 9 };
  const layers = [
    tar(
      ...busyboxRoot(),
      { name: 'a/', ...folder, mode: 0o1777 },
      { name: 'a/b/', ...folder, mode: 0o700, pax: { 'SCHILY.xattr.user.note': 'text' } },
      { name: 'c/', ...folder, mode: 0o750 },
      { name: 'd/', ...folder, mode: 0o711 },
    ),
    tar({ name: 'a/b/', ...folder, mode: 0o2710, mtime: 10 }),
    tar({ name: 'a/b/x' }, { name: 'c/.wh..wh..opq' }, { name: 'c/y' }, { name: '.wh.d' }, { name: 'd/z/x' }),
    tar({ name: 'a/b/more' }),
  ];
  const place = writeLayout(join(work, 'implied'), ociImage(layers), 'app');
  tool('umoci', 'unpack', '--image', 'implied:app', 'implied-bundle');
  const paths = ['a', 'a/b', 'c', 'd', 'd/z'];
  const seen = (directory: string): string[] =>
    paths.map((path) => {
      const { mode, uid, gid, mtime } = lstatSync(join(directory, path));
      // Those that nobody describes have the time of unpacking.
      const time = path.startsWith('d') ? '' : Math.floor(mtime.getTime() / 1000);
      return `/${path} ${(mode & 0o7777).toString(8)} ${uid}:${gid} ${time}`.trim();
    });
  const script = `cd /; for f in ${paths.join(' ')}; do case $f in d*) t=;; *) t=' %Y';; esac; stat -c "/%n %a %u:%g$t" $f; done`;
  const { stdout, stderr } = await run(['sh', '-c', script], {
    root: { image: `oci:${place}`, entrypoint: [] },
    user: { uid: 0, gid: 0 },
  });
  expect(stderr).toBe('');
  expect(String(stdout).trim().split('\n')).toEqual(seen(join(work, 'implied-bundle/rootfs')));
});

test.each([
  ['oci-archive:skopeo-oci.tar:app', './skopeo-oci.tar', []],
  ['docker-archive:skopeo-docker.tar:app:1', './skopeo-docker.tar', []],
  ['oci:skopeo-gzip:app', 'oci:skopeo-gzip:app', ['--dest-compress', '--dest-compress-format', 'gzip']],
  ['oci:skopeo-zstd:app', 'oci:skopeo-zstd', ['--dest-compress', '--dest-compress-format', 'zstd']],
])('skopeo copies them to %s', async (destination, reference, options) => {
  requires('command:skopeo');
  tool('skopeo', '--insecure-policy', 'copy', '--quiet', ...options, layout, destination);
  const [scheme, path] = reference.startsWith('oci:') ? ['oci:', reference.slice(4)] : ['', reference];
  await runs(`${scheme}${join(work, path)}`);
});

test('podman loads and saves them', async () => {
  requires('command:podman', 'command:skopeo');
  // Its name may have 50 characters.
  const runRoot = mkdtempSync('/tmp/podman-run-');
  const places = ['--root', join(work, 'podman'), '--runroot', runRoot, '--tmpdir', join(work, 'podman-tmp')];
  const podman = (...args: readonly string[]): string => tool('podman', ...places, '--storage-driver', 'vfs', ...args);
  try {
    tool('skopeo', '--insecure-policy', 'copy', '--quiet', layout, 'docker-archive:to-podman.tar:app:1');
    podman('load', '--quiet', '--input', 'to-podman.tar');
    for (const format of ['docker-archive', 'oci-archive', 'oci-dir']) {
      podman('save', '--quiet', '--format', format, '--output', `podman-${format}`, 'app:1');
      await runs(join(work, `podman-${format}`));
    }
  } finally {
    rmSync(runRoot, { recursive: true });
  }
});

test('buildah makes them of nothing', async () => {
  requires('command:buildah');
  const buildah = (...args: readonly string[]): string =>
    tool(
      'buildah',
      '--root',
      join(work, 'buildah'),
      '--runroot',
      join(work, 'buildah-run'),
      '--storage-driver',
      'vfs',
      ...args,
    );
  const container = buildah('from', 'scratch');
  buildah('add', '--quiet', container, 'root', '/');
  buildah('config', '--entrypoint', '["/bin/ls"]', '--cmd', '/etc', container);
  buildah('commit', '--quiet', container, 'oci-archive:buildah.tar:app');
  buildah('rm', container);
  expect((await run([], { root: { image: join(work, 'buildah.tar') } })).stdout).toBe('gone\nhosts\n');
});
