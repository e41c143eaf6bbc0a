// What bwrap is given, word by word: no destination of a spec is among it.
import { describe, expect, test } from 'vitest';
import { bubblewrap } from '../../src/backends/bubblewrap/index.ts';
import { filesystemSteps } from '../../src/backends/launcher/filesystem.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost, ordinaryTree } from '../helpers/memory-host.ts';

const tree = {
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/ssl/certs/ca.pem': '',
};

const facts = (uid: number) => ({
  ...readCallerFacts(fakeHost(tree), { uid, gid: uid, architecture: 'x64' }),
  program: (name: string) => `/usr/bin/${name}`,
});

function planOf(
  spec: SandboxSpec,
  uid = 1000,
): { argv: readonly string[]; steps: readonly Step[]; spec: NormalizedSpec } {
  const normalized = normalize(
    spec,
    new MemoryHost({ uid, gid: uid, tree: { ...ordinaryTree, srv: { root: ordinaryTree } } }),
  );
  const { steps } = bubblewrap.plan(normalized, bubblewrap.recognized, facts(uid)).detail;
  const tool = steps.find((step) => step.step === 'tool');
  return { argv: tool?.step === 'tool' ? tool.argv : [], steps, spec: normalized };
}

/** What bwrap mounts, by the numbers of its descriptors. */
function sourcesOf(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => (step.step === 'source' ? [step.path] : []));
}

describe('the default', () => {
  test('bwrap makes namespaces, and lays the trees of the host side by side', () => {
    const { argv, steps } = planOf({});
    expect(sourcesOf(steps)).toEqual([
      '/usr',
      '/etc/ssl/certs',
      ...['full', 'null', 'random', 'tty', 'urandom', 'zero'].map((name) => `/dev/${name}`),
    ]);
    expect(argv).toEqual([
      ...['/usr/bin/bwrap', '--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
      ...['--unshare-cgroup-try', '--unshare-net', '--die-with-parent', '--hostname', 'sandbox'],
      ...['--uid', '1000', '--gid', '1000', '--proc', '/proc', '--dir', '/of-host'],
      ...['--bind-fd', '10', '/of-host/10', '--bind-fd', '11', '/of-host/11'],
      ...[12, 13, 14, 15, 16, 17].flatMap((number) => ['--dev-bind', `/proc/self/fd/${number}`, `/of-host/${number}`]),
      ...['--as-pid-1', '--cap-add', 'ALL', '--chdir', '/', '--', '/proc/self/fd/4', 'inside', '--socket-fd', '3'],
    ]);
  });

  test('init does inside what native does, from there', () => {
    const { steps, spec } = planOf({});
    const inside = steps.slice(steps.findIndex(({ step }) => step === 'tool') + 1);
    const own = filesystemSteps(spec, new Set(), facts(1000), true);
    expect(inside.slice(0, own.length).map(({ step }) => step)).toEqual(own.map(({ step }) => step));
    expect(inside[own.length]).toEqual({ step: 'pivot' });
    const [root, usr] = inside;
    expect(root).toEqual(own[0]);
    expect(usr).toEqual({ ...own[1], source: '/of-host/10' });
    const proc = inside.find((step) => step.step === 'mount' && step.destination === '/proc');
    expect(proc).toMatchObject({ kind: 'bind', source: '/proc', flags: expect.arrayContaining(['recursive']) });
  });
});

test('whatever the spec mounts, and wherever: bwrap hears of no destination', () => {
  const spec: SandboxSpec = {
    root: { path: '/srv/root', writablePaths: ['/var'] },
    mounts: ['/usr:/var/there:ro', { type: 'tmpfs', destination: '/var/scratch' }],
  };
  const { argv, steps } = planOf(spec);
  expect(argv.join(' ')).not.toMatch(/there|scratch|var|srv/);
  expect(sourcesOf(steps).slice(0, 1)).toEqual(['/srv/root']);
  const inside = steps.slice(steps.findIndex(({ step }) => step === 'tool') + 1);
  expect(inside[0]).toMatchObject({ step: 'root', kind: 'overlay', readonly: true, source: '/of-host/10' });
  expect(inside[1]).toMatchObject({ step: 'mount', source: '/var', destination: '/var' });
});

test('what bwrap cannot give to a user is refused', () => {
  for (const user of [
    { uid: 0, gid: 0, additionalGids: [5] },
    { uid: 3_000_000_000, gid: 0 },
    { uid: 0, gid: 3_000_000_000 },
  ])
    expect(() => planOf({ user }, 0)).toThrow(FeatureError);
});
