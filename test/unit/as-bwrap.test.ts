// The equivalent command line of bubblewrap, word by word; test/os/explain-cases.ts runs it.
import { expect, test } from 'vitest';
import { readCallerFacts } from '../../src/host/facts.ts';
import { asBwrap } from '../../src/run/as/bwrap.ts';
import type { Translation } from '../../src/run/as/shared.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree = {
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/ssl/certs/ca.pem': '',
};

function equivalent(spec: SandboxSpec, uid = 1000): Translation {
  const caller = readCallerFacts(fakeHost(tree), { uid, gid: uid, architecture: 'x64' });
  return asBwrap(normalize(spec, new MemoryHost()), caller);
}

const lineOf = (spec: SandboxSpec): string => equivalent(spec).argv?.join(' ') ?? 'none';

test('the default in the words of bubblewrap', () => {
  expect(equivalent({ env: {} }).argv).toEqual([
    ...['bwrap', '--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--unshare-net', '--die-with-parent', '--new-session'],
    ...['--hostname', 'sandbox', '--uid', '1000', '--gid', '1000'],
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/bin', '/bin'],
    ...['--dir', '/etc', '--dir', '/etc/ssl', '--ro-bind', '/etc/ssl/certs', '/etc/ssl/certs'],
    ...['--proc', '/proc', '--dev', '/dev', '--perms', '1777', '--size', '67108864', '--tmpfs', '/dev/shm'],
    ...['--mqueue', '/dev/mqueue', '--remount-ro', '/dev'],
    ...['--perms', '1777', '--size', '536870912', '--tmpfs', '/tmp'],
    ...['--dir', '/home', '--perms', '0700', '--size', '536870912', '--tmpfs', '/home/alice'],
    ...['--remount-ro', '/', '--clearenv'],
    ...[
      '--setenv',
      'PATH',
      '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      '--setenv',
      'HOME',
      '/home/alice',
    ],
    ...['--setenv', 'USER', 'alice', '--setenv', 'LOGNAME', 'alice', '--setenv', 'LANG', 'C.UTF-8'],
    ...['--setenv', 'TMPDIR', '/tmp', '--cap-drop', 'ALL', '--chdir', '/home/alice', '--'],
  ]);
});

test('what bubblewrap leaves out is said, and nothing else', () => {
  const common = [
    '/etc/hostname and /etc/hosts of its own: --ro-bind-data takes them from a descriptor',
    'umask 0022: it is inherited',
    'an environment without PWD',
    "what is masked and read-only in /proc, and a bound on the number of files in the sandbox's own directories",
    'a session keyring of its own, and descriptors closed beyond 2',
    'the outcome: which limit was met, what was used',
  ];
  const lacks = (spec: SandboxSpec): string[] =>
    equivalent({ seccomp: 'unconfined', limits: { coreBytes: 0 }, ...spec }).lacks.filter(
      (lack) => !common.includes(lack),
    );
  expect(lacks({})).toEqual(['limits: coreBytes 0']);
  expect(lacks({ seccomp: 'default' })).toEqual([
    'limits: coreBytes 0',
    'the seccomp filter: --seccomp takes one from a descriptor, compiled already',
  ]);
  expect(lacks({ limits: { wallMs: 5, openFiles: 9 } })).toEqual(['limits: wallMs 5, openFiles 9, coreBytes 0']);
  expect(lacks({ architecture: 'arm64' })).toContain('programs for arm64: only the host could register their format');
  expect(lacks({ architecture: 'x64' })).toEqual(['limits: coreBytes 0']);
  expect(lacks({ terminal: true })).toContain('a pseudo-terminal of its own');
  expect(lacks({ uidMappings: 'subordinate' })).toContain(
    'id mappings of more than one id: files of other ids belong to 65534 there',
  );
  expect(lacks({ network: 'host' })).toContain('/etc/hostname of its own: --ro-bind-data takes them from a descriptor');
  expect(equivalent({}, 0).lacks).toContain("giving up the caller's supplementary groups");
  expect(equivalent({}, 1000).lacks).not.toContain("giving up the caller's supplementary groups");
});

test("a terminal's own session needs no new one, and the host's network no namespace", () => {
  expect(lineOf({ terminal: true })).not.toContain('--new-session');
  expect(lineOf({ network: 'host' })).not.toContain('--unshare-net');
  expect(lineOf({ network: 'host' })).toContain('--ro-bind /etc/hosts /etc/hosts');
});

test('a directory as root is bound, and nothing is made in it', () => {
  const line = lineOf({ root: { path: '/usr', readonly: false } });
  expect(line).toContain('--bind /usr / --proc /proc');
  expect(line).not.toContain('--dir');
  expect(line).not.toContain('--remount-ro / ');
});

test('mounts follow in their order, each with its missing directories before it', () => {
  const line = lineOf({
    mounts: [
      'src:/a/b/src:rw',
      { type: 'tmpfs', destination: '/a/c', sizeBytes: 4096, mode: 0o700, readonly: true },
      { type: 'tmpfs', destination: '/d' },
      { type: 'proc', destination: '/d/e/proc' },
    ],
  });
  expect(line).toContain(
    '--dir /a --dir /a/b --bind /home/alice/src /a/b/src --perms 0700 --size 4096 --tmpfs /a/c --remount-ro /a/c' +
      ' --perms 0755 --size 67108864 --tmpfs /d --dir /d/e --proc /d/e/proc --remount-ro /',
  );
});

test('capabilities that are kept are added after all were dropped', () => {
  expect(lineOf({ capabilities: ['CAP_CHOWN', 'CAP_KILL'] })).toContain(
    '--cap-drop ALL --cap-add CAP_CHOWN --cap-add CAP_KILL --chdir',
  );
});
