import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readHost } from '../../src/host/read.ts';
import type { HostFacts } from '../../src/host/types.ts';
import { parseIdMap, parseSubordinate } from '../../src/host/userns.ts';
import { parseMountinfo } from '../../src/spec/mountinfo.ts';
import { type FakeTree, fakeHost, fakeHosts } from '../helpers/fake-host.ts';

const ann = { uid: 1000, gid: 1000, architecture: 'x64' };
const root = { uid: 0, gid: 0, architecture: 'x64' };

function read(tree: FakeTree, caller: typeof ann = ann): HostFacts {
  return readHost(fakeHost(tree, caller), caller);
}

describe('kernel and modules', () => {
  test('release, modules and switches are read', () => {
    const { kernel, lsm } = read(fakeHosts.ubuntu2404);
    expect(kernel.release).toBe('6.8.0-31-generic');
    expect(kernel.lsms).toEqual(['lockdown', 'capability', 'landlock', 'yama', 'apparmor']);
    expect(kernel.sysctls).toMatchObject({ 'kernel.apparmor_restrict_unprivileged_userns': '1' });
    expect(lsm).toEqual({
      apparmor: { enabled: true, restrictsUserNamespaces: true, profile: 'unconfined' },
      selinux: { enabled: false, enforcing: false },
      landlock: true,
    });
  });

  test('a switch that the kernel does not have is not reported', () => {
    expect(Object.keys(read(fakeHosts.plain).kernel.sysctls)).toEqual(['user.max_user_namespaces']);
  });

  test('without securityfs it is unknown, not false, whether there is Landlock', () => {
    const { kernel, lsm } = read(fakeHosts.plain);
    expect(kernel.lsms).toBeUndefined();
    expect(lsm.landlock).toBeUndefined();
  });

  test('a restriction of AppArmor does not count where AppArmor is off', () => {
    const { lsm } = read({ ...fakeHosts.ubuntu2404, '/sys/module/apparmor/parameters/enabled': 'N\n' });
    expect(lsm.apparmor).toEqual({ enabled: false, restrictsUserNamespaces: false, profile: undefined });
  });

  test('SELinux that only logs is told from SELinux that enforces', () => {
    expect(read({ ...fakeHosts.plain, '/sys/fs/selinux/enforce': '0' }).lsm.selinux).toEqual({
      enabled: true,
      enforcing: false,
    });
    expect(read({ ...fakeHosts.plain, '/sys/fs/selinux/enforce': '1' }).lsm.selinux.enforcing).toBe(true);
  });
});

