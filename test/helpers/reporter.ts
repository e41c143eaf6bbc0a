// Counts for scripts/test.mjs, which sums them with those of the other checks; and the same line at the end of a run by hand.
import { writeFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestModule, TestSuite } from 'vitest/node';

export interface TestCounts {
  passed: number;
  failed: number;
  skipped: { name: string; reason: string }[];
}

export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const counts: TestCounts = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) count(module, counts);
    const file = process.env['SANDBOXLIB_TEST_COUNTS'];
    if (file !== undefined) writeFileSync(file, JSON.stringify(counts));
    else console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped.length} skipped`);
  }
}

function count(module: TestModule, counts: TestCounts): void {
  // Errors outside any test: a file that does not load, a hook that failed, something left behind.
  counts.failed += module.errors().length;
  for (const suite of module.children.allSuites()) counts.failed += (suite as TestSuite).errors().length;
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state === 'passed') counts.passed++;
    else if (result.state === 'failed') counts.failed++;
    else counts.skipped.push({ name: `${module.relativeModuleId} > ${test.fullName}`, reason: reasonOf(result) });
  }
}

function reasonOf(result: { readonly state: string; readonly note?: string | undefined }): string {
  return result.note ?? 'no reason given';
}
