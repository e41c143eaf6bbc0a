// Files run side by side, one process each, on as many workers as there are processors; what a file leaves behind is told apart by who made it
// (test/helpers/leftovers.ts).
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import CountingReporter from './test/helpers/reporter.ts';
import LongestFirst from './test/helpers/sequencer.ts';
import TrialsReporter from './test/helpers/trials-reporter.ts';

const secondMs = 1000;

/** Machines are noisy: these bounds end a test that hangs, and measure nothing. */
const patience = { testTimeout: 60 * secondMs, hookTimeout: 120 * secondMs, teardownTimeout: 60 * secondMs };

const built = { globalSetup: ['test/helpers/global-setup.ts'] };

function project(name: string, overrides: { testTimeout?: number; hookTimeout?: number; globalSetup?: string[] } = {}) {
  return {
    extends: true,
    test: { name, include: [`test/${name}/**/*.test.ts`], ...patience, ...overrides },
  } as const;
}

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: Math.max(2, availableParallelism()),
    setupFiles: ['test/helpers/setup.ts'],
    reporters: ['default', new CountingReporter(), new TrialsReporter()],
    allowOnly: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      project('unit'),
      // A run by a container engine takes a hundred times that of others.
      project('conformance', { ...built, testTimeout: 300 * secondMs }),
      project('os', { ...built, testTimeout: 600 * secondMs, hookTimeout: 900 * secondMs }),
      // Crowds and storms: on a busy machine a case of them takes its time.
      project('security', { ...built, testTimeout: 600 * secondMs }),
      project('cli', built),
      project('package', { ...built, testTimeout: 300 * secondMs, hookTimeout: 300 * secondMs }),
    ],
  },
});
