// What podman is given, word by word, and what init does inside of what it makes.
import { expect, test } from 'vitest';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { podman } from '../../src/backends/podman/index.ts';
import { BackendError, FeatureError, SpecError } from '../../src/errors/errors.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { type FakeTree, fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree: FakeTree = {
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/ssl/certs/ca.pem': '',
  '/proc/self/limits': [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max processes             100                  200                  processes ',
    'Max open files            1024                 20000                files     ',
    '',
  ].join('\n'),
  '/proc/sys/kernel/pid_max': '32768\n',
};

function stepsOf(spec: SandboxSpec, { uid = 1000, host = tree, programs = ['podman', 'crun'] } = {}): readonly Step[] {
  const facts = readCallerFacts(fakeHost(host), { uid, gid: uid, architecture: 'x64' });
  // By prototype, so that what is read only when it is asked for stays so.
  const caller = Object.create(facts, {
    program: { value: (name: string) => (programs.includes(name) ? `/usr/bin/${name}` : undefined) },
  });
  return podman.plan(normalize(spec, new MemoryHost({ uid, gid: uid })), podman.recognized, caller).detail.steps;
}

function toolOf(steps: readonly Step[]): Extract<Step, { step: 'tool' }> {
  const tool = steps.find((step) => step.step === 'tool');
  if (tool?.step !== 'tool') throw new Error('no tool');
  return tool;
}

const inside = (steps: readonly Step[]): readonly Step[] =>
  steps.slice(steps.findIndex(({ step }) => step === 'tool') + 1);

test('the command line, and all of the environment', () => {
  const { argv, env } = toolOf(stepsOf({}));
  expect(argv.join(' ')).toBe(
    '/usr/bin/podman --root /run/sandboxlib/storage --runroot /run/sandboxlib/run --tmpdir /run/sandboxlib/tmp' +
      ' --storage-driver vfs --runtime /usr/bin/crun --cgroup-manager cgroupfs --events-backend none' +
      ' --hooks-dir /run/sandboxlib/hooks' +
      ' run --rm --cgroups disabled --cgroupns host --network none --pid private --ipc private --uts private' +
      ' --user 0:0 --workdir / --log-driver none --no-hosts --http-proxy=false --systemd false' +
      ' --mount type=tmpfs,destination=/dev/pts --cap-add all --security-opt seccomp=unconfined' +
      ' --security-opt label=disable --security-opt apparmor=unconfined --security-opt unmask=all --ulimit nofile=20000:20000 --ulimit nproc=200:200' +
      ' --preserve-fds 2 --rootfs /run/sandboxlib/root /proc/self/fd/4 inside --socket-fd 3',
  );
  expect(env).toEqual({
    HOME: '/run/sandboxlib',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    TMPDIR: '/run/sandboxlib/tmp',
    XDG_RUNTIME_DIR: '/run/sandboxlib/tmp',
    CONTAINERS_CONF: '/run/sandboxlib/containers.conf',
  });
});

test('limits that the caller does not have are none for podman', () => {
  const { argv } = toolOf(stepsOf({}, { host: { '/usr/bin/true': '' } }));
  expect(argv).toEqual(expect.arrayContaining(['nofile=-1:-1', 'nproc=-1:-1']));
  const bounded = toolOf(stepsOf({}, { host: { '/usr/bin/true': '', '/proc/sys/kernel/pid_max': '4096\n' } }));
  expect(bounded.argv).toContain('nproc=4096:4096');
});

test('init makes the root from what the room shows it, and leaves that of podman', () => {
  const steps = stepsOf({ mounts: ['src:/mnt:rw'] });
  expect(steps).toContainEqual({ step: 'tree', sourceKind: 'directory', path: '/usr' });
  const number = steps
    .filter(({ step }) => step === 'tree')
    .findIndex((step) => step.step === 'tree' && step.path === '/home/alice/src');
  expect(number).toBeGreaterThan(0);
  expect(steps).toContainEqual({
    step: 'mount',
    kind: 'tree',
    flags: ['create', 'recursive'],
    sourceKind: 'any',
    source: String(number),
    destination: `/run/sandboxlib/root/sources/${number}`,
    options: '',
  });
  expect(inside(steps)).toContainEqual({
    step: 'mount',
    kind: 'bind',
    flags: ['recursive', 'nosuid', 'nodev', 'create', 'sourceWithoutLinks'],
    sourceKind: 'directory',
    source: `/sources/${number}`,
    destination: '/mnt',
    options: '',
  });
  // Nothing is bound from a path of the host.
  for (const step of inside(steps)) {
    if (step.step === 'mount' && step.kind === 'bind' && !step.flags.includes('sourceInRoot'))
      expect(step.source).toMatch(/^\/sources\/\d+$/);
  }
});

test('an ordinary user is 0 until all is made, and then itself', () => {
  const steps = inside(stepsOf({}));
  const pivot = steps.findIndex(({ step }) => step === 'pivot');
  expect(steps[pivot + 1]).toEqual({ step: 'user-namespace', uid: 1000, gid: 1000 });
  expect(steps).toContainEqual({ step: 'sysctl', name: 'user/max_user_namespaces', value: '1' });
  expect(steps).toContainEqual(
    expect.objectContaining({ destination: '/home/alice', options: expect.stringContaining('uid=0,gid=0') }),
  );
  expect(inside(stepsOf({}, { uid: 0 }))).toContainEqual({
    step: 'sysctl',
    name: 'user/max_user_namespaces',
    value: '0',
  });
});

test("with the host's network init leaves the loopback as it is", () => {
  expect(inside(stepsOf({}))).toContainEqual({ step: 'loopback' });
  const steps = stepsOf({ network: 'host' });
  expect(toolOf(steps).argv.join(' ')).toContain('--network host');
  expect(inside(steps)).not.toContainEqual({ step: 'loopback' });
});

test('what cannot be had is refused by name', () => {
  expect(() => stepsOf({}, { programs: ['podman'] })).toThrow(BackendError);
  expect(() => stepsOf({}, { programs: ['podman'] })).toThrow('there is no crun on PATH; install crun');
  expect(() => stepsOf({ user: { uid: 1, gid: 1, additionalGids: [2] } })).toThrow(SpecError);
  const ids = [{ containerID: 1, hostID: 100_000, size: 10 }];
  const spec: SandboxSpec = { uidMappings: ids, gidMappings: ids, user: { uid: 1, gid: 1 } };
  expect(() => stepsOf(spec, { uid: 0 })).toThrow(FeatureError);
});
