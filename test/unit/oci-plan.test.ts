// What an OCI runtime is given, word by word: its command line, its room and its config.json.
import { describe, expect, test } from 'vitest';
import type { BackendPlan } from '../../src/backends/backend.ts';
import type { LauncherPlan, Step } from '../../src/backends/launcher/steps.ts';
import type { OciConfig } from '../../src/backends/oci/config.ts';
import { planOci } from '../../src/backends/oci/plan.ts';
import { type RuntimeName, recognized } from '../../src/backends/oci/recognized.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { type FakeTree, fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost, ordinaryTree } from '../helpers/memory-host.ts';

const tree: FakeTree = {
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/ssl/certs/ca.pem': '',
};

interface Asked {
  readonly uid?: number;
  readonly runtime?: RuntimeName;
  readonly without?: readonly Feature[];
  readonly host?: FakeTree;
}

function planOf(spec: SandboxSpec, { uid = 1000, runtime = 'crun', without = [], host = tree }: Asked = {}) {
  const caller = readCallerFacts(fakeHost(host), { uid, gid: uid, architecture: 'x64' });
  const granted = new Set([...recognized].filter((feature) => !without.includes(feature)));
  const memory = new MemoryHost({ uid, gid: uid, tree: { ...ordinaryTree, dev: { fuse: '!character device' } } });
  return planOci({ name: runtime, file: `/usr/bin/${runtime}` }, normalize(spec, memory), granted, caller);
}

const stepsOf = (plan: BackendPlan<LauncherPlan>): readonly Step[] => plan.detail.steps;

/** What is performed inside of what the runtime made. */
function insideOf(plan: BackendPlan<LauncherPlan>): readonly Step[] {
  const steps = stepsOf(plan);
  return steps.slice(steps.findIndex(({ step }) => step === 'tool') + 1);
}

function configOf(plan: BackendPlan<LauncherPlan>): OciConfig {
  const file = stepsOf(plan).find((step) => step.step === 'file' && step.path.endsWith('/config.json'));
  return JSON.parse(Buffer.from(file?.step === 'file' ? file.content : '', 'base64').toString()) as OciConfig;
}

