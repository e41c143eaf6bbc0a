// A host that makes no user namespaces, rehearsed by a launcher whose clone(2) refuses them: what `native` still gives there to a caller who can do
// without the rest, and how it holds against a command of the same user in the same view.
import { spawn as spawnPlainly } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { features } from '../../src/features/feature.ts';
import { FeatureError, probe, type RunResult, run, type SandboxSpec, spawn } from '../../src/index.ts';
import { guestPath } from '../helpers/guest.ts';
import { type Bench, makeBench } from '../helpers/native-plan.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';
import { inNode } from '../security/in-node.ts';

const options = { backend: 'native', optional: 'all' } as const;

export interface ConfinedPlace {
  readonly directory: string;
  /** For a caller of its own (in-node.ts). */
  readonly launcher: string;
}

/** A launcher, and from then on this process's, that lives where these calls fail with EPERM (native/test/without_syscall.c). */
export function confinedPlace(...lost: readonly string[]): ConfinedPlace {
  requires('linux', 'userns', 'command:cc');
  const place = { directory: '', launcher: '' };
  let bench: Bench;
  beforeAll(() => {
    bench = makeBench('without_syscall');
    place.directory = mkdtempSync(join(tmpdir(), 'confined-'));
    place.launcher = join(place.directory, 'launcher');
    const calls = ['clone@0&0x10000000', ...lost].map((call) => `'${call}'`).join(' ');
    const program = bench.program('without_syscall');
    writeFileSync(place.launcher, `#!/bin/sh\nexec ${program} --errno 1 ${calls} -- ${bench.launcher} "$@"\n`);
    chmodSync(place.launcher, 0o755);
    process.env['SANDBOXLIB_LAUNCHER'] = place.launcher;
  });
  afterAll(() => {
    delete process.env['SANDBOXLIB_LAUNCHER'];
    rmSync(place.directory, { recursive: true });
    bench.remove();
  });
  return place;
}

const guest = (args: readonly string[], spec: SandboxSpec = {}): Promise<RunResult> =>
  run([guestPath(), ...args], spec, options);
/** Of what a command wrote. */
const linesOf = (stdout: RunResult['stdout']): string[] => String(stdout).trim().split('\n');
const shell = (script: string, spec: SandboxSpec = {}): Promise<RunResult> => run(['sh', '-c', script], spec, options);
const names = (list: readonly { readonly feature: string }[]): string[] => list.map(({ feature }) => feature).sort();

/** What no namespace is needed for, of a spec that says nothing. */
const kept = [
  ...['capabilities.drop', 'cwd', 'env', 'lifecycle.dieWithParent', 'lifecycle.killTree', 'limits.coreBytes'],
  ...['noNewPrivileges', 'seccomp.default', 'umask', 'usage.wall', 'user'],
];
const lacking = [
  ...['hostname', 'mount.dev', 'mount.proc', 'mount.tmpfs', 'namespace.cgroup', 'namespace.ipc', 'namespace.mount'],
  ...['namespace.network', 'namespace.pid', 'namespace.uts', 'network.none', 'root.host', 'root.readonly'],
];

