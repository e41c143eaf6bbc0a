// Everything that the kernel has for changing what is mounted where, called from inside.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { FeatureError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { python, successes } from '../python.ts';
import { beyondDefault, needing, type Technique } from '../technique.ts';

/** Each by its number where the C library may lack it: the new mount API has the same numbers everywhere. */
const everyCall = `
REMOUNT, BIND, REC, MOVE, PRIVATE, SHARED, RDONLY = 32, 4096, 16384, 8192, 1 << 18, 1 << 20, 1
for where in ['/', '/usr', '/etc', '/proc', '/proc/sys', '/dev', '/tmp'] + sys.argv[1:]:
    at = where.encode()
    say('remount:' + where, named('mount', b'none', at, None, REMOUNT | BIND, None))
    say('remount-rw:' + where, named('mount', b'none', at, None, REMOUNT, None))
    say('tmpfs:' + where, named('mount', b'none', at, b'tmpfs', 0, None))
    say('bind:' + where, named('mount', b'/tmp', at, None, BIND | REC, None))
    say('bind-away:' + where, named('mount', at, b'/tmp', None, BIND | REC, None))
    say('move:' + where, named('mount', at, b'/tmp', None, MOVE, None))
    say('share:' + where, named('mount', None, at, None, SHARED | REC, None))
    say('umount:' + where, named('umount2', at, 0))
    say('detach:' + where, named('umount2', at, 2))
    say('expire:' + where, 'ok' if named('umount2', at, 4) in ('ok', 'EAGAIN') else 'no')
    say('open_tree:' + where, call(428, -100, at, 1))
    say('mount_setattr:' + where, call(442, -100, at, 0x8000, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32))
    say('fspick:' + where, call(433, -100, at, 0))
    say('chroot:' + where, named('chroot', at))
for kind in [b'tmpfs', b'proc', b'sysfs', b'devpts', b'mqueue', b'overlay', b'ext4', b'fuse', b'cgroup2', b'debugfs', b'binfmt_misc']:
    say('fsopen:' + kind.decode(), call(430, kind, 0))
    say('mount:' + kind.decode(), named('mount', b'none', b'/tmp', kind, 0, None))
say('pivot_root', call(number_of(155, 41), b'/', b'/'))
say('move_mount', call(429, -100, b'/tmp', -100, b'/dev', 0))
say('open_tree_attr', call(467, -100, b'/', 1, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32))
`;

/** In a user namespace of its own a command has every capability over mounts, but not over those that came from outside. */
const inOwnNamespaces = `
uid, gid = os.getuid(), os.getgid()
say('unshare', 'went' if named('unshare', 0x10000000 | 0x00020000 | 0x20000000) == 'ok' else 'no')
def map_ids():
    for name, text in [('setgroups', 'deny'), ('uid_map', f'0 {uid} 1'), ('gid_map', f'0 {gid} 1')]:
        with open('/proc/self/' + name, 'w') as file: file.write(text)
# The kernel does not let a command without CAP_SETFCAP map uid 0 on: then it goes on unmapped, with the same capabilities.
say('map', 'went' if attempt(map_ids) == 'ok' else 'no')
child = os.fork()
if child != 0: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
say('tmpfs', 'went' if named('mount', b'none', b'/tmp', b'tmpfs', 0, None) == 'ok' else 'no')
for where in ['/proc/sys', '/proc/bus', '/proc/irq', '/proc/fs', '/proc/sysrq-trigger', '/proc/kcore', '/proc/keys', '/usr', sys.argv[1]]:
    at = where.encode()
    say('remount:' + where, named('mount', b'none', at, None, 32 | 4096, None))
    say('umount:' + where, named('umount2', at, 2))
    say('setattr:' + where, call(442, -100, at, 0, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32))
say('proc', named('mount', b'proc', b'/tmp', b'proc', 0, None))
say('sysfs', named('mount', b'sysfs', b'/tmp', b'sysfs', 0, None))
def pattern():
    with open('/proc/sys/kernel/core_pattern', 'r+') as file: file.write(file.read())
say('core_pattern', attempt(pattern))
say('write', attempt(lambda: open(sys.argv[1] + '/made', 'w').close()))
`;

/** What a command with CAP_SYS_ADMIN can take off, it takes off; then it looks for the host. */
const withAdministration = `
def peel():
    for line in reversed(open('/proc/self/mountinfo').read().splitlines()):
        at = line.split()[4].encode()
        if at in (b'/', b'/proc', b'/tmp') or at.startswith(b'/usr'): continue
        libc.umount2(at, 2)
say('tmpfs', 'went' if named('mount', b'none', b'/tmp', b'tmpfs', 0, None) == 'ok' else 'no')
peel()
def change(path):
    with open(path, 'r+b', buffering=0) as file: file.write(file.read())
for name in ['kernel/core_pattern', 'kernel/modprobe', 'vm/overcommit_memory', 'kernel/sysrq', 'fs/suid_dumpable']:
    say(name, attempt(lambda: change('/proc/sys/' + name)))
say('sysrq', attempt(lambda: open('/proc/sysrq-trigger', 'w').write('h')))
say('kcore', attempt(lambda: open('/proc/kcore', 'rb').read(1)))
for kind in [b'ext4', b'debugfs', b'tracefs', b'securityfs', b'devtmpfs', b'pstore', b'fuseblk', b'bpf']:
    say('mount:' + kind.decode(), 'ok' if kind != b'bpf' and named('mount', b'/dev/vda', b'/tmp', kind, 0, None) == 'ok' else 'no')
named('umount2', b'/', 2)
above = os.open('/', os.O_RDONLY)
for _ in range(64): os.chdir('..')
say('host', 'ok' if os.path.exists(sys.argv[1]) or os.path.exists('/..' + sys.argv[1]) else 'no')
`;

