// Bounds on a sandbox as a whole, met for real, and the kernel's own account of them in the result.
import { expect } from 'vitest';
import type { Feature } from '../../src/features/feature.ts';
import { needGroups } from '../helpers/groups.ts';
import type { Suite } from './describe-backend.ts';

const MiB = 1024 * 1024;
const LONG_MS = 600_000;

export function groupCases(suite: Suite): void {
  memoryCases(suite);
  processCases(suite);
  processorCases(suite);
}

function grouped({ bench, promise }: Suite, feature: Feature, title: string, body: () => Promise<void>): void {
  promise([feature], title, async () => {
    await needGroups(bench.backend, feature);
    await body();
  });
}

function memoryCases(suite: Suite): void {
  const { bench } = suite;
  const atMost = (memoryBytes: number) => ({ limits: { memoryBytes, wallMs: LONG_MS } });
  const met = { kind: 'limit', limit: 'memoryBytes' };
  /** In MiB. The group is the same on each backend. */
  const sizes = bench.backend === 'native' ? [16, 64, 256, 1024] : [16, 64];

  grouped(suite, 'limits.memoryBytes', 'a command that needs less than limits.memoryBytes has it', async () => {
    for (const size of sizes) {
      const result = await bench.run(['touch', size * MiB, 0], atMost((size + 8) * MiB));
      expect(result).toMatchObject({ outcome: { kind: 'exited', code: 0 }, stdout: 'survived\n' });
      expect(result.usage.memoryBytes).toBeGreaterThan(size * MiB);
      expect(result.usage.memoryBytes).toBeLessThanOrEqual((size + 8) * MiB);
    }
  });

  grouped(suite, 'limits.memoryBytes', 'a command that needs more than limits.memoryBytes ends', async () => {
    for (const size of sizes) {
      const { outcome, stdout } = await bench.run(['touch', size * MiB, 0], atMost((size - 8) * MiB));
      expect({ outcome, stdout }).toEqual({ outcome: met, stdout: '' });
    }
  });

  grouped(suite, 'limits.memoryBytes', 'limits.memoryBytes counts all processes together', async () => {
    expect((await bench.run(['touch', 12 * MiB, 4], atMost(32 * MiB))).outcome).toEqual(met);
    expect((await bench.run(['touch', 12 * MiB, 4], atMost(64 * MiB))).outcome).toEqual({ kind: 'exited', code: 0 });
  });

  grouped(suite, 'limits.memoryBytes', 'the end of a child for want of memory is the end of the sandbox', async () => {
    // What the command itself makes of it does not count: it may be done before anybody looks.
    expect((await bench.run(['touch', 64 * MiB, 1], atMost(32 * MiB))).outcome).toEqual(met);
  });

  grouped(suite, 'limits.memoryBytes', 'SIGKILL by itself is not limits.memoryBytes', async () => {
    const { outcome } = await bench.run(['signal', 9], atMost(32 * MiB));
    expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });
}

function processCases(suite: Suite): void {
  const { bench } = suite;
  const atMost = (pids: number) => ({ limits: { pids, wallMs: LONG_MS } });

  grouped(suite, 'limits.pids', 'as many processes as limits.pids says can be there', async () => {
    const result = await bench.run(['fork-sleep', 'here', 300, 7], atMost(8));
    expect(result).toMatchObject({ outcome: { kind: 'exited', code: 0 }, stdout: 'ready\n' });
    if (result.usage.pids !== undefined) expect(result.usage.pids).toBe(8);
  });

  grouped(suite, 'limits.pids', 'at one process more the sandbox ends', async () => {
    const { outcome } = await bench.run(['fork-sleep', 'here', LONG_MS, 8], atMost(8));
    expect(outcome).toEqual({ kind: 'limit', limit: 'pids' });
  });

  grouped(suite, 'limits.pids', 'limits.pids counts threads', async () => {
    const { outcome } = await bench.run(['threads', 'here', 8], atMost(8));
    expect(outcome).toEqual({ kind: 'limit', limit: 'pids' });
  });
}

function processorCases(suite: Suite): void {
  const { bench } = suite;
  const atMost = (cpuMs: number) => ({ limits: { cpuMs, wallMs: LONG_MS } });
  const met = { kind: 'limit', limit: 'cpuMs' };

  grouped(suite, 'limits.cpuMs', 'at limits.cpuMs a busy command gets SIGXCPU', async () => {
    const { outcome, signal } = await bench.run(['spin'], atMost(200));
    expect({ outcome, signal }).toEqual({ outcome: met, signal: 'SIGXCPU' });
  });

  grouped(suite, 'limits.cpuMs', 'a command that ignores SIGXCPU at limits.cpuMs is killed', async () => {
    const { outcome, usage } = await bench.run(['spin-on'], atMost(200), { gracePeriodMs: 100 });
    expect(outcome).toEqual(met);
    expect((usage.cpuUserMs ?? 0) + (usage.cpuSystemMs ?? 0)).toBeGreaterThanOrEqual(200);
  });

  grouped(suite, 'limits.cpuMs', 'limits.cpuMs counts all processes together, also those that have ended', async () => {
    // Each by itself is far below the bound; the second time they are not even waited for (SIGCHLD ignored).
    for (const ignored of [[], ['ignored']])
      expect((await bench.run(['labour', 100, 8, ...ignored], atMost(400))).outcome).toEqual(met);
    expect((await bench.run(['labour', 20, 4], atMost(LONG_MS))).outcome).toEqual({ kind: 'exited', code: 0 });
  });

  grouped(suite, 'limits.cpuMs', 'limits.cpuMs does not count what sleeps', async () => {
    const { outcome } = await bench.run(['sleep', 1000], atMost(500));
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
  });

  grouped(suite, 'limits.cpus', 'with limits.cpus processor time takes its time', async () => {
    const { outcome, usage } = await bench.run(['labour', 100, 2], { limits: { cpus: 0.2 } });
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
    // 200 ms at a fifth of a processor are a second, of which the first and the last period may be shorter.
    expect(usage.wallMs).toBeGreaterThan(700);
  });
}
