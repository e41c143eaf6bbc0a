// Control groups belong to root, unless it has delegated some.
import { TestRunner } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import type { Feature } from '../../src/features/feature.ts';
import { probe } from '../../src/index.ts';

/** The call that failed and its error; the groups' names are this machine's, and no two runs have the same. */
function withoutPlaces(because: string): string {
  return because.replace(/: below .*?(\(\w+: E\w+\)).*/, ' $1');
}

/** Skips the running case where the caller is no root and may make no control group; root must be able to. */
export async function needGroups(backend: BackendName, feature: Feature): Promise<void> {
  const report = (await probe()).backends.find((candidate) => candidate.backend === backend);
  const availability = report?.features[feature];
  if (availability?.available !== false || process.getuid?.() === 0) return;
  TestRunner.getCurrentTest()?.context.skip(
    `this caller may make no control groups: ${withoutPlaces(availability.because)}`,
  );
}

/** Skips the running case where the exact bound is to be had, so that nothing stands in for it. */
export async function needNoGroups(backend: BackendName, feature: Feature): Promise<void> {
  const report = (await probe()).backends.find((candidate) => candidate.backend === backend);
  if (report?.features[feature]?.available !== true) return;
  TestRunner.getCurrentTest()?.context.skip(`this caller may make control groups: nothing stands in for ${feature}`);
}
