// SIGKILL for the caller, the launcher or init, at any moment of a run: nothing stays. 60 rounds; SANDBOXLIB_TEST_KILLS says how many else.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { type Bench, defaultSteps, makeBench } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc');

const ROUNDS = Number(process.env['SANDBOXLIB_TEST_KILLS'] ?? 60);
const PATIENCE_MS = 20_000;
/** A run takes some milliseconds until its command sleeps: kills fall before, into and behind that. */
const MOMENTS_US = 30_000;

/**
 * The caller, as the library is one: it holds the other end of the channel. Prints a line when the launcher is there.
 */
const callerScript = `
  const { spawn } = require('node:child_process');
  const { readFileSync } = require('node:fs');
  const [launcher, plan] = process.argv.slice(1);
  const child = spawn(launcher, ['run', '--channel-fd', '3'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'], env: {}, cwd: '/' });
  child.stdio[3].on('error', () => {}).resume();
  child.on('exit', () => process.exit(0));
  process.stdout.write('launcher ' + child.pid + '\\n');
  child.stdio[3].write(readFileSync(plan));
`;

let bench: Bench;
let plan: string;
let marker: string;
beforeAll(() => {
  bench = makeBench();
  plan = join(bench.directory, 'plan');
  // Two processes in two sessions, found again by a number that is in nobody else's command line.
  marker = String(100_000_000 + randomInt(800_000_000));
  const script = `setsid sleep ${marker} & exec sleep ${marker}`;
  writeFileSync(plan, encodePlan(defaultSteps(bench, process.getuid?.() ?? 0, ['/bin/sh', '-c', script])));
});
afterAll(() => bench.remove());

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The process is gone by now.
    return '';
  }
}

/** What a round may leave: its launcher, its init, which has the same command line, and its commands. */
function leftovers(): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      const line = readIfThere(`/proc/${pid}/cmdline`);
      return line.includes(marker) || line.startsWith(bench.launcher);
    })
    .map((pid) => `${pid}: ${readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`);
}

function childrenOf(pid: number): number[] {
  return readIfThere(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('utf8');
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  return text;
}

/** Half a millisecond is much here: timers are too coarse. */
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(microseconds) * 1000n;
  while (process.hrtime.bigint() < end);
}

async function killOnce(victim: 'caller' | 'launcher' | 'init'): Promise<void> {
  const caller = spawn(process.execPath, ['-e', callerScript, bench.launcher, plan], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(caller, 'exit');
  const launcher = Number(/^launcher (\d+)/.exec(await firstLine(caller))?.[1]);
  expect(launcher).toBeGreaterThan(0);
  spin(randomInt(MOMENTS_US));
  // Init may not be there yet: then it is the launcher's turn.
  if (victim === 'caller') kill(caller.pid ?? 0);
  else kill(victim === 'init' ? (childrenOf(launcher)[0] ?? launcher) : launcher);
  // The caller ends by itself when its launcher does.
  await exited;
  caller.stdout?.destroy();
}

async function waitUntilGone(): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = leftovers();
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(2);
  }
}

it('the command runs until somebody is killed', async () => {
  const caller = spawn(process.execPath, ['-e', callerScript, bench.launcher, plan], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(caller, 'exit');
  await firstLine(caller);
  const deadline = performance.now() + PATIENCE_MS;
  const running = () => leftovers().filter((line) => line.includes(`sleep ${marker}`)).length;
  let seen = 0;
  // Looked at once a round: a process that is just calling execve(2) has no command line.
  while (seen < 2 && performance.now() < deadline) {
    seen = running();
    await delay(2);
  }
  kill(caller.pid ?? 0);
  await exited;
  expect(seen).toBeGreaterThanOrEqual(2);
  expect(await waitUntilGone()).toEqual([]);
});

it.each(['caller', 'launcher', 'init'] as const)(
  'SIGKILL for the %s at any moment leaves nothing',
  async (victim) => {
    for (let round = 0; round < Math.ceil(ROUNDS / 3); round++) {
      await killOnce(victim);
      expect(await waitUntilGone(), `round ${round}`).toEqual([]);
    }
  },
  60_000 + ROUNDS * 1000,
);
