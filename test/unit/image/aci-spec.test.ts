import { describe, expect, test } from 'vitest';
import { formatPath, ImageError } from '../../../src/errors/errors.ts';
import { type RootAccounts, resolveAccounts } from '../../../src/image/aci/accounts.ts';
import { type AciManifest, parseAciManifest } from '../../../src/image/aci/manifest.ts';
import type { AciVolume } from '../../../src/image/aci/pod.ts';
import { type AciContext, type AciRun, aciToSpec } from '../../../src/image/aci/spec.ts';
import { readFilters } from '../../../src/seccomp/custom.ts';
import { syscallTable } from '../../../src/seccomp/syscalls.ts';
import { validateSpec } from '../../../src/spec/schema.ts';
import { audit, decode, runFilter } from '../../helpers/bpf.ts';
import { ALLOW, errno, KILL_PROCESS } from '../../helpers/seccomp-reference.ts';

const accounts: RootAccounts = {
  read: (path) =>
    path === '/etc/passwd'
      ? 'root:x:0:0::/root:\nbuild:x:100:300::/:\n1000:x:7:8::/:\nbad:x:no:1\n'
      : 'root:x:0:\nstaff:x:50:\n',
  owner: (path) => (path === '/usr/bin/ping' ? { uid: 11, gid: 12 } : undefined),
};

const context: AciContext = {
  root: '/images/root',
  accounts,
  architecture: 'x64',
  realpath: (path) => (path === '/srv/link' ? '/srv/real' : path.startsWith('/srv/') ? path : undefined),
};

function manifest(members: object = {}, outer: object = {}): AciManifest {
  return parseAciManifest(
    JSON.stringify({
      acKind: 'ImageManifest',
      acVersion: '0.8.11',
      name: 'example.com/My-app'.toLowerCase(),
      app: { exec: ['work', '$HOME'], user: 'build', group: '300', ...members },
      ...outer,
    }),
  );
}

function issuesOf(attempt: () => unknown): Record<string, string> {
  try {
    attempt();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    expect(error.code).toBe('SBX_IMAGE_UNSUPPORTED');
    return Object.fromEntries(error.issues.map(({ path, message }) => [formatPath(path), message]));
  }
  return {};
}

const sysfs = { type: 'sysfs', destination: '/sys', optional: true };
const isolated = (name: string, value: unknown, more: Partial<AciContext> = {}): AciRun =>
  aciToSpec(manifest({ isolators: [{ name, value }] }), { ...context, ...more });
const stateOf = (run: AciRun, name: string): string | undefined =>
  run.isolators.find((entry) => entry.name === name)?.state;
const host = (name: string, source: string, more: object = {}): AciVolume => ({
  kind: 'host',
  name,
  source,
  readOnly: false,
  recursive: true,
  ...more,
});
const empty = (name: string): AciVolume => ({ kind: 'empty', name, mode: 0o700, uid: 0, gid: 0, readOnly: false });

