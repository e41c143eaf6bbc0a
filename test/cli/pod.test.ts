// `run-sandbox pod`: the apps of a pod manifest together, as people start them.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openImage } from '../../src/index.ts';
import { type CliResult, runCli, spawnCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';
requires('linux', 'userns', `file:${BUSYBOX}`);

let work: string;
let image: string;
let id: string;

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'cli-pod-'));
  process.env['XDG_CACHE_HOME'] = join(work, 'cache');
  mkdirSync(join(work, 'rootfs/bin'), { recursive: true });
  copyFileSync(BUSYBOX, join(work, 'rootfs/bin/busybox'));
  chmodSync(join(work, 'rootfs/bin/busybox'), 0o755);
  for (const name of ['sh', 'cat', 'sleep']) symlinkSync('busybox', join(work, 'rootfs/bin', name));
  const manifest = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/tools' };
  writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
  image = join(work, 'tools.aci');
  execFileSync('tar', ['-C', work, '-cf', image, 'manifest', 'rootfs']);
  // In a store of its own: by the command line it is a file that nobody has seen.
  const cache = process.env['XDG_CACHE_HOME'];
  process.env['XDG_CACHE_HOME'] = join(work, 'other');
  ({ id } = await openImage(image));
  process.env['XDG_CACHE_HOME'] = cache;
});

afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true });
});

function podFile(scripts: Readonly<Record<string, string>>, mountPoints: readonly object[] = []): string {
  const apps = Object.entries(scripts).map(([name, script]) => ({
    name,
    image: { id, name: 'example.com/tools' },
    app: { exec: ['/bin/sh', '-c', script], user: '0', group: '0', mountPoints },
  }));
  const file = join(work, 'pod.json');
  writeFileSync(file, JSON.stringify({ acKind: 'PodManifest', acVersion: '0.8.11', apps }));
  return file;
}

function runPod(scripts: Readonly<Record<string, string>>, ...options: readonly string[]): CliResult {
  return runCli(['pod', ...options, podFile(scripts), image]);
}

test('an image that is neither named nor in the store is missed by name', () => {
  const { status, stderr } = runCli(['pod', podFile({ one: 'true' })]);
  expect(stderr).toMatch(
    /apps\[0\]\.image\.id: the image example\.com\/tools \(sha512-\w+\) is neither given nor in the store/,
  );
  expect(status).toBe(125);
});

test('the output of all apps comes as it is, and the first status that is not 0 counts', () => {
  const { status, stdout, stderr } = runPod({ one: 'echo 1', two: 'echo 2 >&2; exit 7', three: 'exit 3' });
  expect([status, stdout]).toEqual([7, '1\n']);
  expect(stderr).toMatch(/^2$/m);
  expect(stderr).toMatch(/two exited with status 7(?:.|\n)*three exited with status 3/);
});

test('with --json there is one document, with what each wrote', () => {
  const { status, stdout } = runPod({ one: 'echo 1', two: 'kill -9 $$' }, '--json');
  expect(status).toBe(137);
  expect(JSON.parse(stdout)).toMatchObject({
    uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
    apps: { one: { stdout: '1\n', exitStatus: 0 }, two: { signal: 'SIGKILL', exitStatus: 137 } },
  });
});

test('a volume is what the caller says it is', () => {
  mkdirSync(join(work, 'data'), { recursive: true });
  writeFileSync(join(work, 'data/file'), 'here\n');
  const file = podFile({ one: 'cat /srv/file; echo x > /srv/new' }, [{ name: 'data', path: '/srv' }]);
  const { status, stdout, stderr } = runCli(['pod', '--volume', 'data=data:ro', file, image], { cwd: work });
  expect([status, stdout]).toEqual([1, 'here\n']);
  expect(stderr).toMatch(/Read-only file system/);
  expect(runCli(['pod', '--volume', 'data', file, image]).stderr).toMatch(/must be NAME=PATH\[:ro\]/);
});

test('a signal ends all of it', async () => {
  const running = spawnCli(['pod', podFile({ one: 'echo up; sleep 1000', two: 'sleep 1000' }), image]);
  await once(running.stdout as NodeJS.ReadableStream, 'data');
  running.kill('SIGTERM');
  expect(await once(running, 'exit')).toEqual([143, null]);
});

test('wrong use is said, all of it at once', () => {
  const { status, stderr } = runCli(['pod', '--volume', 'x', '/no/such/pod.json']);
  expect(stderr).toMatch(/--volume/);
  expect(stderr).toMatch(/cannot read \/no\/such\/pod\.json/);
  expect(status).toBe(125);
  expect(runCli(['pod']).stderr).toMatch(/no pod manifest given/);
});
