// SIGKILL for the caller, the launcher or init, at any moment of a short run: nothing stays. 60 rounds for each user; SANDBOXLIB_TEST_KILLS says how many else.
//
// A third of the rounds is for each victim. Launcher and init are killed by a Node process that runs them through the library, and whose every run must
// still settle, rightly. The callers to be killed are Node processes of that kind too, one in twelve; the others are native/test/caller.c, for
// a Node process takes longer to start than all that it is to do.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { runAsUser } from '../helpers/as-user.ts';
import { buildCli } from '../helpers/cli.ts';
import { guestPath } from '../helpers/guest.ts';
import { type Inventory, takeInventory, waitForNothingLeft } from '../helpers/leftovers.ts';
import { type Bench, callers, defaultSteps, makeBench, PROGRAMS } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc');

const ROUNDS = Number(process.env['SANDBOXLIB_TEST_KILLS'] ?? 60);
/** Between two looks at what is left. */
const ROUNDS_AT_ONCE = 240;
const LANES = 2 * availableParallelism();
const STATUS = 7;
const COMMAND_MS = 5;
const CALIBRATION_RUNS = 5;
/** From here on somebody wants to see how it goes. */
const MANY = 1000;
const PATIENCE_MS = 20_000;

const library = new URL('../../dist/index.js', import.meta.url);
const callerScript = new URL('../helpers/kill-caller.mjs', import.meta.url);

let bench: Bench;
let marker: string;
beforeAll(() => {
  buildCli();
  bench = makeBench('caller');
  copyFileSync(guestPath(), bench.program('guest'));
  // The daemon of a run is found again by a number that is in nobody else's command line.
  marker = String(100_000_000 + randomInt(800_000_000));
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
function alive(): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => `${pid}: ${readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`)
    .filter((line) => line.includes(`guest brief ${marker}`) || line.includes(`: ${bench.launcher} `));
}

async function waitUntilGone(): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = alive();
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(2);
  }
}

/** How often what happened, in words. */
type Tally = Record<string, number>;

function count(tally: Tally, what: string, times = 1): void {
  tally[what] = (tally[what] ?? 0) + times;
}

/** One user's rounds. */
class Rounds {
  readonly tally: Tally = {};
  readonly #ids: { uid?: number; gid?: number };
  readonly #plan: string;
  #momentsUs = 0;

  constructor(uid: number) {
    this.#ids = uid === process.getuid?.() ? {} : { uid, gid: uid };
    this.#plan = join(bench.directory, `plan-${uid}`);
    const command = [`${PROGRAMS}/guest`, 'brief', marker, String(COMMAND_MS), String(STATUS)] as const;
    writeFileSync(this.#plan, encodePlan(defaultSteps(bench, uid, [...command])));
  }

  /** Kills fall into every part of a run, and a little behind it. */
  async calibrate(): Promise<void> {
    const times: number[] = [];
    for (let run = 0; run < CALIBRATION_RUNS; run++) {
      const start = performance.now();
      const [code] = await once(this.#startCaller(), 'exit');
      times.push(performance.now() - start);
      expect(code).toBe(STATUS);
    }
    const median = times.sort((a, b) => a - b)[CALIBRATION_RUNS >> 1] ?? 0;
    this.#momentsUs = Math.ceil(median * 1.2 * 1000);
  }

  async killCallers(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) await this.#killCaller(this.#startCaller(), 'caller');
  }

  async killNodeCallers(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const child = this.#startNode('victim', { rounds: 0, parallel: 2 });
      await once(child.stdout ?? child, 'data');
      await this.#killCaller(child, 'Node caller');
    }
  }