describe('an app as a sandbox', () => {
  test('is a spec that the schema takes, and a command that nothing evaluates (A41)', () => {
    const { spec, command, appName } = aciToSpec(
      manifest({ supplementaryGIDs: [5, 5], workingDirectory: '/opt', environment: [{ name: 'A', value: '$PATH' }] }),
      context,
    );
    expect(validateSpec(spec)).toEqual(spec);
    expect(spec).toEqual({
      root: { path: '/images/root', readonly: false, changes: 'discard' },
      cwd: '/opt',
      env: {
        set: {
          PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
          A: '$PATH',
          AC_APP_NAME: 'my-app',
          container: 'sandboxlib',
        },
      },
      mounts: [sysfs],
      user: { uid: 100, gid: 300, additionalGids: [5] },
      network: 'none',
    });
    expect(command).toEqual(['work', '$HOME']);
    expect(appName).toBe('my-app');
  });

  test('says nothing else about the sandbox than the sandbox says (A50, A52, A53)', () => {
    const environment = ['PATH', 'AC_APP_NAME', 'container', 'AC_METADATA_URL'].map((name) => ({
      name,
      value: 'its own',
    }));
    const run = aciToSpec(manifest({ environment }), {
      ...context,
      appName: 'other',
      metadataUrl: 'http://m/token',
      environment: { PATH: '/bin' },
    });
    expect(run.spec.env).toEqual({
      set: { PATH: '/bin', AC_APP_NAME: 'other', container: 'sandboxlib', AC_METADATA_URL: 'http://m/token' },
    });
    expect(aciToSpec(manifest(), context).notes).toContain(
      'there is no metadata service, so AC_METADATA_URL is left out',
    );
  });

  test('has a command of its own or of the caller (A32, A40, A43)', () => {
    const withoutApp = manifest({}, { app: null });
    expect(issuesOf(() => aciToSpec(withoutApp, context))).toEqual({
      app: 'the image has no app; name a command to run in it',
    });
    expect(issuesOf(() => aciToSpec(manifest({ exec: [] }), context))).toEqual({
      'app.exec': 'the app of the image has no exec; name a command to run in it',
    });
    expect(issuesOf(() => aciToSpec(withoutApp, { ...context, args: ['-x'] }))).toHaveProperty('app');
    const { command, spec } = aciToSpec(withoutApp, { ...context, command: ['sh'], args: ['-c', 'id'] });
    expect(command).toEqual(['sh', '-c', 'id']);
    expect(spec.user).toEqual({ uid: 0, gid: 0, additionalGids: [] });
    expect(aciToSpec(manifest(), { ...context, args: ['more'] }).command).toEqual(['work', '$HOME', 'more']);
  });

  test('keeps its root as it was, or read-only (A62, A63)', () => {
    expect(aciToSpec(manifest(), { ...context, readOnlyRootFS: true }).spec.root).toEqual({
      path: '/images/root',
      readonly: true,
    });
    expect(aciToSpec(manifest(), { ...context, changes: 'keep' }).spec.root).toMatchObject({
      readonly: false,
      changes: 'keep',
    });
  });

  test('has its handlers beside it (A55, A57)', () => {
    const eventHandlers = [{ name: 'post-stop', exec: ['/bye'] }];
    expect(aciToSpec(manifest({ eventHandlers }), context)).toMatchObject({ preStart: undefined, postStop: ['/bye'] });
  });

  test('is refused where it counts on a socket (A61)', () => {
    const ports = [{ name: 'http', protocol: 'tcp', port: 80, socketActivated: true }];
    expect(issuesOf(() => aciToSpec(manifest({ ports }), context))).toEqual({
      'app.ports[0].socketActivated': "no socket is handed to an app, and 'http' counts on one",
    });
  });

  test.each([
    [{ os: 'linux', arch: 'amd64' }, undefined],
    [{ os: 'linux', arch: 'aarch64' }, 'arm64'],
    [{ os: 'linux' }, undefined],
    [{}, undefined],
  ])('for %j is emulated as %s (A28)', (labels, architecture) => {
    const list = Object.entries(labels).map(([name, value]) => ({ name, value }));
    expect(aciToSpec(manifest({}, { labels: list }), context).spec.architecture).toBe(architecture);
  });

  test.each([
    [{ os: 'freebsd', arch: 'amd64' }, 'the image is for freebsd, and this is linux'],
    [
      { os: 'linux', arch: 's390x' },
      'the image is for s390x, and neither this host (x64) nor an emulator here runs that',
    ],
  ])('for %j is refused with both (A28)', (labels, message) => {
    const list = Object.entries(labels).map(([name, value]) => ({ name, value }));
    expect(issuesOf(() => aciToSpec(manifest({}, { labels: list }), context))).toEqual({ labels: message });
  });
});

describe('who an app is (A45, A46)', () => {
  const resolve = (user: string, group: string, root: RootAccounts = accounts): ReturnType<typeof resolveAccounts> =>
    resolveAccounts({ user, group }, root);

  test('is found by name in the files of the image, then by number, then by the owner of a file', () => {
    expect(resolve('build', 'staff')).toEqual({ uid: 100, gid: 50, issues: [], notes: [] });
    expect(resolve('4242', '0')).toMatchObject({ uid: 4242, gid: 0, issues: [] });
    expect(resolve('/usr/bin/ping', '/usr/bin/ping')).toMatchObject({ uid: 11, gid: 12, issues: [] });
  });

  test('a name of digits goes before the number, and a note says so', () => {
    expect(resolve('1000', '1000')).toEqual({
      uid: 7,
      gid: 1000,
      issues: [],
      notes: ["user '1000' is a name in /etc/passwd of the image: uid 7, not 1000"],
    });
  });

  test('is refused where the image does not know it', () => {
    expect(resolve('nobody', '/nowhere').issues).toEqual([
      { path: ['app', 'user'], message: "the image has no user 'nobody' in /etc/passwd" },
      { path: ['app', 'group'], message: 'there is no /nowhere in the image whose group could count' },
    ]);
    expect(resolve('bad', '99999999999').issues.map(({ message }) => message)).toEqual([
      "the image has no user 'bad' in /etc/passwd",
      '99999999999 is larger than any id',
    ]);
    expect(resolve('4294967295', '0').issues).toHaveLength(1);
    const bare = { read: () => undefined, owner: () => undefined };
    expect(resolve('root', '0', bare).issues[0]?.message).toBe(
      "the image has no user 'root', which has no /etc/passwd that can be read",
    );
    expect(resolve('0', '0', bare).issues).toEqual([]);
  });
});