export function confinedCases(): void {
  const place = confinedPlace();

  describe('where user namespaces are refused', () => {
    test('the default sandbox is refused, by the name of all that is missing, with both remedies', async () => {
      const error = await run(['true'], {}, { backend: 'native' }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(FeatureError);
      expect(names((error as FeatureError).missing)).toEqual([...lacking, 'namespace.user'].sort());
      for (const { because, remedy } of (error as FeatureError).missing) {
        expect(because).toContain('namespace.user');
        expect(remedy).toContain('--optional all');
      }
      expect((error as FeatureError).message.match(/namespace\.user:/g)).toHaveLength(1);
    });

    test('it is not enough to do without some of it', async () => {
      const optional = lacking.filter((feature) => feature !== 'network.none') as (typeof features)[number][];
      const asked = run(['true'], {}, { backend: 'native', optional });
      await expect(asked).rejects.toMatchObject({ missing: [{ feature: 'network.none' }] });
    });

    test('who can do without all of it gets the rest, and a true account of both', async () => {
      const { outcome, enforcement } = await run(['true'], {}, options);
      expect(outcome).toEqual({ kind: 'exited', code: 0 });
      expect(names(enforcement.applied)).toEqual(kept);
      expect(names(enforcement.skipped)).toEqual(lacking);
    });

    test('a report says feature by feature what is left', async () => {
      const report = await probe();
      const native = report.backends.find(({ backend }) => backend === 'native');
      expect(native?.usable).toEqual({ available: true, mechanism: expect.stringContaining('no namespaces') });
      for (const feature of kept) expect(native?.features[feature as 'env']).toMatchObject({ available: true });
      for (const feature of lacking) expect(native?.features[feature as 'env']).toMatchObject({ available: false });
    });

    test('a root of its own, and another user, are refused whatever is optional', async () => {
      const root = run(['/bin/true'], { root: { path: place.directory, readonly: false } }, options);
      await expect(root).rejects.toMatchObject({ missing: [{ feature: 'root.path' }] });
      await expect(guest(['ids'], { user: { uid: 4242, gid: 4242 } })).rejects.toMatchObject({
        missing: [{ feature: 'user' }],
      });
    });
  });

  describe('the command', () => {
    test('runs as the caller, with no privilege, under a filter, in a clean environment', async () => {
      const { stdout } = await shell(
        'id -u; pwd; umask; grep -E "^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Amb)):" /proc/self/status; env',
      );
      const lines = linesOf(stdout);
      expect(lines.slice(0, 3)).toEqual([String(process.getuid?.()), '/', '0022']);
      const status = lines.filter((line) => line.includes('\t')).map((line) => line.split(/:\s+/).at(1));
      expect(status).toEqual([...Array(4).fill('0000000000000000'), '1', '2']);
      const set = lines.filter((line) => /^\w+=/.test(line)).map((line) => line.split('=')[0]);
      expect(set.sort()).toEqual(['HOME', 'LANG', 'LOGNAME', 'PATH', 'PWD', 'TMPDIR', 'USER']);
    });

    test('has descriptors 0 to 2, a session of its own, and what the caller gives it', async () => {
      const { stdout: open } = await guest(['fds']);
      expect(linesOf(open).map((line) => line.split(' ')[0])).toEqual(['0', '1', '2']);
      const { stdout } = await shell('test "$(cut -d" " -f6 /proc/$$/stat)" = $$ && echo leader');
      expect(stdout).toBe('leader\n');
    });

    test('has a terminal where it asks for one', async () => {
      const { stdout, enforcement } = await guest(['isatty'], { terminal: { columns: 91, rows: 17 } });
      expect(stdout).toContain('1 1 1');
      expect(names(enforcement.applied)).toContain('terminal');
    });

    test('has only the paths that Landlock leaves it', async () => {
      const [open, shut] = ['open', 'shut'].map((name) => join(place.directory, name)) as [string, string];
      for (const path of [open, shut]) {
        mkdirSync(path);
        writeFileSync(join(path, 'file'), 'text');
      }
      const paths = { '/usr': 'rox', '/dev': 'rw', [open]: 'rw' } as const;
      const script = `cat ${open}/file && echo x > ${open}/new; cat ${shut}/file; echo x > ${shut}/new; ls /etc; cat /proc/1/status
mkdir ${open}/below; mv ${open}/new ${open}/below/moved; mv ${open}/file ${shut}/file; true`;
      const { stdout, enforcement } = await run(['/usr/bin/sh', '-c', script], { landlock: { paths } }, options);
      expect(stdout).toBe('text');
      expect(existsSync(join(open, 'below/moved'))).toBe(true);
      expect(existsSync(join(open, 'file'))).toBe(true);
      expect(existsSync(join(shut, 'new'))).toBe(false);
      expect(names(enforcement.applied)).toContain('landlock.paths');
    });

    test('has only the ports and scopes that Landlock leaves it', async () => {
      const { createServer } = await import('node:net');
      const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      try {
        const { port } = server.address() as { port: number };
        const reach = ['connect', String(port)];
        expect((await guest(reach)).stdout).toBe('connected\n');
        expect((await guest(reach, { landlock: { connectTcp: [] } })).stdout).not.toContain('connected');
        const { enforcement } = await guest(['exit', '0'], { landlock: { scopes: ['abstract-unix-socket'] } });
        expect(names(enforcement.applied)).toContain('landlock.scopes');
      } finally {
        server.close();
      }
    });

    test('is under the profile that it is given', async () => {
      const seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' }],
      } as const;
      const { outcome } = await guest(['mkdir', join(place.directory, 'refused')], { seccomp });
      // Which call it was is told only of a filter that is the first.
      expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGSYS' });
      expect(existsSync(join(place.directory, 'refused'))).toBe(false);
      expect((await guest(['exit', '0'], { seccomp: 'strict' })).outcome).toEqual({
        kind: 'signalled',
        signal: 'SIGSYS',
      });
    });
  });

  test('single calls are told, and asked about', async () => {
    const told: string[] = [];
    const made = join(place.directory, 'asked');
    const { stdout, enforcement } = await run(
      ['sh', '-c', `mkdir ${made} 2>/dev/null || echo refused`],
      { onSyscall: [{ names: ['mkdir', 'mkdirat'], action: 'ask' }] },
      {
        ...options,
        onSyscall: ({ name }) => {
          told.push(String(name));
          return { errno: 'EXDEV' };
        },
      },
    );
    expect({ stdout, told: told.length }).toEqual({ stdout: 'refused\n', told: 1 });
    expect(existsSync(made)).toBe(false);
    expect(names(enforcement.applied)).toContain('seccomp.notify');
  });

  describe('a limit', () => {
    test.each<[string, NonNullable<SandboxSpec['limits']>, readonly string[]]>([
      ['wallMs', { wallMs: 300 }, ['stubborn']],
      ['outputBytes', { outputBytes: 1000 }, ['flood', '1', '100000']],
      ['processCpuMs', { processCpuMs: 1000 }, ['spin', '60000']],
    ])('%s ends it, and is named', async (limit, limits, args) => {
      const { outcome, enforcement } = await run(
        [guestPath(), ...args],
        { limits },
        { ...options, gracePeriodMs: 100 },
      );
      expect(outcome).toEqual({ kind: 'limit', limit });
      expect(names(enforcement.applied)).toContain(`limits.${limit}`);
    });

    test('of a process is its own', async () => {
      const { stdout } = await shell('ulimit -n; ulimit -f; ulimit -s; ulimit -c', {
        limits: { openFiles: 33, fileBytes: 1024 * 1024, stackBytes: 1024 * 1024, coreBytes: 0 },
      });
      expect(linesOf(stdout)).toEqual(['33', '2048', '1024', '0']);
    });

    test('that takes a control group is not to be had: the command could lift it', async () => {
      for (const limits of [{ memoryBytes: '64MiB' }, { pids: 10 }, { cpus: 0.5 }, { cpuMs: 1000 }] as const) {
        const { enforcement } = await guest(['exit', '0'], { limits });
        expect(names(enforcement.skipped)).toContain(`limits.${Object.keys(limits)[0]}`);
      }
    });
  });

  describe('however it ends', () => {
    /** Nothing of it is there, however often one looks, and none of it ended by itself. */
    const isGone = (marker: string, expired: string): void => {
      for (let look = 0; look < 20; look++) expect(processesWith(marker)).toEqual([]);
      expect(existsSync(expired)).toBe(false);
    };

    test.each(['exit', 'kill', 'terminate', 'limit'] as const)(
      'by %s, a storm of daemons ends with it',
      async (end) => {
        const marker = `${end}-of-${place.directory}`;
        const expired = join(place.directory, `expired-${end}`);
        const milliseconds = end === 'exit' ? '100' : '600000';
        const args = ['storm', marker, '40', milliseconds, expired];
        const running = spawn([guestPath(), ...args], end === 'limit' ? { limits: { wallMs: 800 } } : {}, {
          ...options,
          gracePeriodMs: 200,
        });
        if (end === 'kill' || end === 'terminate') {
          await running.lines()[Symbol.asyncIterator]().next();
          running[end]();
        }
        await running;
        isGone(marker, expired);
      },
    );

    test('a daemon that ignores every signal ends with it, and its time is counted', async () => {
      const marker = `daemon-of-${place.directory}`;
      const { stdout, usage } = await guest(['daemon', marker, '600000']);
      expect(stdout).toBe('daemon started\n');
      expect(processesWith(marker)).toEqual([]);
      expect(usage.cpuUserMs).toBeGreaterThanOrEqual(0);
    });

    test.each([
      ['caller', "process.kill(process.pid, 'SIGKILL');"],
      ['launcher', "process.kill(running.pid, 'SIGKILL'); await running.result.catch(() => {});"],
      ['launcher and the caller', "process.kill(running.pid, 'SIGKILL'); process.kill(process.pid, 'SIGKILL');"],
    ])('a storm of daemons ends when the %s is killed', async (victim, end) => {
      const marker = `${victim.replaceAll(' ', '-')}-killed-in-${place.directory}`;
      const expired = join(place.directory, `expired-${victim.replaceAll(' ', '-')}`);
      const command = [guestPath(), 'storm', marker, '40', '600000', expired];
      const code = `const running = spawn(${JSON.stringify(command)}, {}, ${JSON.stringify(options)});
        running.result.catch(() => {});
        await running.lines()[Symbol.asyncIterator]().next();
        console.log('ready');
        ${end}`;
      const { stdout } = inNode(code, { env: { ...process.env, SANDBOXLIB_LAUNCHER: place.launcher } });
      expect(stdout).toBe('ready\n');
      await expect.poll(() => processesWith(marker), { timeout: 30_000 }).toEqual([]);
      isGone(marker, expired);
    });
  });

  describe('against a command of the same user', () => {
    requires('command:python3');

    test('init, the launcher and the caller are out of reach of signals, however sent', async () => {
      const bystander = spawnPlainly(guestPath(), ['sleep', '600000'], { stdio: 'ignore' });
      await once(bystander, 'spawn');
      try {
        const { stdout, outcome } = await run(
          ['python3', '-c', signalling, String(bystander.pid), String(process.pid)],
          {},
          options,
        );
        expect(outcome).toEqual({ kind: 'exited', code: 0 });
        expect(linesOf(stdout)).toEqual(['0 passed', 'still here']);
        expect([bystander.exitCode, bystander.signalCode]).toEqual([null, null]);
      } finally {
        bystander.kill('SIGKILL');
      }
    });

    test('their memory, limits and files below /proc are so too', async () => {
      const { stdout } = await run(['python3', '-c', reaching, String(process.pid)], {}, options);
      expect(linesOf(stdout)).toEqual(['0 passed', 'still here']);
    });
  });
}