describe('user', () => {
  test('ranges and helpers of an ordinary user are found', () => {
    expect(read(fakeHosts.plain).user).toEqual({
      uid: 1000,
      gid: 1000,
      name: 'ann',
      uidMap: [{ inside: 0, outside: 0, size: 4294967295 }],
      gidMap: [{ inside: 0, outside: 0, size: 4294967295 }],
      mapsEveryId: true,
      subuid: [{ start: 100000, size: 65536 }],
      subgid: [{ start: 100000, size: 65536 }],
      freeSubordinateStart: 165536,
      newuidmap: { path: '/usr/bin/newuidmap', setuidRoot: true },
      newgidmap: { path: '/usr/bin/newgidmap', setuidRoot: true },
    });
  });

  test("somebody else's range is not the caller's, and a new one starts behind it", () => {
    const { user } = read(fakeHosts.missingSubuid);
    expect(user.subuid).toEqual([]);
    expect(user.subgid).toEqual([]);
    expect(user.freeSubordinateStart).toBe(165536);
  });

  test('a range may belong to a number in place of a name', () => {
    expect(parseSubordinate('1000:200000:10\n', 'ann', 1000)).toEqual([{ start: 200000, size: 10 }]);
    expect(parseSubordinate('1000:200000:10\n', undefined, 1001)).toEqual([]);
  });

  test('an empty range is none', () => {
    expect(parseSubordinate('ann:100000:0\n', 'ann', 1000)).toEqual([]);
  });

  test('inside a user namespace not every id is mapped', () => {
    expect(read(fakeHosts.rootlessPodman, root).user).toMatchObject({
      mapsEveryId: false,
      uidMap: [
        { inside: 0, outside: 1000, size: 1 },
        { inside: 1, outside: 100000, size: 65536 },
      ],
    });
  });

  test('a helper that is not set-user-ID, or not owned by root, is told apart', () => {
    const plain = { ...fakeHosts.plain, '/usr/bin/newuidmap': { text: '', mode: 0o755 } };
    expect(read(plain).user.newuidmap?.setuidRoot).toBe(false);
    const foreign = { ...fakeHosts.plain, '/usr/bin/newuidmap': { text: '', mode: 0o4755, uid: 1000 } };
    expect(read(foreign).user.newuidmap?.setuidRoot).toBe(false);
  });

  test('a helper that nobody may execute is not one', () => {
    const tree = { ...fakeHosts.plain, '/usr/bin/newuidmap': { text: '', mode: 0o644 } };
    expect(read(tree).user.newuidmap).toBeUndefined();
  });

  test('any id map survives being written and read', () => {
    const line = fc.record({ inside: fc.nat(), outside: fc.nat(), size: fc.integer({ min: 1, max: 4294967295 }) });
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom(' ', '\t', '        '), (lines, blank) => {
        const text = lines.map((l) => `${blank}${[l.inside, l.outside, l.size].join(blank)}\n`).join('');
        expect(parseIdMap(text)).toEqual(lines);
      }),
    );
  });
});

describe('cgroups', () => {
  test('a scope that systemd delegated is known as such, with its controllers', () => {
    const directory = '/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope';
    const own = { directory, unified: true, occupied: true };
    expect(read(fakeHosts.plain).cgroups).toEqual({
      version: 'v2',
      mountPoint: '/sys/fs/cgroup',
      path: '/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope',
      controllers: ['cpu', 'memory', 'pids'],
      delegated: true,
      parents: { memory: own, pids: own, cpu: own, cpuacct: own },
    });
  });

  test('a directory that may be written is no delegation without its files', () => {
    expect(read(fakeHosts.notDelegated).cgroups).toMatchObject({ version: 'v2', delegated: false });
  });

  test('trees of both versions together are hybrid, with the controllers of v1', () => {
    expect(read(fakeHosts.hybrid).cgroups).toEqual({
      version: 'hybrid',
      mountPoint: '/sys/fs/cgroup/unified',
      path: '/',
      controllers: ['cpu', 'cpuacct', 'memory', 'pids'],
      delegated: false,
      parents: {
        memory: { directory: '/sys/fs/cgroup/memory/jobs', unified: false, occupied: false },
        pids: { directory: '/sys/fs/cgroup/pids/jobs', unified: false, occupied: false },
        cpu: { directory: '/sys/fs/cgroup/cpu,cpuacct', unified: false, occupied: false },
        cpuacct: { directory: '/sys/fs/cgroup/cpu,cpuacct', unified: false, occupied: false },
      },
    });
  });

  test('a v2 group from which its processes were moved hands its controllers on, to the group of the caller too', () => {
    const scope = '/sys/fs/cgroup/jobs';
    const writable = { text: '', writable: true };
    const tree = {
      ...fakeHosts.notDelegated,
      '/proc/self/cgroup': '0::/jobs/callers\n',
      [scope]: { directory: true, writable: true } as const,
      [`${scope}/cgroup.procs`]: writable,
      [`${scope}/cgroup.subtree_control`]: { text: 'memory pids\n', writable: true },
    };
    const parent = { directory: scope, unified: true, occupied: false };
    expect(read(tree).cgroups.parents).toEqual({ memory: parent, pids: parent, cpuacct: parent });
    expect(read({ ...tree, [`${scope}/cgroup.procs`]: '' }).cgroups.parents).toEqual({});
  });

  test('v1 trees are delegated when every one of them is', () => {
    const writable = { directory: true, writable: true } as const;
    const file = { text: '', writable: true };
    const one = { '/sys/fs/cgroup/memory/jobs': writable, '/sys/fs/cgroup/memory/jobs/cgroup.procs': file };
    expect(read({ ...fakeHosts.hybrid, ...one }).cgroups.delegated).toBe(false);
    const all = {
      ...one,
      '/sys/fs/cgroup/pids/jobs': writable,
      '/sys/fs/cgroup/pids/jobs/cgroup.procs': file,
      '/sys/fs/cgroup/cpu,cpuacct': writable,
      '/sys/fs/cgroup/cpu,cpuacct/cgroup.procs': file,
    };
    expect(read({ ...fakeHosts.hybrid, ...all }).cgroups.delegated).toBe(true);
  });

  test('in a container without a cgroup namespace the path starts at the part that is mounted', () => {
    const tree = {
      ...fakeHosts.plain,
      '/proc/self/cgroup': '0::/docker/abc/job\n',
      '/proc/self/mountinfo': '35 24 0:31 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
      '/sys/fs/cgroup/job/cgroup.controllers': 'memory\n',
    };
    expect(read(tree).cgroups.controllers).toEqual(['memory']);
  });

  test('a host without any tree says so', () => {
    const tree = { ...fakeHosts.plain, '/proc/self/mountinfo': '', '/proc/self/cgroup': '' };
    expect(read(tree).cgroups).toMatchObject({ version: 'none', controllers: [], delegated: false });
  });
});

