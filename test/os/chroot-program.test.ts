// As on a POSIX system that is not Linux: by its chroot(8), in a root that is one static program with a name for each command.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LaunchRequest } from '../../src/backends/backend.ts';
import { chrootByProgram } from '../../src/backends/chroot/index.ts';
import { byProgram, recognizedOn } from '../../src/backends/chroot/recognized.ts';
import type { Feature } from '../../src/features/feature.ts';
import { callerFacts } from '../../src/host/facts.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { requires } from '../helpers/requires.ts';

requires('root', 'command:chroot', 'command:busybox');

const busybox = spawnSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).stdout.trim();
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'chroot-program-'));
  for (const name of ['bin', 'dev', 'proc', 'tmp']) mkdirSync(join(root, name));
  copyFileSync(busybox, join(root, 'bin/busybox'));
  for (const name of ['sh', 'cat', 'env', 'id', 'pwd', 'sleep']) symlinkSync('/bin/busybox', join(root, 'bin', name));
  writeFileSync(join(root, 'bin/script'), '#!/no/interpreter\n', { mode: 0o755 });
  writeFileSync(join(root, 'marker'), 'in the root');
});
afterAll(() => rmSync(root, { recursive: true }));

const request = (command: readonly [string, ...string[]], more: Partial<LaunchRequest> = {}): LaunchRequest => ({
  command,
  stdio: ['ignore', 'pipe', 'pipe'],
  killSignal: 'SIGTERM',
  gracePeriodMs: 1000,
  ...more,
});

function launch(command: readonly [string, ...string[]], spec: SandboxSpec = {}, more: Partial<LaunchRequest> = {}) {
  const normalized = normalize({ root: { path: root }, ...spec }, nodeSpecHost());
  const plan = chrootByProgram.plan(normalized, chrootByProgram.recognized, callerFacts());
  return chrootByProgram.launch(plan, request(command, more));
}

async function answer(command: readonly [string, ...string[]], spec: SandboxSpec = {}): Promise<string> {
  const launched = launch(command, spec);
  const [stdout, stderr, { code }] = await Promise.all([
    text(launched.stdout as NodeJS.ReadableStream),
    text(launched.stderr as NodeJS.ReadableStream),
    launched.ended,
  ]);
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  return stdout;
}

test('the probe does it, and says by what', async () => {
  const { usable, features } = await chrootByProgram.probe();
  expect(usable).toEqual({ available: true, mechanism: 'chroot(8)' });
  expect([...features.keys()]).toEqual(Object.keys(byProgram));
});

test('the command sees the directory as its root, and starts at its top', async () => {
  expect(await answer(['cat', '/marker'])).toBe('in the root');
  expect(await answer(['pwd'])).toBe('/\n');
});

test('the environment is that of the spec', async () => {
  expect(await answer(['env'], { env: { PATH: '/bin', ONLY: 'this' } })).toMatch(/ONLY=this\n/);
});

test('descriptors, the merged output and the status are those of the command', async () => {
  const launched = launch(
    ['sh', '-c', 'echo out; echo err >&2; exit 126'],
    {},
    { stdio: ['ignore', 'pipe', 'stdout'] },
  );
  expect(await text(launched.stdout as NodeJS.ReadableStream)).toBe('out\nerr\n');
  expect(await launched.ended).toMatchObject({ code: 126, cause: { kind: 'command' } });
});

test('what cannot be executed in the root is no status of the command', async () => {
  const failure = { code: 'SBX_LAUNCH_FAILED', step: 'exec' };
  await expect(launch(['no-such-program']).ended).rejects.toMatchObject({ ...failure, reason: 'not-found' });
  // It is there, on this host.
  await expect(launch(['/usr/bin/python3']).ended).rejects.toMatchObject({ ...failure, reason: 'not-found' });
  await expect(launch(['/bin/script']).ended).rejects.toMatchObject({ ...failure, reason: 'missing-interpreter' });
  await expect(launch(['/marker']).ended).rejects.toMatchObject({ ...failure, reason: 'not-executable' });
});

test('the wall clock and an order end the process group', async () => {
  expect(await launch(['sleep', '600'], { limits: { wallMs: 200 } }).ended).toMatchObject({
    signal: 'SIGTERM',
    cause: { kind: 'limit', limit: 'wallMs' },
  });
  const launched = launch(['sh', '-c', 'sleep 600 & echo ready; wait']);
  await once(launched.stdout as NodeJS.ReadableStream, 'data');
  launched.terminate();
  expect(await launched.ended).toMatchObject({ cause: { kind: 'terminated' } });
});

test('neither the root itself nor a user is promised: the command is root, and could leave', () => {
  const recognized = recognizedOn('darwin');
  for (const feature of ['root.path', 'user', 'cwd', 'capabilities.drop', 'noNewPrivileges'] satisfies Feature[])
    expect(recognized.has(feature), feature).toBe(false);
});