describe('the default', () => {
  test('the room of an ordinary user, up to the runtime', () => {
    const room = stepsOf(planOf({}));
    const tool = room.findIndex(({ step }) => step === 'tool');
    const text = room.slice(0, tool).filter((step) => step.step !== 'file' || !step.path.endsWith('config.json'));
    const devices = ['full', 'null', 'random', 'tty', 'urandom', 'zero'];
    expect(text).toEqual([
      { step: 'namespaces', namespaces: ['user', 'mount', 'cgroup'] },
      ...(['uid', 'gid'] as const).map((kind) => ({
        step: 'map-ids',
        kind,
        denySetgroups: kind === 'gid',
        mappings: [{ inside: 0, outside: 1000, size: 1 }],
        helper: undefined,
      })),
      { step: 'tree', sourceKind: 'directory', path: '/usr' },
      { step: 'tree', sourceKind: 'directory', path: '/etc/ssl/certs' },
      ...devices.map((name) => ({ step: 'tree', sourceKind: 'file', path: `/dev/${name}` })),
      { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] },
      mount('tmpfs', '/run', ['nosuid', 'nodev'], '', 'size=16m,mode=0755'),
      ...['/tmp', '/dev/shm'].map((path) =>
        mount('tmpfs', path, ['nosuid', 'nodev', 'ifExists'], '', 'size=1m,mode=1777'),
      ),
      mount('tmpfs', '/run/sandboxlib/root', ['create', 'nosuid', 'nodev'], '', 'size=1m,nr_inodes=264,mode=0755'),
      { step: 'mkdir', mode: 0o755, path: '/run/sandboxlib/root/dev' },
      ...Array.from({ length: 2 + devices.length }, (_, number) =>
        mount('tree', `/run/sandboxlib/root/sources/${number}`, ['create', 'recursive'], String(number)),
      ),
      { step: 'mkdir', mode: 0o700, path: '/run/sandboxlib/state' },
    ]);
  });

  test('inside init makes the root as it does without a runtime, from sources that the room shows it', () => {
    const inside = insideOf(planOf({}));
    expect(inside.slice(0, 5)).toEqual([
      { step: 'hostname', hostname: 'sandbox' },
      { step: 'loopback' },
      {
        step: 'root',
        kind: 'tmpfs',
        readonly: false,
        source: '',
        options: 'size=1m,nr_inodes=2048,mode=0755',
        skeleton: [],
      },
      {
        ...mount('bind', '/usr', ['recursive', 'nosuid', 'nodev', 'create', 'readonly'], '/sources/0'),
        sourceKind: 'directory',
      },
      { step: 'symlink', target: 'usr/bin', path: '/bin' },
    ]);
    expect(inside).toContainEqual({ step: 'mask', path: '/proc/kcore' });
    expect(inside).toContainEqual({ step: 'sysctl', name: 'user/max_user_namespaces', value: '1' });
    expect(inside.filter(({ step }) => step === 'readonly')).toEqual([
      { step: 'readonly', path: '/dev' },
      { step: 'readonly', path: '/' },
    ]);
  });

  test('config.json has namespaces, and of mounts only the proc by which init is found', () => {
    const capabilities = expect.arrayContaining([
      'CAP_SYS_ADMIN',
      'CAP_SETPCAP',
      'CAP_SETUID',
      'CAP_SETGID',
      'CAP_KILL',
    ]);
    expect(configOf(planOf({}))).toEqual({
      ociVersion: '1.0.2',
      process: {
        terminal: false,
        user: { uid: 0, gid: 0 },
        args: ['/proc/self/fd/4', 'inside', '--socket-fd', '3'],
        env: [],
        cwd: '/',
        capabilities: {
          bounding: capabilities,
          effective: capabilities,
          permitted: capabilities,
          inheritable: [],
          ambient: [],
        },
        noNewPrivileges: true,
      },
      root: { path: '/run/sandboxlib/root', readonly: false },
      mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] }],
      linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
    });
  });

  test('none of what init has is left to the command', () => {
    expect(insideOf(planOf({}))).toContainEqual({ step: 'capabilities', keep: [] });
  });

  test('the command line of each runtime', () => {
    const lineOf = (runtime: RuntimeName): string => {
      const tool = stepsOf(planOf({}, { runtime })).find(({ step }) => step === 'tool');
      return tool?.step === 'tool' ? tool.argv.join(' ') : '';
    };
    const rest =
      '--root /run/sandboxlib/state run --bundle /run/sandboxlib/bundle --preserve-fds 2 --no-new-keyring sandbox';
    expect(lineOf('crun')).toBe(`/usr/bin/crun --cgroup-manager=disabled ${rest}`);
    expect(lineOf('runc')).toBe(`/usr/bin/runc --rootless=true ${rest}`);
  });
});

describe('who is who', () => {
  /** What comes after the new root is entered. */
  const inside = (plan: BackendPlan<LauncherPlan>): Step | undefined => {
    const steps = stepsOf(plan);
    return steps[steps.findIndex(({ step }) => step === 'pivot') + 1];
  };

  test("an ordinary user's one id is 0 for the runtime, and gets its number back inside", () => {
    expect(inside(planOf({}))).toEqual({ step: 'user-namespace', uid: 1000, gid: 1000 });
    expect(inside(planOf({ user: { uid: 7, gid: 8 } }))).toEqual({ step: 'user-namespace', uid: 7, gid: 8 });
    expect(inside(planOf({ user: { uid: 0, gid: 0 } }))).toMatchObject({ step: 'rlimit' });
  });

  test('for root every id is mapped, in two ranges, and init becomes the user', () => {
    const plan = planOf({ user: { uid: 7, gid: 8, additionalGids: [9] } }, { uid: 0 });
    expect(stepsOf(plan)[1]).toMatchObject({
      mappings: [
        { inside: 0, outside: 0, size: 1 },
        { inside: 1, outside: 1, size: 4294967294 },
      ],
    });
    expect(stepsOf(plan)).toContainEqual({ step: 'user', uid: 7, gid: 8, setgroups: true, additionalGids: [9] });
    const home = insideOf(plan).find((step) => step.step === 'mount' && step.options.includes('mode=0700'));
    expect(home?.step === 'mount' ? home.options : '').toMatch(/,uid=7,gid=8$/);
  });

  test('ids of another range are mapped as they were asked for', () => {
    const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const plan = planOf({ uidMappings: ids, gidMappings: ids }, { uid: 0 });
    expect(stepsOf(plan)[1]).toMatchObject({ mappings: [{ inside: 0, outside: 100_000, size: 65_536 }] });
    const terminals = insideOf(plan).find((step) => step.step === 'mount' && step.kind === 'devpts');
    expect(terminals?.step === 'mount' ? terminals.options : '').toContain('gid=5');
  });
});

