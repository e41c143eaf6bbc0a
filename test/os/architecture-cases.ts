// Programs of another architecture on this kernel, for real: an x64 host runs arm64 and i386 programs in the default sandbox. What makes it so is the
// sandbox's alone: the host's table of formats is not even mounted, nothing inside can write to one, and the interpreter cannot be changed.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { magicOf } from '../../src/host/elf.ts';
import type * as api from '../../src/index.ts';
import { type Bench, defaultSteps, type LauncherRun, makeBench, runSteps } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

const QEMU = '/usr/bin/qemu-aarch64-static';
const CROSS_LIBRARIES = '/usr/aarch64-linux-gnu/lib';
const TABLE = '/proc/sys/fs/binfmt_misc';

const program = `
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int signals;
static void count(int signal) { (void)signal; signals++; }
static void *work(void *to) { *(int *)to = 42; return NULL; }
int main(int argc, char **argv) {
  struct utsname name;
  int done = 0, ends[2], status = 0;
  pthread_t thread;
  uname(&name);
  signal(SIGUSR1, count);
  raise(SIGUSR1);
  // The fork comes first: QEMU 7.2 frees what a thread leaves behind in a thread of its own, and a child forked meanwhile once waited for ever.
  if (fork() == 0) _exit(3);
  wait(&status);
  pthread_create(&thread, NULL, work, &done);
  pthread_join(thread, NULL);
  int pair = socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  int vsock = socket(40, SOCK_STREAM, 0), why = errno;
  int mounted = mount("none", "/tmp", "tmpfs", 0, NULL), denied = errno;
  printf("%s %s uid=%d signals=%d thread=%d child=%d pair=%d vsock=%s mount=%s\\n", name.machine, argv[0], (int)getuid(), signals, done,
         WEXITSTATUS(status), pair, vsock < 0 ? strerror(why) : "made", mounted < 0 ? strerror(denied) : "made");
  fflush(stdout);
  if (argc > 1 && strcmp(argv[1], "exec") == 0) return execv(argv[2], argv + 2);
  if (argc > 1 && strcmp(argv[1], "wait") == 0) pause();
  return 7;
}
`;

const i386Program = `
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct utsname name;
  uname(&name);
  (void)argc;
  return printf("%s %s uid=%d bytes=%d\\n", name.machine, argv[0], (int)getuid(), (int)sizeof(void *)) < 0;
}
`;

