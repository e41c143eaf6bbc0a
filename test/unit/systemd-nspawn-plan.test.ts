// What systemd-nspawn is given, word by word, and the room that it is started in: no path of a spec is among its words.
import { describe, expect, test } from 'vitest';
import { filesystemSteps } from '../../src/backends/launcher/filesystem.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { systemdNspawn } from '../../src/backends/systemd-nspawn/index.ts';
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

interface Differences {
  readonly uid?: number;
  readonly cgroups?: 'v1' | 'v2' | 'hybrid' | 'none';
  readonly program?: () => string | undefined;
}

function facts({ uid = 0, cgroups = 'hybrid', program }: Differences = {}) {
  return {
    ...readCallerFacts(fakeHost(tree), { uid, gid: uid, architecture: 'x64' }),
    cgroups: { version: cgroups, mountPoint: undefined, parents: {} },
    program: program ?? ((name: string) => `/usr/bin/${name}`),
  };
}

function planOf(spec: SandboxSpec, differences: Differences = {}) {
  const host = new MemoryHost({ uid: 0, gid: 0, tree: { ...ordinaryTree, srv: { root: ordinaryTree } } });
  const normalized: NormalizedSpec = normalize(spec, host);
  const plan = systemdNspawn.plan(normalized, systemdNspawn.recognized, facts(differences));
  const { steps } = plan.detail;
  const at = steps.findIndex(({ step }) => step === 'tool');
  return {
    spec: normalized,
    notes: plan.notes,
    outside: steps.slice(0, at),
    tool: steps[at] as Extract<Step, { step: 'tool' }>,
    inside: steps.slice(at + 1),
  };
}

const words = (network: readonly string[]): string[] => [
  ...['/usr/bin/systemd-nspawn', '--quiet', '--settings=no', '--register=no', '--keep-unit', '--machine=sandbox'],
  ...['--link-journal=no', '--resolv-conf=off', '--timezone=off', '--console=pipe'],
  ...['--private-users=0:4294967295', '--private-users-ownership=off', '--capability=all'],
  ...['--directory=/run/sandboxlib/root', '--bind=/run/sandboxlib/sources:/sources', ...network],
  ...['--', '/proc/self/fd/4', 'inside', '--socket-fd', '3'],
];

const pathsOf = (steps: readonly Step[]): string[] =>
  steps.flatMap((step) => (step.step === 'tree' ? [step.path] : []));

describe('the default', () => {
  test('in the words of systemd-nspawn, with our init inside', () => {
    expect(planOf({}).tool).toEqual({
      step: 'tool',
      endSignal: 9,
      traces: false,
      argv: words(['--private-network']),
      env: {
        LISTEN_FDS: '2',
        LISTEN_PID: '',
        SYSTEMD_SECCOMP: '0',
        SYSTEMD_LOG_TARGET: 'console',
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      },
    });
  });

  test('the trees of the host are taken before anything is covered, and lie in one place', () => {
    const { outside } = planOf({});
    expect(outside[0]).toEqual({ step: 'namespaces', namespaces: ['mount', 'cgroup'] });
    const first = outside.findIndex(({ step }) => step === 'tree');
    const root = outside.findIndex(({ step }) => step === 'root');
    expect(first).toBeGreaterThan(0);
    expect(outside.slice(first, root).every(({ step }) => step === 'tree')).toBe(true);
    const paths = pathsOf(outside);
    expect(paths.slice(0, 3)).toEqual(['/proc', '/usr', '/etc/ssl/certs']);
    const handed = outside.filter((step) => step.step === 'mount' && step.kind === 'tree');
    expect(handed).toEqual(
      paths.map((_, number) => ({
        step: 'mount',
        kind: 'tree',
        flags: ['create', 'recursive'],
        sourceKind: 'any',
        source: String(number),
        destination: `/run/sandboxlib/sources/${number}`,
        options: '',
      })),
    );
  });

  test('whatever it writes in /run and to control groups is in a tmpfs of its room', () => {
    const { outside } = planOf({});
    const covered = outside.flatMap((step) =>
      step.step === 'mount' && step.kind === 'tmpfs' ? [step.destination] : [],
    );
    expect(covered).toEqual(['/sys/fs/cgroup', '/run']);
    expect(outside.flatMap((step) => (step.step === 'file' ? [step.path] : []))).toEqual([
      '/sys/fs/cgroup/systemd/payload/cgroup.procs',
      '/sys/fs/cgroup/systemd/supervisor/cgroup.procs',
    ]);
  });

  test('where there are control groups of the second version alone it finds one of the first', () => {
    const own = '/run/sandboxlib/cgroup';
    const { outside } = planOf({}, { cgroups: 'v2' });
    expect(outside).toContainEqual(expect.objectContaining({ step: 'file', path: own }));
    expect(outside).toContainEqual(expect.objectContaining({ destination: '/proc/self/cgroup', source: own }));
    expect(planOf({}).outside).not.toContainEqual(expect.objectContaining({ path: own }));
  });

  test('init does inside what native does, from there, and leaves what it was started in', () => {
    const { inside, spec } = planOf({});
    const own = filesystemSteps(spec, new Set(), facts(), true);
    expect(inside[0]).toEqual({ step: 'hostname', hostname: 'sandbox' });
    expect(inside.slice(1, own.length + 1).map(({ step }) => step)).toEqual(own.map(({ step }) => step));
    expect(inside[own.length + 1]).toEqual({ step: 'pivot' });
    expect(inside[2]).toEqual({ ...own[1], source: '/sources/1' });
  });
});

