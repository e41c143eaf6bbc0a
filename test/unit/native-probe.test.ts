import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseFacilities } from '../../src/backends/launcher/facilities.ts';
import { judge, refuseAll } from '../../src/backends/native/probe.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readHost } from '../../src/host/read.ts';
import { hostReport } from '../../src/host/report.ts';
import type { Facility } from '../../src/host/types.ts';
import { type FakeTree, fakeHost, fakeHosts } from '../helpers/fake-host.ts';

const ann = { uid: 1000, gid: 1000, architecture: 'x64' };
const root = { uid: 0, gid: 0, architecture: 'x64' };
const fullCapabilities = { '/proc/self/status': 'CapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n' };

const everyone = [
  ...['namespace.user', 'namespace.mount', 'namespace.pid', 'namespace.network', 'namespace.ipc', 'namespace.uts'],
  ...[
    'namespace.cgroup',
    'idmap.single',
    'idmap.ranges',
    'proc.fresh',
    'sysfs',
    'devpts',
    'mqueue',
    'tmpfs',
    'overlay',
    'overlay.readonly',
  ],
  ...[
    'bind.readonly',
    'mount-api',
    'mount_setattr',
    'pivot_root',
    'capabilities.ambient',
    'seccomp.filter',
    'seccomp.notify',
    'no_new_privs',
    'binfmt_misc',
  ],
  ...['landlock', 'landlock.truncate', 'landlock.tcp', 'landlock.scope'],
  ...['cgroup.memory', 'cgroup.pids', 'cgroup.cpu', 'cgroup.cpuacct'],
  ...['rlimit.nproc', 'smaps_rollup'],
];
function trials(names: readonly string[], failing: readonly string[] = []): Facility[] {
  return names.map((facility) =>
    failing.includes(facility)
      ? { facility, ok: false, detail: 'refused', errno: 'EPERM', step: 'clone' }
      : { facility, ok: true, detail: '' },
  );
}

const qemu = { '/usr/bin/qemu-aarch64-static': { text: '', mode: 0o755 } };

function host(tree: FakeTree, caller: typeof ann) {
  return readHost(fakeHost({ ...qemu, ...tree }, caller), caller);
}

function missing(report: ReturnType<typeof judge>): Feature[] {
  return [...report.features].filter(([, availability]) => !availability.available).map(([feature]) => feature);
}

