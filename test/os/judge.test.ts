// The judge of examples/: every verdict right, alone and in a crowd.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { runAsUser } from '../helpers/as-user.ts';
import { buildCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:gcc', 'file:/usr/bin/python3');

const judge = fileURLToPath(new URL('../../examples/judge/judge.mjs', import.meta.url));

beforeAll(() => buildCli());

test.each([1, 8])('every verdict is right, %d at once', async (atOnce) => {
  requires('root');
  const args = [judge, '--times', '2', '--at-once', String(atOnce)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(stdout).toMatch(/^42 runs, \d at once, 0 wrong$/m);
});

test('without control groups every verdict is right too, and it says by what it judges', ({ skip }) => {
  requires('root');
  const { stdout, stderr, status } = runAsUser(process.execPath, [judge], {
    env: { PATH: process.env['PATH'], TMPDIR: '/tmp' },
  });
  skip(stderr.includes('EACCES'), 'an ordinary user cannot reach the checkout: EACCES');
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(stdout).toContain(
    'judged by approximate bounds, for want of control groups: limits.cpuMs, limits.memoryBytes, limits.pids',
  );
  expect(stdout).toMatch(/^21 runs, \d+ at once, 0 wrong$/m);
});
