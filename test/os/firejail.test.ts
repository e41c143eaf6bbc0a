// What firejail itself keeps on the host, and whom it serves.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run, type SandboxProcess, spawn } from '../../src/index.ts';
import { runAsUser } from '../helpers/as-user.ts';
import { requires } from '../helpers/requires.ts';
import { ensureBuilt, index } from '../security/in-node.ts';

requires('linux', 'root', 'command:firejail');

const RUN_FILES = '/run/firejail';
const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

/** What firejail has noted of the sandbox of its process `pid`. */
function notesOf(pid: number): string[] {
  return readdirSync(RUN_FILES, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.split('/').some((name) => name.split('-').includes(String(pid))),
  );
}

describe('of a sandbox firejail keeps nothing', () => {
  const ends: Readonly<Record<string, (handle: SandboxProcess, first: number) => unknown>> = {
    'that was killed': (handle) => handle.kill(),
    'whose launcher was killed': (handle) => process.kill(handle.pid as number, 'SIGKILL'),
    'whose first process was killed': (_, first) => process.kill(first, 'SIGKILL'),
  };
  test.each(Object.keys(ends))('%s', async (how) => {
    await using handle = spawn(['sleep', '1000'], {}, { backend: 'firejail', optional: 'all' });
    await handle.started;
    const [outer = 0] = children(handle.pid as number);
    const [first = 0] = children(outer);
    expect(notesOf(outer)).not.toEqual([]);
    ends[how]?.(handle, first);
    await handle.result.catch(() => {});
    await expect.poll(() => notesOf(outer)).toEqual([]);
  });

  test('that ended by itself', async () => {
    const before = readdirSync(join(RUN_FILES, 'sandbox'));
    const { stdout } = await run(['sh', '-c', 'hostname'], {}, { backend: 'firejail', optional: 'all' });
    expect(stdout).toBe('sandbox\n');
    expect(readdirSync(join(RUN_FILES, 'sandbox')).filter((name) => !before.includes(name))).toEqual([]);
  });
});

test('who has no account is told so', () => {
  ensureBuilt();
  const script = `
    const { run } = await import(${JSON.stringify(index)});
    await run(['true'], {}, { backend: 'firejail', optional: 'all' }).catch((error) => console.log(error.message));`;
  const { stdout } = runAsUser(process.execPath, ['--input-type=module', '-e', script]);
  expect(stdout).toMatch(/backend firejail cannot run here; .*getpwuid.*; .*only users who have an account/);
});
