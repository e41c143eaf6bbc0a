import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { python, pythonOutside, successes } from '../python.ts';
import type { Technique } from '../technique.ts';

/** Opens every file below proc and sys but those of processes; opening is not writing, so that a success changes nothing. */
const openAll = `
writing = sys.argv[1] == 'write'
def files():
    for top in ('/proc', '/sys'):
        for directory, names, leaves in os.walk(top):
            if directory == '/proc': names[:] = [n for n in names if not n.isdigit() and n not in ('self', 'thread-self')]
            for leaf in leaves: yield os.path.join(directory, leaf)
count = 0
for path in files():
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode): continue
    count += 1
    # Parameters below /proc/sys are for reading; what is secret there belongs to the network namespace.
    secret = mode & 0o400 and not mode & 0o044 and not path.startswith('/proc/sys/')
    if not (mode & 0o222 if writing else secret): continue
    if attempt(lambda: os.close(os.open(path, (os.O_WRONLY if writing else 0) | os.O_NONBLOCK))) == 'ok': say(path, 'ok')
say('files', count)
`;
const openOne = `
say('write', attempt(lambda: os.close(os.open(sys.argv[1], os.O_WRONLY))))
say('read', attempt(lambda: os.close(os.open(sys.argv[1], 0))))
`;

/** Pressure stall triggers: the kernel gives them to everybody (0666), and each is its opener's own. */
const ofEverybody = /^\/proc\/pressure\//;

// Which of them there are is the kernel's configuration.
const knobs = ['kernel/core_pattern', 'kernel/hostname', 'vm/swappiness', 'kernel/modprobe', 'kernel/sysrq'].filter(
  (name) => existsSync(`/proc/sys/${name}`),
);
const masked = ['kcore', 'keys', 'timer_list', 'sysrq-trigger', 'sched_debug', 'latency_stats'];

const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };
const capable: SandboxSpec = {
  ...asRoot,
  capabilities: ['CAP_DAC_OVERRIDE', 'CAP_SYSLOG', 'CAP_SYS_RAWIO', 'CAP_SYS_RESOURCE', 'CAP_NET_ADMIN'],
};

function values(): string[] {
  return knobs.map((name) => readFileSync(`/proc/sys/${name}`, 'utf8'));
}

export const technique: Technique = {
  name: 'kernel-knobs',
  attacks: ['mount.proc', 'namespace.mount'],
  cases: {
    'root finds nothing below /proc and /sys to write to': async (bench) => {
      for (const spec of bench.offered<SandboxSpec>([asRoot, { ...asRoot, seccomp: 'unconfined' }, capable])) {
        const answers = await python(bench, openAll, spec, ['write']);
        expect(Number(answers['files'])).toBeGreaterThan(100);
        expect(successes(answers).filter((path) => !ofEverybody.test(path))).toEqual([]);
      }
      if (process.getuid?.() === 0)
        expect(pythonOutside(openOne, ['/proc/sys/kernel/core_pattern'])['write']).toBe('ok');
    },
    'root reads nothing of /proc that the kernel keeps for root': async (bench) => {
      for (const spec of bench.offered<SandboxSpec>([asRoot, { ...asRoot, seccomp: 'unconfined' }, capable]))
        expect(successes(await python(bench, openAll, spec, ['read']))).toEqual([]);
      if (process.getuid?.() === 0) expect(pythonOutside(openOne, ['/proc/vmallocinfo'])['read']).toBe('ok');
    },
    'kernel settings stay as they are': async (bench) => {
      const before = values();
      // The value that is there already: a success would show, and harm nothing.
      const script = `
for name in sys.argv[1:]:
    def write():
        value = open('/proc/sys/' + name).read()
        open('/proc/sys/' + name, 'w').write(value)
    say(name, attempt(write))
say('binfmt', attempt(lambda: open('/proc/sys/fs/binfmt_misc/register', 'w').write(':sandboxlib:E::sandboxlib::/bin/true:')))
say('hostname', named('sethostname', b'sandboxlib-attack', 17))
`;
      for (const spec of bench.offered<SandboxSpec>([
        {},
        { ...asRoot, seccomp: 'unconfined' },
        { ...capable, seccomp: 'unconfined' },
      ]))
        expect(successes(await python(bench, script, spec, knobs))).toEqual([]);
      expect(values()).toEqual(before);
    },
    'what tells of the whole machine is empty or absent': async (bench) => {
      const script = `
for name in sys.argv[1:]:
    path = '/proc/' + name
    if os.path.isdir(path): say(name, len(os.listdir(path)))
    elif not os.path.exists(path): say(name, 0)
    else: say(name, len(open(path, 'rb').read(100)))
say('sys', len(os.listdir('/sys')) if os.path.exists('/sys') else 0)
say('kmsg', attempt(lambda: os.open('/dev/kmsg', os.O_RDONLY)))
`;
      for (const spec of bench.offered([{}, asRoot, capable])) {
        const { kmsg, ...sizes } = await python(bench, script, spec, [...masked, 'acpi', 'scsi', 'driver']);
        expect(new Set(Object.values(sizes))).toEqual(new Set(['0']));
        expect(kmsg).toBe('ENOENT');
      }
    },
  },
};
