// What the command can reach beside files: processes, network, kernel interfaces, privileges, a terminal.
import { chmodSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { expect } from 'vitest';
import { run } from '../../src/index.ts';
import type { RunOptions, RunResult } from '../../src/run/types.ts';
import type { LandlockAccess, OciSeccomp, SandboxSpec, SyscallAction, SyscallRule } from '../../src/spec/types.ts';
import { requires } from '../helpers/requires.ts';
import type { Bench } from './bench.ts';
import type { Suite } from './describe-backend.ts';

const CAP_CHOWN = 0;
const CAP_NET_BIND_SERVICE = 10;

export function isolationCases(suite: Suite): void {
  namespaceCases(suite);
  networkCases(suite);
  privilegeCases(suite);
  filterCases(suite);
  questionCases(suite);
  landlockCases(suite);
  terminalCases(suite);
}

function namespaceCases({ bench, promise }: Suite): void {
  promise(['namespace.pid', 'mount.proc'], 'the command sees only the processes of its sandbox', async () => {
    const pids = (await bench.answer(['pids'])).split('\n').map(Number);
    expect(pids).toContain(1);
    expect(pids.length).toBeLessThanOrEqual(3);
    expect(pids).not.toContain(process.pid);
  });

  promise(['namespace.pid'], 'the command cannot signal a process of the host', async () => {
    expect(await bench.refusal(['kill', process.pid, 0])).toBe('errno ESRCH');
  });

  promise(['namespace.pid'], 'the first process of the sandbox cannot be killed from inside', async () => {
    const { outcome } = await bench.run(['kill', 1, 9]);
    expect(outcome.kind).toBe('exited');
  });

  for (const [namespace, file] of [
    ['pid', 'pid'],
    ['mount', 'mnt'],
    ['ipc', 'ipc'],
    ['uts', 'uts'],
    ['cgroup', 'cgroup'],
    ['network', 'net'],
    ['user', 'user'],
  ] as const) {
    // Whoever mounted /proc: it has a `self` only for processes that it was mounted for, and tells the truth of those.
    promise([`namespace.${namespace}`], `the ${namespace} namespace is not the host's`, async () => {
      const link = `/proc/self/ns/${file}`;
      expect(await bench.answer(['readlink', link])).not.toBe(readlinkSync(link));
    });
  }

  promise(['idMappings', 'idMappings.ranges'], 'ids inside stand for the ids outside that were asked for', async () => {
    // An ordinary user has no ranges without an account: test/os/subordinate-ids.test.ts.
    requires('root');
    const mapping = [{ containerID: 0, hostID: 100_000, size: 1000 }];
    const workspace = bench.makeDirectory('mapped');
    const spec: SandboxSpec = {
      uidMappings: mapping,
      gidMappings: mapping,
      user: { uid: 5, gid: 6, additionalGids: [7, 8] },
    };
    expect(await bench.answer(['ids'], spec)).toBe('uid 5 5 5\ngid 6 6 6\ngroups 7 8');
    // Files of ids that are not mapped belong to nobody.
    expect(await bench.answer(['stat', workspace], { ...spec, mounts: [`${workspace}:${workspace}`] })).toMatch(
      / 65534 65534$/,
    );
  });
}

function networkCases({ bench, promise }: Suite): void {
  promise(['network.none'], 'without network there is only a loopback, and it works', async () => {
    expect(await bench.answer(['interfaces'])).toBe('lo up');
    expect(await bench.answer(['loopback'])).toBe('connected');
  });

  promise(['network.none'], 'without network a server of the host cannot be reached', async () => {
    await withServer(async (port) => {
      expect(await bench.refusal(['connect', port])).toBe('errno ECONNREFUSED');
    });
  });

  promise(['network.host'], 'with the network of the host its servers can be reached', async () => {
    await withServer(async (port) => {
      expect(await bench.answer(['connect', port], { network: 'host' })).toBe('connected');
    });
  });
}

async function withServer(body: (port: number) => Promise<void>): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await body((server.address() as AddressInfo).port);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

interface Capabilities {
  readonly permitted: bigint;
  readonly effective: bigint;
  readonly inheritable: bigint;
  readonly bounding: bigint;
  readonly ambient: bigint;
}

async function capabilitiesOf(bench: Bench, spec: SandboxSpec = {}): Promise<Capabilities> {
  const [permitted = 0n, effective = 0n, inheritable = 0n, bounding = 0n, ambient = 0n] = (
    await bench.answer(['caps'], spec)
  )
    .split(' ')
    .map((word) => BigInt(`0x${word}`));
  return { permitted, effective, inheritable, bounding, ambient };
}

function privilegeCases({ bench, promise }: Suite): void {
  const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };
  const none = { permitted: 0n, effective: 0n, inheritable: 0n, bounding: 0n, ambient: 0n };

  promise(['capabilities.drop'], 'the command has no capability, and none to gain', async () => {
    expect(await capabilitiesOf(bench)).toEqual(none);
    expect(await capabilitiesOf(bench, asRoot)).toEqual(none);
  });

  promise(['capabilities.keep'], 'the command keeps the capabilities that were named, and no others', async () => {
    const kept = (1n << BigInt(CAP_CHOWN)) | (1n << BigInt(CAP_NET_BIND_SERVICE));
    const spec: SandboxSpec = { ...asRoot, capabilities: ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE'] };
    expect(await capabilitiesOf(bench, spec)).toMatchObject({ permitted: kept, effective: kept, bounding: kept });
    const ordinary: SandboxSpec = { capabilities: ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE'] };
    expect(await capabilitiesOf(bench, ordinary)).toMatchObject({ permitted: kept, effective: kept, bounding: kept });
  });

  promise(['noNewPrivileges'], 'the command can gain no privileges by execve', async () => {
    expect(await bench.answer(['state'])).toContain('no_new_privs 1\n');
  });

  promise(['seccomp.default'], 'the default filter is on, and refuses what commands do not need', async () => {
    expect(await bench.answer(['state'])).toContain('seccomp 2\n');
    expect(await bench.refusal(['unshare'])).toMatch(/^errno (EPERM|ENOSPC|ENOSYS)$/);
    // SECCOMP_MODE_FILTER is not there when it was not asked for. chroot keeps one of its own, without which its root would not hold.
    const unconfined = bench.backend === 'chroot' ? 'seccomp 2\n' : 'seccomp 0\n';
    expect(await bench.answer(['state'], { seccomp: 'unconfined' })).toContain(unconfined);
  });
}

/** Linux numbers the same for both: getppid, execve. */
const GETPPID = process.arch === 'arm64' ? 173 : 110;
const GETPID = process.arch === 'arm64' ? 172 : 39;

function filterCases({ bench, promise }: Suite): void {
  promise(['seccomp.strict'], 'a strict command reads, writes and ends, and dies of anything else', async () => {
    const spec: SandboxSpec = { seccomp: 'strict' };
    const { outcome, stdout, enforcement } = await bench.bare(['echo'], spec, { input: 'to and fro' });
    expect({ outcome, stdout }).toEqual({ outcome: { kind: 'exited', code: 7 }, stdout: 'to and fro' });
    expect(enforcement.applied).toContainEqual({
      feature: 'seccomp.strict',
      mechanism: 'seccomp filter of SECCOMP_MODE_STRICT and exit_group',
    });
    expect((await bench.bare(['call', GETPPID], spec)).outcome).toMatchObject(bench.killedFor({ name: 'getppid' }));
    // A C library makes calls of its own before main().
    expect((await bench.run(['exit', 0], spec)).outcome).toMatchObject(bench.killedFor());
  });

  promise(['seccomp.strict'], 'a strict command that is not there is an error, as ever', async () => {
    const attempt = run(['/not/there'], bench.withGuest({ seccomp: 'strict' }), bench.options({}));
    await expect(attempt).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'exec', reason: 'not-found' });
  });

  promise(['seccomp.custom'], 'a profile decides by number and by argument', async () => {
    const seccomp: OciSeccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        {
          names: ['getppid'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 71,
          args: [{ index: 0, value: 5, op: 'SCMP_CMP_LT' }],
        },
        { names: ['getpid'], action: 'SCMP_ACT_KILL_PROCESS' },
      ],
    };
    const answer = async (...args: number[]): Promise<unknown> =>
      (await bench.bare(['call', ...args], { seccomp })).stdout;
    expect(await answer(GETPPID, 4)).toBe('errno 71\n');
    expect(await answer(GETPPID, 5)).toBe('ok\n');
    const { outcome, enforcement, signal } = await bench.bare(['call', GETPID], { seccomp });
    expect(outcome).toMatchObject(bench.killedFor({ name: 'getpid', number: GETPID }));
    expect(signal).toBe('SIGSYS');
    const mechanism = 'seccomp filter of the profile';
    expect(enforcement.applied).toContainEqual({ feature: 'seccomp.custom', mechanism });
  });

  promise(
    ['seccomp.custom'],
    'a profile that forbids to execute starts the command, and nothing after it',
    async () => {
      for (const action of ['SCMP_ACT_ERRNO', 'SCMP_ACT_KILL_PROCESS']) {
        const syscalls = [{ names: ['execve', 'execveat'], action }];
        const seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls };
        expect(await bench.answer(['echo', 'hello'], { seccomp })).toBe('hello');
        const { outcome, stdout } = await bench.bare(['exec', bench.guest([])[0] ?? ''], {
          seccomp,
          mounts: mountOfGuest(),
        });
        if (action === 'SCMP_ACT_ERRNO') expect(stdout).toMatch(/^errno 1 after \d+\n$/);
        else expect(outcome).toMatchObject(bench.killedFor({ name: 'execve' }));
      }
      function mountOfGuest(): string[] {
        return bench.hasMounts ? [`${bench.guestOutside}:${bench.guest([])[0]}:ro`] : [];
      }
    },
  );

  promise(
    ['seccomp.custom'],
    'a command that cannot be executed is named, though the profile forbids to report it',
    async () => {
      // Nothing at all is allowed: neither the exec, nor to look for the reason, nor to tell it.
      const seccomp = { defaultAction: 'SCMP_ACT_KILL_PROCESS' };
      const plain = bench.makeFile('no-program', 'no program', 0o755);
      const attempts: [string[], string][] = [
        [['/not/there'], 'not-found'],
        [['not-on-the-path'], 'not-found'],
        [[bench.inside(plain)], 'not-a-program'],
      ];
      for (const [command, reason] of attempts) {
        const spec = bench.withRoot({ seccomp, mounts: bench.mountsFor(plain) });
        await expect(run(command, spec, bench.options({}))).rejects.toMatchObject({ step: 'exec', reason });
      }
      const { outcome } = await bench.bare(['call', GETPPID], { seccomp });
      expect(outcome).toMatchObject(bench.killedFor({ name: 'getppid' }));
    },
  );
}

