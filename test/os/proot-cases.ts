// What proot shows where it is allowed to be no promise, and that nothing of it stays.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunOptions, run, type SandboxProcess, type SandboxSpec, spawn } from '../../src/index.ts';
import { syscallTable } from '../../src/seccomp/syscalls.ts';
import { guestPath } from '../helpers/guest.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';

const byProot: RunOptions = { backend: 'proot', optional: 'all' };

export function prootCases(): void {
  requires('linux', 'command:proot', 'file:/bin/busybox');
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'proot-'));
    chmodSync(directory, 0o755);
    makeRoot(join(directory, 'root'));
    mkdirSync(join(directory, 'source'));
    writeFileSync(join(directory, 'source', 'file'), 'of the source\n');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const inRoot = async (script: string, spec: SandboxSpec = {}): Promise<string> => {
    const result = await run(['/bin/sh', '-c', script], { root: join(directory, 'root'), ...spec }, byProot);
    return result.assertSuccess().stdout as string;
  };

  describe('of a root that may be a view', () => {
    test('programs find the files, and not those of the host at the same paths', async () => {
      expect(await inRoot('cat /marker; stat -c %n /marker; ls /etc; ls -l /marker | cut -c1-10; pwd')).toBe(
        'in the root\n/marker\nof-the-root\n-rw-r--r--\n/\n',
      );
      expect(await inRoot('ls /usr; ls /../../etc; cat /etc/passwd 2>&1 || true')).toMatch(
        /^of-the-root\n.*No such file/,
      );
    });

    // As Node and other newer programs do: by a call that proot has never heard of.
    test('calls that proot does not know are not there, so that they cannot ask the host', async () => {
      for (const name of ['statx', 'openat2', 'faccessat2', 'execveat', 'name_to_handle_at'] as const) {
        const number = syscallTable(process.arch === 'arm64' ? 'aarch64' : 'x86_64').get(name);
        const { stdout } = await run(['/guest', 'syscall', String(number)], { root: join(directory, 'root') }, byProot);
        expect(stdout, name).toBe('errno ENOSYS\n');
      }
    });

    test('a mount is seen wherever it was put, and leaves nothing in the root', async () => {
      const before = readdirSync(join(directory, 'root')).sort();
      const mounts = [`${join(directory, 'source')}:/not/there/yet`];
      expect(await inRoot('cat /not/there/yet/file', { mounts })).toBe('of the source\n');
      expect(readdirSync(join(directory, 'root')).sort()).toEqual(before);
    });

    test('the result says what is shown, and that it is no promise', async () => {
      const spec = { root: join(directory, 'root'), mounts: [`${join(directory, 'source')}:/srv`] };
      const { enforcement } = await run(['/bin/true'], spec, byProot);
      const because = 'shown, not enforced: proot translates paths by ptrace, and a hostile program can leave it';
      expect(enforcement.skipped).toEqual(
        expect.arrayContaining([
          { feature: 'root.path', because },
          { feature: 'mount.bind', because },
          { feature: 'mount.proc', because: "shown, not enforced: it is the host's own /proc" },
        ]),
      );
    });

    test('filter and limits are set all the same, and no promise either', async () => {
      const limits = { openFiles: 33, processCpuMs: 7000 };
      const script = 'ulimit -n; ulimit -t; grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status';
      const { stdout, enforcement } = await run(['/bin/sh', '-c', script], { limits }, byProot);
      expect(String(stdout).replaceAll('\t', ' ')).toBe('33\n7\nNoNewPrivs: 1\nSeccomp: 2\n');
      const unpromised = enforcement.skipped.filter(({ because }) => because.startsWith('set, not enforced: '));
      expect(unpromised.map(({ feature }) => feature).sort()).toEqual([
        ...['limits.coreBytes', 'limits.openFiles', 'limits.processCpuMs', 'noNewPrivileges', 'seccomp.default'],
      ]);
    });

    test('who does not allow that is refused, with the same reason', async () => {
      const asked = run(['/bin/true'], { root: join(directory, 'root') }, { backend: 'proot' });
      await expect(asked).rejects.toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE' });
      await expect(asked).rejects.toThrow(/root\.path: shown, not enforced: .* \(use backend native or /);
    });
  });

  test('programs of another architecture run', async () => {
    const program = fileURLToPath(new URL('../../prebuilds/linux-arm64/launcher', import.meta.url));
    requires('file:/usr/bin/qemu-aarch64-static');
    if (process.arch !== 'x64' || !existsSync(program)) {
      requires(`file:${program}`);
      return;
    }
    const { stdout, enforcement } = await run([program, '--version'], { architecture: 'arm64' }, byProot);
    expect(stdout).toBe(spawnSync(program.replace('arm64', 'x64'), ['--version'], { encoding: 'utf8' }).stdout);
    expect(enforcement.applied).toContainEqual({
      feature: 'architecture',
      mechanism: 'static user-mode QEMU, started by proot',
    });
  });

  describe('nothing of proot stays', () => {
    const ends: Readonly<Record<string, (handle: SandboxProcess) => unknown>> = {
      'after a kill': (handle) => handle.kill(),
      'after SIGKILL for the launcher': (handle) => process.kill(handle.pid as number, 'SIGKILL'),
    };
    test.each(Object.keys(ends))('%s', async (how) => {
      const marker = `marker-${randomUUID()}`;
      await using handle = spawn(
        ['/bin/sh', '-c', `setsid sh -c 'sleep 1000; : ${marker}' & sleep 1000; : ${marker}`],
        {},
        byProot,
      );
      await expect.poll(() => processesWith(marker).length).toBeGreaterThanOrEqual(2);
      await handle.started;
      const [loader = 0] = childrenOf(handle.pid as number);
      expect(loadersOf(loader)).toHaveLength(1);
      ends[how]?.(handle);
      await handle.result.catch(() => {});
      await expect.poll(() => processesWith(marker)).toEqual([]);
      await expect.poll(() => loadersOf(loader)).toEqual([]);
    });

    test('after the end of the command, what it left running included', async () => {
      const marker = `marker-${randomUUID()}`;
      const script = `setsid sh -c 'sleep 1000; : ${marker}' & exit 0`;
      const { outcome } = await run(['/bin/sh', '-c', script], {}, byProot);
      expect(outcome).toEqual({ kind: 'exited', code: 0 });
      await expect.poll(() => processesWith(marker)).toEqual([]);
    });
  });
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** proot gets nothing of our environment, so that its temporary files are in /tmp. */
function loadersOf(pid: number): string[] {
  return readdirSync('/tmp').filter((name) => name.startsWith(`prooted-${pid}-`) || name.startsWith(`proot-${pid}-`));
}

function makeRoot(root: string): void {
  for (const name of ['bin', 'etc', 'srv', 'tmp']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
  for (const applet of ['sh', 'cat', 'stat', 'ls', 'cut', 'pwd', 'true'])
    symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'marker'), 'in the root\n');
  writeFileSync(join(root, 'etc', 'of-the-root'), '');
  copyFileSync(guestPath(), join(root, 'guest'));
  chmodSync(join(root, 'guest'), 0o755);
}
