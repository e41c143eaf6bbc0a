import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { requires } from '../../helpers/requires.ts';
import { PYTHON, python, successes } from '../python.ts';
import { needing, type Technique } from '../technique.ts';

const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };
const noCapabilities = new Array(5).fill('0'.repeat(16)).join(' ');

const gain = `
PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_SET_NO_NEW_PRIVS = 8, 28, 47, 38
say('no-new-privs', named('prctl', PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
say('keepcaps', named('prctl', PR_SET_KEEPCAPS, 1, 0, 0, 0))
for bits in (0, 1, 4, 16): say('securebits:%d' % bits, named('prctl', PR_SET_SECUREBITS, bits, 0, 0, 0))
for capability in range(41): say('ambient:%d' % capability, named('prctl', PR_CAP_AMBIENT, 2, capability, 0, 0))
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
for name, data in (('effective', (1, 0, 0)), ('permitted', (1, 1, 0)), ('inheritable', (0, 0, 1))):
    say('capset:' + name, named('capset', header, (ctypes.c_uint32 * 6)(*data, 0, 0, 0)))
other = 4242
say('setuid', attempt(lambda: os.setuid(other)))
say('setresgid', attempt(lambda: os.setresgid(other, other, other)))
say('setgroups', attempt(lambda: os.setgroups([0])))
say('chroot', attempt(lambda: os.chroot('/tmp')))
`;

