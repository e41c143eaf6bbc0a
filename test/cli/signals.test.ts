import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildCli, spawnCli, until, waitForText } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');
beforeAll(buildCli);

/** Processes of this host whose command line has `mark` in it. */
function processesWith(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark);
    } catch {
      return false; // it ended meanwhile
    }
  });
}

let count = 0;

/** A command with a child that sleeps, both known by a number that no other test has. */
function sleeper(script = ''): { mark: string; args: string[] } {
  const mark = `3${process.pid}${String(++count).padStart(3, '0')}`;
  return { mark, args: ['sh', '-c', `${script} sleep ${mark} & echo ready; wait; wait`] };
}

describe.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
  ['SIGQUIT', 131],
] as const)('%s to run-sandbox', (signal, status) => {
  test(`ends everything in the sandbox, and the status is ${status}`, async () => {
    const { mark, args } = sleeper();
    const child = spawnCli(args);
    if (child.stdout === null) throw new Error('no stdout');
    await waitForText(child.stdout, 'ready');
    expect(processesWith(mark)).not.toEqual([]);
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([status, null]);
    expect(processesWith(mark)).toEqual([]);
  });
});

test('a signal reaches the command, which may end in an orderly way', async () => {
  const { mark, args } = sleeper('trap "echo orderly; kill %1; exit 0" TERM;');
  const child = spawnCli(args);
  if (child.stdout === null) throw new Error('no stdout');
  await waitForText(child.stdout, 'ready');
  child.kill('SIGTERM');
  await waitForText(child.stdout, 'orderly');
  await once(child, 'exit');
  expect(processesWith(mark)).toEqual([]);
});

test('a command that ignores the signal is killed after --grace', async () => {
  const { mark, args } = sleeper('trap "" TERM;');
  const child = spawnCli(['--grace', '100ms', ...args]);
  if (child.stdout === null) throw new Error('no stdout');
  await waitForText(child.stdout, 'ready');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([143, null]);
  expect(processesWith(mark)).toEqual([]);
});

test('SIGKILL of run-sandbox leaves nothing', async () => {
  const { mark, args } = sleeper();
  const child = spawnCli(args);
  if (child.stdout === null) throw new Error('no stdout');
  await waitForText(child.stdout, 'ready');
  child.kill('SIGKILL');
  await once(child, 'exit');
  await until(
    () => processesWith(mark).length === 0,
    () => `still there: ${processesWith(mark).join(', ')}`,
  );
});