/** Without Landlock, which before Linux 6.12 has no scopes: the launcher is not out of the command's reach. */
export function olderCases(): void {
  const place = confinedPlace('landlock_create_ruleset');

  test('what the launcher keeps against the command is not promised, by name', async () => {
    const { enforcement } = await guest(['exit', '0']);
    const promised = ['lifecycle.dieWithParent', 'lifecycle.killTree'];
    expect(names(enforcement.skipped)).toEqual([...lacking, ...promised].sort());
    expect(names(enforcement.applied)).toEqual(kept.filter((feature) => !promised.includes(feature)));
    for (const { feature, because } of enforcement.skipped)
      if (promised.includes(feature)) expect(because).toContain('landlock');
  });

  test('limits of time and output hold, and their mechanism says how far', async () => {
    const { outcome, enforcement } = await guest(['stubborn'], { limits: { wallMs: 200 } });
    expect(outcome).toEqual({ kind: 'limit', limit: 'wallMs' });
    const wall = enforcement.applied.find(({ feature }) => feature === 'limits.wallMs');
    expect(wall?.mechanism).toContain('can signal the launcher');
  });

  test('paths that were asked for are refused where they are not optional', async () => {
    const optional = features.filter((feature) => feature !== 'landlock.paths');
    const asked = run(['true'], { landlock: { paths: { '/usr': 'rox' } } }, { backend: 'native', optional });
    await expect(asked).rejects.toMatchObject({ missing: [{ feature: 'landlock.paths' }] });
  });

  test('what the command leaves is ended all the same, if it does not run from that', async () => {
    const marker = `left-of-${place.directory}`;
    await guest(['daemon', marker, '600000']);
    expect(processesWith(marker)).toEqual([]);
  });
}

