// Runs by way of a server (native/serve.c): what one gives up for it, which is nothing, and what happens to them when something dies.
import { spawn as spawnPlain, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';
import { createSandbox, LaunchError, type RunResult, run, type Sandbox } from '../../src/index.ts';
import { takeInventory, waitForNothingLeft } from '../helpers/leftovers.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';
import {
  childrenOf,
  inits,
  killAnything,
  sendSignal,
  serveAll,
  servers,
  supervisors,
  until,
} from '../helpers/serving.ts';
import { ensureBuilt, index, inNode } from '../security/in-node.ts';

requires('linux', 'userns');

serveAll();

const shell = (script: string, options: Parameters<typeof run>[2] = {}): Promise<RunResult> =>
  run(['sh', '-c', script], {}, options);
const text = ({ stdout }: RunResult): string => String(stdout);

describe('a server', () => {
  it('is one process for many runs, and ends when it is told to', async () => {
    for (const number of [1, 2, 3]) expect(text(await shell(`echo ${number}`))).toBe(`${number}\n`);
    expect(servers().length).toBe(1);
    await endServers();
    expect(servers()).toEqual([]);
    expect(text(await shell('echo again'))).toBe('again\n');
  });

  it('is not there for one run, and not where nobody wants it', () => {
    const script = (runs: number) =>
      `for (let i = 0; i < ${runs}; i++) await run(['true']);
       const { readFileSync } = await import('node:fs');
       const lines = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim().split(' ').filter(Boolean)
         .map((pid) => readFileSync('/proc/' + pid + '/cmdline', 'utf8')).filter((line) => line.includes('serve'));
       console.log(lines.length);`;
    const env = (choice: string | undefined) => {
      const { SANDBOXLIB_SERVER: _, ...rest } = process.env;
      return choice === undefined ? rest : { ...rest, SANDBOXLIB_SERVER: choice };
    };
    const count = (runs: number, choice?: string) => {
      const { status, stdout, stderr } = inNode(script(runs), { env: env(choice) });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      return Number(stdout);
    };
    expect([count(1), count(2), count(2, 'off'), count(1, 'always')]).toEqual([0, 1, 0, 1]);
  });

  it('does not keep Node alive, and leaves nothing behind', async () => {
    const before = takeInventory();
    const { status, stdout, stderr } = inNode(
      `const s = await createSandbox({}, { warm: 3 });
       for (let i = 0; i < 3; i++) await s.run(['true']);
       await createSandbox({}, { warm: 2 });
       await run(['true']);
       console.log('done');`,
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'done\n', stderr: '' });
    expect(await waitForNothingLeft(before)).toEqual([]);
  });

  it('ends with a caller that is killed, and all that it runs and keeps ready', async () => {
    ensureBuilt();
    const before = takeInventory();
    const marker = '31536123';
    const child = spawnPlain(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { createSandbox, run } from ${JSON.stringify(index)};
         const s = await createSandbox({}, { warm: 2 });
         await s.run(['true']);
         const two = [s.run(['sleep', '${marker}']), run(['sleep', '${marker}'])];
         console.log('ready');
         await Promise.all(two);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await until(() => processesWith(`sleep\0${marker}`).length >= 2);
    child.kill('SIGKILL');
    await once(child, 'exit');
    child.stdout.destroy();
    expect(await waitForNothingLeft(before)).toEqual([]);
    expect(processesWith(`sleep\0${marker}`)).toEqual([]);
  });

  it('is not there in a Worker, which could not wait for its end', () => {
    const script = `
      const { Worker } = await import('node:worker_threads');
      const { readFileSync } = await import('node:fs');
      const work = "import(" + JSON.stringify(${JSON.stringify(index)}) + ").then(async ({ run, createSandbox }) => {" +
        "await run(['true']); await run(['true']); const s = await createSandbox({}, { warm: 2 }); await s.run(['true']); })";
      await new Promise((resolve) => new Worker(work, { eval: true }).once('exit', resolve));
      console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim());`;
    const { status, stdout, stderr } = inNode(script);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '\n', stderr: '' });
  });

  it('takes no privilege along that its caller gave up', () => {
    requires('root');
    const script = `
      await run(['true']); await run(['true']);
      process.setgroups([]); process.setgid(12345); process.setuid(12345);
      const said = await run(['true']).then(({ outcome }) => JSON.stringify(outcome), ({ code }) => code);
      console.log(said);`;
    const by = (server: string) => inNode(script, { env: { ...process.env, SANDBOXLIB_SERVER: server } }).stdout;
    expect(by('always')).toBe(by('off'));
  });
});

