// Profiles from files, by the command line, as people have them. For root and for an ordinary user: the files that import this differ in who runs it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cliPath } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

const ENGINE_PROFILE = '/usr/share/containers/seccomp.json';

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function profileCases(): void {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'profiles-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  function file(name: string, profile: unknown): string {
    const path = join(directory, name);
    writeFileSync(path, JSON.stringify(profile));
    return path;
  }

  function sandbox(args: readonly string[], before: readonly string[] = []): Ended {
    const [program = '', ...rest] = [...before, process.execPath, cliPath, ...args];
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8', cwd: directory });
    return { status, stdout, stderr };
  }

  const noExec = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['execve', 'execveat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
  };

  describe('a profile from a file', () => {
    requires('userns');

    test('is the section of an OCI config, or the whole config', () => {
      const config = { ociVersion: '1.0.2', process: { args: ['sh'] }, linux: { namespaces: [], seccomp: noExec } };
      for (const path of [file('section.json', noExec), file('config.json', config)]) {
        expect(sandbox(['--seccomp', path, '--', '/bin/echo', 'hello'])).toEqual({
          status: 0,
          stdout: 'hello\n',
          stderr: '',
        });
        const { status, stderr } = sandbox(['--seccomp', path, '--', 'sh', '-c', '/bin/echo hello']);
        expect({ status, stderr }).toMatchObject({
          status: 126,
          stderr: expect.stringContaining('Operation not permitted'),
        });
      }
      const { status, stderr } = sandbox([
        '--seccomp',
        file('none.json', { ociVersion: '1.0.2', linux: {} }),
        '--',
        'true',
      ]);
      expect({ status, stderr }).toMatchObject({
        status: 125,
        stderr: expect.stringContaining('is an OCI config without linux.seccomp'),
      });
    });

    test('is that of container engines, under which common programs work', () => {
      requires(`file:${ENGINE_PROFILE}`, 'command:python3');
      const script = `
import subprocess, threading, socket
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
a, b = socket.socketpair(); a.send(b'x')
print(subprocess.check_output(['echo', 'y'], text=True).strip() + b.recv(1).decode())`;
      expect(sandbox(['--seccomp', ENGINE_PROFILE, '--', 'python3', '-c', script])).toEqual({
        status: 0,
        stdout: 'yx\n',
        stderr: '',
      });
      // Its only rule that ends with EINVAL: netlink sockets of the audit system, without CAP_AUDIT_WRITE.
      const audit = 'import socket\ntry: socket.socket(16, 3, 9)\nexcept OSError as error: print(error.errno)';
      expect(sandbox(['--seccomp', ENGINE_PROFILE, '--', 'python3', '-c', audit]).stdout).toBe('22\n');
      expect(sandbox(['--seccomp', 'unconfined', '--', 'python3', '-c', audit]).stdout).not.toBe('22\n');
    });

    test('is refused before anything is made, with all that is wrong', () => {
      const syscalls = [
        { names: ['raed', 'wirte'], action: 'SCMP_ACT_ALLOW' },
        { names: ['read'], action: 'SCMP_ACT_TRACE', args: [{ index: 0, op: '==', value: 1 }] },
      ];
      const { status, stdout, stderr } = sandbox([
        '--seccomp',
        file('wrong.json', { defaultAction: 'SCMP_ACT_KILL', syscalls }),
        '--',
        'true',
      ]);
      expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
      expect(stderr).toContain('SCMP_ACT_TRACE is not supported');
      expect(stderr).toContain('must be one of SCMP_CMP_NE');
      const misspelt = file('misspelt.json', {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ ...syscalls[0], action: 'SCMP_ACT_ERRNO' }],
      });
      const refused = sandbox(['--seccomp', misspelt, '--', 'true']);
      expect(refused.status).toBe(125);
      expect(refused.stderr).toContain('has no system call "raed"');
      expect(refused.stderr).toContain('has no system call "wirte"');
      expect(sandbox(['--seccomp', misspelt, '--seccomp-unknown-syscalls', 'ignore', '--', 'true'])).toEqual({
        status: 0,
        stdout: '',
        stderr: '',
      });
    });

    test('is too long together with filters that are there already, and that is said', () => {
      requires('command:python3');
      // Filters that allow everything with their first instruction, until the kernel takes no more of them.
      const stack = `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('rules', ctypes.c_void_p)]
memory = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000) * 4096)
for length in 4096, 512, 64:
    program = Program(length, ctypes.addressof(memory))
    count = 0
    while libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0: count += 1
    if count == 0: sys.exit('the kernel took no filter of %d' % length)
os.execvp(sys.argv[1], sys.argv[1:])`;
      const long = Array.from({ length: 900 }, (_, value) => ({
        names: ['getppid'],
        action: 'SCMP_ACT_LOG',
        args: [{ index: 0, op: 'SCMP_CMP_EQ', value }],
      }));
      const path = file('long.json', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: long });
      expect(sandbox(['--seccomp', path, '--', 'true'])).toEqual({ status: 0, stdout: '', stderr: '' });
      const { status, stderr } = sandbox(
        ['--backend', 'native', '--seccomp', path, '--', 'true'],
        ['python3', '-c', stack],
      );
      expect(stderr).toContain('cannot install the seccomp filter: ENOMEM from seccomp(2)');
      expect(stderr).toContain('more than 32768 instructions');
      expect(status).toBe(125);
    });
  });

  describe('a call that a profile answers with the death of the program', () => {
    const noDirectories = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' }],
    };
    const python = (script: string, before?: readonly string[]): Ended => {
      requires('command:python3');
      return sandbox(['--seccomp', file('mkdir.json', noDirectories), '--', 'python3', '-c', script], before);
    };
    const verdict = /was ended by its seccomp filter for calling mkdir(at)? \(\d+ of (x86_64|aarch64)\)/;

    test('is told, by number and by name', () => {
      const { status, stderr, stdout } = python('import os; os.mkdir("/tmp/x"); print("got past")');
      expect({ status, stdout }).toEqual({ status: 159, stdout: '' });
      expect(stderr).toMatch(verdict);
      const args = ['--json', '--seccomp', file('mkdir.json', noDirectories), '--', 'mkdir', '/tmp/x'];
      const { outcome, signal } = JSON.parse(sandbox(args).stderr.trimEnd().split('\n').at(-1) ?? '');
      expect(outcome).toMatchObject({
        kind: 'denied',
        rule: 'seccomp',
        syscall: { name: expect.stringMatching(/^mkdir/) },
      });
      expect(signal).toBe('SIGSYS');
    });

    test.each([
      ['ignores SIGSYS', 'signal.signal(signal.SIGSYS, signal.SIG_IGN)'],
      ['blocks every signal', 'signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())'],
      ['handles SIGSYS', 'signal.signal(signal.SIGSYS, lambda *_: None)'],
      ['ends well when it gets SIGSYS', 'signal.signal(signal.SIGSYS, lambda *_: os._exit(0))'],
    ])('is the end of one that %s', (_, prepare) => {
      const ways = [
        'os.mkdir("/tmp/x")',
        'threading.Thread(target=os.mkdir, args=("/tmp/x",)).start(); time.sleep(60)',
      ];
      for (const way of ways) {
        const script = `import os, signal, threading, time\n${prepare}\n${way}\nprint("got past", flush=True)`;
        const { status, stderr, stdout } = python(script);
        expect({ way, status, stdout }).toEqual({ way, status: 159, stdout: '' });
        expect(stderr).toMatch(verdict);
      }
    });

    test('is the end of a child alone, of each of many', () => {
      const { status, stdout, stderr } = python(`
import os, signal
children = []
for _ in range(40):
    child = os.fork()
    if child == 0:
        os.mkdir('/tmp/x')
        os._exit(0)
    children.append(child)
ends = [signal.Signals(os.WTERMSIG(os.waitpid(child, 0)[1])).name for child in children]
print(len(ends), *sorted(set(ends)), os.path.exists('/tmp/x'))`);
      // SIGKILL, too, for one that has got no processor for 0.2 s.
      expect(stdout).toMatch(/^40 (SIGKILL )?SIGSYS False\n$/);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    });

    test('is the end of a child whose thread makes it, and that handles SIGSYS', () => {
      const { status, stdout, stderr } = python(`
import os, signal, threading, time
child = os.fork()
if child == 0:
    signal.signal(signal.SIGSYS, lambda *_: None)
    threading.Thread(target=os.mkdir, args=('/tmp/x',)).start()
    time.sleep(60)
    os._exit(0)
print(signal.Signals(os.WTERMSIG(os.waitpid(child, 0)[1])).name)`);
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'SIGKILL\n', stderr: '' });
    });

    test('holds up no bound of time, however many make it and handle SIGSYS', () => {
      const storm = `
import os, signal, time
signal.signal(signal.SIGSYS, lambda *_: None)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(100):
    if os.fork() > 0: continue
    while True:
        try: os.mkdir('/tmp/x')
        except OSError: pass
time.sleep(600)`;
      const path = file('mkdir.json', noDirectories);
      const args = ['--wall', '1s', '--grace', '100ms', '--seccomp', path, '--', 'python3', '-c', storm];
      const { status, stderr } = sandbox(args);
      expect({ status, stderr }).toEqual({ status: 124, stderr: 'run-sandbox: ended by its limit wallMs\n' });
    });

    test('is its end as ever where another filter is in force before: its lesser answers would count for more than a question', () => {
      const around = `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('rules', ctypes.c_void_p)]
memory = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = Program(1, ctypes.addressof(memory))
if libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0: sys.exit('no filter')
os.execvp(sys.argv[1], sys.argv[1:])`;
      const script = 'import os; os.mkdir("/tmp/x"); print("got past")';
      const { status, stdout, stderr } = python(script, ['python3', '-c', around]);
      expect({ status, stdout, stderr }).toEqual({ status: 159, stdout: '', stderr: '' });
    });
  });
}
