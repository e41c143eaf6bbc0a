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

function configOf(plan: BackendPlan<LauncherPlan>): OciConfig {
  const file = stepsOf(plan).find((step) => step.step === 'file' && step.path.endsWith('/config.json'));
  return JSON.parse(Buffer.from(file?.step === 'file' ? file.content : '', 'base64').toString()) as OciConfig;
}

describe('the default', () => {
  test('the room of an ordinary user, up to the runtime', () => {
    const room = stepsOf(planOf({}));
    const tool = room.findIndex(({ step }) => step === 'tool');
    const text = room.slice(0, tool).filter((step) => step.step !== 'file' || !step.path.endsWith('config.json'));
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
      { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] },
      { step: 'sysctl', name: 'user/max_user_namespaces', value: '1' },
      mount('tmpfs', '/run', ['nosuid', 'nodev'], '', 'size=16m,mode=0755'),
      mount('tmpfs', '/run/sandboxlib/root', ['create', 'nosuid', 'nodev'], '', 'size=1m,nr_inodes=2048,mode=0755'),
      ...[0, 1].map((number) =>
        mount(
          'tree',
          `/run/sandboxlib/sources/${number}`,
          ['create', 'recursive', 'nosuid', 'nodev', 'readonly'],
          String(number),
        ),
      ),
      { step: 'symlink', target: 'usr/bin', path: '/run/sandboxlib/root/bin' },
      file('/run/sandboxlib/root/etc/hostname', 'sandbox\n'),
      file('/run/sandboxlib/root/etc/hosts', '127.0.0.1 localhost sandbox\n::1 localhost\n'),
      { step: 'mkdir', mode: 0o700, path: '/run/sandboxlib/state' },
    ]);
  });

  test('config.json', () => {
    expect(configOf(planOf({}))).toEqual({
      ociVersion: '1.0.2',
      process: {
        terminal: false,
        user: { uid: 0, gid: 0 },
        args: ['/proc/self/fd/4', 'inside', '--socket-fd', '3'],
        env: [],
        cwd: '/',
        capabilities: {
          bounding: ['CAP_SETFCAP'],
          effective: ['CAP_SETFCAP'],
          permitted: ['CAP_SETFCAP'],
          inheritable: [],
          ambient: [],
        },
        noNewPrivileges: true,
      },
      root: { path: '/run/sandboxlib/root', readonly: true },
      hostname: 'sandbox',
      mounts: [
        ociMount('/usr', 'bind', '/run/sandboxlib/sources/0', 'rbind,ro,nosuid,nodev'),
        ociMount('/etc/ssl/certs', 'bind', '/run/sandboxlib/sources/1', 'rbind,ro,nosuid,nodev'),
        ociMount('/proc', 'proc', 'proc', 'nosuid,nodev,noexec'),
        ociMount('/dev', 'tmpfs', 'tmpfs', 'nosuid,noexec,ro,size=64k,nr_inodes=64,mode=0755'),
        ociMount('/dev/pts', 'devpts', 'devpts', 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620'),
        ociMount('/dev/shm', 'tmpfs', 'tmpfs', 'nosuid,nodev,noexec,size=67108864,nr_inodes=16384,mode=01777'),
        ociMount('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid,nodev,noexec'),
        ociMount('/tmp', 'tmpfs', 'tmpfs', 'nosuid,nodev,size=536870912,nr_inodes=131072,mode=01777,uid=0,gid=0'),
        ociMount('/home/alice', 'tmpfs', 'tmpfs', 'nosuid,nodev,size=536870912,nr_inodes=131072,mode=0700,uid=0,gid=0'),
      ],
      linux: {
        namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
        maskedPaths: expect.arrayContaining(['/proc/kcore', '/proc/keys', '/proc/sysrq-trigger', '/proc/timer_list']),
        readonlyPaths: [
          ...['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys'],
          ...['/dev/full', '/dev/null', '/dev/random', '/dev/tty', '/dev/urandom', '/dev/zero'],
        ],
      },
    });
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
  const inside = (plan: BackendPlan<LauncherPlan>): Step | undefined => {
    const steps = stepsOf(plan);
    return steps[steps.findIndex(({ step }) => step === 'tool') + 1];
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
    expect(configOf(plan).process.capabilities.bounding).toEqual([
      'CAP_KILL',
      'CAP_SETGID',
      'CAP_SETUID',
      'CAP_SETPCAP',
    ]);
    const home = configOf(plan).mounts.find(({ destination }) => destination === '/tmp');
    expect(home?.options).toContain('uid=7');
  });

  test('ids of another range are mapped as they were asked for', () => {
    const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const plan = planOf({ uidMappings: ids, gidMappings: ids }, { uid: 0 });
    expect(stepsOf(plan)[1]).toMatchObject({ mappings: [{ inside: 0, outside: 100_000, size: 65_536 }] });
    expect(configOf(plan).mounts.find(({ type }) => type === 'devpts')?.options).toContain('gid=5');
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
      { feature: 'idMappings', because: 'an OCI runtime works only where uid 0 and gid 0 are mapped' },
    ]);
  });

  test('devices elsewhere than in /dev, and anything else there', () => {
    expect(refusal({ mounts: [{ type: 'dev', destination: '/mnt' }] })).toMatchObject([{ feature: 'mount.dev' }]);
    expect(refusal({ mounts: [{ type: 'tmpfs', destination: '/dev' }] })).toMatchObject([{ feature: 'mount.tmpfs' }]);
    expect(refusal({ mounts: ['src:/dev/src'] })).toBeUndefined();
  });
});

