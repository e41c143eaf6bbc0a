// Compiled plans as programs of this host: no Node beside them, signals, damage, and a host or a caller that is not what it was.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { ordinaryUser } from '../helpers/as-user.ts';
import { until, waitForText } from '../helpers/cli.ts';
import { callProgram, compiledPlan, writeProgram } from '../helpers/compiled.ts';
import { requires } from '../helpers/requires.ts';
import { sendSignal } from '../helpers/serving.ts';

const launcher = fileURLToPath(new URL(`../../prebuilds/linux-${process.arch}/launcher`, import.meta.url));
const launcherBytes = statSync(launcher).size;
/** Of what is appended: a word, a version, a sum. */
const HEADER_BYTES = 16;

/** Processes of this host whose command line has `mark` in it. */
function processesWith(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && ofProcess(pid, 'cmdline').includes(mark));
}

function ofProcess(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}

function parentOf(pid: string): string {
  return /^PPid:\t(\d+)$/m.exec(ofProcess(pid, 'status'))?.[1] ?? '0';
}

/** `content` with `change` made to what is appended, and the sum of that: written down once more, in another way than the library has it. */
function resealed(content: Buffer, change: (appended: Buffer) => void): Buffer {
  const changed = Buffer.from(content);
  const appended = changed.subarray(launcherBytes);
  change(appended);
  const sum = appended
    .subarray(HEADER_BYTES)
    .reduce((hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n), 0xcbf29ce484222325n);
  appended.writeBigUInt64LE(sum, 8);
  return changed;
}

let marks = 0;

/** A command with a child that sleeps, both known by a number that no other test has. */
function sleeper(script = ''): { mark: string; command: string[] } {
  const mark = `3${process.pid}${String(++marks).padStart(3, '0')}`;
  return { mark, command: ['sh', '-c', `${script} sleep ${mark} & echo ready; wait; wait`] };
}

