// What was tried and how it ended, one file for each table, for scripts/lib/tables.mjs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import type { Trial } from './trial.ts';

export interface TrialRecord extends Omit<Trial, 'table'> {
  readonly title: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped. */
  readonly reason?: string;
}

export default class TrialsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const directory = process.env['SANDBOXLIB_TEST_TRIALS'];
    if (directory === undefined) return;
    const records: Record<Trial['table'], TrialRecord[]> = { attacks: [], features: [] };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { trial } = test.meta();
        if (trial !== undefined) records[trial.table].push(recordOf(test, trial));
      }
    }
    mkdirSync(directory, { recursive: true });
    for (const [table, list] of Object.entries(records))
      writeFileSync(join(directory, `${table}.json`), JSON.stringify(list, undefined, 1));
  }
}

function recordOf(test: TestCase, { table: _, ...trial }: Trial): TrialRecord {
  const result = test.result();
  const record = { ...trial, title: test.name };
  switch (result.state) {
    case 'passed':
      return { ...record, state: 'passed' };
    case 'failed':
      // The test has failed; whether what it attacks holds, nobody knows.
      if (result.errors.every(({ message }) => /^Test timed out in \d+ms/.test(message)))
        return { ...record, state: 'skipped', reason: 'not over in its time' };
      return { ...record, state: 'failed' };
    case 'skipped':
      return { ...record, state: 'skipped', reason: result.note ?? 'no reason given' };
    // The run was ended before its turn.
    case 'pending':
      return { ...record, state: 'skipped', reason: 'not run' };
  }
}