describe('container', () => {
  test('Docker with its defaults is known by what it does, not by its marker alone', () => {
    expect(read(fakeHosts.dockerDefault, root).container).toMatchObject({
      inside: true,
      kind: 'docker',
      maskedProc: ['/proc/kcore', '/proc/sys'],
      sysAdmin: false,
      setfcap: true,
      seccomp: 'filter',
      noNewPrivileges: false,
    });
  });

  test('rootless Podman is known by the file that it writes at each start', () => {
    expect(read(fakeHosts.rootlessPodman, root).container).toMatchObject({
      inside: true,
      kind: 'podman',
      maskedProc: ['/proc/acpi'],
    });
  });

  test("a machine that was booted from a container's image is no container", () => {
    const { container } = read(fakeHosts.bootedImage);
    expect(container).toMatchObject({ inside: false, kind: undefined });
    expect(container.evidence).toEqual(['/.dockerenv exists']);
  });

  test('an overlay as root alone is no container: live systems have it', () => {
    const tree = { ...fakeHosts.plain, '/proc/self/mountinfo': '24 1 0:9 / / rw - overlay overlay rw\n' };
    expect(read(tree).container.inside).toBe(false);
  });

  test('a mount over binfmt_misc, as systemd makes it, covers nothing of /proc', () => {
    const tree = {
      ...fakeHosts.plain,
      '/proc/self/mountinfo': '40 25 0:35 / /proc/sys/fs/binfmt_misc rw shared:13 - autofs systemd-1 rw\n',
    };
    expect(read(tree).container).toMatchObject({ inside: false, maskedProc: [] });
  });

  test('CAP_SYS_ADMIN is read from the effective set', () => {
    const tree = { ...fakeHosts.plain, '/proc/self/status': 'CapPrm:\t0\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t1\n' };
    expect(read(tree, root).container).toMatchObject({ sysAdmin: true, noNewPrivileges: true, seccomp: undefined });
  });
});

describe('mountinfo', () => {
  test('blanks in a path are unescaped, and optional fields may be any number', () => {
    expect(parseMountinfo('1 2 0:3 /a\\040b /c\\134d rw master:1 shared:2 - tmpfs x rw,size=1k\n')).toEqual([
      { root: '/a b', mountPoint: '/c\\d', type: 'tmpfs', superOptions: ['rw', 'size=1k'] },
    ]);
  });

  test('no text makes it fail', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const mount of parseMountinfo(text)) expect(mount.type).not.toBe('');
      }),
    );
  });
});
