// The same sandbox in the words of other tools, word by word. test/os/explain-as.test.ts runs what is printed for those that Debian has; that of
// docker, which needs an engine, and of linux-user-chroot, which Debian does not have, is held against their manuals here alone.
import { describe, expect, test } from 'vitest';
import { readCallerFacts } from '../../src/host/facts.ts';
import { equivalentOf } from '../../src/run/as/equivalent.ts';
import { type ToolName, toolNames } from '../../src/run/as/tools.ts';
import type { Equivalent } from '../../src/run/types.ts';
import { readFilters } from '../../src/seccomp/custom.ts';
import { forLibseccomp } from '../../src/seccomp/libseccomp.ts';
import { defaultProfile } from '../../src/seccomp/profile.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree = {
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/passwd': '',
  '/proc/keys': '',
  '/proc/sys/x': '',
};

function as(tool: ToolName, spec: SandboxSpec, uid = 1000): Equivalent {
  const caller = readCallerFacts(fakeHost(tree), { uid, gid: uid, architecture: 'x64' });
  const own = typeof spec.seccomp === 'object' || spec.seccomp === 'strict' || spec.onSyscall !== undefined;
  const compiled = own ? readFilters(spec, { architecture: 'x64', kernel: '6.1.0' }) : undefined;
  return equivalentOf(tool, normalize(spec, new MemoryHost(), compiled), caller, '/somewhere');
}

const rich: SandboxSpec = {
  env: { ADDED: "it's" },
  mounts: ['src:/mnt/rw:rw', { type: 'tmpfs', destination: '/scratch', sizeBytes: 4096, mode: 0o750 }],
  limits: { openFiles: 9, processCpuMs: 1500, wallMs: 90_000, memoryBytes: '64MiB', pids: 9, cpus: 0.5 },
  hostname: 'box',
  cwd: '/usr',
};
const skeleton = [
  'install -d rootfs rootfs/usr rootfs/etc rootfs/proc rootfs/dev rootfs/home rootfs/mnt rootfs/mnt/rw',
  'install -d -m 1777 rootfs/tmp',
  'install -d -m 0700 rootfs/home/alice',
  'install -d -m 0750 rootfs/scratch',
  'ln -sfn usr/bin rootfs/bin',
  'touch rootfs/etc/passwd',
  "printf '%s\\n' box > rootfs/etc/hostname",
  "printf '%s\\n' '127.0.0.1 localhost box' '::1 localhost' > rootfs/etc/hosts",
];
const variables = [
  ...['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/home/alice', 'USER=alice'],
  ...['LOGNAME=alice', 'LANG=C.UTF-8', 'TMPDIR=/tmp', "ADDED=it's"],
];

test('linux-user-chroot has binds, and nothing of its own', () => {
  const { before, argv, lacks } = as('linux-user-chroot', rich);
  expect(before).toEqual([...skeleton, 'cp /etc/passwd rootfs/etc/passwd']);
  expect(argv).toEqual([
    ...['env', '-i', ...variables],
    ...['linux-user-chroot', '--unshare-ipc', '--unshare-pid', '--unshare-net', '--mount-readonly', '/'],
    ...['--mount-bind', '/usr', '/usr', '--mount-readonly', '/usr'],
    ...['--mount-proc', '/proc', '--mount-bind', '/dev', '/dev'],
    ...['--mount-bind', '/home/alice/src', '/mnt/rw', '--chdir', '/usr', '/somewhere/rootfs'],
  ]);
  expect([...lacks].sort()).toEqual(
    [
      'limits: wallMs 90000, processCpuMs 1500, cpus 0.5, memoryBytes 67108864, pids 9, openFiles 9, coreBytes 0',
      'the seccomp filter: it has profiles of its own',
      'umask 0022: it is inherited',
      'a tmpfs at /tmp: it is what the root has there',
      'a tmpfs at /home/alice: it is what the root has there',
      'a tmpfs at /scratch: it is what the root has there',
      '/dev with a few harmless devices: it is that of the host',
      'the host name box: it is that of the host, as are user and cgroup namespace',
      'what is masked and read-only in /proc',
      'an own session and session keyring, and descriptors closed beyond 2',
      'the outcome: which limit was met, what was used',
    ].sort(),
  );
});