function questionCases({ bench, promise }: Suite): void {
  promise(['seccomp.notify'], 'a call is told, refused, ended or asked about, as its rule says', async () => {
    const rule = (action: SyscallAction, more: Partial<SyscallRule> = {}): SandboxSpec => ({
      onSyscall: [{ names: ['getppid'], action, ...more }],
    });
    const told = await bench.bare(['call', GETPPID, 7], rule('log'));
    expect(told.stdout).toBe('ok\n');
    expect(told.syscalls).toMatchObject({ total: 1, first: [{ name: 'getppid', number: GETPPID, action: 'log' }] });
    expect(told.syscalls?.first[0]?.args[0]).toBe('0x7');
    expect(told.enforcement.applied.map(({ feature }) => feature)).toContain('seccomp.notify');
    const refused = await bench.bare(['call', GETPPID], rule('errno', { errno: 'EPROTO' }));
    expect({ stdout: refused.stdout, total: refused.syscalls?.total }).toEqual({ stdout: 'errno 71\n', total: 1 });
    const ended = await bench.bare(['call', GETPPID], rule('kill'));
    expect(ended.outcome).toMatchObject({ kind: 'denied', rule: 'seccomp', syscall: { name: 'getppid' } });
    const untold = await bench.bare(['call', GETPPID], {
      onSyscall: [...(rule('allow').onSyscall ?? []), ...(rule('kill').onSyscall ?? [])],
    });
    expect(untold).toMatchObject({ stdout: 'ok\n', syscalls: { total: 0 } });
    // Whose argument no rule fits goes on.
    const args = [{ index: 0, op: 'SCMP_CMP_EQ', value: 5 }];
    expect((await bench.bare(['call', GETPPID, 4], rule('kill', { args }))).stdout).toBe('ok\n');
    expect((await bench.bare(['call', GETPPID, 5], rule('kill', { args }))).outcome.kind).toBe('denied');
  });

  promise(['seccomp.notify'], 'what the caller answers becomes of a call', async () => {
    const spec: SandboxSpec = { onSyscall: [{ names: ['getppid'], action: 'ask' }] };
    const answered = async (onSyscall: RunOptions['onSyscall']): Promise<unknown> => {
      const { outcome, stdout } = await bench.bare(
        ['call', GETPPID],
        spec,
        onSyscall === undefined ? {} : { onSyscall },
      );
      return outcome.kind === 'exited' ? stdout : outcome.kind;
    };
    expect(await answered(() => 'allow')).toBe('ok\n');
    expect(await answered(async () => ({ errno: 'ENOSPC' }))).toBe('errno 28\n');
    expect(await answered(() => 'kill')).toBe('denied');
    const failure = new Error('of the caller');
    await expect(
      answered(() => {
        throw failure;
      }),
    ).rejects.toBe(failure);
  });

  promise(['seccomp.notify', 'seccomp.custom'], 'what a profile does not let through is not asked about', async () => {
    const seccomp = (action: string): OciSeccomp => ({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['getppid'], action }],
    });
    const onSyscall: SyscallRule[] = [{ names: ['getppid', 'getpid'], action: 'log' }];
    const refused = await bench.bare(['call', GETPPID], { seccomp: seccomp('SCMP_ACT_ERRNO'), onSyscall });
    expect(refused).toMatchObject({ stdout: 'errno 1\n', syscalls: { total: 0 } });
    const ended = await bench.bare(['call', GETPPID], { seccomp: seccomp('SCMP_ACT_KILL_PROCESS'), onSyscall });
    expect(ended.outcome).toMatchObject(bench.killedFor({ name: 'getppid' }));
    const logged = await bench.bare(['call', GETPPID], { seccomp: seccomp('SCMP_ACT_LOG'), onSyscall });
    expect(logged).toMatchObject({ stdout: 'ok\n', syscalls: { total: 1 } });
  });
}