export function compileCases(): void {
  requires('linux', 'userns');
  const isRoot = process.getuid?.() === 0;
  let work: string;
  let file: string;

  beforeEach(() => {
    work = mkdtempSync(join(tmpdir(), 'compile-'));
    chmodSync(work, 0o755);
    file = join(work, 'plan');
  });
  afterEach(() => rmSync(work, { recursive: true, force: true }));

  async function write(command: readonly string[], spec: SandboxSpec = {}): Promise<string> {
    return writeProgram(file, await compiledPlan(command, spec));
  }

  /** Started, and the command said that it is ready. */
  async function start(command: readonly string[], spec: SandboxSpec = {}) {
    const child = spawn(await write(command, spec), [], { env: {}, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
    await waitForText(child.stdout, 'ready');
    return child;
  }

  describe('a compiled plan', () => {
    test('runs without Node, and without the package that it came from', async () => {
      const elsewhere = join(work, 'launcher');
      copyFileSync(launcher, elsewhere);
      vi.stubEnv('SANDBOXLIB_LAUNCHER', elsewhere);
      const { mark, command } = sleeper();
      const child = await start(command).finally(() => vi.unstubAllEnvs());
      rmSync(elsewhere);
      const sleepers = (): string[] => processesWith(mark).filter((pid) => ofProcess(pid, 'comm') === 'sleep\n');
      await until(
        () => sleepers().length === 1,
        () => 'it does not start',
      );
      const [sleeping = ''] = sleepers();
      const names: string[] = [];
      for (let pid = sleeping; pid !== String(process.pid) && pid !== '0'; pid = parentOf(pid))
        names.push(ofProcess(pid, 'comm').trim());
      expect(names).toEqual(['sleep', 'sh', 'plan', 'plan']);
      expect(readlinkSync(`/proc/${child.pid}/exe`)).toBe(file);
      expect(readdirSync(`/proc/${child.pid}/task`)).toHaveLength(1);
      child.kill('SIGTERM');
      expect(await once(child, 'exit')).toEqual([143, null]);
    });

    test('may be moved, and be called by any name', async () => {
      await write(['echo', 'ran']);
      mkdirSync(join(work, 'a b'));
      const moved = join(work, 'a b', 'x;y');
      copyFileSync(file, moved);
      rmSync(file);
      expect(await callProgram(moved)).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
    });

    test('goes on when who started it is gone', async () => {
      const { mark, command } = sleeper();
      await write(command);
      const shell = spawn(
        'sh',
        ['-c', '"$0" > /dev/null & until [ -e "$1" ]; do sleep 0.02; done', file, join(work, 'go')],
        {
          stdio: 'ignore',
        },
      );
      await until(
        () => processesWith(mark).length > 1,
        () => 'it does not start',
      );
      const [plan] = processesWith(file).filter((pid) => parentOf(pid) === String(shell.pid));
      writeFileSync(join(work, 'go'), '');
      await once(shell, 'exit');
      expect(processesWith(mark)).not.toEqual([]);
      sendSignal(plan, 'SIGTERM');
      await until(
        () => processesWith(mark).length === 0,
        () => 'it does not end',
      );
    });

    test('holds nothing of the caller’s environment but what is passed on', async () => {
      requires('root');
      const { mark, command } = sleeper();
      await write(command, { env: { inherit: ['PASSED'] } });
      const env = { PASSED: `passed-${mark}`, SECRET: `secret-${mark}` };
      const child = spawn(file, [], { env, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
      await waitForText(child.stdout, 'ready');
      const plans = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && ofProcess(pid, 'comm') === 'plan\n');
      const ours = plans.filter((pid) => pid === String(child.pid) || parentOf(pid) === String(child.pid));
      expect(ours).toHaveLength(2);
      for (const pid of ours) {
        expect(ofProcess(pid, 'environ')).not.toContain('secret');
        const memory = await memoryOf(pid);
        expect(memory.includes(`passed-${mark}`)).toBe(true);
        expect(memory.includes(`secret-${mark}`)).toBe(false);
      }
      child.kill('SIGTERM');
      await once(child, 'exit');
    });

    test('is not overwritten by its command, nor by itself as an interpreter', async () => {
      mkdirSync(join(work, 'inside'));
      writeProgram(join(work, 'inside', 'again'), Buffer.from('#!/proc/self/exe\n'));
      const opened = 'for f in /proc/[0-9]*/exe; do (: >> "$f") 2> /dev/null && echo opened; done';
      const spec: SandboxSpec = { mounts: [`${work}/inside:/inside:rw`], seccomp: 'unconfined' };
      await write(['sh', '-c', `/inside/again & ${opened}; wait; ${opened}; true`], spec);
      const before = readFileSync(file);
      expect(await callProgram(file)).toMatchObject({ status: 0, stdout: '' });
      expect(readFileSync(file).equals(before)).toBe(true);
      await write(['/inside/again'], spec);
      expect((await callProgram(file)).status).not.toBe(0);
    });

    test('does not take up what its caller has open', async () => {
      await write(['ls', '/proc/self/fd']);
      const child = spawn(file, [], { stdio: ['ignore', 'pipe', 'inherit', 'ignore', 'ignore', 'ignore'] });
      expect(await text(child.stdout as Readable)).toBe('0\n1\n2\n3\n');
    });
  });

  describe('a signal', () => {
    test.each([
      ['SIGTERM', 143],
      ['SIGINT', 130],
      ['SIGHUP', 129],
      ['SIGQUIT', 131],
    ] as const)('%s ends everything in the sandbox, and the status is %d', async (signal, status) => {
      const { mark, command } = sleeper();
      const child = await start(command);
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([status, null]);
      expect(processesWith(mark)).toEqual([]);
    });

    test('that the command answers by an exit of its own still is the status', async () => {
      const { mark, command } = sleeper('trap "exit 0" TERM;');
      const child = await start(command);
      child.kill('SIGTERM');
      expect(await once(child, 'exit')).toEqual([143, null]);
      expect(processesWith(mark)).toEqual([]);
    });

    test('SIGKILL leaves nothing, control groups neither', async () => {
      const { mark, command } = sleeper('trap "" TERM HUP;');
      const child = await start(command, isRoot ? { limits: { pids: 20, memoryBytes: '64MiB' } } : {});
      child.kill('SIGKILL');
      await once(child, 'exit');
      await until(
        () => processesWith(mark).length === 0,
        () => `still there: ${processesWith(mark).join(', ')}`,
      );
      // The rest is asked after each file (test/helpers/setup.ts).
    });
  });

  describe('a damaged one', () => {
    const damaged = {
      status: 125,
      stdout: '',
      stderr: expect.stringMatching(/^run-sandbox: .* is damaged: .*; compile it again\n$/),
    };

    test('that is cut short is refused, wherever that was behind the launcher', async () => {
      const whole = await compiledPlan(['echo', 'ran']);
      const appended = whole.length - launcherBytes;
      for (const left of [0, 1, 8, HEADER_BYTES, HEADER_BYTES + 9, appended >> 1, appended - 1]) {
        writeProgram(file, whole.subarray(0, launcherBytes + left));
        expect(await callProgram(file)).toEqual(damaged);
      }
      writeProgram(file, Buffer.concat([whole, Buffer.from('x')]));
      expect(await callProgram(file)).toEqual(damaged);
    });

    test('of which a bit is flipped is refused', async () => {
      const whole = await compiledPlan(['echo', 'ran']);
      const appended = whole.length - launcherBytes;
      const places = Array.from({ length: 60 }, (_, index) =>
        index < 30 ? index : Math.floor((appended * index) / 60),
      );
      for (const place of places) {
        const changed = Buffer.from(whole);
        changed.writeUInt8(changed.readUInt8(launcherBytes + place) ^ (1 << (place % 8)), launcherBytes + place);
        writeProgram(file, changed);
        expect(await callProgram(file), `byte ${place}`).toEqual(damaged);
      }
    });

    test('whose plan is wrong is refused by the launcher, as any plan is', async () => {
      const whole = await compiledPlan(['echo', 'ran']);
      const changed = resealed(whole, (appended) => appended.writeUInt32LE(99, appended.indexOf('SBXP') + 4));
      writeProgram(file, changed);
      expect(await callProgram(file)).toMatchObject({
        status: 125,
        stdout: '',
        stderr: expect.stringMatching(
          /^run-sandbox: the launcher refused the plan: failed, step plan\[0\]: a plan of another protocol/,
        ),
      });
    });
  });

  describe('where something is not as it was', () => {
    test('a source that is gone is named, with the step', async () => {
      mkdirSync(join(work, 'source'));
      await write(['true'], { mounts: [`${work}/source:/mnt`] });
      rmSync(join(work, 'source'), { recursive: true });
      expect(await callProgram(file)).toMatchObject({
        status: 125,
        stderr: expect.stringMatching(
          `^run-sandbox: cannot mount ${work}/source: ENOENT from \\S+, step mount\\[\\d+\\]; the source is gone, or the mount point is not in the root\n$`,
        ),
      });
    });

    test.each(['file', 'symlink'])('a source that is a %s now is refused', async (kind) => {
      mkdirSync(join(work, 'source'));
      mkdirSync(join(work, 'other'));
      await write(['true'], { mounts: [`${work}/source:/mnt`] });
      rmSync(join(work, 'source'), { recursive: true });
      if (kind === 'file') writeFileSync(join(work, 'source'), '');
      else spawn('ln', ['-s', 'other', join(work, 'source')]);
      await until(
        () => readdirSync(work).includes('source'),
        () => 'no link',
      );
      expect(await callProgram(file)).toMatchObject({
        status: 125,
        stderr: expect.stringMatching(`^run-sandbox: cannot mount ${work}/source: \\S+ from .*step mount`),
      });
    });

    test('control groups that cannot be made are named, and are looked for anew with each call', async () => {
      requires('root');
      const whole = await compiledPlan(['true'], { limits: { pids: 20 } });
      const [before, after] = ['/sys/fs/cgroup', '/sys/fs/cgrouq'];
      // At first where the tree is mounted, at last the parent of who compiled it.
      writeProgram(
        file,
        resealed(whole, (appended) => appended.write(after, appended.indexOf(before))),
      );
      expect(await callProgram(file)).toMatchObject({
        status: 125,
        stderr: expect.stringMatching(
          /^run-sandbox: cannot do step cgroup of \/sys\/fs\/cgrouq.*: ENOENT from open\(2\), step cgroup\[\d+\]\n$/,
        ),
      });
      writeProgram(
        file,
        resealed(whole, (appended) => appended.write(after, appended.lastIndexOf(before))),
      );
      expect(await callProgram(file)).toEqual({ status: 0, stdout: '', stderr: '' });
    });

    test('another user is refused, and so is another group', async () => {
      requires('root');
      const { uid = 0, gid = 0 } = ordinaryUser;
      await write(['true']);
      chmodSync(file, 0o755);
      chmodSync(tmpdir(), 0o755);
      const end = await callProgram(file, [], { uid, gid });
      expect(end.status).toBe(125);
      expect(end.stderr.split('\n')).toEqual([
        `run-sandbox: this plan was compiled for uid 0, and this is uid ${uid}; compile it as that user`,
        `run-sandbox: this plan was compiled for gid 0, and this is gid ${gid}; compile it as that group`,
        '',
      ]);
    });

    test('another series of the kernel is refused', async () => {
      const whole = await compiledPlan(['true']);
      const release = /^\d+\.\d+/.exec(readFileSync('/proc/sys/kernel/osrelease', 'utf8'))?.[0] ?? '';
      const other = release.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10));
      writeProgram(
        file,
        resealed(whole, (appended) => appended.write(other, appended.indexOf(`${release}\0`))),
      );
      expect(await callProgram(file)).toMatchObject({
        status: 125,
        stderr: expect.stringMatching(
          `^run-sandbox: this plan was compiled for Linux ${other}, and this is ${release}`,
        ),
      });
    });

    test('what everybody could read of the host view, and now cannot, is not shown', async () => {
      const whole = await compiledPlan(['true']);
      // As long as the path that it takes the place of.
      const closed = mkdtempSync('/tmp/');
      try {
        const change = (appended: Buffer) => appended.write(closed, appended.indexOf('/etc/passwd\0'));
        writeProgram(file, resealed(whole, change));
        chmodSync(closed, 0o750);
        const end = await callProgram(file);
        expect(end.status).toBe(125);
        expect(end.stderr).toBe(
          `run-sandbox: ${closed} was for everybody to read when this plan was compiled, and is not any more; compile it again here, with run-sandbox compile\n`,
        );
        chmodSync(closed, 0o755);
        expect(await callProgram(file)).toEqual({ status: 0, stdout: '', stderr: '' });
      } finally {
        rmSync(closed, { recursive: true });
      }
    });

    test('privileges that its caller lacks are not lent', async () => {
      requires('root');
      const { uid = 0, gid = 0 } = ordinaryUser;
      await write(['true']);
      chmodSync(file, 0o4755);
      const end = await callProgram(file, [], { uid, gid });
      expect(end).toMatchObject({
        status: 125,
        stderr: expect.stringContaining('has privileges that its caller lacks'),
      });
    });
  });
}

/** All that is mapped and readable. */
async function memoryOf(pid: string): Promise<Buffer> {
  const { open } = await import('node:fs/promises');
  const memory = await open(`/proc/${pid}/mem`);
  const parts: Buffer[] = [];
  try {
    for (const line of ofProcess(pid, 'maps').split('\n')) {
      const found = /^([0-9a-f]+)-([0-9a-f]+) r\S* .*?(\[\w+\])?$/.exec(line);
      if (found === null || found[3] === '[vvar]' || found[3] === '[vsyscall]') continue;
      const start = Number.parseInt(found[1] ?? '', 16);
      const size = Number.parseInt(found[2] ?? '', 16) - start;
      if (start > Number.MAX_SAFE_INTEGER) continue;
      const buffer = Buffer.alloc(size);
      try {
        await memory.read(buffer, 0, size, start);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      }
      parts.push(buffer);
    }
  } finally {
    await memory.close();
  }
  return Buffer.concat(parts);
}
