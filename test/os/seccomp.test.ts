// The default filter on this machine's own kernel, installed by a program of the tests: no launcher, no namespaces, so that what fails here fails
// because of the filter. Every verdict is compared with the same call without a filter where the kernel alone could give it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compileSeccomp } from '../../src/seccomp/compile.ts';
import { defaultFilter } from '../../src/seccomp/default-filter.ts';
import type { OciSeccompRule } from '../../src/seccomp/oci.ts';
import { type Abi, syscallTable } from '../../src/seccomp/syscalls.ts';

const reasonToSkip = findReasonToSkip();
if (reasonToSkip !== undefined && (process.env['SANDBOXLIB_TEST_MUST'] ?? '').split(',').includes('seccomp')) {
  throw new Error(`SANDBOXLIB_TEST_MUST names seccomp, but ${reasonToSkip}`);
}

function findReasonToSkip(): string | undefined {
  if (process.platform !== 'linux') return `this is ${process.platform}, seccomp is Linux`;
  if (process.arch !== 'x64' && process.arch !== 'arm64') return `there is no filter for ${process.arch}`;
  if (spawnSync('cc', ['--version']).status !== 0) return 'there is no C compiler named cc';
  return undefined;
}

const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
const native: Abi = architecture === 'arm64' ? 'aarch64' : 'x86_64';

let directory = '';
let program = '';
let filter = '';

beforeAll(() => {
  if (reasonToSkip !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), 'seccomp-test-'));
  program = join(directory, 'try_syscall');
  filter = join(directory, 'default.bpf');
  const source = fileURLToPath(new URL('../../native/test/try_syscall.c', import.meta.url));
  const compiler = spawnSync(
    'cc',
    ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-O1', '-pthread', '-o', program, source],
    { encoding: 'utf8' },
  );
  if (compiler.status !== 0) throw new Error(compiler.stderr);
  writeFileSync(filter, defaultFilter({ architecture }));
});
afterAll(() => {
  if (directory !== '') rmSync(directory, { recursive: true });
});

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly signal: NodeJS.Signals | null;
  readonly status: number | null;
}