describe('what a command finds', () => {
  it('are descriptors 0, 1 and 2, and no others', async () => {
    for (let round = 0; round < 3; round++)
      expect(text(await run(['/bin/ls', '/proc/self/fd']))).toMatch(/^0\n1\n2\n3\n$/);
  });

  it('is nothing of a run before it', async () => {
    expect(text(await shell('echo secret > /tmp/x; cat /tmp/x'))).toBe('secret\n');
    expect(text(await shell('ls -A /tmp'))).toBe('');
  });

  it('can be opened again', async () => {
    expect(
      await shell('echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin', { input: 'in' }),
    ).toMatchObject({ stdout: 'out\nin', stderr: 'err\n' });
  });

  it.each([0, 1, 4096, 65_535, 65_536, 65_537, 300_000])('is %i bytes of input, as they are', async (size) => {
    const input = new Uint8Array(size).map((_, position) => position % 251);
    const { stdout } = await run(['cat'], {}, { input, encoding: 'buffer' });
    expect(Buffer.compare(stdout as Uint8Array, input)).toBe(0);
  });

  it('is input that nobody reads', async () => {
    expect((await run(['true'], {}, { input: 'x'.repeat(65_536) })).outcome).toEqual({ kind: 'exited', code: 0 });
  });
});

describe('what comes of a command', () => {
  const sizes = [0, 1, 4095, 4096, 32_767, 32_768, 65_536, 65_537, 196_000, 262_144, 262_145, 3_000_000];
  it.each(sizes)('is %i bytes of output, on each stream as they were written', async (size) => {
    const script = `head -c ${size} /dev/zero | tr '\\0' a; head -c ${size} /dev/zero | tr '\\0' b >&2`;
    const { stdout, stderr, outcome, usage } = await shell(script, { encoding: 'buffer' });
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
    for (const [bytes, letter] of [
      [stdout, 'a'],
      [stderr, 'b'],
    ] as const)
      expect(Buffer.compare(bytes as Uint8Array, Buffer.alloc(size, letter))).toBe(0);
    expect(usage.outputBytes).toBe(2 * size);
  });

  it('is in order where both go one way', async () => {
    const { stdout, stderr } = await shell('for i in 1 2 3 4; do echo $i; echo $i >&2; done', { stderr: 'stdout' });
    expect({ stdout, stderr }).toEqual({ stdout: '1\n1\n2\n2\n3\n3\n4\n4\n', stderr: undefined });
  });

  it('is a hundred thousand writes of one byte', async () => {
    const program = "import os\nfor i in range(100000): os.write(1, b'0123456789'[i % 10:i % 10 + 1])";
    expect(text(await run(['python3', '-c', program]))).toBe('0123456789'.repeat(10_000));
  });

  it('is bounded exactly', async () => {
    const bounded = (bytes: number) =>
      run(['head', '-c', '100000', '/dev/zero'], { limits: { outputBytes: bytes } }, { encoding: 'buffer' });
    const [less, exactly] = await Promise.all([bounded(99_999), bounded(100_000)]);
    expect(less).toMatchObject({ outcome: { kind: 'limit', limit: 'outputBytes' }, stdoutTruncated: true });
    expect([less, exactly].map(({ stdout }) => (stdout as Uint8Array).length)).toEqual([99_999, 100_000]);
    expect(exactly.outcome).toEqual({ kind: 'exited', code: 0 });
  });

  it('is bounded also where nobody names a bound', async () => {
    const { outcome, stdoutTruncated } = await run(['cat', '/dev/zero'], {}, { encoding: 'buffer' });
    expect({ outcome, stdoutTruncated }).toEqual({
      outcome: { kind: 'limit', limit: 'outputBytes' },
      stdoutTruncated: true,
    });
  });

  it('is right for a thousand at once, and leaves no descriptor', async () => {
    await shell('true');
    const before = readdirSync('/proc/self/fd').length;
    const results = await Promise.all(Array.from({ length: 1000 }, (_, number) => shell(`echo ${number}; exit 3`)));
    expect(results.map(({ exitCode }) => exitCode)).toEqual(Array(1000).fill(3));
    expect(results.map(text)).toEqual(Array.from({ length: 1000 }, (_, number) => `${number}\n`));
    await endServers();
    await until(() => readdirSync('/proc/self/fd').length < before);
  });
});