export const technique: Technique = {
  name: 'privilege-gain',
  attacks: ['capabilities.drop', 'noNewPrivileges', 'mount.bind'],
  cases: {
    'no call gives a capability or an id back': async (bench) => {
      for (const spec of [{}, asRoot, { seccomp: 'unconfined' }, { ...asRoot, seccomp: 'unconfined' }] as const)
        expect(successes(await python(bench, gain, spec))).toEqual([]);
    },
    'after another execve there is still none': async (bench) => {
      const script = `os.execv(sys.argv[1], [sys.argv[1], 'caps'])`;
      const [inside = ''] = bench.guest(['caps']);
      for (const spec of [{}, asRoot, { ...asRoot, seccomp: 'unconfined' }] as const) {
        const answers = await python(bench, script, bench.withGuest(spec), [inside]);
        expect(answers).toEqual({ [noCapabilities.slice(0, 16)]: noCapabilities.slice(17) });
      }
    },
    'set-user-ID and file capabilities are without effect': async (bench) => {
      requires('root');
      const directory = bench.makeDirectory('privileged');
      const setuid = `${directory}/setuid`;
      copyFileSync(bench.guestOutside, setuid);
      chownSync(setuid, 4242, 4242);
      chmodSync(setuid, 0o6755);
      const withFileCapabilities = `${directory}/file-capabilities`;
      copyFileSync(bench.guestOutside, withFileCapabilities);
      chmodSync(withFileCapabilities, 0o755);
      // VFS_CAP_REVISION_2 with the effective bit: CAP_CHOWN and CAP_SYS_ADMIN.
      const set = `import os; os.setxattr('${withFileCapabilities}', 'security.capability', bytes.fromhex('0100000201002000000000000000000000000000'))`;
      expect(spawnSync(PYTHON, ['-c', set]).status).toBe(0);
      const outside = (file: string, verb: string) =>
        String(spawnSync(file, [verb], { uid: 12345, gid: 12345, encoding: 'utf8' }).stdout);
      expect(outside(setuid, 'ids')).toContain('uid 12345 4242 4242');
      expect(outside(withFileCapabilities, 'caps')).toMatch(/^0{10}200001 /);
      for (const seccomp of ['default', 'unconfined'] as const) {
        const spec: SandboxSpec = { seccomp, user: { uid: 1000, gid: 1000 }, mounts: [`${directory}:/privileged`] };
        const script = `os.execv(sys.argv[1], sys.argv[1:])`;
        expect(await python(bench, script, spec, ['/privileged/setuid', 'ids'])).toMatchObject({
          uid: '1000 1000 1000',
          gid: '1000 1000 1000',
        });
        expect(await python(bench, script, spec, ['/privileged/file-capabilities', 'caps'])).toEqual({
          [noCapabilities.slice(0, 16)]: noCapabilities.slice(17),
        });
      }
    },
    'no device can be made, and those of a mounted directory are dead': async (bench) => {
      requires('root');
      const directory = bench.makeDirectory('devices');
      expect(spawnSync('mknod', ['-m', '0666', `${directory}/zero`, 'c', '1', '5']).status).toBe(0);
      expect(spawnSync('head', ['-c', '1', `${directory}/zero`]).status).toBe(0);
      const script = `
for name, kind, major, minor in (('mem', stat.S_IFCHR, 1, 1), ('disk', stat.S_IFBLK, 8, 0), ('misc', stat.S_IFCHR, 10, 229), ('null', stat.S_IFCHR, 1, 3)):
    for where in ('/tmp/', '/devices/', '/dev/shm/'):
        say('mknod:' + where + name, attempt(lambda: os.mknod(where + name, kind | 0o666, os.makedev(major, minor))))
say('open', attempt(lambda: os.open('/devices/zero', os.O_RDWR)))
say('copy-of-root', attempt(lambda: os.open('/dev/../devices/zero', os.O_RDONLY)))
for name in ('fuse', 'kvm', 'net/tun', 'uinput', 'vsock', 'kmsg', 'mem', 'vda', 'sda', 'loop-control', 'console', 'port', 'hpet'):
    say('dev:' + name, attempt(lambda: os.open('/dev/' + name, os.O_RDONLY)))
`;
      for (const more of bench.offered<SandboxSpec>([
        {},
        { seccomp: 'unconfined' },
        { capabilities: ['CAP_MKNOD', 'CAP_DAC_OVERRIDE', 'CAP_SYS_RAWIO'] },
      ])) {
        const answers = await python(bench, script, { ...asRoot, ...more, mounts: [`${directory}:/devices:rw`] });
        expect(successes(answers)).toEqual([]);
        expect(answers).toMatchObject({ open: 'EACCES' });
      }
    },
    'capabilities that are kept reach no file of others outside of the mounts': needing(
      ['capabilities.keep'],
      async (bench) => {
        const directory = bench.makeDirectory('kept');
        const file = bench.makeFile('kept/file', 'mine', 0o644);
        const before = statSync(file);
        const hosts = readFileSync('/etc/passwd', 'utf8');
        const script = `
def write(path):
    with open(path, 'w') as file: file.write('theirs')
for path in ('/etc/passwd', '/etc/shadow', '/usr/bin/env', '/kept/file', '/proc/sys/net/ipv4/ip_forward'):
    say('write:' + path, attempt(lambda: write(path)))
    say('chmod:' + path, attempt(lambda: os.chmod(path, 0o777)))
    say('chown:' + path, attempt(lambda: os.chown(path, os.getuid(), os.getgid())))
say('remount', named('mount', b'none', b'/', None, 32 | 4096, None))
say('oom-init', attempt(lambda: write('/proc/1/oom_score_adj')))
say('trace-init', named('ptrace', 0x4206, 1, 0, 0))
`;
        const capabilities = [
          'CAP_DAC_OVERRIDE',
          'CAP_CHOWN',
          'CAP_FOWNER',
          'CAP_SYS_PTRACE',
          'CAP_NET_ADMIN',
          'CAP_MKNOD',
          'CAP_KILL',
          'CAP_SETUID',
          'CAP_SETGID',
        ];
        for (const more of [{}, { seccomp: 'unconfined' }] as const)
          expect(
            successes(
              await python(bench, script, { ...asRoot, capabilities, ...more, mounts: [`${directory}:/kept:ro`] }),
            ),
          ).toEqual([]);
        const after = statSync(file);
        expect([after.mode, after.uid, after.gid, readFileSync(file, 'utf8')]).toEqual([
          before.mode,
          before.uid,
          before.gid,
          'mine',
        ]);
        expect(readFileSync('/etc/passwd', 'utf8')).toBe(hosts);
      },
    ),
  },
};
