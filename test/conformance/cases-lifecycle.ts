// How a run is ended, and that all of it ends.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { wrap } from '../../src/index.ts';
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

  always('usage.wallMs is measured', async () => {
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

function wrapCases({ bench, always, promise }: Suite): void {
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
    using wrapped = await wrap(bench.guest(args), bench.withGuest({}), bench.options({}));
    return spawnSync(wrapped.file, wrapped.args, { env: wrapped.env, input, encoding: 'utf8' });
  };

  always('a wrapped command runs under a plain spawn, with its stdio', async () => {
    const { status, stdout } = await spawnWrapped(['cat'], 'hello');
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'hello' });
  });

  promise(['hostname', 'network.none'], 'a wrapped command is in a sandbox', async () => {
    expect((await spawnWrapped(['hostname'])).stdout).toBe('sandbox\n');
    expect((await spawnWrapped(['interfaces'])).stdout).toBe('lo up\n');
  });

  always("a wrapped command's exit status tells how it ended", async () => {
    expect((await spawnWrapped(['exit', 42])).status).toBe(42);
    expect((await spawnWrapped(['signal', 9])).status).toBe(128 + 9);
    using missing = await wrap(['no-such-program'], {}, bench.options({}));
    const { status, stderr } = spawnSync(missing.file, missing.args, { env: missing.env, encoding: 'utf8' });
    expect(status).toBe(127);
    expect(stderr).toContain('no-such-program');
  });
}

/** Processes of this host whose command line has `marker`; those that only wait to be reaped have none any more. */
function processesWith(marker: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(marker);
    } catch {
      // Gone between the two looks.
      return false;
    }
  });
}