describe('/sys', () => {
  test('is there unless the kernel gives none, or a volume is in its place (A110)', () => {
    expect(aciToSpec(manifest(), context).spec.mounts).toEqual([sysfs]);
    for (const path of ['/sys', '/sys//fs/']) {
      const over = manifest({ mountPoints: [{ name: 'work', path }] });
      const { spec } = aciToSpec(over, { ...context, volumes: [host('work', '/srv/w')] });
      expect(spec.mounts).toMatchObject([{ type: 'bind' }]);
    }
  });
});

describe('volumes', () => {
  const mountPoints = [
    { name: 'work', path: '/var//lib/scratch/' },
    { name: 'conf', path: '/etc/conf', readOnly: true },
  ];
  const run = (volumes: readonly AciVolume[], more: Partial<AciContext> = {}): AciRun => {
    const made = aciToSpec(manifest({ mountPoints }), { ...context, volumes, ...more });
    // What every app has beside them.
    expect(made.spec.mounts?.at(-1)).toEqual(sysfs);
    return { ...made, spec: { ...made.spec, mounts: made.spec.mounts?.slice(0, -1) ?? [] } };
  };

  test('satisfy mount points by name, read-only if one of the two says so (A59, A95)', () => {
    expect(run([host('work', '/srv/w', { readOnly: true }), host('conf', '/srv/c')]).spec.mounts).toEqual([
      { type: 'bind', source: '/srv/w', destination: '/var/lib/scratch', readonly: true },
      { type: 'bind', source: '/srv/c', destination: '/etc/conf', readonly: true },
    ]);
    expect(run([host('work', '/srv/w'), empty('conf')]).spec.mounts).toEqual([
      { type: 'bind', source: '/srv/w', destination: '/var/lib/scratch', readonly: false },
      { type: 'tmpfs', destination: '/etc/conf', readonly: true, mode: 0o700 },
    ]);
  });

  test('satisfy mount points by the mounts of a pod, and paths beside them', () => {
    const mounts = [
      { volume: 'one', path: '/var/lib/scratch' },
      { volume: 'one', path: '/extra' },
      { volume: 'two', path: '/nowhere' },
    ];
    expect(issuesOf(() => run([host('one', '/srv/1'), host('conf', '/srv/c')], { mounts }))).toEqual({
      'mounts[2]': "there is no volume 'two'",
    });
    expect(
      run([host('one', '/srv/1'), host('conf', '/srv/c')], { mounts: mounts.slice(0, 2) }).spec.mounts,
    ).toHaveLength(3);
  });

  test('are wanted, and a mount point without one is named (A59)', () => {
    expect(issuesOf(() => run([host('conf', '/srv/c')]))).toEqual({
      'app.mountPoints[0]':
        "the image wants a volume for its mount point 'work' (/var//lib/scratch/), and there is none",
    });
    const { spec, notes } = run([host('conf', '/srv/c')], { emptyVolumes: true });
    expect(spec.mounts?.[0]).toMatchObject({ type: 'tmpfs', destination: '/var/lib/scratch' });
    expect(notes).toContain(
      "the mount point 'work' (/var//lib/scratch/) has an empty volume, which is gone after the run",
    );
  });

  test('come from a place that exists and has no symlink in it (A91, A92)', () => {
    expect(issuesOf(() => run([host('work', '/nowhere'), host('conf', '/srv/link')]))).toEqual({
      'app.mountPoints[0]': "volume 'work': /nowhere does not exist, and nothing is made on the host",
      'app.mountPoints[1]':
        "volume 'conf': /srv/link has a symlink in it (it is /srv/real), which is not followed unless asked for",
    });
    expect(run([host('work', '/srv/w'), host('conf', '/srv/link')], { followSources: true }).spec.mounts).toHaveLength(
      2,
    );
  });

  test('do not lie in each other (A94)', () => {
    const nested = manifest({
      mountPoints: [
        { name: 'a', path: '/a' },
        { name: 'b', path: '/a/b' },
        { name: 'c', path: '/ab' },
      ],
    });
    const volumes = [host('a', '/srv/a'), host('b', '/srv/b'), host('c', '/srv/c')];
    expect(issuesOf(() => aciToSpec(nested, { ...context, volumes }))).toEqual({
      'app.mountPoints[1]': '/a/b lies in /a, which is the target of another volume',
    });
    const same = manifest({
      mountPoints: [
        { name: 'a', path: '/a' },
        { name: 'b', path: '/a/' },
      ],
    });
    expect(issuesOf(() => aciToSpec(same, { ...context, volumes }))).toEqual({
      'app.mountPoints[1]': '/a lies in /a, which is the target of another volume',
    });
  });

  test('that are not served are refused (A95, A96)', () => {
    expect(issuesOf(() => run([host('work', '/srv/w', { recursive: false }), host('conf', '/srv/c')]))).toHaveProperty([
      'app.mountPoints[0]',
    ]);
    const mounts = mountPoints.map(({ path }) => ({ volume: 'shared', path }));
    expect(issuesOf(() => run([empty('shared')], { mounts }))['app.mountPoints[1]']).toContain(
      'cannot be at two places',
    );
  });
});