describe('a rich spec', () => {
  const spec: SandboxSpec = {
    root: { path: '/srv/root', writablePaths: ['/var'] },
    mounts: ['/usr:/var/there:ro', { type: 'tmpfs', destination: '/var/scratch' }],
    network: 'host',
    hostname: 'elsewhere',
    user: { uid: 0, gid: 0 },
  };

  test('systemd-nspawn hears of nothing of it but the network', () => {
    expect(planOf(spec).tool.argv).toEqual(words([]));
  });

  test('its root and its sources are handed in, and no other is named inside', () => {
    const { outside, inside } = planOf(spec);
    const paths = pathsOf(outside);
    expect(paths.slice(0, 2)).toEqual(['/proc', '/srv/root']);
    expect(paths).toContain('/usr');
    expect(inside[0]).toEqual({ step: 'hostname', hostname: 'elsewhere' });
    expect(inside[1]).toMatchObject({ step: 'root', source: '/sources/1' });
    const named = inside.flatMap((step) => (step.step === 'mount' && step.kind === 'bind' ? [step] : []));
    const ofHost = named.filter(({ flags }) => !flags.includes('sourceInRoot') && !flags.includes('sourceOfRoot'));
    expect(ofHost.length).toBeGreaterThan(0);
    expect(ofHost.every(({ source }) => /^\/sources\/\d+$/.test(source))).toBe(true);
    // What lies in the root is found there, and by its own name.
    expect(named).toContainEqual(expect.objectContaining({ source: '/var', destination: '/var' }));
  });

  test('it says whose files those are, and what the network of the host brings along', () => {
    expect(planOf(spec).notes).toEqual([
      expect.stringContaining('the command is uid 0 of this host'),
      expect.stringContaining('abstract unix sockets'),
    ]);
  });
});

describe('where it cannot run', () => {
  const because = (differences: Differences): unknown => {
    try {
      return planOf({}, differences);
    } catch (error) {
      return String(error);
    }
  };

  test('it says why, and what else there is', () => {
    expect(because({ uid: 1000 })).toMatch(/needs root; run it as root, or use /);
    expect(because({ program: () => undefined })).toMatch(/there is no systemd-nspawn on PATH; install systemd-con/);
    expect(because({ cgroups: 'none' })).toMatch(/needs control groups; mount them, or use backend native/);
    expect(because({ cgroups: 'v2' })).toMatchObject({ tool: { step: 'tool' } });
    expect(because({ cgroups: 'v1' })).toMatchObject({ tool: { step: 'tool' } });
  });
});