describe('what is refused, and why', () => {
  const refusal = (spec: SandboxSpec, asked?: Asked): unknown => {
    try {
      planOf(spec, asked);
    } catch (error) {
      if (error instanceof FeatureError) return error.missing;
      throw error;
    }
    return undefined;
  };

  test('mappings without 0', () => {
    const ids = [{ containerID: 1, hostID: 100_000, size: 65_536 }];
    const spec: SandboxSpec = { uidMappings: ids, gidMappings: ids, user: { uid: 1, gid: 1 } };
    expect(refusal(spec, { uid: 0 })).toMatchObject([
      { feature: 'idMappings', because: 'backend oci works only where uid 0 and gid 0 are mapped' },
    ]);
  });
});

describe('a directory as root', () => {
  test('is handed in by the room, and mounted by init', () => {
    const plan = planOf({ root: { path: '/usr', readonly: false } });
    expect(stepsOf(plan)).toContainEqual({ step: 'tree', sourceKind: 'directory', path: '/usr' });
    expect(insideOf(plan)).toContainEqual(
      expect.objectContaining({ step: 'root', kind: 'bind', readonly: false, source: '/sources/0' }),
    );
  });

  test('that lacks mount points lies below an empty one that has them', () => {
    const root = insideOf(planOf({ root: { path: '/usr' } })).find(({ step }) => step === 'root');
    expect(root).toMatchObject({ kind: 'overlay', readonly: true, source: '/sources/0' });
    expect(root?.step === 'root' ? root.skeleton : []).toContainEqual({ path: '/proc', kind: 'directory' });
  });
});

test('a granted device keeps its node as it is, and may be used', () => {
  const plan = planOf({ mounts: [{ type: 'bind', source: '/dev/fuse', destination: '/dev/fuse' }] });
  const granted = insideOf(plan).find((step) => step.step === 'mount' && step.destination === '/dev/fuse');
  expect(granted).toMatchObject({ kind: 'bind', flags: expect.not.arrayContaining(['nodev']) });
});

test('without the filter the command may make user namespaces, but no cgroup namespace', () => {
  const bound = (uid: number) =>
    insideOf(planOf({ seccomp: 'unconfined' }, { uid })).filter(({ step }) => step === 'sysctl');
  // Who is root of the host makes none.
  expect(bound(0)).toContainEqual({ step: 'sysctl', name: 'user/max_user_namespaces', value: '0' });
  expect(bound(1000)).toEqual([{ step: 'sysctl', name: 'user/max_cgroup_namespaces', value: '0' }]);
});

test("the host's network is no namespace, and a note says what comes along", () => {
  const plan = planOf({ network: 'host' });
  expect(configOf(plan).linux.namespaces).not.toContainEqual({ type: 'network' });
  expect(plan.notes).toContainEqual(expect.stringContaining('abstract unix sockets'));
});

test('control groups are read-only, and on a hybrid host those of the second version out of sight', () => {
  const mountinfo = [
    '1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
    '2 0 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
  ].join('\n');
  const steps = stepsOf(
    planOf(
      {},
      { host: { ...tree, '/proc/self/mountinfo': `${mountinfo}\n`, '/proc/self/cgroup': '3:memory:/\n0::/\n' } },
    ),
  );
  const at = steps.findIndex(({ step }) => step === 'root');
  expect(steps.slice(at + 2, at + 4)).toEqual([
    mount('bind', '/sys/fs/cgroup', ['recursive', 'readonly', 'ifExists'], '/sys/fs/cgroup'),
    mount('tmpfs', '/sys/fs/cgroup/unified', ['nosuid', 'nodev', 'noexec', 'readonly'], '', 'size=4k'),
  ]);
});

function mount(kind: string, destination: string, flags: readonly string[], source: string, options = '') {
  return { step: 'mount', kind, flags, sourceKind: 'any', source, destination, options };
}