describe('isolators', () => {
  test('nothing but capabilities is in the account of an app without isolators', () => {
    expect(aciToSpec(manifest(), context).isolators).toEqual([
      {
        name: 'os/linux/capabilities (the default set)',
        state: 'modified',
        because: expect.stringContaining('CAP_SYS_CHROOT'),
      },
    ]);
  });

  test('capabilities are the image’s as far as the caller grants them (A76, A77, A78)', () => {
    const all = { capabilities: ['CAP_CHOWN', 'CAP_KILL', 'CAP_SYS_ADMIN', 'CAP_MKNOD'] };
    const retain = isolated('os/linux/capabilities-retain-set', { set: ['CAP_KILL', 'CAP_NET_ADMIN'] }, all);
    expect(retain.spec.capabilities).toEqual(['CAP_KILL']);
    expect(retain.isolators[0]).toMatchObject({ state: 'modified', because: expect.stringContaining('CAP_NET_ADMIN') });
    const exact = isolated('os/linux/capabilities-retain-set', { set: ['CAP_KILL'] }, all);
    expect(stateOf(exact, 'os/linux/capabilities-retain-set')).toBe('enforced');
    // Beyond the default set nothing has an effect, and what is left is the rest of that set.
    const remove = isolated('os/linux/capabilities-remove-set', { set: ['CAP_MKNOD', 'CAP_SYS_ADMIN'] }, all);
    expect(remove.spec.capabilities).toEqual(['CAP_CHOWN', 'CAP_KILL']);
    expect(isolated('os/linux/capabilities-retain-set', { set: ['CAP_SYS_ADMIN'] }).spec.capabilities).toBeUndefined();
  });

  test.each([
    ['os/linux/no-new-privileges', true, 'enforced'],
    ['os/linux/no-new-privileges', false, 'modified'],
    ['resource/memory', { limit: '1G' }, 'enforced'],
    ['resource/memory', { request: '1G' }, 'ignored'],
    ['resource/cpu', { limit: '500m', request: '250m' }, 'modified'],
    ['resource/cpu', { limit: '1m' }, 'modified'],
    ['resource/network-bandwidth', { default: true, limit: '1G' }, 'enforced'],
    ['resource/block-iops', { default: true, limit: '1' }, 'ignored'],
    ['resource/block-bandwidth', { default: true, limit: '1' }, 'ignored'],
    ['os/linux/oom-score-adj', 5, 'ignored'],
    ['os/linux/cpu-shares', 5, 'ignored'],
    ['os/linux/selinux-context', { user: 'u', role: 'r', type: 't', level: 's0' }, 'ignored'],
    ['os/linux/apparmor-profile', { name: 'x' }, 'ignored'],
    ['os/unix/sysctl', { 'net.ipv4.ip_forward': '1' }, 'ignored'],
    ['example.com/unheard-of', {}, 'ignored'],
  ])('%s %j is %s, and strictness refuses what is not enforced (A71)', (name, value, state) => {
    expect(stateOf(isolated(name, value), name)).toBe(state);
    const strict = issuesOf(() => isolated(name, value, { strictIsolators: true }));
    if (state === 'enforced') expect(strict['app.isolators']).not.toContain(name);
    else expect(Object.values(strict).join()).toMatch(/is (modified|ignored): /);
  });

  test('an amount is a limit of the sandbox, where a network is the host’s its bandwidth is not (A83, A84)', () => {
    expect(isolated('resource/memory', { limit: '123Mi' }).spec.limits).toEqual({ memoryBytes: 128_974_848 });
    expect(isolated('resource/cpu', { limit: '500m' }).spec.limits).toEqual({ cpus: 0.5 });
    const network = isolated('resource/network-bandwidth', { default: true, limit: '1' }, { network: 'host' });
    expect(stateOf(network, 'resource/network-bandwidth')).toBe('ignored');
  });

  test('a profile of AppArmor is refused where there is AppArmor (A81)', () => {
    const attempt = (): unknown => isolated('os/linux/apparmor-profile', { name: 'x' }, { hasAppArmor: true });
    expect(issuesOf(attempt)).toEqual({
      'app.isolators[0]': 'this host has AppArmor, and its profiles are not served here',
    });
  });
});

