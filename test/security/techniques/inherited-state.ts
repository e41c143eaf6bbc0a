import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { uptime } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { requires } from '../../helpers/requires.ts';
import { PYTHON, python, successes } from '../python.ts';
import type { Technique } from '../technique.ts';

const index = fileURLToPath(new URL('../../../dist/index.js', import.meta.url));

/** A caller in a bad state: signals ignored and blocked, real-time, adjusted; then Node, which resets its own signal dispositions but not the mask. */
const badState = `
import os, signal, sys
for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGPIPE): signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM, 40])
os.umask(0o077)
def privileged(act):
    # Root may lack the capability.
    try: act()
    except PermissionError: pass
privileged(lambda: os.nice(-5))
privileged(lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))
privileged(lambda: open('/proc/self/oom_score_adj', 'w').write('-500'))
os.execv(sys.argv[1], sys.argv[1:])
`;

const ownState = `
say('nice', os.getpriority(os.PRIO_PROCESS, 0))
say('policy', os.sched_getscheduler(0))
say('oom', int(open('/proc/self/oom_score_adj').read()) >= 0)
`;

export const technique: Technique = {
  name: 'inherited-state',
  attacks: ['limits.coreBytes', 'mount.proc', 'mount.bind'],
  cases: {
    'whatever state the caller is in, the command starts in a clean one, and ends': (bench) => {
      requires(`file:${PYTHON}`);
      const program = (command: readonly string[]) => `
        const { run } = await import(${JSON.stringify(index)});
        const { stdout, outcome } = await run(${JSON.stringify(command)}, { mounts: ['${bench.guestOutside}:/guest:ro'] }, { backend: '${bench.backend}' });
        process.stdout.write(JSON.stringify({ stdout, outcome }));`;
      const answer = (command: readonly string[]) =>
        JSON.parse(
          spawnSync(PYTHON, ['-c', badState, process.execPath, '--input-type=module', '-e', program(command)], {
            encoding: 'utf8',
          }).stdout,
        ) as { stdout: string; outcome: unknown };
      expect(answer(['/guest', 'state']).stdout).toMatch(/masked 0\nignored 0\n/);
      expect(answer(['/guest', 'umask']).stdout).toBe('0022\n');
      expect(answer(['/guest', 'signal', '15']).outcome).toEqual({ kind: 'signalled', signal: 'SIGTERM' });
      const script = `import os; print(os.getpriority(0, 0), os.sched_getscheduler(0), int(open('/proc/self/oom_score_adj').read()) >= 0)`;
      expect(answer([PYTHON, '-c', script]).stdout).toBe('0 0 True\n');
      return Promise.resolve();
    },
    'the command takes no more of the machine than it has': async (bench) => {
      const script = `
say('nice', attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -1)))
for policy in (os.SCHED_FIFO, os.SCHED_RR): say('policy:%d' % policy, attempt(lambda: os.sched_setscheduler(0, policy, os.sched_param(1))))
def adjust():
    with open('/proc/self/oom_score_adj', 'w') as file: file.write('-1000')
say('oom', attempt(adjust))
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
def core():
    try: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    except ValueError: raise OSError(errno.EPERM, '')
say('core', attempt(core))
say('ioprio', call(number_of(251, 30), 1, 0, 1 << 13))
`;
      for (const more of bench.offered<SandboxSpec>([
        {},
        { seccomp: 'unconfined' },
        { capabilities: ['CAP_SYS_NICE', 'CAP_SYS_RESOURCE', 'CAP_IPC_LOCK'] },
      ]))
        for (const spec of [{}, { user: { uid: 0, gid: 0 } }]) {
          const answers = await python(bench, script, { ...spec, ...more });
          expect(successes(answers)).toEqual([]);
          expect(await python(bench, ownState, { ...spec, ...more })).toEqual({ nice: '0', policy: '0', oom: 'True' });
        }
    },
    'limits of the caller bind the command, are not told as its own, and are not raised': (bench) => {
      requires(`file:${PYTHON}`);
      // A soft limit of the caller is no limit of the spec: what the command does to it is a signal like any other.
      const limits = `
import os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900))
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
os.execv(sys.argv[1], sys.argv[1:])`;
      const attempts = `
import ctypes, errno, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def raised(limit, value):
    try: resource.setrlimit(limit, (value, value))
    except (OSError, ValueError): return 'no'
    return 'raised'
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE), len(os.sched_getaffinity(0)))
print(*[raised(limit, value) for limit, value in ((resource.RLIMIT_NOFILE, 1000), (resource.RLIMIT_MEMLOCK, 1 << 24), (resource.RLIMIT_FSIZE, 1 << 21), (resource.RLIMIT_CORE, 1))])
area = ctypes.create_string_buffer(1 << 22)
print('locked' if libc.mlock(area, 1 << 22) == 0 else errno.errorcode[ctypes.get_errno()])
print('locked' if libc.mlockall(3) == 0 else errno.errorcode[ctypes.get_errno()])`;
      const specs = bench.offered<SandboxSpec>([
        {},
        { capabilities: ['CAP_SYS_RESOURCE', 'CAP_IPC_LOCK', 'CAP_SYS_NICE'] },
      ]);
      const program = `
        const { run } = await import(${JSON.stringify(index)});
        const answers = [];
        for (const spec of ${JSON.stringify(specs)}) {
          const { stdout, stderr } = await run(['${PYTHON}', '-c', ${JSON.stringify(attempts)}], spec, { backend: '${bench.backend}' });
          answers.push(stdout + stderr);
        }
        const { outcome } = await run(['/guest', 'fill', '/tmp/x', '2097152'], { mounts: ['${bench.guestOutside}:/guest:ro'] }, { backend: '${bench.backend}' });
        process.stdout.write(JSON.stringify({ answers, outcome }));`;
      const { stdout, stderr } = spawnSync(
        PYTHON,
        ['-c', limits, process.execPath, '--input-type=module', '-e', program],
        { encoding: 'utf8' },
      );
      expect(stderr).toBe('');
      const { answers, outcome } = JSON.parse(stdout) as { answers: string[]; outcome: unknown };
      for (const answer of answers)
        expect(answer).toMatch(
          /^\(900, 900\) \(0, 0\) 1\nno no no no\n(ENOMEM|EPERM|EAGAIN)\n(ENOMEM|EPERM|EAGAIN)\n$/,
        );
      expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGXFSZ' });
      return Promise.resolve();
    },
    'a crash leaves no core file': async (bench) => {
      const directory = bench.makeDirectory('crash');
      const { outcome } = await bench.run(['abort'], { mounts: [`${directory}:/crash:rw`], cwd: '/crash' });
      expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGABRT' });
      expect(readdirSync(directory)).toEqual([]);
    },
    'what belongs to the whole machine is refused': async (bench) => {
      const script = `
now = (ctypes.c_long * 2)(int(time.time()) + 3600, 0)
say('settimeofday', named('settimeofday', now, None))
say('clock_settime', named('clock_settime', 0, now))
say('clock_adjtime', named('clock_adjtime', 0, (ctypes.c_long * 64)(1)))
say('syslog', named('klogctl', 3, ctypes.create_string_buffer(64), 64))
say('swapon', named('swapon', b'/tmp/none', 0))
say('acct', named('acct', b'/tmp'))
say('setdomainname', named('setdomainname', b'sandboxlib', 10))
for name, x64, arm64 in (('kexec_load', 246, 104), ('init_module', 175, 105), ('delete_module', 176, 106), ('bpf', 321, 280), ('perf_event_open', 298, 241)):
    say(name, call(number_of(x64, arm64), 0, 0, 0, 0, 0))
# Wrong magic numbers: a kernel that let it through would answer EINVAL.
say('reboot', call(number_of(169, 142), 0, 0, 0, 0))
say('adjtimex', named('adjtimex', (ctypes.c_long * 64)(1)))
for name, x64, arm64, first in (('quotactl', 179, 60, 0x800002), ('finit_module', 313, 273, -1), ('kexec_file_load', 320, 294, -1), ('lookup_dcookie', 212, 18, 0)):
    say(name, call(number_of(x64, arm64), first, 0, 0, 0, 0))
`;
      const drift = () => Date.now() / 1000 - uptime();
      const before = drift();
      for (const spec of [{}, { user: { uid: 0, gid: 0 } }] as const)
        for (const seccomp of ['default', 'unconfined'] as const)
          expect(successes(await python(bench, script, { ...spec, seccomp }))).toEqual([]);
      expect(Math.abs(drift() - before)).toBeLessThan(1000);
    },
  },
};