function run(filterFile: string, ...args: readonly string[]): Ended {
  const { stdout, stderr, signal, status, error } = spawnSync(program, [filterFile, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  if (error !== undefined) throw error;
  return { stdout: stdout.trim(), stderr: stderr.trim(), signal, status };
}

type Way = 'native' | 'retrace' | 'i386' | 'x32';

function number(way: Way, name: string): number {
  const found = syscallTable(way === 'native' || way === 'retrace' ? native : way).get(name);
  if (found === undefined) throw new Error(`${way} has no ${name}`);
  return found;
}

const errnoNames = new Map(Object.entries(constants.errno).map(([name, code]) => [code, name]));

/** What the call returns under the filter: `0`, `-1 EPERM`, ... or the signal that it cost. */
function attempt(
  way: Way,
  call: string | number,
  args: readonly (number | bigint)[] = [],
  filterFile = filter,
): string {
  const nr = typeof call === 'number' ? call : number(way, call);
  const { stdout, stderr, signal } = run(filterFile, way, String(nr), ...args.map((a) => `0x${a.toString(16)}`));
  if (stderr !== '') throw new Error(stderr);
  return signal ?? stdout.replace(/^errno (\d+)$/, (_, code: string) => `-1 ${errnoNames.get(Number(code)) ?? code}`);
}

const CLONE_NEWUSER = 0x10000000;
const TIOCSTI = 0x5412n;
const AF_VSOCK = 40;

describe('the default filter on this kernel', () => {
  beforeEach((context) => {
    if (reasonToSkip !== undefined) context.skip(reasonToSkip);
  });

  test('the kernel takes it', () => {
    expect(run(filter, 'exec', 'true')).toMatchObject({ status: 0, stderr: '' });
  });

  test.each([
    ['a shell with a pipe and a subshell', 'sh', ['-c', 'echo a b | (read x y; echo $y$x)'], 'ba'],
    ['perl, which forks', 'perl', ['-e', 'my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8'], '3'],
    [
      'python, with threads, a process and a socket pair',
      'python3',
      [
        '-c',
        'import threading,subprocess,socket\nt=threading.Thread(target=lambda: None);t.start();t.join()\na,b=socket.socketpair();a.send(b"x")\nprint(subprocess.check_output(["echo","y"]).decode().strip()+b.recv(1).decode())',
      ],
      'yx',
    ],
    [
      'node, with a worker, a child and a TCP server',
      process.execPath,
      [
        '-e',
        `const {Worker}=require('worker_threads'),net=require('net'),cp=require('child_process');
         new Worker('require("worker_threads").parentPort.postMessage(1)',{eval:true}).on('message',()=>{
           const s=net.createServer(c=>c.end('z')).listen(0,'127.0.0.1',()=>net.connect(s.address().port,'127.0.0.1').on('data',d=>{
             console.log(cp.execFileSync('echo',['w']).toString().trim()+d);s.close()}))})`,
      ],
      'wz',
    ],
    ['a program that asks for the addresses of hosts', 'getent', ['ahosts', '127.0.0.1'], undefined],
  ])('%s works', (_what, file, args, expected) => {
    if (run('-', 'exec', file, ...args).status !== 0)
      throw new Error(`${file} does not work here without a filter either`);
    const ended = run(filter, 'exec', file, ...args);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    if (expected !== undefined) expect(ended.stdout).toBe(expected);
  });

  test('threads start, although clone3 looks absent', () => {
    expect(attempt('native', 'clone3', [0, 0])).toBe('-1 ENOSYS');
    expect(run(filter, 'threads')).toMatchObject({ status: 0, stdout: '8' });
  });

  test('namespaces are not to be had', () => {
    expect(attempt('native', 'unshare', [CLONE_NEWUSER])).toBe('-1 EPERM');
    expect(attempt('native', 'unshare', [0x80])).toBe('-1 EPERM');
    expect(attempt('native', 'clone', [CLONE_NEWUSER + 17])).toBe('-1 EPERM');
    expect(attempt('native', 'unshare', [0x400]), 'CLONE_FILES is no namespace').toBe('0');
  });

  // Standard input is no terminal here: without the filter the kernel says ENOTTY.
  test('terminal injection is forbidden, whatever the high bits of the request', () => {
    expect(attempt('native', 'ioctl', [0, TIOCSTI], '-')).not.toBe('-1 EPERM');
    expect(attempt('native', 'ioctl', [0, TIOCSTI])).toBe('-1 EPERM');
    expect(attempt('native', 'ioctl', [0, TIOCSTI + (1n << 32n)])).toBe('-1 EPERM');
    expect(attempt('native', 'ioctl', [0, TIOCSTI + 0xffffffff00000000n])).toBe('-1 EPERM');
    expect(attempt('native', 'ioctl', [0, 0x541c])).toBe('-1 EPERM');
    expect(attempt('native', 'ioctl', [0, 0x5401])).toBe(attempt('native', 'ioctl', [0, 0x5401], '-'));
  });

  test('sockets are of the allowed families only', () => {
    for (const family of [AF_VSOCK, 38, 17, 31, 0])
      expect(attempt('native', 'socket', [family, 1, 0])).toBe('-1 EAFNOSUPPORT');
    expect(attempt('native', 'socket', [0x100000000n + BigInt(AF_VSOCK), 1, 0])).toBe('-1 EAFNOSUPPORT');
    for (const family of [1, 2, 10])
      expect(attempt('native', 'socket', [family, 1, 0]), String(family)).toMatch(/^\d+$/);
    expect(attempt('native', 'socket', [16, 3, 0])).toMatch(/^\d+$/);
  });

  test('io_uring looks absent', () => {
    for (const call of ['io_uring_setup', 'io_uring_enter', 'io_uring_register'])
      expect(attempt('native', call, [1, 0])).toBe('-1 ENOSYS');
  });

  test('an unknown number looks absent', () => {
    for (const nr of [9999, 600, 470]) expect(attempt('native', nr)).toBe('-1 ENOSYS');
  });

  // All arguments are 0 or bad pointers: without a filter, too, none of these changes anything.
  test.each(
    `mount umount2 pivot_root fsopen move_mount open_tree mount_setattr setns chroot bpf perf_event_open userfaultfd keyctl add_key request_key
     kexec_load init_module finit_module delete_module reboot swapon swapoff quotactl syslog settimeofday clock_settime clock_adjtime
     adjtimex open_by_handle_at fanotify_init`.split(/\s+/),
  )('%s is forbidden', (call) => {
    expect(attempt('native', call)).toBe('-1 EPERM');
  });

  test('personality takes harmless values only', () => {
    expect(attempt('native', 'personality', [0xffffffff])).toMatch(/^\d+$/);
    expect(attempt('native', 'personality', [0x0040000])).toBe('-1 EPERM');
    expect(attempt('native', 'personality', [0x0400000])).toBe('-1 EPERM');
  });

  test('a program may confine itself further', () => {
    // PR_SET_NO_NEW_PRIVS; SECCOMP_GET_ACTION_AVAIL of a null pointer; the version of Landlock.
    expect(attempt('native', 'prctl', [38, 1, 0, 0, 0])).toBe('0');
    expect(attempt('native', 'seccomp', [2, 0, 0])).toBe('-1 EFAULT');
    expect(attempt('native', 'landlock_create_ruleset', [0, 0, 1])).toBe(
      attempt('native', 'landlock_create_ruleset', [0, 0, 1], '-'),
    );
  });

  test('what a kept capability opens is open', () => {
    const relaxed = join(directory, 'sys-admin.bpf');
    writeFileSync(relaxed, defaultFilter({ architecture, capabilities: ['CAP_SYS_ADMIN'] }));
    expect(attempt('native', 'mount', [0, 0, 0, 0, 0], relaxed)).toBe(attempt('native', 'mount', [0, 0, 0, 0, 0], '-'));
    expect(attempt('native', 'clone3', [0, 0], relaxed)).toBe('-1 EINVAL');
    expect(attempt('native', 'ioctl', [0, TIOCSTI], relaxed)).toBe('-1 EPERM');
  });

  test('a tracer cannot change an allowed call into a forbidden one', () => {
    expect(attempt('retrace', 'getsid'), 'the change itself works').toMatch(/^\d+$/);
    expect(attempt('retrace', 'unshare', [CLONE_NEWUSER], '-')).toBe('0');
    expect(attempt('retrace', 'unshare', [CLONE_NEWUSER])).toBe('-1 EPERM');
    expect(attempt('retrace', 'socket', [AF_VSOCK])).toBe('-1 EAFNOSUPPORT');
    expect(attempt('retrace', 9999)).toBe('-1 ENOSYS');
  });

  test('a tracer may skip a call by number -1', () => {
    expect(attempt('retrace', -1)).toBe('-1 ENOSYS');
  });

  test('a filter of thousands of instructions is taken, and decides', () => {
    const syscalls = [...syscallTable(native).keys()].map((name): OciSeccompRule => {
      const rule = {
        names: [name],
        action: 'SCMP_ACT_LOG',
        args: [{ index: 5, op: 'SCMP_CMP_EQ', value: 0x1234567812345678n }],
      };
      return name === 'getppid' ? { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: 71 } : rule;
    });
    const long = compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }, { architecture });
    expect(long.length / 8).toBeGreaterThan(1500);
    writeFileSync(join(directory, 'long.bpf'), long);
    expect(attempt('native', 'getppid', [], join(directory, 'long.bpf'))).toBe('-1 EPROTO');
    expect(run(join(directory, 'long.bpf'), 'exec', 'true').status).toBe(0);
  });
});