describe('judgement', () => {
  test('where every trial succeeds every recognized feature is there', () => {
    const report = judge(trials(everyone), host(fakeHosts.plain, ann), undefined);
    expect(missing(report)).toEqual([]);
    expect([...report.features.keys()].sort()).toEqual([...recognized].sort());
    expect(report.usable.available).toBe(true);
  });

  /** What no namespace is needed for, and so what is left without them. */
  const confined = [
    ...['capabilities.drop', 'cwd', 'descriptors', 'env', 'landlock.paths', 'landlock.scopes', 'landlock.tcp'],
    ...['lifecycle.dieWithParent', 'lifecycle.killTree', 'limits.coreBytes', 'limits.fileBytes', 'limits.openFiles'],
    ...['limits.outputBytes', 'limits.processCpuMs', 'limits.stackBytes', 'limits.wallMs', 'network.host'],
    ...[
      'noNewPrivileges',
      'seccomp.custom',
      'seccomp.default',
      'seccomp.notify',
      'seccomp.strict',
      'terminal',
      'umask',
      'usage.cpu',
    ],
    ...['usage.wall', 'user'],
  ];
  const available = ({ features }: ReturnType<typeof judge>): string[] =>
    [...features].flatMap(([feature, { available: is }]) => (is ? [feature] : [])).sort();
  /** Of an ordinary user whose control group is somebody else's. */
  const undivided = (failing: readonly string[]) => {
    const names = everyone.filter((name) => !name.startsWith('cgroup.'));
    return trials([...names, 'subreaper', 'terminal'], failing);
  };
  const switchedOff = { ...fakeHosts.notDelegated, '/proc/sys/kernel/unprivileged_userns_clone': '0\n' };
  const lesser = (failing: readonly string[], caller = ann) =>
    judge(undivided(failing), host(switchedOff, caller), undefined);

  test('without user namespaces an ordinary user has what needs none, and of the rest the reason and both remedies', () => {
    const report = lesser(['namespace.user']);
    expect(available(report)).toEqual(confined);
    expect(report.usable).toEqual({ available: true, mechanism: expect.stringContaining('no namespaces') });
    for (const feature of missing(report)) {
      expect(report.features.get(feature)).toMatchObject({
        available: false,
        because: expect.stringContaining('kernel.unprivileged_userns_clone is 0'),
        remedy: expect.stringMatching(/sysctl -w kernel\.unprivileged_userns_clone=1\n(.|\n)*--optional all/),
      });
    }
    expect([...(report.architectures?.values() ?? [])].some((answer) => answer.available)).toBe(false);
  });

  test.each([
    ['landlock.scope', ['landlock.scopes', 'lifecycle.dieWithParent', 'lifecycle.killTree']],
    ['subreaper', ['lifecycle.dieWithParent', 'lifecycle.killTree']],
    ['terminal', ['terminal']],
    ['landlock.truncate', ['landlock.paths']],
    ['landlock.tcp', ['landlock.tcp']],
    ['seccomp.notify', ['seccomp.notify']],
  ])('what is left needs %s for what that gives, and for nothing else', (facility, lost) => {
    expect(available(lesser(['namespace.user', facility]))).toEqual(confined.filter((name) => !lost.includes(name)));
  });

  test.each(['no_new_privs', 'seccomp.filter'])('without %s too there is nothing left', (facility) => {
    const report = lesser(['namespace.user', facility]);
    expect(available(report)).toEqual([]);
    expect(report.usable.available).toBe(false);
  });

  test('what the launcher keeps is not promised where the command could reach it by a control group', () => {
    const all = [...undivided(['namespace.user']), ...trials(['cgroup.pids'])];
    const report = judge(all, host(fakeHosts.debian10, ann), undefined);
    expect(available(report)).toEqual(confined.filter((name) => !name.startsWith('lifecycle.')));
    expect(report.features.get('lifecycle.killTree')).toMatchObject({
      because: expect.stringContaining('control group is delegated'),
    });
  });

  test('nor what uid 0 of the host could take back', () => {
    const tree = { ...fakeHosts.noUserNamespaces, ...fullCapabilities };
    const report = judge(undivided(['namespace.user', 'idmap.single']), host(tree, root), undefined);
    const lost = ['capabilities.drop', 'lifecycle.dieWithParent', 'lifecycle.killTree'];
    expect(available(report)).toEqual(confined.filter((name) => !lost.includes(name)));
    expect(report.features.get('namespace.pid')).toMatchObject({
      remedy: expect.stringContaining('user.max_user_namespaces'),
    });
  });

  test.each([
    { errno: 'EAGAIN', step: 'clone' },
    { errno: 'ENOMEM', step: 'clone' },
    { step: 'timeout' },
    { errno: 'ENOSPC', step: 'clone' },
  ])('a host that was only too busy (%j) is not taken for one that cannot isolate', (failure) => {
    const busy = { facility: 'namespace.pid', ok: false, detail: 'no room', ...failure };
    const all = [...undivided([]).filter(({ facility }) => facility !== 'namespace.pid'), busy];
    const report = judge(all, host(fakeHosts.plain, ann), undefined);
    expect(available(report)).toEqual([]);
    expect(report.usable).toMatchObject({ available: false, because: expect.stringContaining('no room') });
  });

  test('root in a container that refuses user namespaces is told what the container needs', () => {
    const failing = everyone.filter((name) => name.includes('namespace.'));
    const report = judge(trials(everyone, failing), host(fakeHosts.dockerDefault, root), undefined);
    expect(report.features.get('namespace.pid')).toMatchObject({
      available: false,
      remedy: expect.stringContaining('docker run'),
    });
  });

  test('a covered /proc leaves no isolation, for every sandbox has a /proc of its own', () => {
    const masked = { facility: 'proc.fresh', ok: false, detail: 'mount too revealing', errno: 'EPERM', step: 'mount' };
    const all = [...trials(everyone.filter((name) => name !== 'proc.fresh')), masked];
    const report = judge(all, host(fakeHosts.rootlessPodman, root), undefined);
    expect(report.features.get('root.host')).toMatchObject({
      available: false,
      because: expect.stringContaining('proc.fresh: mount too revealing (mount: EPERM)'),
      remedy: expect.stringContaining('unmask=ALL'),
    });
  });

  test('without a range only the ranges are missing, and usermod is named', () => {
    const report = judge(trials(everyone, ['idmap.ranges']), host(fakeHosts.missingSubuid, ann), undefined);
    expect(missing(report)).toEqual(['idMappings.ranges']);
    expect(report.features.get('idMappings.ranges')).toMatchObject({ remedy: expect.stringContaining('usermod') });
  });

  test('root writes ranges itself, without newuidmap', () => {
    const tree = { ...fakeHosts.missingSubuid, ...fullCapabilities };
    const all = [...trials(everyone, ['idmap.ranges']), ...trials(['root.idmap.ranges'])];
    expect(missing(judge(all, host(tree, root), undefined))).toEqual([]);
  });

  test('a kernel without the mount API of 5.2 still has all that it ever had: mount(2) does it', () => {
    const report = judge(trials(everyone, ['mount-api', 'mount_setattr']), host(fakeHosts.plain, ann), undefined);
    // Which came later than the mount API.
    expect(missing(report)).toEqual(['architecture']);
  });

  test('before Linux 6.7 no other architecture is to be had, by name and with the remedy', () => {
    const old = { ...fakeHosts.plain, '/proc/sys/kernel/osrelease': '6.1.0-18-amd64\n' };
    const report = judge(trials(everyone, ['binfmt_misc']), host(old, ann), undefined);
    expect(missing(report)).toEqual(['architecture']);
    for (const answer of [report.features.get('architecture'), report.architectures?.get('arm64')]) {
      expect(answer).toMatchObject({
        available: false,
        because: expect.stringContaining('Linux 6.1.0-18-amd64 is too old for binfmt_misc (6.7)'),
        remedy: 'use Linux 6.7 or later',
      });
    }
  });

  test('each architecture has an answer of its own', () => {
    const { features, architectures } = judge(trials(everyone), host(fakeHosts.plain, ann), undefined);
    const mechanism = 'binfmt_misc of a user namespace, /usr/bin/qemu-aarch64-static';
    expect(architectures?.get('arm64')).toEqual({ available: true, mechanism });
    expect(architectures?.get('riscv64')).toMatchObject({
      available: false,
      because: expect.stringContaining('there is no qemu-riscv64-static'),
      remedy: expect.stringContaining('install qemu-user-static'),
    });
    expect([...(architectures?.keys() ?? [])]).toEqual(['arm64', 'arm', 'ia32', 'riscv64']);
    expect(features.get('architecture')).toEqual({ available: true, mechanism: `arm64: ${mechanism}` });
  });

  test('i386 programs that only the kernel could run need a kernel that does', () => {
    const kernel = host({ ...fakeHosts.plain, '/proc/sys/abi/vsyscall32': '1\n' }, ann);
    const answer = (failing: readonly string[]) =>
      judge(trials([...everyone, 'seccomp.i386'], failing), kernel, undefined).architectures?.get('ia32');
    expect(answer([])).toEqual({ available: true, mechanism: 'IA-32 emulation of the kernel' });
    expect(answer(['seccomp.i386'])).toMatchObject({
      available: false,
      because: expect.stringContaining('seccomp.i386'),
      remedy: expect.stringContaining('install qemu-user-static'),
    });
  });

  test('a facility that the launcher did not try counts as missing', () => {
    const report = judge(
      trials(everyone.filter((name) => name !== 'seccomp.filter')),
      host(fakeHosts.plain, ann),
      undefined,
    );
    expect(missing(report)).toEqual(['seccomp.default', 'seccomp.strict', 'seccomp.custom']);
    expect(report.features.get('seccomp.default')).toMatchObject({ because: expect.stringContaining('not tried') });
  });

  test('a launcher that cannot run makes every recognized feature unavailable for that reason', () => {
    const report = refuseAll({ available: false, because: 'x' });
    expect(missing(report).length).toBe(recognized.size);
  });
});