describe('an end', () => {
  it('comes by the clock, also where Node is busy', async () => {
    await shell('true');
    const running = run(['sh', '-c', 'trap "" TERM; sleep 100'], { limits: { wallMs: 50 } }, { gracePeriodMs: 50 });
    await delay(20);
    const end = performance.now() + 5000;
    while (performance.now() < end);
    const result = await running;
    expect(result.outcome).toEqual({ kind: 'limit', limit: 'wallMs' });
    // Before anybody here could have told it to.
    expect(result.usage.wallMs).toBeLessThan(4500);
  });

  it('by the caller is the end of that run alone, whenever it comes', async () => {
    await shell('true');
    for (let round = 0; round < 60; round++) {
      const abort = new AbortController();
      const first = run(['true'], {}, { signal: abort.signal, killSignal: 'SIGKILL' });
      setTimeout(() => abort.abort(), round / 6);
      const { kind } = (await first).outcome;
      expect(['exited', 'cancelled']).toContain(kind);
      expect(text(await shell(`echo ${round}`)), `round ${round}`).toBe(`${round}\n`);
    }
  });

  it('of a program that is not there is an error, and the next run is none the worse', async () => {
    for (let round = 0; round < 20; round++) {
      await expect(run(['/nowhere'])).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'exec' });
      expect(text(await shell('echo fine'))).toBe('fine\n');
    }
  });
});

describe('when something is killed', () => {
  const long = (): Promise<RunResult> => run(['sleep', '30']);

  it('a supervisor: its run has failed, the others go on', async () => {
    const runs = [long(), shell('sleep 1; echo fine')];
    await until(() => inits().length === 2);
    const victim = supervisors().find((pid) => childrenOf(pid).length > 0) ?? 'nobody';
    const order = supervisors().indexOf(victim);
    sendSignal(victim, 'SIGKILL');
    const [first, second] = await Promise.allSettled(runs);
    const killed = [first, second].filter((end) => end?.status === 'rejected');
    expect({ order, killed }).toMatchObject({ killed: [{ reason: expect.any(LaunchError) }] });
    await Promise.allSettled(runs);
    expect(text(await shell('echo next'))).toBe('next\n');
  });

  it('init: the run has failed, and the next one is none the worse', async () => {
    const running = long();
    await until(() => inits().length === 1);
    sendSignal(inits()[0], 'SIGKILL');
    await expect(running).rejects.toBeInstanceOf(LaunchError);
    expect(text(await shell('echo next'))).toBe('next\n');
  });

  it('the server: what it started ends as it should, and the next run has another', async () => {
    const running = shell('sleep 0.5; echo fine');
    await until(() => inits().length === 1);
    const [first = 'nobody'] = servers();
    sendSignal(first, 'SIGKILL');
    expect(text(await running)).toBe('fine\n');
    expect(text(await shell('echo next'))).toBe('next\n');
    expect(servers()).not.toContain(first);
  });

  it('anything at any moment: every run settles, rightly or as a failure', async () => {
    const wrong: unknown[] = [];
    const ends = { right: 0, failed: 0 };
    let over = false;
    const work = async (sandbox: Sandbox): Promise<void> => {
      while (!over) {
        await sandbox.run(['sh', '-c', 'echo right; exit 5']).then(
          ({ stdout, exitCode }) => {
            if (stdout === 'right\n' && exitCode === 5) ends.right++;
            else wrong.push({ stdout, exitCode });
          },
          (error: unknown) => {
            if (error instanceof LaunchError) ends.failed++;
            else wrong.push(error);
          },
        );
      }
    };
    const sandboxes = [await createSandbox({}), await createSandbox({}, { warm: 2 })];
    const working = sandboxes.map(work);
    await killAnything(60);
    over = true;
    await Promise.all(working);
    expect(wrong).toEqual([]);
    expect(ends.right).toBeGreaterThan(0);
    expect(ends.failed).toBeGreaterThan(0);
    await Promise.all(sandboxes.map((sandbox) => sandbox.dispose()));
  }, 120_000);
});