  async #killCaller(child: ChildProcess, name: string): Promise<void> {
    const exited = once(child, 'exit');
    await Promise.race([sleepUs(randomInt(this.#momentsUs)), exited]);
    const killed = child.exitCode === null && child.kill('SIGKILL');
    const [code, signal] = await exited;
    child.stdout?.destroy();
    if (killed && signal === 'SIGKILL') count(this.tally, `${name} killed`);
    else
      count(
        this.tally,
        code === STATUS ? `${name} not killed: run ended as it should` : `${name} ended WRONGLY: ${code}`,
      );
  }

  /** Half the rounds for the launcher, half for init. */
  async killBelowNode(rounds: number): Promise<void> {
    const child = this.#startNode('killer', { rounds, parallel: LANES });
    const [printed, [code]] = await Promise.all([text(child.stdout as Readable), once(child, 'exit')]);
    expect(code).toBe(0);
    const { seen, descriptors } = JSON.parse(printed) as { seen: Tally; descriptors: number };
    for (const [what, times] of Object.entries(seen)) count(this.tally, what, times);
    expect(descriptors, 'descriptors that the library left open').toBeLessThanOrEqual(0);
  }

  #startCaller(): ChildProcess {
    return spawn(bench.program('caller'), [bench.launcher, this.#plan], {
      stdio: ['ignore', 'ignore', 'inherit'],
      cwd: '/',
      ...this.#ids,
    });
  }

  #startNode(kind: 'victim' | 'killer', { rounds, parallel }: { rounds: number; parallel: number }): ChildProcess {
    const programs = join(bench.directory, 'programs');
    const command = [join(programs, 'guest'), 'brief', marker, String(COMMAND_MS), String(STATUS)];
    const work = {
      library: library.href,
      command,
      programs,
      status: STATUS,
      rounds,
      parallel,
    };
    return spawn(process.execPath, [fileURLToPath(callerScript), kind, JSON.stringify(work)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: '/',
      env: { ...process.env, SANDBOXLIB_LAUNCHER: bench.launcher },
      ...this.#ids,
    });
  }
}

/** Half a millisecond is much here: timers are too coarse by themselves. */
async function sleepUs(microseconds: number): Promise<void> {
  const end = process.hrtime.bigint() + BigInt(microseconds) * 1000n;
  if (microseconds > 2000) await delay(Math.floor(microseconds / 1000) - 1);
  while (process.hrtime.bigint() < end);
}

async function killSome(rounds: Rounds, times: number): Promise<void> {
  const third = Math.ceil(times / 3);
  const nodes = Math.ceil(third / 12);
  await rounds.calibrate();
  await Promise.all([
    rounds.killCallers(Math.ceil((third - nodes) / 2)),
    rounds.killCallers(Math.floor((third - nodes) / 2)),
    rounds.killNodeCallers(nodes),
    rounds.killBelowNode(times - third),
  ]);
}

async function whatIsLeft(before: Inventory): Promise<string[]> {
  return [...(await waitUntilGone()), ...(await waitForNothingLeft(before))];
}

describe.each(callers())('as $name', ({ uid }) => {
  it('the command leaves a daemon that only the end of the sandbox ends', async () => {
    const steps = defaultSteps(bench, uid, [`${PROGRAMS}/guest`, 'brief', marker, '600000', String(STATUS)]);
    const plan = join(bench.directory, `plan-long-${uid}`);
    writeFileSync(plan, encodePlan(steps));
    const ids = uid === process.getuid?.() ? {} : { uid, gid: uid };
    const caller = spawn(bench.program('caller'), [bench.launcher, plan], { stdio: 'ignore', cwd: '/', ...ids });
    const exited = once(caller, 'exit');
    const deadline = performance.now() + PATIENCE_MS;
    const running = () => alive().filter((line) => line.includes('guest brief')).length;
    while (running() < 2 && performance.now() < deadline) await delay(2);
    expect(running()).toBe(2);
    caller.kill('SIGKILL');
    await exited;
    expect(await waitUntilGone()).toEqual([]);
  });

  it(
    'SIGKILL for caller, launcher or init at any moment leaves nothing',
    async (context) => {
      const reachable = runAsUser('/bin/sh', ['-c', 'test -r "$0"', fileURLToPath(library)]);
      if (uid !== process.getuid?.() && reachable.status !== 0)
        context.skip('an ordinary user cannot reach the checkout: EACCES');
      const rounds = new Rounds(uid);
      const { tally } = rounds;
      const before = takeInventory();
      for (let done = 0; done < ROUNDS; ) {
        const times = Math.min(ROUNDS - done, ROUNDS_AT_ONCE);
        await killSome(rounds, times);
        done += times;
        const left = await whatIsLeft(before);
        if (ROUNDS >= MANY) console.log(`after ${done} rounds, left behind: ${JSON.stringify(left)}`);
        expect(left).toEqual([]);
      }
      if (ROUNDS >= MANY) console.log(JSON.stringify(tally, null, 2));
      expect(Object.values(tally).reduce((sum, times) => sum + times, 0)).toBe(ROUNDS);
      expect(Object.keys(tally).filter((what) => /WRONGLY|never ended/.test(what))).toEqual([]);
      for (const victim of ['caller', 'Node caller', 'launcher', 'init'])
        expect(
          Object.keys(tally).some((what) => what.startsWith(`${victim} killed`)),
          victim,
        ).toBe(true);
    },
    600_000 + ROUNDS * 1000,
  );
});
