// SIGKILL for a Node process that runs sandboxes through the library: everything in them is gone soon after. What the launcher does at any single
// moment is in launcher-kill.test.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ordinaryUser, runAsUser } from '../helpers/as-user.ts';
import { buildCli, until } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

const index = new URL('../../dist/index.js', import.meta.url);
const library = JSON.stringify(index.href);

requires('linux', 'userns');
beforeAll(buildCli);

const callers = [
  { name: process.getuid?.() === 0 ? 'root' : 'an ordinary user', ids: {} },
  ...(process.getuid?.() === 0 ? [{ name: 'an ordinary user', ids: ordinaryUser }] : []),
];

describe.each(callers)('as $name', ({ ids }) => {
  // Found again by a number that is in nobody else's command line.
  let marker: string;
  beforeEach((context) => {
    marker = String(100_000_000 + randomInt(800_000_000));
    const found = runAsUser('/bin/sh', ['-c', 'test -r "$0"', fileURLToPath(index)]);
    if (ids === ordinaryUser && found.status !== 0) context.skip('an ordinary user cannot reach the checkout: EACCES');
  });

  const alive = (): string[] =>
    readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid) === `sleep ${marker}`);

  /** Two processes in two sessions; the first ignores what it can. */
  const command = (): string =>
    JSON.stringify(['sh', '-c', `trap '' TERM HUP INT; setsid sleep ${marker} & sleep ${marker}`]);

  const startNode = (script: string): ChildProcess =>
    spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'ignore', 'inherit'],
      cwd: '/',
      ...ids,
    });

  async function killed(script: string, processes: number): Promise<void> {
    const caller = startNode(script);
    try {
      await until(
        () => alive().length >= processes || caller.exitCode !== null,
        () => `not ${processes} processes but ${alive().length}`,
      );
      expect(caller.exitCode).toBeNull();
    } finally {
      await killNode(caller);
    }
    await until(
      () => alive().length === 0,
      () => `still there: ${alive().join(', ')}`,
    );
  }

  test('a run ends with its Node process', async () => {
    await killed(`import { run } from ${library}; await run(${command()});`, 2);
  });

  test('a run with streams, input and a terminal ends with its Node process', async () => {
    const script = `
      import { spawn } from ${library};
      spawn(${command()}, {}, { stdin: 'pipe', stdout: 'inherit', descriptors: { 3: 'pipe' } });
      spawn(${command()}, { terminal: true }).lines().next();
    `;
    await killed(script, 4);
  });

  test('twenty sandboxes at once end with their Node process', async () => {
    await killed(`import { run } from ${library}; for (let i = 0; i < 20; i++) run(${command()});`, 40);
  });

  test('sandboxes of a prepared spec and of a Worker end with their Node process', async () => {
    const worker = `import(${library}).then(({ run }) => run(${command()}))`;
    const script = `
      import { Worker } from 'node:worker_threads';
      import { createSandbox } from ${library};
      const sandbox = await createSandbox({ network: 'host' });
      sandbox.run(${command()});
      new Worker(${JSON.stringify(worker)}, { eval: true });
    `;
    await killed(script, 4);
  });

  test('a wrapped command ends with the process that spawned it', async () => {
    const script = `
      import { spawn } from 'node:child_process';
      import { wrap } from ${library};
      const { file, args, env } = await wrap(${command()});
      for (let i = 0; i < 3; i++) spawn(file, args, { env, stdio: 'inherit' });
    `;
    await killed(script, 6);
  });

  test('a Worker that is terminated takes its sandboxes with it, and nothing else', async () => {
    const worker = `import(${library}).then(({ run }) => run(${command()}))`;
    const script = `
      import { Worker } from 'node:worker_threads';
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
      process.stdin.once('data', async () => {
        await worker.terminate();
        console.log('terminated');
      });
    `;
    const caller = startNode(script);
    await until(
      () => alive().length >= 2,
      () => 'the command does not start',
    );
    caller.stdin?.write('now');
    await until(
      () => alive().length === 0,
      () => `still there: ${alive().join('; ')}`,
    );
    expect(caller.exitCode).toBeNull();
    await killNode(caller);
  });

  test('a Node process that is killed while it starts sandboxes leaves nothing', async () => {
    const script = `import { run } from ${library}; for (;;) await Promise.all([1, 2, 3].map(() => run(['sh', '-c', 'setsid sleep ${marker} & true'])));`;
    for (let round = 0; round < 8; round++) {
      const caller = startNode(script);
      await delay(100 + randomInt(300));
      await killNode(caller);
      await until(
        () => alive().length === 0,
        () => `still there: ${alive().join('; ')}`,
      );
    }
  });
});

async function killNode(caller: ChildProcess): Promise<void> {
  const exited = once(caller, 'exit');
  caller.kill('SIGKILL');
  await exited;
}

function commandLine(pid: string): string {
  return readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trimEnd();
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    // The process is gone by now.
    return '';
  }
}
