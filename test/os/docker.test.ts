// What an engine makes does not end with its client. Whoever is killed, and when, no container stays, and no socket of ours.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { Backend, LaunchedProcess } from '../../src/backends/backend.ts';
import { loadDocker } from '../../src/backends/docker/index.ts';
import { callerFacts } from '../../src/host/facts.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { normalize } from '../../src/spec/normalize.ts';
import { whyClosed } from '../helpers/closed-backends.ts';

const why = whyClosed('docker');
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

let backend: Backend;
beforeAll(() => {
  backend = loadDocker() as Backend;
});

function launch(command: readonly [string, ...string[]]): LaunchedProcess {
  const plan = backend.plan(normalize({}, nodeSpecHost()), backend.recognized, callerFacts());
  return backend.launch(plan, {
    command,
    stdio: ['ignore', 'ignore', 'ignore'],
    killSignal: 'SIGKILL',
    gracePeriodMs: 0,
  });
}

/** The client, and the name that its container has: it is there before the container is. */
async function clientOf(launched: LaunchedProcess): Promise<{ readonly pid: number; readonly name: string }> {
  for (;;) {
    for (const between of childrenOf(launched.pid ?? 0)) {
      for (const pid of childrenOf(between)) {
        const name = /sandboxlib-[0-9a-f]{32}/.exec(readIfThere(`/proc/${pid}/cmdline`))?.[0];
        if (name !== undefined) return { pid, name };
      }
    }
    await delay(1);
  }
}

function childrenOf(pid: number): number[] {
  const text = readIfThere(`/proc/${pid}/task/${pid}/children`).trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** A process may be gone meanwhile. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return '';
    throw error;
  }
}

const containersNamed = (name: string): string =>
  execFileSync('docker', ['ps', '--all', '--quiet', '--filter', `name=${name}`], { encoding: 'utf8' }).trim();

async function expectNothingOf(name: string): Promise<void> {
  expect(readdirSync('/dev/shm')).not.toContain(name);
  await expect.poll(() => containersNamed(name), { timeout: 60_000, interval: 500 }).toBe('');
}

/** Of a run: from before the client has asked for anything to when the command runs. */
const moments = [0, 50, 100, 200, 400, 800];

test.each(moments)('SIGKILL for the client after %i ms leaves nothing', async (moment) => {
  const launched = launch(['sleep', '1000']);
  const ended = launched.ended.catch((error: unknown) => error);
  const { pid, name } = await clientOf(launched);
  await delay(moment);
  process.kill(pid, 'SIGKILL');
  expect(await ended).toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
  await expectNothingOf(name);
});

// Fewer: what is left for a moment belongs to nobody, and files beside this one wait for it to be gone.
test.each([0, 100, 400])('SIGKILL for the launcher after %i ms leaves nothing', async (moment) => {
  const launched = launch(['sleep', '1000']);
  const ended = launched.ended.catch((error: unknown) => error);
  const { pid, name } = await clientOf(launched);
  await delay(moment);
  process.kill(launched.pid ?? 0, 'SIGKILL');
  expect(await ended).toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
  // It goes on, and ends when the engine has removed the container.
  await expect.poll(() => readIfThere(`/proc/${pid}/cmdline`), { timeout: 60_000 }).toBe('');
  await expectNothingOf(name);
});

test.each(moments)('an order to end after %i ms leaves nothing', async (moment) => {
  const launched = launch(['sleep', '1000']);
  const { name } = await clientOf(launched);
  await delay(moment);
  launched.kill();
  expect((await launched.ended).cause).toEqual({ kind: 'terminated' });
  await expectNothingOf(name);
});

test('a run that ends by itself leaves nothing', async () => {
  const launched = launch(['true']);
  const { name } = await clientOf(launched);
  expect((await launched.ended).code).toBe(0);
  await expectNothingOf(name);
});