describe('sandboxes that are kept ready', () => {
  it('are used once each', async () => {
    await using sandbox = await createSandbox({}, { warm: 2 });
    for (let round = 0; round < 10; round++) {
      const { stdout } = await sandbox.run([
        'sh',
        '-c',
        'ls -A /tmp; echo > /tmp/used; cat /proc/sys/kernel/ns_last_pid',
      ]);
      // The pids of a sandbox begin anew too.
      expect(stdout, `round ${round}`).toMatch(/^[2-9]\n$/);
    }
  });

  it('are as many as were asked for, and gone with the sandbox', async () => {
    const sandbox = await createSandbox({}, { warm: 3 });
    await until(() => inits().length === 3);
    await sandbox.run(['true']);
    await until(() => inits().length === 3);
    await sandbox.dispose();
    await until(() => inits().length === 0);
    expect(servers().length).toBe(1);
  });

  it('hear what each call says: arguments, signal, grace', async () => {
    await using sandbox = await createSandbox({ limits: { wallMs: 300 } }, { warm: 2 });
    const { stdout } = await sandbox.run(['printf', '%s|', 'ä', '', 'b c']);
    expect(stdout).toBe('ä||b c|');
    const trap = 'trap "echo int; exit 0" INT; while :; do sleep 0.02; done';
    const asked = await sandbox.run(['sh', '-c', trap], { killSignal: 'SIGINT', gracePeriodMs: 5000 });
    expect(asked).toMatchObject({ outcome: { kind: 'limit', limit: 'wallMs' }, stdout: 'int\n' });
  });

  it.each([0, 1, 65_536, 65_537])('find %i bytes of input, and nothing where there is none', async (size) => {
    await using sandbox = await createSandbox({}, { warm: 2 });
    await until(() => inits().length === 2);
    const input = new Uint8Array(size).map((_, position) => position % 251);
    const { stdout } = await sandbox.run(['cat'], { input, encoding: 'buffer' });
    expect(Buffer.compare(stdout as Uint8Array, input)).toBe(0);
    const { stdout: where } = await sandbox.run(['sh', '-c', 'readlink /proc/self/fd/0; cat']);
    expect(where).toBe('/dev/null\n');
    const { stdout: again } = await sandbox.run(['sh', '-c', 'readlink /proc/self/fd/0; cat /dev/stdin'], {
      input: 'in',
    });
    expect(again).toMatch(/^pipe:\[\d+\]\nin$/);
  });

  it('serve a call that is too large for them as any other', async () => {
    await using sandbox = await createSandbox({}, { warm: 1 });
    const large = Array.from({ length: 5000 }, (_, number) => String(number));
    const { stdout } = await sandbox.run(['sh', '-c', 'echo $#', 'sh', ...large]);
    expect(stdout).toBe('5000\n');
  });

  it('that something ended are not missed by the next run', async () => {
    await using sandbox = await createSandbox(
      { mounts: [`${process.env['TMPDIR']}:/mnt/here:ro`], limits: { wallMs: 5000 } },
      { warm: 1 },
    );
    await until(() => inits().length === 1);
    sendSignal(inits()[0], 'SIGKILL');
    await until(() => supervisors().length === 0);
    await delay(100);
    for (let round = 0; round < 3; round++)
      expect((await sandbox.run(['ls', '/mnt'])).stdout, `round ${round}`).toBe('here\n');
  });

  it('are not more than they may be', async () => {
    for (const warm of [-1, 1.5, 257, '3', Number.NaN])
      await expect(createSandbox({}, { warm: warm as number })).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    await expect(run(['true'], {}, { warm: 1 } as object)).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
  });
});

