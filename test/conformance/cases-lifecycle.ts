// How a run is ended, and that all of it ends.
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { wrap } from '../../src/index.ts';
import { until } from '../helpers/cli.ts';
import { processesWith } from '../helpers/processes.ts';
import { ensureBuilt, index } from '../security/in-node.ts';
import type { Suite } from './describe-backend.ts';

const LONG_MS = 600_000;

export function lifecycleCases({ bench, always, promise }: Suite): void {
  always('an abort asks in an orderly way, and its reason is the outcome', async () => {
    const controller = new AbortController();
    await using process = bench.spawn(['orderly'], {}, { signal: controller.signal, gracePeriodMs: LONG_MS });
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    controller.abort('enough');
    expect((await lines.next()).value).toBe('caught 15');
    expect(await process).toMatchObject({ outcome: { kind: 'cancelled', reason: 'enough' }, exitCode: 7 });
  });

  always('the first signal of an orderly end can be chosen', async () => {
    await using process = bench.spawn(['orderly'], {}, { killSignal: 'SIGINT', gracePeriodMs: LONG_MS });
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    process.terminate();
    expect((await lines.next()).value).toBe('caught 2');
    expect((await process).outcome).toEqual({ kind: 'cancelled', reason: 'SIGINT' });
  });

  always('a command that does not end in its grace period is killed', async () => {
    await using process = bench.spawn(['stubborn'], {}, { gracePeriodMs: 200 });
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    process.terminate('too slow');
    expect((await lines.next()).value).toBe('caught 15');
    expect((await process).outcome).toEqual({ kind: 'cancelled', reason: 'too slow' });
  });

  always('an abort before the start runs nothing', async () => {
    const { outcome, stdout } = await bench.run(['echo', 'x'], {}, { signal: AbortSignal.abort('never') });
    expect({ outcome, stdout }).toEqual({ outcome: { kind: 'cancelled', reason: 'never' }, stdout: '' });
  });

  always('an abort in the same tick ends the run', async () => {
    const controller = new AbortController();
    const running = bench.run(['sleep', LONG_MS], {}, { signal: controller.signal, gracePeriodMs: 0 });
    controller.abort('at once');
    expect((await running).outcome).toEqual({ kind: 'cancelled', reason: 'at once' });
  });

  always('leaving the block of a handle ends its command', async () => {
    let result: Promise<unknown>;
    {
      await using process = bench.spawn(['stubborn']);
      await process.started;
      result = process.result;
    }
    expect(await result).toMatchObject({ outcome: { kind: 'cancelled', reason: 'SIGKILL' } });
  });

  always('a signal to the command alone is no order to end', async () => {
    await using process = bench.spawn(['orderly']);
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    process.sendSignal('SIGUSR1');
    expect((await lines.next()).value).toBe('caught 10');
    expect((await process).outcome).toEqual({ kind: 'exited', code: 7 });
  });

  always('a signal that the caller passes on is the reason of the end', async () => {
    await using process = bench.spawn(['orderly'], {}, { gracePeriodMs: LONG_MS });
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    process.forward('SIGHUP');
    expect((await process).outcome).toEqual({ kind: 'cancelled', reason: 'SIGHUP' });
  });

  always('children of the command end with it', async () => {
    const marker = `marker-${randomUUID()}`;
    await using process = bench.spawn(['fork-sleep', marker, LONG_MS, 3]);
    const lines = process.lines()[Symbol.asyncIterator]();
    await lines.next();
    expect(processesWith(marker).length).toBeGreaterThanOrEqual(4);
    process.kill();
    await process;
    await expect.poll(() => processesWith(marker)).toEqual([]);
  });

  promise(['lifecycle.killTree'], 'a daemon that left its session ends with the command', async () => {
    const marker = `marker-${randomUUID()}`;
    expect(await bench.answer(['daemon', marker, LONG_MS])).toBe('daemon started');
    expect(processesWith(marker)).toEqual([]);
  });

  promise(['lifecycle.killTree'], 'a daemon that holds the output open does not hold the run', async () => {
    const marker = `marker-${randomUUID()}`;
    expect(await bench.answer(['daemon', marker, LONG_MS, 'holds'])).toBe('daemon started');
    expect(processesWith(marker)).toEqual([]);
  });

  promise(['lifecycle.dieWithParent'], 'all of a command ends with the process that called for it', async () => {
    ensureBuilt();
    const marker = `marker-${randomUUID()}`;
    // By stdin: the marker must be in nobody's command line but the command's.
    const script = `
      import { spawn } from ${JSON.stringify(index)};
      const command = ${JSON.stringify(bench.guest(['fork-sleep', marker, LONG_MS, 3]))};
      await spawn(command, ${JSON.stringify(bench.withGuest({}))}, ${JSON.stringify(bench.options({}))});`;
    const caller = spawn(process.execPath, ['--input-type=module', '-'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      cwd: '/',
    });
    caller.stdin.end(script);
    try {
      await until(
        () => processesWith(marker).length >= 4,
        () => `only ${processesWith(marker).length} processes`,
      );
    } finally {
      caller.kill('SIGKILL');
    }
    await until(
      () => processesWith(marker).length === 0,
      () => `${processesWith(marker).length} processes are left`,
    );
  });

  promise(['usage.wall'], 'usage.wallMs is measured', async () => {
    const { usage } = await bench.run(['sleep', 100]);
    // The clock starts when the launcher learns that the command runs, which may be a moment later.
    expect(usage.wallMs).toBeGreaterThan(50);
  });

  promise(['usage.cpu'], 'processor time is measured', async () => {
    const { usage } = await bench.run(['spin'], { limits: { wallMs: 500 } });
    expect((usage.cpuUserMs ?? 0) + (usage.cpuSystemMs ?? 0)).toBeGreaterThan(10);
  });

  wrapCases({ bench, always, promise });
}

function wrapCases({ bench, always }: Suite): void {
  if (bench.backend === 'none') {
    always('nothing can be wrapped, and the error says why', async () => {
      await expect(wrap(['true'], {}, { backend: 'none', optional: 'all' })).rejects.toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
        message: expect.stringContaining('it needs this library while the command runs'),
      });
    });
    return;
  }
  const spawnWrapped = async (args: readonly (string | number)[], input = '') => {
    using wrapped = await wrap(bench.guest(args), bench.withGuest({}), { ...bench.relaxed(), backend: bench.backend });
    return spawnSync(wrapped.file, wrapped.args, { env: wrapped.env, input, encoding: 'utf8' });
  };

  always('a wrapped command runs under a plain spawn, with its stdio', async () => {
    const { status, stdout } = await spawnWrapped(['cat'], 'hello');
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'hello' });
    if (bench.recognized.has('hostname')) expect((await spawnWrapped(['hostname'])).stdout).toBe('sandbox\n');
    if (bench.recognized.has('network.none')) expect((await spawnWrapped(['interfaces'])).stdout).toBe('lo up\n');
  });

  always("a wrapped command's exit status tells how it ended", async () => {
    expect((await spawnWrapped(['exit', 42])).status).toBe(42);
    expect((await spawnWrapped(['signal', 9])).status).toBe(128 + 9);
    using missing = await wrap(['no-such-program'], bench.withRoot({}), { ...bench.relaxed(), backend: bench.backend });
    const { status, stderr } = spawnSync(missing.file, missing.args, { env: missing.env, encoding: 'utf8' });
    expect(status).toBe(127);
    expect(stderr).toContain('no-such-program');
  });
}
