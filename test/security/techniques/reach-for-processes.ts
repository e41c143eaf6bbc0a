import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { python, successes } from '../python.ts';
import { lighter, type Technique } from '../technique.ts';

const launcher = fileURLToPath(new URL(`../../../prebuilds/linux-${process.arch}/launcher`, import.meta.url));
const capable: SandboxSpec = {
  user: { uid: 0, gid: 0 },
  seccomp: 'unconfined',
  capabilities: ['CAP_SYS_PTRACE', 'CAP_KILL', 'CAP_DAC_OVERRIDE'],
};
const specs: readonly SandboxSpec[] = [
  {},
  { user: { uid: 0, gid: 0 } },
  { user: { uid: 0, gid: 0 }, seccomp: 'unconfined' },
  capable,
];

function digest(): string {
  return createHash('sha256').update(readFileSync(launcher)).digest('hex');
}

/** Of every process of this machine. */
function commandLines(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
        throw error;
      }
    })
    .join('\n');
}

const reach = `
for pid in [1] + [int(a) for a in sys.argv[1:]]:
    for name, request in (('attach', 16), ('seize', 0x4206)): say('%s:%d' % (name, pid), named('ptrace', request, pid, 0, 0))
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    there = (ctypes.c_void_p * 2)(0x400000, 8)
    for name in ('process_vm_readv', 'process_vm_writev'): say('%s:%d' % (name, pid), named(name, pid, vector, 1, there, 1, 0))
    handle, answer = raw(libc.syscall, 434, pid, 0)
    if handle >= 0:
        for number in range(8): say('pidfd_getfd:%d:%d' % (pid, number), call(438, handle, number, 0))
        say('setns:%d' % pid, named('setns', handle, 0x10000000 | 0x20000))
    for name, flags in (('mem', os.O_RDWR), ('mem', 0), ('environ', 0), ('maps', 0), ('exe', 0), ('exe', os.O_WRONLY), ('exe', os.O_PATH),
                        ('root', os.O_PATH), ('cwd', os.O_PATH), ('ns/user', 0), ('ns/mnt', 0), ('fd/0', 0), ('fd/3', 0), ('map_files', 0), ('syscall', 0), ('stack', 0),
                        ('uid_map', os.O_WRONLY), ('setgroups', os.O_WRONLY)):
        def use():
            file = os.open('/proc/%d/%s' % (pid, name), flags)
            # Opening is not yet reaching for what belongs to the opener by its uid.
            if name in ('mem', 'syscall', 'stack', 'environ', 'maps') and flags == 0: os.read(file, 1)
            if name in ('uid_map', 'setgroups'): os.write(file, b'0 0 1')
            if name == 'map_files' and not os.listdir(file): raise OSError(errno.EPERM, '')
        say('%s:%d:%d' % (name, flags, pid), attempt(use))
`;

export const technique: Technique = {
  name: 'reach-for-processes',
  attacks: ['namespace.pid', 'mount.proc', 'mount.bind'],
  cases: {
    'neither the first process nor one of the host can be traced, read, written or entered': async (bench) => {
      for (const spec of bench.offered(specs)) {
        const answers = await python(bench, reach, spec, [process.pid, process.ppid]);
        expect(Object.keys(answers).length).toBeGreaterThan(60);
        expect(successes(answers)).toEqual([]);
      }
    },
    'the program of the launcher cannot be overwritten through /proc': async (bench) => {
      const before = digest();
      // A script that is interpreted by whatever runs it: the launcher, if that is what executes it.
      const directory = bench.makeDirectory('overwrite');
      bench.makeFile('overwrite/again', '#!/proc/self/exe\n', 0o755);
      const script = `
child = os.fork()
if child == 0:
    os.execv('/overwrite/again', ['/overwrite/again'])
os.waitpid(child, 0)
for pid in os.listdir('/proc'):
    if not pid.isdigit() or int(pid) == os.getpid(): continue
    for flags in (os.O_WRONLY, os.O_RDONLY, os.O_PATH):
        say('exe:%s:%d' % (pid, flags), attempt(lambda: os.open('/proc/%s/exe' % pid, flags)))
say('own', attempt(lambda: os.open('/proc/self/exe', os.O_WRONLY)))
`;
      for (const spec of bench.offered(specs))
        expect(successes(await python(bench, script, { ...spec, mounts: [`${directory}:/overwrite:rw`] }))).toEqual([]);
      const asked = run(['/overwrite/again'], { mounts: [`${directory}:/overwrite:rw`] }, bench.options({}));
      expect((await asked).exitCode).not.toBe(0);
      expect(digest()).toBe(before);
    },
    'signals to everything reach nothing outside, and the first process goes on': async (bench) => {
      const script = `
for number in range(1, 65):
    if number in (32, 33): continue
    os.kill(1, number)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# ESRCH: there is nobody else.
say('term', attempt(lambda: os.kill(-1, signal.SIGTERM)))
say('stop', attempt(lambda: os.kill(-1, signal.SIGSTOP)))
os.kill(0, signal.SIGTERM)
time.sleep(0.05)
# Only a first process that is still there takes what loses its parent.
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.1)
        say('parent', os.getppid())
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.3)
`;
      for (const spec of bench.offered(specs))
        expect(await python(bench, script, spec)).toEqual({ term: 'ESRCH', stop: 'ESRCH', parent: '1' });
    },
    'thousands of orphans and what detached itself end with the command': lighter(
      'an init of ours takes and ends them',
      async (bench, share) => {
        const token = `sandboxlib-detached-${process.pid}`;
        const script = `
for index in range(${share(400)}):
    child = os.fork()
    if child == 0:
        # These have no parent any more: init takes them.
        for orphan in range(5):
            if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
deadline = time.monotonic() + 20
while time.monotonic() < deadline and len([p for p in os.listdir('/proc') if p.isdigit()]) > 2: time.sleep(0.01)
say('left', len([p for p in os.listdir('/proc') if p.isdigit()]))
for index in range(20):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork(): os._exit(0)
        if index % 2: os.closerange(0, 3)
        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])
time.sleep(0.3)
`;
        expect(await python(bench, script, {}, [token])).toEqual({ left: '2' });
        expect(commandLines()).not.toContain(token);
      },
    ),
    'whatever signal a command sends itself is what is told': async (bench) => {
      // Those whose default is to end the process.
      for (const name of [
        'SIGHUP',
        'SIGINT',
        'SIGQUIT',
        'SIGABRT',
        'SIGKILL',
        'SIGSEGV',
        'SIGPIPE',
        'SIGTERM',
        'SIGSYS',
      ] as const) {
        const { outcome } = await bench.run(['signal', constants.signals[name]]);
        expect(outcome).toEqual({ kind: 'signalled', signal: name });
      }
    },
  },
};