describe('concurrency', () => {
  it('is bounded, and everybody has a turn', async () => {
    await using sandbox = await createSandbox({}, { concurrency: 3 });
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, inits().length);
    }, 5);
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, number) => sandbox.run(['sh', '-c', `sleep 0.1; echo ${number}`])),
    );
    clearInterval(watch);
    expect(results.map(text)).toEqual(Array.from({ length: 12 }, (_, number) => `${number}\n`));
    expect(most).toBeLessThanOrEqual(3);
    expect(most).toBeGreaterThan(1);
  });

  it('holds for handles too; whoever is ended while it waits never starts', async () => {
    await using sandbox = await createSandbox({}, { concurrency: 1 });
    const first = sandbox.run(['sleep', '0.5']);
    const abort = new AbortController();
    const second = sandbox.run(['sh', '-c', 'echo started'], { signal: abort.signal });
    const third = sandbox.spawn(['sh', '-c', 'echo started']);
    const fourth = sandbox.run(['sh', '-c', 'echo turn']);
    abort.abort('no longer');
    third.kill();
    const [{ outcome, stdout }, handle] = await Promise.all([second, third]);
    expect({ outcome, stdout }).toEqual({ outcome: { kind: 'cancelled', reason: 'no longer' }, stdout: '' });
    expect(handle).toMatchObject({ outcome: { kind: 'cancelled' }, stdout: '' });
    expect((await first).outcome).toEqual({ kind: 'exited', code: 0 });
    expect((await fourth).stdout).toBe('turn\n');
  });

  it('refuses at once whoever finds no room to wait, and nothing of it is there', async () => {
    const target = join(String(process.env['TMPDIR']), 'refused');
    await using sandbox = await createSandbox({}, { concurrency: 1, maxQueue: 1 });
    const first = sandbox.run(['sleep', '30']);
    const abort = new AbortController();
    const second = sandbox.run(['true'], { signal: abort.signal });
    await until(() => inits().length === 1);
    const full = {
      code: 'SBX_QUEUE_FULL',
      message:
        'cannot take one more run: concurrency 1 is in use, and the queue is full (maxQueue 1); try again when one has ended, or raise maxQueue',
    };
    await expect(sandbox.run(['true'], { stdout: pathToFileURL(target) })).rejects.toMatchObject(full);
    expect(existsSync(target)).toBe(false);
    const handle = sandbox.spawn(['true'], { stdin: 'pipe' });
    await expect(handle.started).rejects.toMatchObject(full);
    await expect(handle.result).rejects.toMatchObject(full);
    await expect(sandbox.run([])).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    // Those that were refused took no place of anybody’s.
    abort.abort();
    expect((await second).outcome.kind).toBe('cancelled');
    const third = sandbox.run(['echo', 'turn']);
    await expect(sandbox.run(['true'])).rejects.toMatchObject(full);
    expect(inits().length).toBe(1);
    const stop = sandbox.dispose();
    expect((await first).outcome.kind).toBe('cancelled');
    expect((await third).outcome.kind).toBe('cancelled');
    await stop;
    await expect(sandbox.run(['true'])).rejects.toMatchObject({ code: 'SBX_SANDBOX_DISPOSED' });
  });

  it('has a queue only where it has a bound itself', async () => {
    for (const options of [{ maxQueue: 1 }, ...[-1, 0.5, '2'].map((maxQueue) => ({ maxQueue, concurrency: 1 }))])
      await expect(createSandbox({}, options as object), JSON.stringify(options)).rejects.toMatchObject({
        code: 'SBX_SPEC_INVALID',
        issues: [{ path: ['options', 'maxQueue'] }],
      });
  });

  it('ends with the sandbox, whoever waits', async () => {
    const sandbox = await createSandbox({}, { concurrency: 1 });
    const runs = Array.from({ length: 5 }, () => sandbox.run(['sleep', '30']));
    await until(() => inits().length === 1);
    await sandbox.dispose();
    const ends = await Promise.all(runs);
    expect(ends.map(({ outcome }) => outcome.kind)).toEqual(Array(5).fill('cancelled'));
  });
});

describe('the server by itself', () => {
  it('refuses what it cannot serve', () => {
    const path = new URL(`../../prebuilds/linux-${process.arch}/launcher`, import.meta.url).pathname;
    const ask = (...args: readonly string[]) => spawnSync(path, args, { encoding: 'utf8', env: {}, cwd: '/' });
    const usage = { status: 125, stderr: expect.stringContaining('usage') };
    for (const lanes of ['0', '-1', '257', 'x', '', '2'])
      expect(ask('serve', '--lanes', lanes, '--streams', '0'), lanes).toMatchObject(usage);
    for (const streams of ['-1', '257', 'x', ''])
      expect(ask('serve', '--lanes', '1', '--streams', streams), streams).toMatchObject(usage);
    expect(ask('serve', '--lanes', '1')).toMatchObject(usage);
  });

  it('ends at an order that no caller of ours sends', async () => {
    const path = new URL(`../../prebuilds/linux-${process.arch}/launcher`, import.meta.url).pathname;
    const lend = (type: number, lane: number, what: number): Buffer =>
      Buffer.from(Uint32Array.of(type, lane, what).buffer);
    const wrong = [lend(7, 0, 0), lend(8, 1, 0), lend(8, 0, 1), lend(8, 0, 3 * 0x10000), Buffer.alloc(12, 0xff)];
    // The last names the one stream twice.
    for (const order of [...wrong, Buffer.concat([lend(8, 0, 0), lend(8, 0, 0)])]) {
      const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe', 'pipe'] as const;
      const server = spawnPlain(path, ['serve', '--lanes', '1', '--streams', '1'], {
        stdio: [...stdio],
        env: {},
        cwd: '/',
      });
      const [orders, lane] = server.stdio.slice(3) as unknown as Writable[];
      for (const socket of server.stdio.slice(3)) socket?.on('error', () => {});
      orders?.write(order);
      lane?.write('SBXP');
      expect((await once(server, 'exit'))[0], order.toString('hex')).toBe(125);
    }
  });
});