describe('filters of system calls', () => {
  const verdictsOf = (run: AciRun): ((name: string) => number) => {
    const { seccomp, issues } = readFilters(run.spec, { architecture: 'x64', kernel: '6.1.0' });
    expect(issues).toEqual([]);
    const program = decode(Buffer.from(seccomp?.filter ?? '', 'base64'));
    const table = syscallTable('x86_64');
    // The last register is not the launcher's pass, which a filter that nobody launched has as 0.
    return (name) =>
      runFilter(program, { arch: audit.x86_64, nr: table.get(name) ?? -1, args: [0n, 0n, 0n, 0n, 0n, 1n] }).verdict;
  };

  test('remove what the image names beside what the default profile refuses (A72)', () => {
    const verdict = verdictsOf(isolated('os/linux/seccomp-remove-set', { set: ['mkdir', 'read'] }));
    expect(verdict('mkdir')).toBe(KILL_PROCESS);
    expect(verdict('read')).toBe(KILL_PROCESS);
    expect(verdict('write')).toBe(ALLOW);
    expect(verdict('mount')).toBe(errno(1));
    const polite = verdictsOf(isolated('os/linux/seccomp-remove-set', { set: ['mkdir'], errno: 'ENOTSUP' }));
    expect(polite('mkdir')).toBe(errno(95));
  });

  test('keep what the image names and the default profile allows (A73)', () => {
    const run = isolated('os/linux/seccomp-retain-set', { set: ['read', 'write', 'mount'], errno: 'EPERM' });
    const verdict = verdictsOf(run);
    for (const name of ['read', 'write', 'exit', 'exit_group', 'rt_sigreturn']) expect(verdict(name)).toBe(ALLOW);
    for (const name of ['mkdir', 'mount', 'socket', 'clone3', 'io_uring_setup']) expect(verdict(name)).toBe(errno(1));
    expect(run.isolators.find(({ name }) => name.endsWith('retain-set'))).toMatchObject({
      state: 'modified',
      because: 'of these the sandbox never allows mount',
    });
    const every = [...syscallTable('x86_64').keys()].filter((name) => verdict(name) === ALLOW);
    expect(every.sort()).toEqual(['exit', 'exit_group', 'read', 'restart_syscall', 'rt_sigreturn', 'write']);
  });

  test('are the default profile’s own for the special values, which take nothing off (A74)', () => {
    const all = isolated('os/linux/seccomp-retain-set', { set: ['@appc.io/all', 'read'] });
    expect(all.spec.seccomp).toBeUndefined();
    expect(stateOf(all, 'os/linux/seccomp-retain-set')).toBe('modified');
    const none = isolated('os/linux/seccomp-remove-set', { set: ['@appc.io/empty', 'read'] });
    expect(none.spec.seccomp).toBeUndefined();
    expect(stateOf(none, 'os/linux/seccomp-remove-set')).toBe('enforced');
  });

  test('a call that no machine has is not lost from the account', () => {
    const run = isolated('os/linux/seccomp-remove-set', { set: ['clock_settimee'] });
    expect(run.isolators.at(-1)).toMatchObject({ state: 'modified', because: 'no machine has a call clock_settimee' });
    expect(run.spec.seccomp).toBeUndefined();
  });
});
