// A caller as people have one: a Node process that runs sandboxes through dist/. Of two kinds, for test/os/launcher-kill.test.ts:
//   kill-caller.mjs victim WORK   runs one after another, several at once, until it is killed; prints "ready" when it begins
//   kill-caller.mjs killer WORK   kills launcher or init of its own runs, each once, at a random moment; prints what came of them as JSON
// WORK is JSON, see `Work`.
import { randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * @typedef {object} Work
 * @property {string} library URL of dist/index.js
 * @property {[string, ...string[]]} command
 * @property {string} programs directory with the command, mounted at its own path
 * @property {number} status of the command
 * @property {number} rounds
 * @property {number} parallel
 */
const [kind, text = ''] = process.argv.slice(2);
/** @type {Work} */
const work = JSON.parse(text);
/** @type {typeof import('../../src/index.ts')} */
const { isSandboxError, probe, spawn } = await import(work.library);

/** @type {import('../../src/index.ts').SandboxSpec} */
const spec = { mounts: [{ type: 'bind', source: work.programs, destination: work.programs, readonly: true }] };
/** @type {import('../../src/index.ts').RunOptions} */
const options = { backend: 'native', stdout: 'ignore', stderr: 'ignore' };
const PATIENCE_MS = 120_000;
const CALIBRATION_RUNS = 4;
const MORE_ROUNDS = 400;
/** How long after its start a run is killed at the latest. */
let momentsUs = 0;

if (kind === 'victim') await Promise.all(lanes(runForEver));
else await kill();

/** @param {() => Promise<void>} lane */
function lanes(lane) {
  return Array.from({ length: work.parallel }, lane);
}

async function runForEver() {
  // The first line after the first start: from here on every moment is one of some run.
  await spawn(work.command, spec, options);
  process.stdout.write('ready\n');
  for (;;) await spawn(work.command, spec, options);
}

async function kill() {
  // What a failure would be explained by, beforehand: it takes sandboxes of its own.
  await probe();
  await calibrate();
  const before = descriptors();
  /** @type {Record<string, number>} */
  const seen = {};
  let round = 0;
  await Promise.all(
    lanes(async () => {
      // A few rounds may by chance never find init, and a tally without it would show nothing.
      while (round < work.rounds || (!everyVictimIn(seen) && round < work.rounds + MORE_ROUNDS)) {
        const what = await killOne(round++ % 2 === 0 ? 'launcher' : 'init');
        seen[what] = (seen[what] ?? 0) + 1;
      }
    }),
  );
  // Sockets close a turn later than the run ends.
  for (let turn = 0; turn < 100 && descriptors() > before; turn++) await delay(10);
  process.stdout.write(`${JSON.stringify({ seen, descriptors: descriptors() - before })}\n`);
}

/** Kills fall into every part of a run, and a little behind it; here runs go beside each other, and take their time. */
async function calibrate() {
  /** @type {number[]} */
  const times = [];
  await Promise.all(
    lanes(async () => {
      for (let run = 0; run < CALIBRATION_RUNS; run++) {
        const start = performance.now();
        await spawn(work.command, spec, options);
        times.push(performance.now() - start);
      }
    }),
  );
  const median = times.sort((a, b) => a - b)[times.length >> 1] ?? 0;
  momentsUs = Math.ceil(median * 1.2 * 1000);
}

/** @param {Record<string, number>} seen */
function everyVictimIn(seen) {
  return ['launcher', 'init'].every((victim) => Object.keys(seen).some((what) => what.startsWith(`${victim} killed`)));
}

function descriptors() {
  return readdirSync('/proc/self/fd').length;
}

/** @param {'launcher' | 'init'} victim */
async function killOne(victim) {
  const run = spawn(work.command, spec, options);
  let phase = 'before its start';
  run.started.then(
    () => {
      phase = 'while it ran';
    },
    () => {},
  );
  const end = run.then(
    ({ outcome }) =>
      outcome.kind === 'exited' && outcome.code === work.status ? 'ended as it should' : wrong(outcome),
    (error) => (isSandboxError(error) && error.code === 'SBX_LAUNCH_FAILED' ? 'was reported as failed' : wrong(error)),
  );
  let over = false;
  const ended = end.then(() => {
    over = true;
  });
  await Promise.race([sleepUs(randomInt(momentsUs)), ended]);
  const when = over ? 'after its end' : phase;
  const hit = over ? 'nobody' : strike(victim, run.pid);
  const how = await Promise.race([end, delay(PATIENCE_MS, 'never ended', { ref: false })]);
  return `${hit} killed ${when}: run ${how}`;
}

/** @param {unknown} what */
function wrong(what) {
  return `ended WRONGLY: ${what instanceof Error ? what.stack : JSON.stringify(what)}`;
}

/** Timers are too coarse by themselves. @param {number} microseconds */
async function sleepUs(microseconds) {
  const end = process.hrtime.bigint() + BigInt(microseconds) * 1000n;
  if (microseconds > 2000) await delay(Math.floor(microseconds / 1000) - 1);
  while (process.hrtime.bigint() < end);
}

/** Init may not be there yet, or any more: then it is the launcher's turn. @param {string} victim @param {number | undefined} launcher */
function strike(victim, launcher) {
  if (launcher === undefined) return 'nobody';
  const init = victim === 'init' ? initOf(launcher) : undefined;
  try {
    process.kill(init ?? launcher, 'SIGKILL');
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error;
    return 'nobody';
  }
  return init === undefined ? 'launcher' : 'init';
}

/** @param {number} launcher */
function initOf(launcher) {
  try {
    const [first] = readFileSync(`/proc/${launcher}/task/${launcher}/children`, 'utf8').split(' ');
    return first === undefined || first === '' ? undefined : Number(first);
  } catch {
    // The launcher is gone by now.
    return undefined;
  }
}
