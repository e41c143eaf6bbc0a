// What docker's client is given, word by word, and what nobody but the launcher knows.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { imageArchive, readImage } from '../../src/backends/docker/image.ts';
import { loadDocker } from '../../src/backends/docker/index.ts';
import { planDocker } from '../../src/backends/docker/plan.ts';
import { recognized } from '../../src/backends/docker/recognized.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { BackendError } from '../../src/errors/errors.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { type FakeTree, fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree: FakeTree = { '/usr/bin/true': '', '/bin': { link: 'usr/bin' }, '/etc/ssl/certs/ca.pem': '' };
const engine = { client: '/usr/bin/docker', socket: '/run/docker.sock' };

function stepsOf(spec: SandboxSpec, uid = 1000): readonly Step[] {
  const caller = readCallerFacts(fakeHost(tree), { uid, gid: uid, architecture: 'x64' });
  const normalized = normalize(spec, new MemoryHost({ uid, gid: uid }));
  return planDocker(engine, 'sandboxlib/launcher:0123', normalized, recognized, caller).detail.steps;
}

function toolOf(steps: readonly Step[]): Extract<Step, { step: 'tool' }> {
  const tool = steps.find((step) => step.step === 'tool');
  if (tool?.step !== 'tool') throw new Error('no tool');
  return tool;
}

test('the command line, and all of the environment', () => {
  const { argv, env, endSignal } = toolOf(stepsOf({}));
  expect(argv.join(' ')).toBe(
    '/proc/self/fd/4 rendezvous --directory /proc/self/fd/11 --tree /run/sandboxlib/root' +
      ' /usr/bin/docker run --rm --name RENDEZVOUS --pull never --log-driver none --no-healthcheck' +
      ' --network none --ipc none --userns host --user 0:0 --read-only' +
      ' --mount type=bind,source=/dev/shm,destination=/rendezvous --workdir /rendezvous' +
      ' --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add SETGID --cap-add SYS_ADMIN' +
      ' --security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt apparmor=unconfined' +
      ' --security-opt label=disable --security-opt systempaths=unconfined --device-cgroup-rule a *:* rwm' +
      ' sandboxlib/launcher:0123 /launcher inside --rendezvous RENDEZVOUS --network own',
  );
  expect(env).toEqual({
    DOCKER_HOST: 'unix:///proc/self/fd/10',
    DOCKER_CONFIG: '/run/sandboxlib',
    HOME: '/run/sandboxlib',
    PATH: '/usr/bin:/bin',
  });
  // Killed between two requests the client would leave a container.
  expect(endSignal).toBe(0);
});

test('the engine and the meeting place are opened before anything of the host is covered', () => {
  const steps = stepsOf({});
  const covered = steps.findIndex(({ step }) => step === 'root');
  const sources = steps.filter(({ step }) => step === 'source');
  expect(sources).toEqual([
    { step: 'source', number: 10, sourceKind: 'any', path: '/run/docker.sock' },
    { step: 'source', number: 11, sourceKind: 'directory', path: '/dev/shm' },
  ]);
  for (const source of sources) expect(steps.indexOf(source)).toBeLessThan(covered);
});

test('no path of the spec, and no network, is asked of the engine', () => {
  const steps = stepsOf({ mounts: ['src:/mnt:rw'], network: 'host' });
  const { argv } = toolOf(steps);
  expect(argv.filter((word) => word.startsWith('type=bind'))).toEqual([
    'type=bind,source=/dev/shm,destination=/rendezvous',
  ]);
  expect(argv.join(' ')).toContain('--network none');
  expect(argv.slice(-2)).toEqual(['--network', 'room']);
  expect(steps).toContainEqual(expect.objectContaining({ step: 'tree', path: '/home/alice/src' }));
});

test('the image is the launcher and two directories, and called by what is in it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'image-'));
  const launcher = join(directory, 'given');
  writeFileSync(launcher, 'x'.repeat(1000));
  const { name, launcher: bytes } = readImage(launcher);
  expect(name).toMatch(/^sandboxlib\/launcher:[0-9a-f]{32}$/);
  execFileSync('tar', ['-x', '-C', directory], { input: imageArchive(bytes) });
  expect(readFileSync(join(directory, 'launcher'))).toEqual(readFileSync(launcher));
  expect(statSync(join(directory, 'launcher')).mode & 0o777).toBe(0o755);
  expect(statSync(join(directory, 'room')).isDirectory()).toBe(true);
  expect(statSync(join(directory, 'rendezvous')).isDirectory()).toBe(true);
  writeFileSync(launcher, 'y'.repeat(1000));
  expect(readImage(launcher).name).not.toBe(name);
  rmSync(directory, { recursive: true });
});

test.each([
  ['tcp://127.0.0.1:2375', 'may be an engine of another machine'],
  ['unix:///nowhere/docker.sock', 'no engine listens at unix:///nowhere/docker.sock: ENOENT'],
])('%s is refused', async (host, because) => {
  const backend = loadDocker(host, '/usr/bin/docker');
  const { usable } = await backend.probe();
  expect(usable).toMatchObject({ available: false, because: expect.stringContaining(because) });
  const caller = readCallerFacts(fakeHost(tree), { uid: 0, gid: 0, architecture: 'x64' });
  expect(() => backend.plan(normalize({}, new MemoryHost()), recognized, caller)).toThrow(BackendError);
});
