// The lock that a launcher holds for who started it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { launcherPath } from '../../src/backends/launcher/locate.ts';
import { withLock } from '../../src/image/store/lock.ts';
import { ordinaryUser, runAsUser } from '../helpers/as-user.ts';
import { waitForText } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');

let work: string;
let file: string;
let holders: ChildProcess[];

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'lock-'));
  file = join(work, 'lock');
  holders = [];
});
afterEach(async () => {
  for (const holder of holders) await end(holder);
  rmSync(work, { recursive: true });
});

function hold(path = file): ChildProcess {
  const holder = spawn(launcherPath(), ['lock', path], { stdio: 'pipe', env: {}, cwd: '/' });
  holders.push(holder);
  return holder;
}

const locked = (holder: ChildProcess): Promise<string> => waitForText(holder.stdout as Readable, 'locked\n');

async function end(holder: ChildProcess): Promise<void> {
  if (holder.exitCode !== null || holder.signalCode !== null) return;
  holder.stdin?.end();
  await once(holder, 'exit');
}

/** Another one, of which nobody can say that it only has not been asked yet: it has found the lock taken. */
async function waiting(): Promise<{ readonly holder: ChildProcess; readonly has: () => boolean }> {
  const holder = hold();
  let has = false;
  void locked(holder).then(
    () => {
      has = true;
    },
    // It ended without it.
    () => undefined,
  );
  // Several of its tries, each of which would have come out well.
  await new Promise((resolve) => setTimeout(resolve, 200));
  return { holder, has: () => has };
}

describe('a lock', () => {
  test('has one holder, and who waits gets it when that one lets go', async () => {
    const first = hold();
    await locked(first);
    const second = await waiting();
    expect(second.has()).toBe(false);
    await end(first);
    await expect.poll(second.has).toBe(true);
    expect(first.exitCode).toBe(0);
  });

  test('goes on when its holder is killed, and when the process that it holds it for is', async () => {
    const first = hold();
    await locked(first);
    const second = await waiting();
    first.kill('SIGKILL');
    await expect.poll(second.has).toBe(true);
    await end(second.holder);
    const script = `require('child_process').spawn(process.argv[1], ['lock', process.argv[2]], { stdio: ['pipe', 'inherit', 'inherit'] })`;
    const caller = spawn(process.execPath, ['-e', script, launcherPath(), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await waitForText(caller.stdout, 'locked\n');
    const third = await waiting();
    expect(third.has()).toBe(false);
    caller.kill('SIGKILL');
    await expect.poll(third.has).toBe(true);
  });

  test('is one of the file that is there: who comes after it was removed makes another', async () => {
    const first = hold();
    await locked(first);
    const second = await waiting();
    rmSync(file);
    await expect.poll(second.has).toBe(true);
    expect(existsSync(file)).toBe(true);
    const third = await waiting();
    await end(first);
    expect(third.has()).toBe(false);
  });

  test('is no longer waited for where nobody waits for the one who does', async () => {
    await locked(hold());
    const second = await waiting();
    await end(second.holder);
    expect([second.holder.exitCode, second.has()]).toEqual([0, false]);
  });

  test('is not held where its file cannot be had, and the reason is told', async () => {
    symlinkSync(join(work, 'elsewhere'), join(work, 'link'));
    mkdirSync(join(work, 'directory'));
    for (const [path, why] of [
      [join(work, 'none/lock'), /No such file or directory/],
      [join(work, 'link'), /symbolic link/i],
      [join(work, 'directory'), /Is a directory/],
    ] as const) {
      const { status, stderr } = spawnSync(launcherPath(), ['lock', path], { encoding: 'utf8' });
      expect([status, stderr]).toEqual([1, expect.stringMatching(why)]);
      expect(stderr.startsWith(`${path}: `)).toBe(true);
    }
    expect(existsSync(join(work, 'elsewhere'))).toBe(false);
  });

  test('is not held in a directory that cannot be written to', () => {
    mkdirSync(join(work, 'closed'));
    chmodSync(join(work, 'closed'), 0o555);
    chmodSync(work, 0o755);
    const path = join(work, 'closed/lock');
    const { status, stderr, stdout } = runAsUser(launcherPath(), ['lock', path], { env: {} });
    expect([status, stdout, stderr]).toEqual([1, '', `${path}: Permission denied\n`]);
    expect(ordinaryUser.uid).not.toBe(0);
  });
});

describe('work under a lock', () => {
  test('is done one at a time, in the order of asking', async () => {
    const done: number[] = [];
    let inside = 0;
    await Promise.all(
      [1, 2, 3].map((number) =>
        withLock(file, async () => {
          inside += 1;
          expect(inside).toBe(1);
          await new Promise((resolve) => setTimeout(resolve, 20));
          done.push(number);
          inside -= 1;
        }),
      ),
    );
    expect(done).toEqual([1, 2, 3]);
  });

  test('fails with its own error, and lets the next one in', async () => {
    const failing = withLock(file, () => Promise.reject(new Error('own')));
    const next = withLock(file, () => Promise.resolve('next'));
    await expect(failing).rejects.toThrow('own');
    expect(await next).toBe('next');
    const holder = hold();
    await locked(holder);
  });

  test('is not begun where the file cannot be locked', async () => {
    let began = false;
    const asked = withLock(join(work, 'none/lock'), async () => {
      began = true;
    });
    await expect(asked).rejects.toMatchObject({
      code: 'SBX_IMAGE_STORE',
      message: expect.stringMatching(/^the store of images cannot be locked: .*none\/lock: No such file or directory/),
    });
    expect(began).toBe(false);
  });
});
