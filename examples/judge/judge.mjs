#!/usr/bin/env node
// A judge: small programs, some of them hostile, each against the same limits, and a verdict that must be right every time.
//   node examples/judge/judge.mjs [--times N] [--at-once N]
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createSandbox, isSandboxError, probe, run } from '../../dist/index.js';

const { values } = parseArgs({
  options: {
    times: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: String(availableParallelism()) },
  },
});
const times = Number(values.times);
const atOnce = Number(values['at-once']);

const input = '20 26\n';
const answer = '46\n';
/** Wall-clock time is for programs that wait: on a busy machine a second of a processor takes a while. */
const limits = {
  wallMs: '60s',
  cpuMs: '1s',
  memoryBytes: '64MiB',
  pids: 16,
  fileBytes: '1MiB',
  stackBytes: '8MiB',
  outputBytes: '64KiB',
};

const limitsOfTheIdle = { ...limits, wallMs: '1s' };

/** By the program's name without its ending. */
const expected = {
  correct: 'accepted',
  wrong: 'wrong answer',
  slow: 'limit cpuMs',
  'slow-in-children': 'limit cpuMs',
  sleeping: 'limit wallMs',
  'memory-hog': 'limit memoryBytes',
  'gradual-hog': 'limit memoryBytes',
  'fork-bomb': 'limit pids',
  'thread-bomb': 'limit pids',
  'output-flood': 'limit outputBytes',
  'file-flood': 'limit fileBytes',
  'stack-overflow': 'signal SIGSEGV',
  aborts: 'signal SIGABRT',
  'divides-by-zero': 'signal SIGFPE',
  'kills-itself': 'signal SIGKILL',
  fails: 'status 3',
  'reads-the-answer': 'wrong answer',
  'opens-a-socket': 'wrong answer',
  missing: 'not found',
};

const submissions = fileURLToPath(new URL('submissions', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'judge-'));
try {
  // Beside the programs on the host, and in no sandbox.
  writeFileSync(join(work, 'answer'), answer);
  await compile();
  const wrong = await judgeAll(await whatIsNotToBeHad());
  process.exitCode = wrong === 0 ? 0 : 1;
} finally {
  rmSync(work, { recursive: true });
}

/** In a sandbox too: a compiler reads what a stranger wrote. */
async function compile() {
  const programs = join(work, 'programs');
  const script =
    'set -e; for file in /src/*.c; do gcc -O0 -o "/out/$(basename "$file" .c)" "$file" -pthread & done; wait; cp /src/*.py /src/*.sh /out';
  mkdirSync(programs);
  const mounts = [`${submissions}:/src:ro`, `${programs}:/out:rw`];
  (await run(['sh', '-c', script], { mounts, limits: { wallMs: '120s' } })).assertSuccess();
}

/** Without control groups some bounds are approximate, or not to be had at all, and we would rather say so than guess. */
async function whatIsNotToBeHad() {
  const { backends } = await probe();
  const { features = {} } = backends.find(({ backend }) => backend === 'native') ?? {};
  const inexact = ['limits.cpuMs', 'limits.memoryBytes', 'limits.pids'].filter(
    (feature) => features[feature]?.available === false,
  );
  return { inexact, skipped: inexact.filter((feature) => features[`${feature}.approximate`]?.available !== true) };
}

async function judgeAll({ inexact, skipped }) {
  const names = readdirSync(submissions).sort();
  const mounts = [`${join(work, 'programs')}:/programs:ro`];
  // Each program has a sandbox of its own, which is ready when its turn comes.
  const sandbox = await createSandbox({ limits, mounts }, { optional: inexact, warm: atOnce });
  const impatient = await createSandbox({ limits: limitsOfTheIdle, mounts }, { optional: inexact });
  let wrong = 0;
  const jobs = [...names, 'missing'].flatMap((name) => Array.from({ length: times }, () => name));
  const seen = new Map();
  const worker = async () => {
    for (let name = jobs.shift(); name !== undefined; name = jobs.shift()) {
      const want = expected[name.replace(/\.\w+$/, '')];
      if (skipped.some((feature) => want === `limit ${feature.slice('limits.'.length)}`)) continue;
      const { verdict, usage } = await judge(want === 'limit wallMs' ? impatient : sandbox, name);
      const line = seen.get(name) ?? { name, want, verdicts: new Map(), usage };
      line.verdicts.set(verdict, (line.verdicts.get(verdict) ?? 0) + 1);
      seen.set(name, line);
      if (verdict !== want) wrong++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  await Promise.all([sandbox.dispose(), impatient.dispose()]);
  for (const { name, want, verdicts, usage } of [...seen.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const got = [...verdicts].map(([verdict, count]) => `${verdict}${times > 1 ? ` x ${count}` : ''}`).join(', ');
    const right = verdicts.size === 1 && verdicts.has(want);
    console.log(`${right ? 'right' : 'WRONG'}  ${name.padEnd(22)} ${got.padEnd(28)} ${describe(usage)}`);
  }
  const approximate = inexact.filter((feature) => !skipped.includes(feature));
  if (approximate.length > 0)
    console.log(`judged by approximate bounds, for want of control groups: ${approximate.join(', ')}`);
  if (skipped.length > 0) console.log(`not judged here, for want of control groups: ${skipped.join(', ')}`);
  const judged = [...seen.values()].reduce(
    (sum, { verdicts }) => sum + [...verdicts.values()].reduce((a, b) => a + b, 0),
    0,
  );
  console.log(`${judged} runs, ${atOnce} at once, ${wrong} wrong`);
  return wrong;
}

async function judge(sandbox, name) {
  const path = `/programs/${basename(name, '.c')}`;
  const command = name.endsWith('.py') ? ['python3', path] : name.endsWith('.sh') ? ['sh', path] : [path];
  try {
    const { outcome, stdout, usage } = await sandbox.run(command, { input, gracePeriodMs: 100 });
    switch (outcome.kind) {
      case 'exited':
        if (outcome.code !== 0) return { verdict: `status ${outcome.code}`, usage };
        return { verdict: stdout === answer ? 'accepted' : 'wrong answer', usage };
      case 'signalled':
        return { verdict: `signal ${outcome.signal}`, usage };
      case 'limit':
        return { verdict: `limit ${outcome.limit}`, usage };
      default:
        return { verdict: outcome.kind, usage };
    }
  } catch (error) {
    if (isSandboxError(error) && error.reason === 'not-found') return { verdict: 'not found', usage: undefined };
    throw error;
  }
}

function describe(usage) {
  if (usage === undefined) return '';
  const { wallMs, cpuUserMs, cpuSystemMs, memoryBytes, pids } = usage;
  const parts = [`${Math.round(wallMs)} ms`];
  if (cpuUserMs !== undefined && cpuSystemMs !== undefined)
    parts.push(`${Math.round(cpuUserMs + cpuSystemMs)} ms of processors`);
  if (memoryBytes !== undefined) parts.push(`${(memoryBytes / 1048576).toFixed(1)} MiB`);
  if (pids !== undefined) parts.push(`${pids} processes`);
  return parts.join(', ');
}