test('docker runs an image that is made from the root', () => {
  const { before, argv } = as('docker', rich);
  expect(before).toEqual([...skeleton, 'tar -c -C rootfs . | docker import - sandbox-root']);
  expect(argv).toEqual([
    ...['docker', 'run', '--rm', '--interactive', '--network=none', '--hostname=box', '--ipc=private'],
    ...['--cgroupns=private', '--cap-drop=ALL', '--security-opt=no-new-privileges', '--ulimit=cpu=2:3'],
    ...[
      '--ulimit=core=0:0',
      '--ulimit=nofile=9:9',
      '--memory=67108864',
      '--memory-swap=67108864',
      '--pids-limit=9',
      '--cpus=0.5',
      '--user=1000:1000',
      '--read-only',
    ],
    ...variables.map((variable) => `--env=${variable}`),
    ...['--workdir=/usr', '--shm-size=67108864'],
    ...['--mount=type=bind,source=/usr,destination=/usr,readonly'],
    ...['--mount=type=bind,source=/etc/passwd,destination=/etc/passwd,readonly'],
    '--tmpfs=/tmp:rw,exec,nosuid,nodev,size=536870912,mode=01777,uid=1000,gid=1000',
    '--tmpfs=/home/alice:rw,exec,nosuid,nodev,size=536870912,mode=0700,uid=1000,gid=1000',
    '--mount=type=bind,source=/home/alice/src,destination=/mnt/rw',
    '--tmpfs=/scratch:rw,exec,nosuid,nodev,size=4096,mode=0750,uid=1000,gid=1000',
    'sandbox-root',
  ]);
});

test('podman runs the root itself, named by its whole path', () => {
  const { before, argv = [], lacks } = as('podman', rich);
  expect(before).toEqual(skeleton);
  expect(argv).toEqual(expect.arrayContaining(['--userns=keep-id', '--timeout=90', '--umask=0022', '--read-only']));
  expect(argv.slice(-2)).toEqual(['--rootfs', '/somewhere/rootfs']);
  expect(lacks).toContain('a home directory that belongs to uid 1000: a tmpfs belongs to root');
});

test('runtimes get a config.json, in which somebody is root', () => {
  const { argv, config, lacks } = as('runc', rich);
  expect(argv).toEqual(['runc', 'run', 'sandbox']);
  expect(as('oci', rich).argv).toEqual(['crun', 'run', 'sandbox']);
  expect(config).toMatchObject({
    process: { user: { uid: 0, gid: 0, umask: 0o022 }, args: [], env: variables, cwd: '/usr', noNewPrivileges: true },
    root: { path: 'rootfs', readonly: true },
    hostname: 'box',
    linux: { uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }], seccomp: { defaultAction: 'SCMP_ACT_ERRNO' } },
  });
  expect(lacks).toContain('uid 1000 and gid 1000: the command is 0 and 0, which runtimes cannot do without');
});

test('what a tool cannot do is said, and never merely left out', () => {
  for (const tool of toolNames) {
    const { lacks } = as(tool, { ...rich, terminal: true, architecture: 'arm64', limits: { outputBytes: 7 } });
    expect(lacks.join('\n'), tool).toMatch(/limits: .*outputBytes 7/);
    expect(lacks, tool).toContain('programs for arm64: only the host could register their format');
    expect(lacks, tool).toContain('the outcome: which limit was met, what was used');
  }
  expect(as('nspawn', {}).lacks).toContain('a caller who is not root: systemd-nspawn refuses to run');
  expect(as('firejail', rich).lacks).toEqual(
    expect.arrayContaining(['mount /mnt/rw (bind)', 'mount /scratch (tmpfs)']),
  );
  const covered = { mounts: [{ type: 'tmpfs', destination: '/home' }] } as const;
  for (const tool of ['nspawn', 'podman', 'docker'] as const)
    expect(as(tool, covered).lacks).toContain('/home over /home/alice: mounts are made from the top down');
});

