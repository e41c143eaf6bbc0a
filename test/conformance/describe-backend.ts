// One suite for every backend and every feature: what a backend knows is tried for real and attacked from inside; what it does not know must be
// refused by name.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import { type Feature, features } from '../../src/features/feature.ts';
import { run } from '../../src/index.ts';
import { asTrial, type Trial } from '../helpers/trial.ts';
import { asking } from './asking.ts';
import { Bench } from './bench.ts';
import { commandCases } from './cases-command.ts';
import { filesystemCases } from './cases-filesystem.ts';
import { groupCases } from './cases-groups.ts';
import { imageCases } from './cases-images.ts';
import { isolationCases } from './cases-isolation.ts';
import { lifecycleCases } from './cases-lifecycle.ts';
import { limitCases } from './cases-limits.ts';
import { overlayCases } from './cases-overlays.ts';
import { samplingCases } from './cases-sampling.ts';
import { streamCases } from './cases-streams.ts';

export interface Exception {
  readonly reason: string;
  /** Titles. One that no case has is an error. */
  readonly tests: readonly string[];
}

export interface Suite {
  readonly bench: Bench;
  /** A case of what every backend does. */
  always(title: string, body: () => Promise<void>): void;
  /** A case of backends that know all of `needed`. */
  promise(needed: readonly Feature[], title: string, body: () => Promise<void>): void;
}

export function describeBackend(
  name: BackendName,
  { skip = [], warm = false }: { readonly skip?: readonly Exception[]; readonly warm?: boolean } = {},
): void {
  const bench = new Bench(name, { warm });
  const titles = new Set<string>();
  const define = (
    rows: readonly Feature[],
    title: string,
    body: () => Promise<void>,
    kind: Trial['kind'] = 'trial',
  ) => {
    if (titles.has(title)) throw new Error(`two cases are called "${title}"`);
    titles.add(title);
    const exception = skip.find(({ tests }) => tests.includes(title));
    test(title, asTrial({ table: 'features', backend: name, rows, kind }), async (context) => {
      if (exception !== undefined) context.skip(exception.reason);
      await body();
    });
  };
  const suite: Suite = {
    bench,
    always: (title, body) => define([], title, body),
    promise: (needed, title, body) => {
      if (needed.every((feature) => bench.recognized.has(feature))) define(needed, title, body);
      else titles.add(title);
    },
  };

  describe(`backend ${name}`, () => {
    beforeAll(() => bench.open());
    afterAll(() => bench.close());
    commandCases(suite);
    streamCases(suite);
    lifecycleCases(suite);
    filesystemCases(suite);
    overlayCases(suite);
    imageCases(suite);
    isolationCases(suite);
    limitCases(suite);
    groupCases(suite);
    samplingCases(suite);
    refusals(bench, (feature, body) => define([feature], `${feature} is refused by name`, body, 'refusal'));
    // In here: what describe() is given runs later than what follows it.
    const unknown = skip.flatMap(({ tests }) => tests).filter((title) => !titles.has(title));
    if (unknown.length > 0) throw new Error(`exceptions for cases that do not exist: ${unknown.join('; ')}`);
  });
}

function refusals(bench: Bench, define: (feature: Feature, body: () => Promise<void>) => void): void {
  for (const feature of features) {
    const ask = asking[feature];
    if (ask === undefined || bench.recognized.has(feature)) continue;
    define(feature, async () => {
      const { spec, options } = ask(bench.makeDirectory('empty-root'));
      const optional = features.filter((other) => other !== feature);
      const asked = run(['true'], spec, { ...options, backend: bench.backend, optional });
      await expect(asked).rejects.toBeInstanceOf(FeatureError);
      await expect(asked).rejects.toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        backend: bench.backend,
        missing: [{ feature }],
      });
    });
  }
}