/** int 0x80 does nothing good where the kernel is built without 32-bit programs, and does not exist on arm64. */
const reasonToSkip32 = reasonToSkip ?? (architecture === 'arm64' ? 'there are no i386 calls on arm64' : undefined);

describe('other ABIs on this kernel', () => {
  beforeEach((context) => {
    if (reasonToSkip32 !== undefined) context.skip(reasonToSkip32);
  });

  test('a call by int 0x80 gets the same answer', (context) => {
    if (run('-', 'i386', String(number('i386', 'getpid'))).signal !== null)
      context.skip('this kernel has no i386 calls');
    expect(attempt('i386', 'getpid')).toMatch(/^\d+$/);
    for (const call of [
      'mount',
      'umount',
      'umount2',
      'pivot_root',
      'setns',
      'chroot',
      'keyctl',
      'bpf',
      'stime',
      'clock_settime64',
    ]) {
      expect(attempt('i386', call), call).toBe('-1 EPERM');
    }
    expect(attempt('i386', 'unshare', [CLONE_NEWUSER])).toBe('-1 EPERM');
    expect(attempt('i386', 'clone', [CLONE_NEWUSER + 17])).toBe('-1 EPERM');
    expect(attempt('i386', 'clone3')).toBe('-1 ENOSYS');
    expect(attempt('i386', 'io_uring_setup', [1, 0])).toBe('-1 ENOSYS');
    expect(attempt('i386', 'ioctl', [0, TIOCSTI])).toBe('-1 EPERM');
    expect(attempt('i386', 'socket', [AF_VSOCK, 1, 0])).toBe('-1 EAFNOSUPPORT');
    expect(attempt('i386', 'socket', [1, 1, 0])).toMatch(/^\d+$/);
    expect(attempt('i386', 9999)).toBe('-1 ENOSYS');
  });

  test('socketcall, which hides the family, makes no socket', (context) => {
    if (run('-', 'i386', String(number('i386', 'getpid'))).signal !== null)
      context.skip('this kernel has no i386 calls');
    expect(attempt('i386', 'socketcall', [1, 0])).toBe('-1 ENOSYS');
    expect(attempt('i386', 'socketcall', [8, 0])).toBe('-1 ENOSYS');
    expect(attempt('i386', 'socketcall', [2, 0])).toBe('-1 EFAULT');
  });

  test('a 32-bit program runs', (context) => {
    const source = join(directory, 'hello.c');
    const hello = join(directory, 'hello32');
    writeFileSync(source, '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n');
    if (spawnSync('cc', ['-m32', '-o', hello, source]).status !== 0)
      context.skip('cc cannot make 32-bit programs (gcc-multilib)');
    if (run('-', 'exec', hello).stdout !== 'hello') context.skip('32-bit programs do not run on this kernel');
    expect(run(filter, 'exec', hello)).toMatchObject({ status: 0, stdout: 'hello', stderr: '' });
  });

  test('an x32 call kills the process', () => {
    expect(attempt('x32', 'getpid')).toBe('SIGSYS');
    expect(attempt('x32', 'mount')).toBe('SIGSYS');
  });
});