describe('a profile of the caller’s own', () => {
  const value = 0xffffffffffffffffn;
  const syscalls = [
    { names: ['ioctl'], action: 'SCMP_ACT_ERRNO', args: [{ index: 1, op: 'SCMP_CMP_EQ', value }] },
    { names: ['ioctl'], action: 'SCMP_ACT_ALLOW' },
  ];
  const seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls };
  const ofTheOrder = 'the order of the rules for ioctl: libseccomp has none';

  test('goes into config.json as it is', () => {
    const { config, lacks } = as('oci', { seccomp });
    const [ordered, other] = syscalls;
    const expected = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ ...ordered, errnoRet: 1 }, other] };
    expect(config).toMatchObject({ linux: { seccomp: expected } });
    expect(lacks).toContain(ofTheOrder);
  });

  test.each(['podman', 'docker'] as const)(
    'goes into a file for %s, with numbers that JSON readers would round',
    (tool) => {
      const { before, argv, lacks } = as(tool, { seccomp });
      expect(argv).toContain('--security-opt=seccomp=seccomp.json');
      const line = before.find((command) => command.endsWith('> seccomp.json'));
      expect(line).toContain('"value":18446744073709551615');
      expect(line).toMatch(/^printf %s '\{"defaultAction":"SCMP_ACT_ALLOW",.*\}' > seccomp\.json$/);
      expect(lacks).toContain(ofTheOrder);
    },
  );

  test('and strict are left out, in words, where a tool cannot have them', () => {
    for (const tool of ['bwrap', 'nspawn', 'firejail', 'linux-user-chroot'] as const)
      expect(as(tool, { seccomp }).lacks.join('\n'), tool).toContain('the seccomp filter: ');
    for (const tool of ['oci', 'podman', 'docker'] as const)
      expect(as(tool, { seccomp: 'strict' }).lacks.join('\n'), tool).toContain('a command that starts: strict forbids');
  });
});

describe('a profile for libseccomp', () => {
  const rulesOf = (name: string): unknown[] =>
    (forLibseccomp(defaultProfile(), ['ioctl']).syscalls ?? [])
      .filter(({ names }) => names.includes(name))
      .map(({ action, args }) => [action, args === undefined ? 'always' : 'tested']);

  test('has no rule without a test beside those with one', () => {
    expect(rulesOf('read')).toEqual([['SCMP_ACT_ALLOW', 'always']]);
    expect(rulesOf('mount')).toEqual([['SCMP_ACT_ERRNO', 'always']]);
    expect(rulesOf('clone')).toEqual([['SCMP_ACT_ALLOW', 'tested']]);
    expect(rulesOf('ioctl')).toEqual([['SCMP_ACT_ALLOW', 'always']]);
    expect(rulesOf('socketcall')).toEqual([]);
    expect(new Set(rulesOf('socket').map(String))).toEqual(new Set(['SCMP_ACT_ALLOW,tested']));
  });
});

test('no tool has a word for rules of single calls', () => {
  for (const tool of toolNames)
    expect(as(tool, { onSyscall: [{ names: ['mkdir'], action: 'log' }] }).lacks).toContain(
      'the rules of onSyscall: it has no word for them',
    );
});

test('no tool has a word for Landlock', () => {
  for (const tool of toolNames)
    expect(as(tool, { landlock: { paths: { '/': 'ro' } } }).lacks).toContain(
      'what Landlock takes away: it has no word for that',
    );
});