/** Root of the host gets neither namespaces nor CAP_SYS_ADMIN as itself: it may change kernel settings by its uid alone. */
function ids(): SandboxSpec {
  const mapping = [{ containerID: 0, hostID: 100_000, size: 1000 }];
  return process.getuid?.() === 0 ? { uidMappings: mapping, gidMappings: mapping, user: { uid: 0, gid: 0 } } : {};
}

async function hostStays(body: () => Promise<void>): Promise<void> {
  const look = () =>
    ['/proc/self/mountinfo', '/proc/sys/kernel/core_pattern'].map((path) => readFileSync(path, 'utf8'));
  const before = look();
  await body();
  expect(look()).toEqual(before);
}

async function nothingGoes(bench: Bench, spec: SandboxSpec): Promise<void> {
  const workspace = bench.makeDirectory('mount-calls');
  await hostStays(async () => {
    const shown: SandboxSpec = { ...spec, mounts: [`${workspace}:/mnt/shown:ro`] };
    expect(successes(await python(bench, everyCall, shown, ['/mnt/shown']))).toEqual([]);
  });
}

export const technique: Technique = {
  name: 'mount-calls',
  attacks: ['root.host', 'namespace.mount', 'mount.bind', 'capabilities.drop', 'seccomp.default'],
  cases: {
    'nothing is mounted, unmounted or changed from inside': (bench) => nothingGoes(bench, {}),
    'nor by root of the sandbox': (bench) => nothingGoes(bench, { user: { uid: 0, gid: 0 } }),
    'nor without the filter': (bench) => nothingGoes(bench, { seccomp: 'unconfined' }),
    'nor by root of the sandbox without the filter': (bench) =>
      nothingGoes(bench, { seccomp: 'unconfined', user: { uid: 0, gid: 0 } }),

    'in namespaces of its own a command cannot take off what hides and protects': needing(
      beyondDefault(ids()),
      async (bench) => {
        const shown = bench.makeDirectory('nested');
        await hostStays(async () => {
          const spec: SandboxSpec = { ...ids(), seccomp: 'unconfined', mounts: [`${shown}:/mnt/shown:ro`] };
          const answers = await python(bench, inOwnNamespaces, spec, ['/mnt/shown']);
          expect(answers).toMatchObject({ unshare: 'went', tmpfs: 'went' });
          expect(successes(answers)).toEqual([]);
        });
      },
    ),

    'with CAP_SYS_ADMIN the sandbox is its own, and the host is not': needing(
      [...beyondDefault(ids()), 'capabilities.keep'],
      async (bench) => {
        const secret = bench.makeFile('beside-secret', 'of the host');
        const spec: SandboxSpec = { ...ids(), capabilities: ['CAP_SYS_ADMIN', 'CAP_SYS_CHROOT'] };
        await hostStays(async () => {
          const answers = await python(bench, withAdministration, spec, [secret]);
          expect(answers).toMatchObject({ tmpfs: 'went' });
          expect(successes(answers)).toEqual([]);
        });
        if (process.getuid?.() !== 0) return;
        const asked = run(['true'], { capabilities: ['CAP_SYS_ADMIN'] }, bench.options({}));
        await expect(asked).rejects.toBeInstanceOf(FeatureError);
      },
    ),

    'what was bound read-only stays as it is on the host': async (bench) => {
      const shown = bench.makeDirectory('shown-readonly');
      const file = bench.makeFile(join('shown-readonly', 'file'), 'before', 0o666);
      const script = `
for where in ['/mnt/shown', '/mnt/shown/file', '/mnt/file']:
    named('mount', b'none', where.encode(), None, 32 | 4096, None)
    call(442, -100, where.encode(), 0, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32)
def overwrite(path):
    with open(path, 'w') as target: target.write('after')
for where in ['/mnt/shown/file', '/mnt/file', '/proc/self/root/mnt/file', '/proc/self/cwd/../mnt/file', '/proc/1/root/mnt/file']:
    say('write:' + where, attempt(lambda: overwrite(where)))
    say('chmod:' + where, attempt(lambda: os.chmod(where, 0o777)))
    say('utime:' + where, attempt(lambda: os.utime(where)))
fd = os.open('/mnt/file', os.O_RDONLY)
say('reopen', attempt(lambda: overwrite(f'/proc/self/fd/{fd}')))
say('path-reopen', attempt(lambda: overwrite('/proc/self/fd/%d' % os.open('/mnt/file', os.O_PATH))))
say('link', attempt(lambda: os.link('/mnt/file', '/tmp/link')))
say('rename', attempt(lambda: os.rename('/mnt/shown/file', '/tmp/file')))
say('xattr', attempt(lambda: os.setxattr('/mnt/file', 'user.x', b'1')))
`;
      const spec: SandboxSpec = { mounts: [`${shown}:/mnt/shown:ro`, `${file}:/mnt/file:ro`] };
      expect(successes(await python(bench, script, spec))).toEqual([]);
      expect(readFileSync(file, 'utf8')).toBe('before');
    },
  },
};