export function architectureCases(): void {
  requires('linux', 'userns', 'command:cc', 'command:aarch64-linux-gnu-gcc', `file:${QEMU}`);
  let bench: Bench;
  let lib: typeof api;
  let root: string;
  const uid = (): number => process.getuid?.() ?? -1;

  beforeAll(() => {
    bench = makeBench('without_syscall');
    const source = join(bench.directory, 'program.c');
    writeFileSync(source, program);
    for (const [name, flags] of [
      ['static', ['-static']],
      ['dynamic', []],
    ] as const) {
      const args = ['-O1', '-pthread', ...flags, '-o', bench.program(name), source];
      const { status, stderr } = spawnSync('aarch64-linux-gnu-gcc', args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    }
    root = makeRoot();
  });
  afterAll(() => bench.remove());
  // What this host offers is remembered for the whole process.
  beforeEach(async () => {
    // Of modules that are gone nobody would end the server.
    vi.stubEnv('SANDBOXLIB_SERVER', 'off');
    vi.resetModules();
    lib = await import('../../src/index.ts');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    delete process.env['SANDBOXLIB_LAUNCHER'];
  });

  /** An arm64 system of a C library and two programs. */
  function makeRoot(): string {
    const directory = join(bench.directory, 'root');
    for (const name of ['bin', 'lib', 'proc', 'dev', 'tmp', 'home', 'root', 'etc'])
      mkdirSync(join(directory, name), { recursive: true });
    for (const name of ['ld-linux-aarch64.so.1', 'libc.so.6'])
      copyFileSync(join(CROSS_LIBRARIES, name), join(directory, 'lib', name));
    for (const name of ['static', 'dynamic']) copyFileSync(bench.program(name), join(directory, 'bin', name));
    symlinkSync('dynamic', join(directory, 'bin', 'other-name'));
    return directory;
  }

  const bind = (): string => `${join(bench.directory, 'programs')}:/programs:ro`;
  const expected = (name: string): string =>
    `aarch64 ${name} uid=${uid()} signals=1 thread=42 child=3 pair=0 vsock=${'Address family not supported by protocol'} mount=Operation not permitted\n`;

  test('a static program runs in the default sandbox, under the default filter', async () => {
    const { outcome, stdout, stderr, enforcement } = await lib.run(['/programs/static'], {
      architecture: 'arm64',
      mounts: [bind()],
    });
    expect({ outcome, stdout, stderr }).toEqual({
      outcome: { kind: 'exited', code: 7 },
      stdout: expected('/programs/static'),
      stderr: '',
    });
    expect(enforcement.applied).toContainEqual({
      feature: 'architecture',
      mechanism: `binfmt_misc of a user namespace, ${QEMU}`,
    });
  });

  test('a dynamic one runs in a root that has its loader and its C library, and keeps the name it was called by', async () => {
    for (const name of ['dynamic', 'other-name']) {
      const { outcome, stdout, stderr } = await lib.run([name], { root, architecture: 'arm64', env: { PATH: '/bin' } });
      expect({ outcome, stdout, stderr }).toEqual({
        outcome: { kind: 'exited', code: 7 },
        stdout: expected(name),
        stderr: '',
      });
    }
  });

  test('without its loader it ends with the words of QEMU', async () => {
    const { outcome, stderr } = await lib.run(['/programs/dynamic'], { architecture: 'arm64', mounts: [bind()] });
    expect(outcome).toEqual({ kind: 'exited', code: 255 });
    expect(stderr).toBe(
      "qemu-aarch64-static: Could not open '/lib/ld-linux-aarch64.so.1': No such file or directory\n",
    );
  });

  test('programs of both architectures start each other', async () => {
    const script = '/programs/static exec /bin/sh -c "uname -m; /programs/static"';
    const { stdout } = await lib.run(['sh', '-c', script], { architecture: 'arm64', mounts: [bind()] });
    const [first, machine, last] = stdout?.toString().split('\n') ?? [];
    expect([first?.split(' ')[0], machine, last?.split(' ')[0]]).toEqual([
      'aarch64',
      process.arch === 'x64' ? 'x86_64' : 'aarch64',
      'aarch64',
    ]);
  });

  test('i386 programs run in QEMU too, where the kernel might', async () => {
    requires('file:/usr/bin/qemu-i386-static');
    // Of the C library's headers, those that need none of the kernel's for i386.
    const source = join(bench.directory, 'i386.c');
    writeFileSync(source, i386Program);
    const args = ['-m32', '-static', '-o', bench.program('i386'), source];
    const { status, stderr } = spawnSync('cc', args, { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { stdout } = await lib.run(['/programs/i386'], { architecture: 'ia32', mounts: [bind()] });
    expect(stdout).toBe(`i686 /programs/i386 uid=${uid()} bytes=4\n`);
  });

  test('without the option the program is for another architecture, and the message names the option', async () => {
    const refused = lib.run(['/programs/static'], { mounts: [bind()] });
    await expect(refused).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', reason: 'wrong-architecture' });
    await expect(refused).rejects.toThrow(/--architecture/);
  });

  describe('what is attacked', () => {
    test('the table of the host is as it was, and mounted nowhere', async () => {
      const look = (): unknown => [
        existsSync(TABLE) && readdirSync(TABLE),
        readFileSync('/proc/mounts', 'utf8').match(/.*binfmt_misc.*/g),
      ];
      const before = look();
      const running = lib.spawn(['/programs/static', 'wait'], { architecture: 'arm64', mounts: [bind()] });
      for await (const _line of running) {
        expect(look()).toEqual(before);
        // Nor does anybody else get the format.
        expect(spawnSync(bench.program('static'), { encoding: 'utf8' }).stdout).not.toContain('aarch64');
        running.kill();
      }
      await running;
      expect(look()).toEqual(before);
    });

    test('inside there is no table to be seen, and none can be written to or mounted', async () => {
      const script = [
        `ls -A ${TABLE}`,
        'grep -c binfmt_misc /proc/self/mountinfo',
        `echo ":x:M::x::/bin/sh:" 2>&1 >${TABLE}/register || echo refused`,
        `mount -t binfmt_misc none ${TABLE} 2>/dev/null || echo refused`,
        'ls -l /proc/self/fd /proc/1/fd 2>/dev/null | grep -c binfmt',
      ].join('; ');
      const { stdout } = await lib.run(['sh', '-c', script], { architecture: 'arm64', mounts: [bind()] });
      expect(
        stdout
          ?.toString()
          .split('\n')
          .filter((line) => !/cannot create|Read-only|nonexistent/.test(line)),
      ).toEqual(['0', 'refused', 'refused', '0', '']);
    });

    test('the interpreter cannot be changed through the programs that it runs', async () => {
      const facts = () => {
        const { mode, uid: owner, gid, size, mtimeMs } = statSync(QEMU);
        return { mode, owner, gid, size, mtimeMs };
      };
      const before = facts();
      const attempts = ['chmod 0777', 'chown 1:1', 'chmod 04755', 'touch', 'truncate -s 0'];
      const script = [
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
        'coproc P { exec /programs/static wait; }; read -r line <&${P[0]}',
        ...attempts.map((attempt) => `${attempt} /proc/$P_PID/exe 2>&1 || echo refused`),
        '(echo x >>/proc/$P_PID/exe) 2>&1 || echo refused',
        'stat -L -c %i /proc/$P_PID/exe; kill -9 $P_PID',
      ].join('\n');
      const { stdout } = await lib.run(['bash', '-c', script], { architecture: 'arm64', mounts: [bind()] });
      expect(facts()).toEqual(before);
      const lines = stdout?.toString().trimEnd().split('\n') ?? [];
      expect(lines.at(-1)).toBe(String(statSync(QEMU).ino));
      expect(lines.filter((line) => line === 'refused').length).toBe(attempts.length + 1);
      // It belongs to root: only the mount keeps root from it.
      if (uid() === 0) expect(lines.filter((line) => line.includes('Read-only file system')).length).toBe(3);
    });
  });

  describe('on a host that has registered the format itself', () => {
    requires('command:unshare');

    /** In namespaces of its own, which end with the launcher: the caller is root there, and the table of that user namespace has the format. */
    const onSuchHost = (steps: readonly Step[]): LauncherRun => {
      const { magic, mask } = magicOf('arm64');
      const hex = (bytes: Uint8Array): string =>
        [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
      const line = `:arm64:M::${hex(magic)}:${hex(mask)}:${QEMU}:F`;
      const script = `mount -t binfmt_misc none ${TABLE} && printf %s "$0" >${TABLE}/register && exec "$@"`;
      return runSteps(bench, uid(), steps, [
        'unshare',
        '--user',
        '--map-root-user',
        '--mount',
        'sh',
        '-c',
        script,
        line,
      ]);
    };
    const ids = [{ containerID: 0, hostID: 0, size: 1 }];
    const stepsOfRoot = (): Step[] =>
      defaultSteps(bench, 0, ['/programs/static'], {
        idMappings: { uid: ids, gid: ids, privileged: false, needsHelper: false },
      });

    test('a command that is uid 0 there gets none of it: it could change the interpreter', () => {
      const { lines, stdout } = onSuchHost(stepsOfRoot());
      expect(lines.at(-1)).toMatchObject({ event: 'failed', step: 'exec', reason: 'wrong-architecture' });
      expect(stdout).toBe('');
    });

    test('that format would have held inside', () => {
      const { code, stdout } = onSuchHost(stepsOfRoot().filter(({ step }) => step !== 'binfmt'));
      expect({ code, stdout }).toMatchObject({ code: 7, stdout: expect.stringMatching(/^aarch64 /) });
    });
  });

  describe('where it cannot be had', () => {
    /** From here on the launcher lives on a host where these calls fail with EPERM. */
    const loseCalls = (...calls: readonly string[]): void => {
      const file = join(bench.directory, 'other-launcher');
      const words = calls.map((call) => `'${call}'`).join(' ');
      writeFileSync(
        file,
        `#!/bin/sh\nexec ${bench.program('without_syscall')} --errno 1 ${words} -- ${bench.launcher} "$@"\n`,
      );
      chmodSync(file, 0o755);
      process.env['SANDBOXLIB_LAUNCHER'] = file;
    };

    test('a kernel that gives user namespaces no table is named, not the step where it showed', async () => {
      loseCalls('fsopen');
      // Everything else still works there.
      await expect(lib.run(['true'])).resolves.toMatchObject({ outcome: { kind: 'exited', code: 0 } });
      const refused = lib.run(['/programs/static'], { architecture: 'arm64', mounts: [bind()] });
      await expect(refused).rejects.toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        missing: [{ feature: 'architecture' }],
      });
      await expect(refused).rejects.toThrow(/architecture: binfmt_misc: /);
    });

    test('where it is optional it is skipped by name, and other programs run', async () => {
      loseCalls('fsopen');
      const spec = { architecture: 'arm64' } as const;
      const { enforcement, outcome } = await lib.run(['true'], spec, { optional: ['architecture'] });
      expect(outcome).toEqual({ kind: 'exited', code: 0 });
      expect(enforcement.skipped).toEqual([
        { feature: 'architecture', because: expect.stringContaining('binfmt_misc') },
      ]);
    });

    test('the doctor says which architectures this host runs', async () => {
      const { backends, emulation } = await lib.probe();
      expect(emulation.interpreters['arm64']).toBe(QEMU);
      const native = backends.find(({ backend }) => backend === 'native');
      expect(native?.features.architecture).toMatchObject({
        available: true,
        mechanism: expect.stringContaining(`arm64: binfmt_misc of a user namespace, ${QEMU}`),
      });
    });
  });
}