function landlockCases({ bench, promise }: Suite): void {
  /** `spec` with a directory of the host in it, and Landlock that leaves `access` to it, and the guest. */
  const leaving = (path: string, access: LandlockAccess): SandboxSpec => ({
    landlock: { paths: { [bench.guest([])[0] ?? '']: 'rox', [bench.inside(path)]: access } },
    mounts: bench.mountsFor(path, 'rw'),
  });

  promise(['landlock.paths'], 'a path that is left to read is not written, and what is left to write is', async () => {
    const path = bench.makeDirectory('landlocked');
    chmodSync(path, 0o777);
    bench.makeFile('landlocked/file', 'content', 0o666);
    const [file, other] = [`${bench.inside(path)}/file`, `${bench.inside(path)}/other`];
    expect(await bench.answer(['read', file], leaving(path, 'ro'))).toBe('content');
    expect(await bench.refusal(['write', file, 'x'], leaving(path, 'ro'))).toBe('errno EACCES');
    expect(await bench.refusal(['write', other, 'x'], leaving(path, 'ro'))).toBe('errno EACCES');
    expect(await bench.refusal(['unlink', file], leaving(path, 'ro'))).toBe('errno EACCES');
    expect(await bench.answer(['write', file, 'x'], leaving(path, 'rw'))).toBe('written');
    expect(await bench.answer(['mkdir', other], leaving(path, 'rw'))).toBe('made');
    expect(readFileSync(`${path}/file`, 'utf8')).toBe('x');
  });

  promise(['landlock.paths'], 'a path that is not left is not read', async () => {
    const path = bench.makeDirectory('denied');
    bench.makeFile('denied/file', 'content');
    const spec = leaving(path, 'ro');
    const landlock = { paths: { [bench.guest([])[0] ?? '']: 'rox' } } as const;
    expect(await bench.answer(['read', `${bench.inside(path)}/file`], spec)).toBe('content');
    expect(await bench.refusal(['read', `${bench.inside(path)}/file`], { ...spec, landlock })).toBe('errno EACCES');
  });

  promise(['landlock.paths'], 'a command that it may not execute is named, and a path that is not there', async () => {
    const start = (paths: Readonly<Record<string, LandlockAccess>>): Promise<RunResult> =>
      bench.run(['exit', 0], { landlock: { paths } });
    const denied = { code: 'SBX_LAUNCH_FAILED', step: 'exec', reason: 'not-executable' };
    await expect(start({})).rejects.toMatchObject(denied);
    await expect(start({ '/': 'rw' })).rejects.toMatchObject(denied);
    await expect(start({})).rejects.toThrow(/landlock\.paths must cover it/);
    await expect(start({ '/': 'rox', '/not/there': 'ro' })).rejects.toMatchObject({
      code: 'SBX_LAUNCH_FAILED',
      step: 'landlock',
      errno: 'ENOENT',
      path: '/not/there',
    });
    // Left by an earlier run, it would lead the right elsewhere.
    const left = bench.makeDirectory('links');
    symlinkSync('/', `${left}/link`);
    const linked = { paths: { '/': 'rox', [`${bench.inside(left)}/link`]: 'rwx' } } as const;
    await expect(bench.run(['exit', 0], { landlock: linked, mounts: bench.mountsFor(left) })).rejects.toMatchObject({
      code: 'SBX_LAUNCH_FAILED',
      step: 'landlock',
    });
    expect((await start({ '/': 'rox' })).outcome).toEqual({ kind: 'exited', code: 0 });
  });

  promise(['landlock.tcp', 'network.host'], 'the ports that are named can be connected to, and no others', async () => {
    await withServer(async (port) => {
      const toPorts = (...connectTcp: number[]): SandboxSpec => ({ network: 'host', landlock: { connectTcp } });
      expect(await bench.answer(['connect', port], toPorts(1, port))).toBe('connected');
      expect(await bench.refusal(['connect', port], toPorts(1))).toBe('errno EACCES');
      expect(await bench.refusal(['connect', port], toPorts())).toBe('errno EACCES');
    });
  });

  promise(['landlock.tcp', 'network.host'], 'the ports that are named can be bound, and no others', async () => {
    const ofPorts = (...bindTcp: number[]): SandboxSpec => ({ network: 'host', landlock: { bindTcp } });
    expect(await bench.answer(['loopback'], ofPorts(0))).toBe('connected');
    expect(await bench.refusal(['loopback'], ofPorts(1))).toBe('errno EACCES');
    expect(await bench.refusal(['loopback'], ofPorts())).toBe('errno EACCES');
  });

  promise(['landlock.scopes', 'network.host'], 'an abstract socket of others is out of reach in a scope', async () => {
    // As long as one can be (unix(7)): some releases of Node fill shorter ones up with NULs.
    const name = `sandboxlib-${process.pid}-${bench.backend}-`.padEnd(107, 'x');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end();
    });
    await new Promise<void>((resolve) => server.listen(`\0${name}`, resolve));
    try {
      const scopes = ['abstract-unix-socket'] as const;
      expect(await bench.answer(['connect-abstract', name], { network: 'host' })).toBe('connected');
      const scoped: SandboxSpec = { network: 'host', landlock: { scopes } };
      expect(await bench.refusal(['connect-abstract', name], scoped)).toBe('errno EPERM');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
}

function terminalCases({ bench, promise }: Suite): void {
  promise(['terminal'], 'on a terminal all three of stdin, stdout and stderr are one', async () => {
    expect(await bench.answer(['isatty'], { terminal: true })).toMatch(/^1 1 1\r?$/);
    expect(await bench.answer(['isatty'])).toBe('0 0 0');
  });

  promise(['terminal'], 'a terminal has the size that was asked for', async () => {
    expect(await bench.answer(['winsize'], { terminal: { columns: 101, rows: 33 } })).toMatch(/^101 33\r?$/);
  });

  promise(['terminal'], 'a terminal can be resized while the command runs', async () => {
    await using process = bench.spawn(['await-resize'], { terminal: { columns: 80, rows: 25 } });
    const lines = process.lines()[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('ready');
    process.resize(120, 40);
    expect((await lines.next()).value).toBe('120 40');
  });
}
