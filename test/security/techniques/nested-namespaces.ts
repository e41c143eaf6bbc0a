import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { requires } from '../../helpers/requires.ts';
import { python, pythonOutside, successes } from '../python.ts';
import { beyondDefault, needing, type Technique } from '../technique.ts';

const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };
const unconfined: SandboxSpec = { seccomp: 'unconfined' };
/** For root of the host: other ids than its own. */
const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

/** With which a namespace might be made, or the bound on them raised. */
const KEPT = ['CAP_SETUID', 'CAP_SYS_RESOURCE', 'CAP_DAC_OVERRIDE', 'CAP_SETFCAP'] as const;

/** Root of the host makes user namespaces only where other ids than its own are mapped. */
function mapped(): SandboxSpec {
  return process.getuid?.() === 0 ? { uidMappings: ids, gidMappings: ids } : {};
}

const ways = `
NEWUSER = 0x10000000
for name, flags in (('user', NEWUSER), ('user+mount', NEWUSER | 0x20000), ('mount', 0x20000), ('pid', 0x20000000), ('net', 0x40000000),
                    ('uts', 0x04000000), ('ipc', 0x08000000), ('cgroup', 0x02000000), ('time', 0x80)):
    if len(sys.argv) > 1 and name not in sys.argv[1:]: continue
    # The low byte of the flags of clone(2) is the signal of the child's end.
    for high in (0, 1 << 32, -1 << 32):
        def apart(act):
            # In a child: an attempt that comes through changes who tries the next.
            child = os.fork()
            if child == 0: os._exit(0 if act() == 'ok' else 1)
            return 'ok' if os.waitpid(child, 0)[1] == 0 else 'refused'
        say('unshare:%s:%d' % (name, high), apart(lambda: call(number_of(272, 97), flags | high)))
        def clone():
            result, answer = raw(libc.syscall, number_of(56, 220), flags | high | 17, 0, 0, 0, 0)
            if result == 0: os._exit(0)
            return answer
        if name != 'time': say('clone:%s:%d' % (name, high), apart(clone))
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, 17)
    def clone3():
        result, answer = raw(libc.syscall, 435, ctypes.byref(arguments), 88)
        if result == 0: os._exit(0)
        return answer
    say('clone3:' + name, apart(clone3))
for name in ('user', 'mnt', 'pid', 'net', 'uts', 'ipc', 'cgroup'):
    for of in ('self', '1'):
        try: file = os.open('/proc/%s/ns/%s' % (of, name), 0)
        except OSError: continue
        say('setns:%s:%s' % (of, name), named('setns', file, 0))
`;

/** In a user namespace of its own the command has every capability: what of the host can it change with them? */
const fromWithin = `
def write(path, text):
    with open(path, 'w') as file: file.write(text)
uid, gid = os.getuid(), os.getgid()
# Without a map too the namespace gives every capability, and files still know the uid that the process has outside.
say('unshared', named('unshare', 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x04000000 | 0x08000000))
attempt(lambda: write('/proc/self/setgroups', 'deny'))
attempt(lambda: write('/proc/self/uid_map', '0 %d 1' % uid))
attempt(lambda: write('/proc/self/gid_map', '0 %d 1' % gid))
child = os.fork()
if child == 0:
    os.mkdir('/tmp/m')
    target = b'/tmp/m'
    for kind, options in ((b'cgroup2', None), (b'cgroup', b'memory'), (b'cgroup', b'freezer'), (b'cgroup', b'devices')):
        if named('mount', kind, target, kind, 0, options) != 'ok': continue
        for name in os.listdir(target):
            say('attack:cgroup:' + name.decode(), attempt(lambda: os.close(os.open(target + b'/' + name, os.O_WRONLY))))
        named('umount2', target, 2)
    for kind in (b'proc', b'sysfs', b'debugfs', b'tracefs', b'securityfs', b'bpf', b'devtmpfs', b'pstore', b'configfs', b'efivarfs'):
        say('attack:mount:' + kind.decode(), named('mount', kind, target, kind, 0, None))
    for path in (b'/proc/sys', b'/proc/kcore', b'/proc/keys', b'/proc/bus', b'/proc', b'/', b'/dev', b'/usr'):
        if not os.path.exists(path): continue
        say('attack:umount:' + path.decode(), named('umount2', path, 2))
        say('attack:remount:' + path.decode(), named('mount', b'none', path, None, 32 | 4096, None))
    say('attack:plain-bind', named('mount', b'/proc', target, None, 4096, None))
    os.mkdir('/tmp/r')
    say('bind', named('mount', b'/proc', b'/tmp/r', None, 4096 | 16384, None))
    say('attack:umount-in-bind', named('umount2', b'/tmp/r/sys', 2))
    for base in ('/proc', '/tmp/r'):
        for knob in ('kernel/core_pattern', 'vm/swappiness', 'kernel/hostname'):
            path = base + '/sys/' + knob
            say('attack:write:' + path, attempt(lambda: write(path, open(path).read())))
    # A mount namespace below that one: what was locked stays so.
    say('again', named('unshare', 0x10000000 | 0x20000))
    say('attack:umount-again', named('umount2', b'/proc/sys', 2))
    say('attack:mount-again', named('mount', b'proc', target, b'proc', 0, None))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
def device(path, mode, major, minor):
    os.mknod(path, mode | 0o666, os.makedev(major, minor))
say('attack:mknod:mem', attempt(lambda: device('/tmp/mem', stat.S_IFCHR, 1, 1)))
say('attack:mknod:disk', attempt(lambda: device('/tmp/disk', stat.S_IFBLK, 8, 0)))
say('attack:chown-up', attempt(lambda: os.setuid(4242)))
say('attack:settimeofday', named('settimeofday', (ctypes.c_long * 2)(int(time.time()), 0), None))
say('attack:sched', attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))))
say('attack:nice', attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)))
`;

