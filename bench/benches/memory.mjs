// What a sandbox that only waits takes of memory, beside its command: the sum of the proportional sizes (Pss) of the processes that keep it.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createSandbox } from '../../dist/index.js';
import { withRatios } from '../lib/harness.mjs';
import { bubblewrap, isInstalled } from '../lib/peers.mjs';

const command = ['sleep', '600'];
const bwrap = [...bubblewrap, '--'];

export async function* measure({ quick }) {
  const count = quick ? 4 : 32;
  const sandbox = await createSandbox({});
  const rows = [];
  for (const [name, make] of [
    ['plain spawn', () => plain(command)],
    ['bwrap', isInstalled('bwrap') ? () => plain([...bwrap, ...command]) : undefined],
    ['sandboxlib', () => ours(sandbox)],
  ]) {
    if (make === undefined) rows.push({ name, absent: 'not installed' });
    else rows.push({ name, median: (await held(make, count)) / count / 1024, samples: [] });
  }
  yield {
    title: `memory of a running sandbox, its sleep(1) included, mean of ${count}`,
    unit: 'KiB',
    rows: withRatios(rows),
  };
  await sandbox.dispose();
}

function plain([file, ...args]) {
  const child = spawn(file, args, { stdio: 'ignore' });
  return () => new Promise((resolve) => child.on('exit', resolve).kill('SIGKILL'));
}

function ours(sandbox) {
  const run = sandbox.spawn(command, { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' });
  return async () => {
    run.kill('SIGKILL');
    await run;
  };
}

async function held(make, count) {
  const ends = Array.from({ length: count }, make);
  await delay(1000);
  const bytes = below(process.pid).reduce((sum, pid) => sum + proportionalBytes(pid), 0);
  await Promise.all(ends.map((end) => end()));
  return bytes;
}

function below(root) {
  const children = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = /^PPid:\t(\d+)$/m.exec(read(pid, 'status'))?.[1];
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const all = [];
  for (let next = [String(root)]; next.length > 0; next = next.flatMap((pid) => children.get(pid) ?? []))
    all.push(...next);
  return all.slice(1);
}

function proportionalBytes(pid) {
  return 1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(read(pid, 'smaps_rollup'))?.[1] ?? 0);
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}
