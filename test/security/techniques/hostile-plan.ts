import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { expect } from 'vitest';
import { encodePlan } from '../../../src/backends/launcher/encode.ts';
import { launcherPath } from '../../../src/backends/launcher/locate.ts';
import type { Bench } from '../../conformance/bench.ts';
import { defaultSteps } from '../../helpers/native-plan.ts';
import type { Technique } from '../technique.ts';

/** How the launcher ends that reads `plan`, and what it says. */
function launch(bench: Bench, plan: Uint8Array): { status: number | null; signal: string | null; said: string } {
  bench.makeFile('plan', plan);
  const descriptor = openSync(`${bench.directory}/plan`, 'r');
  try {
    const stdio = ['ignore' as const, 'pipe' as const, 'pipe' as const, descriptor, 'pipe' as const];
    const args = ['run', '--plan-fd', '3', '--status-fd', '4'];
    const { status, signal, output } = spawnSync(launcherPath(), args, { stdio, encoding: 'utf8', timeout: 20_000 });
    return { status, signal, said: output.slice(1).join('') };
  } finally {
    closeSync(descriptor);
  }
}

function goodPlan(bench: Bench): Buffer {
  bench.makeDirectory('programs');
  const steps = defaultSteps(bench, process.getuid?.() ?? 0, ['/bin/echo', 'the command ran']);
  return Buffer.from(encodePlan(steps));
}

export const technique: Technique = {
  name: 'hostile-plan',
  attacks: ['root.host', 'namespace.pid'],
  only: { backend: 'native', because: 'each backend has its plans read by the same launcher' },
  cases: {
    'the plan that is spoilt below is good': async (bench) => {
      expect(launch(bench, goodPlan(bench))).toMatchObject({
        status: 0,
        said: expect.stringContaining('the command ran'),
      });
    },
    'a plan that was cut anywhere is refused, and nothing of it runs': async (bench) => {
      const plan = goodPlan(bench);
      for (let length = 0; length < plan.length; length += Math.max(1, Math.floor(plan.length / 60))) {
        const { status, signal, said } = launch(bench, plan.subarray(0, length));
        expect({ length, signal }).toEqual({ length, signal: null });
        expect(status, `${length}`).not.toBe(0);
        expect(said, `${length}`).not.toContain('the command ran');
      }
    },
    'a plan with lengths of its own invention is refused': async (bench) => {
      const plan = goodPlan(bench);
      for (let offset = 0; offset < 120; offset += 4) {
        for (const value of [0xffffffff, 0x7fffffff, 0x80000000, 0x01000001]) {
          const spoilt = Buffer.from(plan);
          spoilt.writeUInt32LE(value, offset);
          const { signal, said } = launch(bench, spoilt);
          expect({ offset, value, signal }).toEqual({ offset, value, signal: null });
          if (offset < 16) expect(said).not.toContain('the command ran');
        }
      }
    },
    'steps that are missing, doubled or in another order are refused': async (bench) => {
      bench.makeDirectory('programs');
      const steps = defaultSteps(bench, process.getuid?.() ?? 0, ['/bin/echo', 'the command ran']);
      for (const wrong of [[], [...steps].reverse(), steps.slice(0, -1), [...steps, ...steps], steps.slice(-1)]) {
        const { status, signal, said } = launch(bench, encodePlan(wrong));
        expect({ status: status === 0, signal, ran: said.includes('the command ran') }).toEqual({
          status: false,
          signal: null,
          ran: false,
        });
      }
    },
  },
};
