// A gigabyte each way through the streams of Node, against those of a plain spawn.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createSandbox } from '../../dist/index.js';
import { inTurn } from '../lib/harness.mjs';
import { isInstalled } from '../lib/peers.mjs';

const MiB = 1024 * 1024;
const chunk = Buffer.alloc(MiB);
const bwrap = ['bwrap', '--unshare-all', '--ro-bind', '/', '/', '--dev', '/dev', '--'];

export async function* measure({ rounds, quick }) {
  const bytes = (quick ? 64 : 1024) * MiB;
  const options = { rounds: rounds ?? (quick ? 2 : 5), unit: 'MiB/s', warm: false };
  const sandbox = await createSandbox({});
  const bounded = await createSandbox({ limits: { outputBytes: 2 * bytes } });
  const wrapped = (command) => (isInstalled('bwrap') ? () => plain([...bwrap, ...command]) : undefined);
  const out = ['head', '-c', String(bytes), '/dev/zero'];
  const sink = ['sh', '-c', 'cat > /dev/null'];
  for (const [title, command, move] of [
    ['out of the command', out, drain],
    ['into the command', sink, feed],
  ]) {
    const way = (name, make) =>
      make === undefined ? { name, absent: 'not installed' } : { name, once: () => speed(make, move, bytes) };
    yield await inTurn(
      `${bytes / MiB} MiB ${title}`,
      [
        way('a pipe of a plain spawn', () => plain(command)),
        way('bwrap', wrapped(command)),
        way('sandboxlib, spawn()', () => sandbox.spawn(command, { stdin: 'pipe' })),
        way('sandboxlib, with limits.outputBytes', () => bounded.spawn(command, { stdin: 'pipe' })),
      ],
      options,
    );
  }
  await sandbox.dispose();
  await bounded.dispose();
}

function plain([file, ...args]) {
  return spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function speed(make, move, bytes) {
  const begin = performance.now();
  const child = make();
  await move(child, bytes);
  return bytes / MiB / ((performance.now() - begin) / 1000);
}

async function drain(child, bytes) {
  let seen = 0;
  for await (const piece of child.stdout) seen += piece.length;
  if (seen !== bytes) throw new Error(`${seen} bytes came of ${bytes}`);
  if (typeof child.then === 'function') await child;
}

async function feed(child, bytes) {
  const ended = typeof child.then === 'function' ? child : once(child, 'exit');
  child.stdout.resume();
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!child.stdin.write(chunk)) await once(child.stdin, 'drain');
  }
  child.stdin.end();
  await ended;
}
