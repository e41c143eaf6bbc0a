import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatPath, ImageError } from '../../../src/errors/errors.ts';
import { type BundleRun, parseBundle } from '../../../src/image/oci/bundle.ts';
import { validateSpec } from '../../../src/spec/schema.ts';
import { requires } from '../../helpers/requires.ts';

const namespaces = ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type }));
const process = {
  args: ['sh', '-c', '$X'],
  cwd: '/',
  env: ['PATH=/bin'],
  user: { uid: 0, gid: 0 },
  noNewPrivileges: true,
};
const seccomp = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    {
      names: ['personality'],
      action: 'SCMP_ACT_ERRNO',
      args: [{ index: 0, value: 2n ** 64n - 1n, op: 'SCMP_CMP_EQ' }],
    },
  ],
};
const minimal = { ociVersion: '1.0.2', root: { path: 'rootfs', readonly: true }, process, linux: { namespaces } };

/** Bigints as the numbers that other languages write. */
const json = (value: unknown): string =>
  JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? `${member}n` : member)).replace(/"(\d+)n"/g, '$1');
const read = (bundle: unknown, unserved: 'refuse' | 'note' = 'refuse'): BundleRun =>
  parseBundle(json(bundle), { directory: '/b', unserved });
const withProcess = (members: object): unknown => ({ ...minimal, process: { ...process, ...members } });
const withLinux = (members: object): unknown => ({ ...minimal, linux: { namespaces, ...members } });
const withMounts = (...mounts: object[]): unknown => ({ ...minimal, mounts });

function issuesOf(bundle: unknown): Record<string, string> {
  try {
    read(bundle);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    expect(error.code).toBe('SBX_IMAGE_UNSUPPORTED');
    return Object.fromEntries(error.issues.map(({ path, message }) => [formatPath(path), message]));
  }
  return {};
}

