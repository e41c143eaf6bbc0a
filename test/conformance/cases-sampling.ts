// Bounds that stand in for those of control groups, where the caller can make none: met for real, and not by those who stay below.
import { expect } from 'vitest';
import type { Feature } from '../../src/features/feature.ts';
import type { Limits } from '../../src/spec/types.ts';
import { needNoGroups } from '../helpers/groups.ts';
import type { Suite } from './describe-backend.ts';

const MiB = 1024 * 1024;
const LONG_MS = 600_000;
const fine = { kind: 'exited', code: 0 };

type Sampled = 'cpuMs' | 'memoryBytes' | 'pids';

export function samplingCases(suite: Suite): void {
  memoryCases(suite);
  processCases(suite);
  processorCases(suite);
}

function sampled({ bench, promise }: Suite, limit: Sampled, title: string, body: () => Promise<void>): void {
  promise([`limits.${limit}.approximate`], title, async () => {
    await needNoGroups(bench.backend, `limits.${limit}`);
    await body();
  });
}

/** Runs the guest, and makes sure that it is the approximation which bounds it. */
function bounded({ bench }: Suite, limit: Sampled) {
  return async (args: readonly (string | number)[], bound: number) => {
    const limits: Limits = { [limit]: bound, wallMs: LONG_MS };
    const optional: Feature[] = [`limits.${limit}`, ...([bench.relaxed().optional ?? []].flat() as Feature[])];
    const result = await bench.run(args, { limits }, { optional, gracePeriodMs: 100 });
    const { applied, skipped } = result.enforcement;
    expect(applied.map(({ feature }) => feature)).toContain(`limits.${limit}.approximate`);
    expect(skipped.map(({ feature }) => feature)).toContain(`limits.${limit}`);
    return result;
  };
}

function memoryCases(suite: Suite): void {
  const atMost = bounded(suite, 'memoryBytes');
  const met = { kind: 'limit', limit: 'memoryBytes' };
  const test = (title: string, body: () => Promise<void>) => sampled(suite, 'memoryBytes', title, body);

  test('a command that needs less than the approximate limits.memoryBytes has it', async () => {
    for (const size of [16, 64]) {
      const result = await atMost(['touch', size * MiB, 0], (size + 4) * MiB);
      expect(result).toMatchObject({ outcome: fine, stdout: 'survived\n' });
      // What was seen is less than what was there at times.
      expect(result.usage).not.toHaveProperty('memoryBytes');
    }
  });

  test('a command that takes more than the approximate limits.memoryBytes, and keeps it, ends', async () => {
    for (const keep of ['touch-on', 'touch-shared-on'])
      expect((await atMost([keep, 64 * MiB, 0], 48 * MiB)).outcome).toEqual(met);
  });

  test('the approximate limits.memoryBytes counts all processes together', async () => {
    expect((await atMost(['touch-on', 24 * MiB, 4], 64 * MiB)).outcome).toEqual(met);
    expect((await atMost(['touch', 12 * MiB, 4], 64 * MiB)).outcome).toEqual(fine);
  });

  test('the approximate limits.memoryBytes counts what processes share once', async () => {
    expect((await atMost(['touch-then-fork', 40 * MiB, 4], 56 * MiB)).outcome).toEqual(fine);
  });

  test('the approximate limits.memoryBytes does not count what is only reserved', async () => {
    expect((await atMost(['reserve', 1024 * MiB], 16 * MiB)).outcome).toEqual(fine);
  });

  test('SIGKILL by itself is not the approximate limits.memoryBytes', async () => {
    expect((await atMost(['signal', 9], 32 * MiB)).outcome).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });
}

function processCases(suite: Suite): void {
  const atMost = bounded(suite, 'pids');
  const met = { kind: 'limit', limit: 'pids' };
  const test = (title: string, body: () => Promise<void>) => sampled(suite, 'pids', title, body);

  test('as many processes as the approximate limits.pids says can be there', async () => {
    const result = await atMost(['fork-sleep', 'here', 300, 7], 8);
    expect(result).toMatchObject({ outcome: fine, stdout: 'ready\n' });
    expect(result.usage).not.toHaveProperty('pids');
  });

  test('at one process more than the approximate limits.pids the sandbox ends', async () => {
    expect((await atMost(['fork-sleep', 'here', LONG_MS, 8], 8)).outcome).toEqual(met);
  });

  test('at two processes more than the approximate limits.pids fork(2) fails', async () => {
    // Ended at once where the launcher happens to look just then.
    const { outcome, stdout } = await atMost(['fork-sleep', 'here', LONG_MS, 9], 8);
    if (outcome.kind === 'limit') expect(outcome).toEqual(met);
    else expect({ outcome, stdout }).toEqual({ outcome: { kind: 'exited', code: 1 }, stdout: 'errno EAGAIN\n' });
  });

  test('the approximate limits.pids counts threads, and not those that come and go', async () => {
    expect((await atMost(['threads', 'here', 8], 8)).outcome).toEqual(met);
    expect((await atMost(['labour', 1, 200], 208)).outcome).toEqual(fine);
  });

  test('the approximate limits.pids holds against a fork bomb', async () => {
    expect((await atMost(['fork-bomb', 'here'], 16)).outcome).toEqual(met);
  });
}

function processorCases(suite: Suite): void {
  const { bench } = suite;
  const atMost = bounded(suite, 'cpuMs');
  const met = { kind: 'limit', limit: 'cpuMs' };
  const test = (title: string, body: () => Promise<void>) => sampled(suite, 'cpuMs', title, body);

  test('at the approximate limits.cpuMs a busy command gets SIGXCPU', async () => {
    const { outcome, signal } = await atMost(['spin'], 200);
    expect({ outcome, signal }).toEqual({ outcome: met, signal: 'SIGXCPU' });
  });

  test('a command that ignores SIGXCPU at the approximate limits.cpuMs is killed', async () => {
    expect((await atMost(['spin-on'], 200)).outcome).toEqual(met);
  });

  test('the approximate limits.cpuMs counts all processes together, also those that have ended', async () => {
    for (const ignored of [[], ['ignored']])
      expect((await atMost(['labour', 100, 8, ...ignored], 400)).outcome).toEqual(met);
    expect((await atMost(['labour', 20, 4], LONG_MS)).outcome).toEqual(fine);
  });

  test('the approximate limits.cpuMs does not count what sleeps', async () => {
    expect((await atMost(['sleep', 1000], 500)).outcome).toEqual(fine);
  });

  test('the approximate limits.cpuMs finds a daemon, and needs no event loop', async () => {
    const optional: Feature[] = ['limits.cpuMs'];
    const sandbox = bench.spawn(['daemon-spin', 'here'], { limits: { cpuMs: 200, wallMs: LONG_MS } }, { optional });
    await sandbox.started;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    expect((await sandbox).outcome).toEqual(met);
  });
}