/** As root the command is uid 0 of the host, which has means of its own. */
export function rootCases(): void {
  requires('root');
  const place = confinedPlace();

  test('what uid 0 could take back is not promised', async () => {
    const { enforcement } = await guest(['exit', '0']);
    const promised = ['capabilities.drop', 'lifecycle.dieWithParent', 'lifecycle.killTree'];
    expect(names(enforcement.skipped)).toEqual([...lacking, ...promised].sort());
    expect(enforcement.skipped.find(({ feature }) => feature === 'capabilities.drop')?.because).toContain('uid 0');
  });

  test('the command has no capabilities all the same, and can be another user', async () => {
    const { stdout } = await shell('id -u; grep -E "^Cap(Prm|Eff|Bnd)" /proc/self/status', {
      user: { uid: 4242, gid: 4242 },
    });
    expect(linesOf(stdout)).toEqual(['4242', ...['Prm', 'Eff', 'Bnd'].map((set) => `Cap${set}:\t0000000000000000`)]);
  });

  test('root without any capability, as in some containers, is confined too', () => {
    requires('command:setpriv');
    const command = ['sh', '-c', 'id -u; grep -E "^(Cap(Prm|Eff)|NoNewPrivs):" /proc/self/status'];
    const code = `const { stdout } = await run(${JSON.stringify(command)}, {}, ${JSON.stringify(options)}); console.log(stdout);`;
    const prefix = ['setpriv', '--groups', '0', 'setpriv', '--no-new-privs', '--bounding-set=-all'];
    const { stdout, stderr } = inNode(code, {
      prefix,
      env: { ...process.env, SANDBOXLIB_LAUNCHER: place.launcher },
    });
    const none = '0000000000000000';
    expect(stderr).toBe('');
    expect(linesOf(stdout)).toEqual(['0', `CapPrm:\t${none}`, `CapEff:\t${none}`, 'NoNewPrivs:\t1']);
  });

  test('another backend that isolates, or that enters the root, comes first', async () => {
    const root = join(place.directory, 'root');
    for (const name of ['proc', 'dev', 'tmp', 'root']) mkdirSync(join(root, name), { recursive: true });
    copyFileSync(guestPath(), join(root, 'guest'));
    const { enforcement, outcome } = await run(
      ['/guest', 'exit', '3'],
      { root: { path: root, readonly: false } },
      { optional: 'all' },
    );
    expect(outcome).toEqual({ kind: 'exited', code: 3 });
    expect(enforcement.backend).not.toBe('native');
    expect(names(enforcement.applied)).toContain('root.path');
  });
}