const hostValues = (): string[] => [
  readFileSync('/proc/sys/kernel/core_pattern', 'utf8'),
  readFileSync('/proc/sys/kernel/hostname', 'utf8'),
  readFileSync('/proc/sys/vm/swappiness', 'utf8'),
];

export const technique: Technique = {
  name: 'nested-namespaces',
  attacks: ['root.host', 'mount.proc', 'seccomp.default'],
  cases: {
    'no namespace can be made or entered, by any of the four calls': async (bench) => {
      for (const spec of [{}, asRoot]) {
        expect(successes(await python(bench, ways, spec))).toEqual([]);
      }
      expect(successes(pythonOutside(ways, ['user']))).toContain('unshare:user:0');
    },
    'a filter that was asked away leaves user namespaces, and they lead to nothing of the host': needing(
      beyondDefault(mapped()),
      async (bench) => {
        const before = hostValues();
        // Uid 0 without CAP_SETFCAP cannot be mapped once more: it makes one namespace, and none in that.
        for (const user of [{ uid: 1000, gid: 1000 }, asRoot.user]) {
          const answers = await python(bench, fromWithin, { ...unconfined, ...mapped(), ...(user && { user }) });
          expect(answers).toMatchObject({ unshared: 'ok', bind: 'ok', again: user === asRoot.user ? 'EPERM' : 'ok' });
          expect(successes(answers).filter((what) => what.startsWith('attack:'))).toEqual([]);
        }
        expect(hostValues()).toEqual(before);
      },
    ),
    // With one of its own it could mount the control groups that the caller's uid owns, and end what runs in them outside.
    'a user namespace that may be made has no cgroup namespace to give': needing(
      beyondDefault(mapped()),
      async (bench) => {
        const within = `
say('user', call(number_of(272, 97), 0x10000000))
say('cgroup', call(number_of(272, 97), 0x02000000))`;
        const user = { uid: 1000, gid: 1000 };
        expect(await python(bench, within, { ...unconfined, ...mapped(), user })).toEqual({
          user: 'ok',
          cgroup: 'ENOSPC',
        });
      },
    ),
    // The files of the host's control groups ask for the uid, and a user namespace is enough to mount them.
    'who is root of the host makes none even then': async (bench) => {
      requires('root');
      for (const user of [0, 1000])
        for (const { capabilities = [] } of bench.offered<SandboxSpec>([{}, { capabilities: KEPT }])) {
          const answers = await python(bench, ways, { ...unconfined, user: { uid: user, gid: user }, capabilities });
          expect(successes(answers).filter((what) => what.includes('user'))).toEqual([]);
          const raise = `say('raise', attempt(lambda: open('/proc/sys/user/max_user_namespaces', 'w').write('100')))`;
          expect(await python(bench, raise, { ...unconfined, user: { uid: user, gid: user }, capabilities })).toEqual({
            raise: expect.stringMatching(/^(EROFS|EACCES)$/),
          });
        }
    },
  },
};
