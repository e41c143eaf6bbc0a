// What the host feels of a hostile sandbox: how late a timer of another process comes, and how long a plain spawn of /bin/true takes there, with nothing else going on,
// beside a bomb of processes and beside a hog of memory, each within its limits, each again and again.
// Usage: npm run bench:host [-- SECONDS]
import { fork, spawn } from 'node:child_process';
import { createSandbox } from '../dist/index.js';

const seconds = Number(process.argv[2] ?? 10);
const tick = 10;

if (process.argv[2] === 'watch') await watch(Number(process.argv[3]));
else await compare();

/** The unrelated process. */
async function watch(milliseconds) {
  const end = performance.now() + milliseconds;
  const late = [];
  const spawns = [];
  while (performance.now() < end) {
    const before = performance.now();
    await new Promise((resolve) => setTimeout(resolve, tick));
    const woken = performance.now();
    late.push(woken - before - tick);
    await new Promise((resolve, reject) => spawn('/bin/true').on('error', reject).on('close', resolve));
    spawns.push(performance.now() - woken);
  }
  process.send({ late, spawns });
}

async function compare() {
  const bomb = await createSandbox({ limits: { pids: 64, memoryBytes: '256MiB', wallMs: '60s' } });
  const hog = await createSandbox({ limits: { pids: 64, memoryBytes: '256MiB', wallMs: '60s' } });
  const loads = [
    ['nothing', undefined],
    ['a bomb of processes', () => bomb.run(['sh', '-c', 'f() { f | f & }; f; sleep 60'])],
    ['a hog of memory', () => hog.run(['sh', '-c', 'head -c 2G /dev/zero | tail'])],
  ];
  console.log(
    '| beside | timer late by, ms (median, 99 %) | spawn of /bin/true, ms (median, 99 %) | sandboxes ended by their limit |',
  );
  console.log('| --- | --- | --- | --- |');
  for (const [name, load] of loads) {
    let over = false;
    let ended = 0;
    const busy = (async () => {
      while (load !== undefined && !over) {
        const { outcome } = await load();
        if (outcome.kind !== 'limit') throw new Error(`${name}: ${JSON.stringify(outcome)}`);
        ended++;
      }
    })();
    const child = fork(import.meta.filename ?? new URL(import.meta.url).pathname, ['watch', String(seconds * 1000)]);
    const [{ late, spawns }] = await new Promise((resolve) => child.once('message', (...said) => resolve(said)));
    over = true;
    await busy;
    console.log(`| ${name} | ${figures(late)} | ${figures(spawns)} | ${ended} |`);
  }
}

function figures(values) {
  const sorted = values.sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(2);
  return `${at(0.5)}, ${at(0.99)}`;
}
