// Control groups belong to root, unless it has delegated some.
import { TestRunner } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import type { Feature } from '../../src/features/feature.ts';
import { probe } from '../../src/index.ts';

/** Skips the running case where the caller is no root and may make no control group; root must be able to. */
export async function needGroups(backend: BackendName, feature: Feature): Promise<void> {
  const report = (await probe()).backends.find((candidate) => candidate.backend === backend);
  const availability = report?.features[feature];
  if (availability?.available !== false || process.getuid?.() === 0) return;
  TestRunner.getCurrentTest()?.context.skip(`this caller may make no control groups: ${availability.because}`);
}
