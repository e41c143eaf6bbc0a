// An attack: what it tries, and which promises it tries to break. Where a backend makes those promises the attack must fail; where it does not, asking
// for them must be refused.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { registry } from '../../src/backends/registry.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import { type Feature, features } from '../../src/features/feature.ts';
import { run } from '../../src/index.ts';
import { asking } from '../conformance/asking.ts';
import { Bench } from '../conformance/bench.ts';

export interface Technique {
  /** As people call it: `symlink-race`, `tiocsti`. */
  readonly name: string;
  /** The promises under attack. */
  readonly attacks: readonly Feature[];
  /** Each by what must hold. */
  readonly cases: Readonly<Record<string, (bench: Bench) => Promise<void>>>;
}

/** Every technique against every backend, as whoever runs the test. */
export function describeAttacks(techniques: readonly Technique[]): void {
  for (const { name: backend } of registry) {
    const bench = new Bench(backend);
    describe(`backend ${backend}`, () => {
      beforeAll(() => bench.open());
      afterAll(() => bench.close());
      for (const technique of techniques) describe(technique.name, () => attack(technique, bench));
    });
  }
}

function attack({ attacks, cases }: Technique, bench: Bench): void {
  const missing = attacks.filter((feature) => !bench.recognized.has(feature));
  if (missing.length === 0) {
    for (const [title, body] of Object.entries(cases)) test(title, () => body(bench));
    return;
  }
  test(`${missing.join(', ')}: not promised, so asking is refused`, async () => {
    for (const feature of missing) {
      const { spec, options } = asking[feature]?.(bench.makeDirectory('empty-root')) ?? { spec: {} };
      const optional = features.filter((other) => other !== feature);
      const asked = run(['true'], spec, { ...options, backend: bench.backend, optional });
      await expect(asked, feature).rejects.toBeInstanceOf(FeatureError);
    }
  });
}