describe('lines of the launcher', () => {
  test('members and lines that are not known are passed over', () => {
    const text = '{"facility":"a","ok":true,"detail":"d","new":1}\n[]\n7\nnonsense\n{"facility":"b","ok":"yes"}\n\n';
    expect(parseFacilities(text)).toEqual([{ facility: 'a', ok: true, detail: 'd' }]);
  });

  test('no text makes reading fail', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        for (const facility of parseFacilities(text)) expect(typeof facility.ok).toBe('boolean');
      }),
    );
  });

  test('any list of facilities survives being written and read', () => {
    const text = fc.string();
    const facility = fc.record(
      { facility: text, ok: fc.boolean(), detail: text, errno: text, step: text },
      { requiredKeys: ['facility', 'ok', 'detail'], noNullPrototype: true },
    );
    fc.assert(
      fc.property(fc.array(facility), (list) => {
        expect(parseFacilities(list.map((one) => `${JSON.stringify(one)}\n`).join(''))).toEqual(list);
      }),
    );
  });
});

test('a host report is plain data', () => {
  const facts = host(fakeHosts.ubuntu2404, ann);
  const facilities = trials(everyone, ['namespace.user']);
  const backends = [judge(facilities, facts, '/x/launcher')];
  const report = hostReport({ host: facts, facilities, launcher: '/x/launcher', backends });
  expect(JSON.parse(JSON.stringify(report))).toMatchObject({
    kernel: { release: '6.8.0-31-generic' },
    architecture: 'x64',
    backends: [{ backend: 'native', usable: { available: true }, features: { 'namespace.pid': { available: false } } }],
    findings: [{ id: 'userns-apparmor' }],
  });
});