describe('a runtime bundle', () => {
  test('becomes a spec that the schema takes, and a command', () => {
    const { spec, command } = read({
      ...minimal,
      hostname: 'inside',
      process: {
        ...process,
        terminal: true,
        consoleSize: { width: 80, height: 24 },
        user: { uid: 5, gid: 6, additionalGids: [7], umask: 0o27 },
        capabilities: {
          effective: ['CAP_KILL'],
          permitted: ['CAP_KILL'],
          bounding: ['CAP_KILL'],
          ambient: ['CAP_KILL'],
        },
        rlimits: [
          { type: 'RLIMIT_NOFILE', soft: 1024, hard: 1024 },
          { type: 'RLIMIT_CPU', soft: 5, hard: 5 },
        ],
      },
      linux: {
        namespaces: [...namespaces, { type: 'user' }, { type: 'cgroup' }],
        uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
        resources: {
          memory: { limit: 2 ** 30, swap: 2 ** 30 },
          pids: { limit: 50 },
          cpu: { quota: 50_000, period: 100_000 },
          devices: [{ allow: false, access: 'rwm' }],
        },
        seccomp,
        maskedPaths: ['/proc/kcore'],
      },
    });
    expect(spec).toEqual({
      root: { path: '/b/rootfs', readonly: true },
      hostname: 'inside',
      cwd: '/',
      env: { set: { PATH: '/bin' } },
      user: { uid: 5, gid: 6, additionalGids: [7] },
      umask: 0o27,
      terminal: { columns: 80, rows: 24 },
      capabilities: ['CAP_KILL'],
      network: 'none',
      uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
      seccomp,
      limits: { openFiles: 1024, processCpuMs: 5000, memoryBytes: 2 ** 30, pids: 50, cpus: 0.5 },
    });
    expect(command).toEqual(['sh', '-c', '$X']);
    expect(validateSpec(spec)).toEqual(spec);
  });

  test('shares the network of the host where it names no namespace for it, and changes its root where that is writable', () => {
    const shared = { ...minimal, root: { path: '/r' }, linux: { namespaces: namespaces.slice(0, 4) } };
    expect(read(shared).spec).toMatchObject({
      network: 'host',
      root: { path: '/r', readonly: false, changes: 'keep' },
    });
  });

  test('has mounts of its own, and those that a sandbox makes anyway', () => {
    const { spec } = read(
      withMounts(
        { destination: '/proc', type: 'proc', source: 'proc' },
        {
          destination: '/dev',
          type: 'tmpfs',
          source: 'tmpfs',
          options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
        },
        { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance'] },
        { destination: '/dev/shm/', type: 'tmpfs', source: 'shm', options: ['size=65536k'] },
        { destination: '/data//x', type: 'none', source: 'data', options: ['rbind', 'ro', 'rprivate'] },
        {
          destination: '/scratch',
          type: 'tmpfs',
          source: 'tmpfs',
          options: ['nosuid', 'nodev', 'mode=1777', 'size=64m'],
        },
      ),
    );
    expect(spec.mounts).toEqual([
      { type: 'bind', source: '/b/data', destination: '/data/x', readonly: true },
      { type: 'tmpfs', destination: '/scratch', readonly: false, mode: 0o1777, sizeBytes: 64 * 2 ** 20 },
    ]);
  });

  test('is refused with every setting that is not served, all at once', () => {
    expect(
      issuesOf({
        ...minimal,
        domainname: 'example.org',
        hooks: { prestart: [{ path: '/bin/true' }] },
        windows: {},
        mounts: [
          { destination: '/mnt', type: 'ext4', source: '/dev/sda' },
          { destination: '/x', type: 'bind', source: '/x', options: ['bind', 'noexec', 'shared'] },
          { destination: 'relative', type: 'tmpfs', options: ['size=many'] },
        ],
        process: {
          ...process,
          oomScoreAdj: 5,
          apparmorProfile: 'p',
          selinuxLabel: 'l',
          rlimits: [
            { type: 'RLIMIT_AS', soft: 1, hard: 1 },
            { type: 'RLIMIT_CORE', soft: 0, hard: 1 },
          ],
        },
        linux: {
          namespaces: [{ type: 'pid', path: '/proc/1/ns/pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'time' }],
          devices: [{ path: '/dev/null' }, { path: '/dev/kvm' }],
          cgroupsPath: '/x',
          sysctl: { 'net.core.somaxconn': '1' },
          rootfsPropagation: 'shared',
          maskedPaths: ['/etc/secret'],
          resources: {
            blockIO: { weight: 5 },
            memory: { limit: 5, swap: -1, reservation: 4 },
            cpu: { shares: 1024 },
            devices: [{ allow: true, access: 'rwm' }],
          },
        },
      }),
    ).toEqual({
      windows: 'is about another platform than linux',
      domainname: 'a domain name is not set',
      hooks: 'hooks run on the host, and are not run',
      'mounts[0]': 'a file system of type ext4 at /mnt is not served',
      'mounts[1].options': 'noexec, shared: not served',
      'mounts[2].destination': "must be an absolute path, not 'relative'",
      'mounts[2].options': 'size=many is no size of a tmpfs such as 64m',
      'process.oomScoreAdj': 'a sandbox has no weight of its own for the OOM killer',
      'process.apparmorProfile': 'profiles of AppArmor are not served',
      'process.selinuxLabel': 'labels of SELinux are not served',
      'process.rlimits[0]': 'RLIMIT_AS is not served',
      'process.rlimits[1]': 'RLIMIT_CORE: a soft bound below the hard one is not served',
      'linux.namespaces[0].path': 'a namespace that exists already cannot be joined',
      'linux.namespaces[3]': 'there is no time namespace',
      'linux.namespaces': 'the uts namespace of the host cannot be shared',
      'linux.devices[1]': '/dev/kvm is none of the devices that a sandbox has',
      'linux.cgroupsPath': expect.stringContaining('a control group of its own'),
      'linux.sysctl': 'kernel parameters are not set',
      'linux.rootfsPropagation': 'mounts of a sandbox do not go to the host',
      'linux.maskedPaths': expect.stringContaining('/etc/secret'),
      'linux.resources.blockIO': 'is not served',
      'linux.resources.memory.reservation': 'is not served',
      'linux.resources.cpu.shares': 'is not served',
      'linux.resources.devices[0]': 'rules for single devices are not served',
    });
  });

  test('that is wrong is refused as one that is not served is', () => {
    expect(
      issuesOf({ ociVersion: '2.0.0', root: {}, process: { args: [], cwd: 'x', env: ['A'] }, linux: { namespaces } }),
    ).toEqual({
      ociVersion: "must be a version 1 of the runtime spec, not '2.0.0'",
      'root.path': 'is required',
      'process.args': 'must name a program',
      'process.cwd': "must be an absolute path, not 'x'",
      'process.env[0]': "'A' is not NAME=value",
    });
    expect(issuesOf({ ociVersion: '1.0.0' })).toMatchObject({ process: 'is required', root: 'is required' });
    expect(issuesOf(withProcess({ user: { uid: -1, gid: 0 } }))).toHaveProperty(['process.user.uid']);
  });

  test('capabilities of different sets are refused', () => {
    const capabilities = { effective: ['CAP_KILL'], permitted: ['CAP_KILL'], bounding: ['CAP_KILL', 'CAP_CHOWN'] };
    expect(issuesOf(withProcess({ capabilities }))).toEqual({
      'process.capabilities.bounding': 'must be the same as effective: sets that differ are not served',
    });
    expect(
      issuesOf(withProcess({ capabilities: { effective: ['KILL'], permitted: ['KILL'], bounding: ['KILL'] } })),
    ).toMatchObject({
      'process.capabilities.effective[0]': expect.stringContaining('CAP_KILL'),
    });
  });

  test('bounds that are none are none', () => {
    const resources = { memory: { limit: -1, swap: -1 }, pids: { limit: -1 }, cpu: { quota: -1 } };
    expect(read(withLinux({ resources })).spec.limits).toBeUndefined();
    const rlimits = [{ type: 'RLIMIT_CORE', soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n }];
    expect(issuesOf(withProcess({ rlimits }))['process.rlimits[0]']).toContain('no bound is what the caller has');
  });

  test('is read with notes in place of refusals where the caller takes them', () => {
    const { spec, notes } = read(
      { ...(withMounts({ destination: '/sys', type: 'sysfs', source: 'sysfs' }) as object), domainname: 'x' },
      'note',
    );
    expect(spec.mounts).toEqual([{ type: 'sysfs', destination: '/sys', optional: true }]);
    expect(notes.map(({ path, message }) => `${formatPath(path)}: ${message}`)).toEqual(
      expect.arrayContaining([
        'domainname: a domain name is not set; it is left out',
        'mounts[0]: the sysfs at /sys is read-only',
      ]),
    );
  });

  test('that runc writes is read as it is; and its /sys is there where it can be had', () => {
    requires('command:runc');
    const directory = mkdtempSync(join(tmpdir(), 'bundle-'));
    try {
      expect(spawnSync('runc', ['spec'], { cwd: directory }).status).toBe(0);
      const document = readFileSync(join(directory, 'config.json'));
      const { spec, command, notes } = parseBundle(document, { directory });
      const words = notes.map(({ message }) => message).join('\n');
      expect(words).toContain('no /sys/fs/cgroup (cgroup)');
      expect(words).not.toContain('sysfs');
      expect(spec.mounts).toContainEqual({ type: 'sysfs', destination: '/sys', optional: true });
      expect(command).toEqual(['sh']);
      expect(validateSpec(spec)).toEqual(spec);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
