// Processes by the thousand, of kinds that are hard to end: dead ones that nobody waits for, ones that are gone before a list of them is read, ones that
// no signal interrupts. A bound on their number is limits.pids; without one, what holds is that all of them end.
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { processesWith } from '../../helpers/processes.ts';
import { lighter, type Share, type Technique } from '../technique.ts';

const ZOMBIES = 10_000;
const SAME = 'what ends a storm is the end of an init of ours';

interface Storm {
  readonly verb: string;
  readonly count: number;
  readonly seen: number;
}

/** How the guest makes each storm, and how many processes of it can be seen at least, threads apart. */
const storms: Readonly<Record<string, Storm>> = {
  'five hundred sleeping processes': { verb: 'fork-sleep', count: 500, seen: 400 },
  'processes that are gone before they are found': { verb: 'chase', count: 8, seen: 1 },
  'a thousand threads': { verb: 'threads', count: 1000, seen: 1 },
  'a hundred processes that wait in vfork': { verb: 'vforks', count: 100, seen: 50 },
};

function stormsOf(share: Share): Record<string, Storm> {
  return Object.fromEntries(
    Object.entries(storms).map(([name, { verb, count, seen }]) => [
      name,
      { verb, count: share(count), seen: Math.max(1, Math.floor((seen * share(count)) / count)) },
    ]),
  );
}

type End = (bench: Bench, args: readonly (string | number)[], wallMs: number) => Promise<unknown>;

/** Every way in which a sandbox is ended; each says what came of it. */
const ends: Readonly<Record<string, { readonly end: End; readonly outcome: unknown }>> = {
  'limits.wallMs': {
    end: async (bench, args, wallMs) => (await bench.run(args, { limits: { wallMs } }, { gracePeriodMs: 100 })).outcome,
    outcome: { kind: 'limit', limit: 'wallMs' },
  },
  'a kill': {
    end: async (bench, args) => {
      await using storm = bench.spawn(args, {}, { gracePeriodMs: 100 });
      const lines = storm.lines()[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('ready');
      storm.kill();
      return (await storm).outcome;
    },
    outcome: { kind: 'cancelled', reason: 'SIGKILL' },
  },
  'the end of the launcher': {
    end: async (bench, args) => {
      await using storm = bench.spawn(args);
      const lines = storm.lines()[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('ready');
      // What the command says may be read before the launcher's word that it has started.
      await storm.started;
      process.kill(storm.pid as number, 'SIGKILL');
      return storm.result.then(
        ({ outcome }) => outcome,
        ({ code, step }: { code: string; step: string }) => ({ code, step }),
      );
    },
    outcome: { code: 'SBX_LAUNCH_FAILED', step: 'lost' },
  },
};

function argumentsOf({ verb, count }: { readonly verb: string; readonly count: number }, marker: string): string[] {
  return verb === 'fork-sleep' ? [verb, marker, '600000', String(count)] : [verb, marker, String(count)];
}

export const technique: Technique = {
  name: 'process-storm',
  attacks: ['namespace.pid', 'lifecycle.killTree', 'lifecycle.dieWithParent', 'limits.wallMs'],
  cases: {
    'ten thousand zombies that the command leaves behind are reaped, and the run ends': lighter(
      SAME,
      async (bench, share) => {
        const count = share(ZOMBIES);
        for (const spec of [{}, { user: { uid: 0, gid: 0 } }] satisfies SandboxSpec[])
          expect(await bench.answer(['zombies', count], spec)).toBe(String(count));
      },
    ),
    'the storms blow': lighter(SAME, async (bench, share) => {
      for (const [which, storm] of Object.entries(stormsOf(share))) {
        const marker = `storm-${randomUUID()}`;
        await using handle = bench.spawn(argumentsOf(storm, marker));
        const lines = handle.lines()[Symbol.asyncIterator]();
        expect((await lines.next()).value, which).toBe('ready');
        // Some of them are seen from here, so that not to see any below means that they are gone.
        await expect.poll(() => processesWith(marker).length, { message: which }).toBeGreaterThanOrEqual(storm.seen);
        // The machine is still there for others.
        expect(await bench.answer(['exit', 0])).toBe('');
      }
    }),
    ...Object.fromEntries(
      Object.entries(ends).map(([how, { end, outcome }]) => [
        `${how} ends every storm`,
        lighter(SAME, async (bench, share) => {
          for (const [which, storm] of Object.entries(stormsOf(share))) {
            const marker = `storm-${randomUUID()}`;
            expect(await end(bench, argumentsOf(storm, marker), Math.max(500, share(2000))), which).toEqual(outcome);
            await expect.poll(() => processesWith(marker), { message: which }).toEqual([]);
          }
        }),
      ]),
    ),
  },
};