describe('a directory as root', () => {
  test('is mounted by the room, and made read-only by both', () => {
    const plan = planOf({ root: { path: '/usr', readonly: false } });
    expect(stepsOf(plan)).toContainEqual({ step: 'tree', sourceKind: 'directory', path: '/usr' });
    expect(stepsOf(plan)).toContainEqual(
      mount('tree', '/run/sandboxlib/root', ['create', 'recursive', 'nosuid', 'nodev'], '0'),
    );
    expect(configOf(plan).root).toEqual({ path: '/run/sandboxlib/root', readonly: false });
  });

  test('that lacks mount points lies below an empty one that has them', () => {
    const steps = stepsOf(planOf({ root: { path: '/usr' } }));
    expect(steps).toContainEqual({ step: 'mkdir', mode: 0o755, path: '/run/sandboxlib/skeleton/proc' });
    expect(steps).toContainEqual(
      mount(
        'overlay',
        '/run/sandboxlib/root',
        ['create', 'readonly', 'nosuid', 'nodev'],
        '',
        'lowerdir=/run/sandboxlib/skeleton:/run/sandboxlib/lower,userxattr',
      ),
    );
  });
});

test('a granted device keeps its node as it is, and may be used', () => {
  const plan = planOf({ mounts: [{ type: 'bind', source: '/dev/fuse', destination: '/dev/fuse' }] });
  expect(configOf(plan).mounts.at(-1)).toEqual(
    ociMount('/dev/fuse', 'bind', '/run/sandboxlib/sources/2', 'rbind,ro,nosuid,noexec'),
  );
});

test('without the filter the command may make user namespaces, but no cgroup namespace', () => {
  expect(stepsOf(planOf({ seccomp: 'unconfined' }))).toContainEqual({
    step: 'sysctl',
    name: 'user/max_cgroup_namespaces',
    value: '0',
  });
  // Who is root of the host makes none.
  expect(stepsOf(planOf({ seccomp: 'unconfined' }, { uid: 0 }))).toContainEqual({
    step: 'sysctl',
    name: 'user/max_user_namespaces',
    value: '0',
  });
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
  const at = steps.findIndex(({ step }) => step === 'sysctl');
  expect(steps.slice(at + 1, at + 3)).toEqual([
    mount('bind', '/sys/fs/cgroup', ['recursive', 'readonly', 'ifExists'], '/sys/fs/cgroup'),
    mount('tmpfs', '/sys/fs/cgroup/unified', ['nosuid', 'nodev', 'noexec', 'readonly'], '', 'size=4k'),
  ]);
});

function mount(kind: string, destination: string, flags: readonly string[], source: string, options = '') {
  return { step: 'mount', kind, flags, sourceKind: 'any', source, destination, options };
}

function file(path: string, text: string) {
  return { step: 'file', mode: 0o644, path, content: Buffer.from(text).toString('base64') };
}

function ociMount(destination: string, type: string, source: string, options: string) {
  return { destination, type, source, options: options.split(',') };
}