const family = `
import ctypes, fcntl, os, resource, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
parent = lambda pid: int(next(l for l in open(f'/proc/{pid}/status') if l.startswith('PPid')).split()[1])
init = os.getppid()
launcher = parent(init)
passed = []
def attempt(name, action):
    try:
        result = action()
    except (OSError, PermissionError, ProcessLookupError, ValueError):
        return
    if result is not False:
        passed.append(name)
`;

/** SIGSTOP first: it would be seen by this very run, which would not end. */
const signalling = `${family}
for victim in [init, launcher, *map(int, sys.argv[1:])]:
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        attempt(f'kill {victim} {number}', lambda: os.kill(victim, number))
        attempt(f'killpg {victim} {number}', lambda: os.killpg(os.getpgid(victim), number))
        attempt(f'tgkill {victim} {number}', lambda: libc.syscall(234, victim, victim, number) == 0)
        attempt(f'tkill {victim} {number}', lambda: libc.syscall(200, victim, number) == 0)
        attempt(f'pidfd {victim} {number}', lambda: signal.pidfd_send_signal(os.pidfd_open(victim), number))
        attempt(f'proc {victim} {number}', lambda: signal.pidfd_send_signal(os.open(f'/proc/{victim}', os.O_RDONLY), number))
        info = ctypes.create_string_buffer(128)
        ctypes.memmove(info, (ctypes.c_int * 3)(number, 0, -1), 12)
        attempt(f'sigqueue {victim} {number}', lambda: libc.syscall(129, victim, number, info) == 0)
    # The owner of a descriptor gets the signal that F_SETSIG (10) names when something comes; that shows only by its effect.
    a, b = socket.socketpair()
    try:
        fcntl.fcntl(a, fcntl.F_SETOWN, victim)
        fcntl.fcntl(a, 10, signal.SIGKILL)
        fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        b.send(b'x')
    except OSError:
        pass
attempt('everybody', lambda: os.kill(-1, signal.SIGKILL))
time.sleep(0.2)
for victim in [init, launcher, *map(int, sys.argv[1:])]:
    os.stat(f'/proc/{victim}')
    state = open(f'/proc/{victim}/stat').read().rsplit(')', 1)[1].split()[0]
    if state in 'TZX':
        passed.append(f'{victim} is {state}')
print(len(passed), 'passed', *passed)
print('still here')
`;

const reaching = `${family}
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
for victim in [init, launcher, int(sys.argv[1])]:
    attempt(f'ptrace {victim}', lambda: libc.ptrace(PTRACE_SEIZE, victim, 0, 0) == 0)
    attempt(f'attach {victim}', lambda: libc.ptrace(PTRACE_ATTACH, victim, 0, 0) == 0)
    attempt(f'prlimit {victim}', lambda: resource.prlimit(victim, resource.RLIMIT_CPU, (0, 0)) is not None)
    attempt(f'mem {victim}', lambda: open(f'/proc/{victim}/mem', 'r+b'))
    attempt(f'fd {victim}', lambda: os.listdir(f'/proc/{victim}/fd'))
    attempt(f'environ {victim}', lambda: open(f'/proc/{victim}/environ').read())
    data = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(data), 8)
    attempt(f'vm {victim}', lambda: libc.process_vm_readv(victim, vector, 1, vector, 1, 0) >= 0)
for victim in [init, launcher]:
    for name in ['oom_score_adj', 'coredump_filter', 'clear_refs', 'timerslack_ns', 'autogroup']:
        attempt(f'{name} {victim}', lambda: os.write(os.open(f'/proc/{victim}/{name}', os.O_WRONLY), b'1'))
print(len(passed), 'passed', *passed)
print('still here')
`;
