// An attack: what it tries, and which promises it tries to break. Where a backend makes those promises the attack must fail; where it does not, asking
// for them must be refused.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import { type RegisteredBackend, registry } from '../../src/backends/registry.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import { type Feature, features } from '../../src/features/feature.ts';
import { requirements } from '../../src/features/requirements.ts';
import { run } from '../../src/index.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { asking } from '../conformance/asking.ts';
import { Bench } from '../conformance/bench.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { asTrial } from '../helpers/trial.ts';
import { skip } from './skip.ts';

export interface Technique {
  /** As people call it: `symlink-race`, `tiocsti`. */
  readonly name: string;
  /** The promises under attack. */
  readonly attacks: readonly Feature[];
  /** For what is a part of one backend and no other, such as the launcher. */
  readonly only?: { readonly backend: BackendName; readonly because: string };
  /** Each by what must hold. */
  readonly cases: Readonly<Record<string, Case>>;
}

/** How many of so many repetitions this backend gets. */
export type Share = (full: number) => number;
export type Body = (bench: Bench, share: Share) => Promise<void>;
export type Case = Body | FullCase;

interface FullCase {
  readonly needs: readonly Feature[];
  /** Why a part of the repetitions is enough where it is not the native backend that repeats. */
  readonly lighter?: string;
  readonly body: Body;
}

/** A case that asks for more than what its technique attacks. A backend that does not promise that must refuse to be asked for it. */
export function needing(needs: readonly Feature[], given: Case): Case {
  const { lighter, body } = inFull(given);
  return { needs, body, ...(lighter === undefined ? {} : { lighter }) };
}

/** What `spec` asks for beyond what every spec does: for `needing`. */
export function beyondDefault(spec: SandboxSpec): Feature[] {
  const caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const asked = requirements({}, { caller });
  return [...requirements(spec, { caller })].filter((feature) => !asked.has(feature));
}

/** Of what is repeated to hit a moment, or to be many, the native backend gets all, and the others a tenth. */
export const LIGHTER_STRENGTH = 0.1;

/** A case whose repetitions meet the same code of ours on each backend: `because` says which. */
export function lighter(because: string, body: Body): Case {
  return { needs: [], lighter: because, body };
}

function inFull(given: Case): FullCase {
  return typeof given === 'function' ? { needs: [], body: given } : given;
}

/** Every technique against every backend, or against those chosen, as whoever runs the test. */
export function describeAttacks(
  techniques: readonly Technique[],
  chosen: (backend: RegisteredBackend) => boolean = () => true,
  { warm = false }: { readonly warm?: boolean } = {},
): void {
  for (const { name: backend } of registry.filter(chosen)) {
    const bench = new Bench(backend, { warm });
    describe(`backend ${backend}`, () => {
      beforeAll(() => {
        bench.open();
        // A case that starts a caller of its own, or names no backend, means this one too.
        vi.stubEnv('SANDBOXLIB_BACKEND', backend);
      });
      afterAll(() => {
        vi.unstubAllEnvs();
        bench.close();
      });
      for (const technique of techniques) describe(technique.name, () => attack(technique, bench));
    });
  }
}

function attack({ name, attacks, only, cases }: Technique, bench: Bench): void {
  const trial = { table: 'attacks', backend: bench.backend, rows: [name] } as const;
  const missing = attacks.filter((feature) => !bench.recognized.has(feature));
  if (missing.length === 0) {
    const elsewhere =
      only !== undefined && only.backend !== bench.backend
        ? only.because
        : (whyClosed(bench.backend) ?? whyTooSlow(bench.backend));
    for (const [title, given] of Object.entries(cases)) {
      const { needs, body, lighter: because } = inFull(given);
      const lacking = needs.filter((feature) => !bench.recognized.has(feature));
      if (lacking.length > 0) {
        test(title, asTrial({ ...trial, kind: 'trial', lacks: lacking }), () => expectRefusals(lacking, bench));
        continue;
      }
      const isLighter = because !== undefined && bench.backend !== 'native';
      const strength = isLighter ? LIGHTER_STRENGTH : 1;
      const lightly = isLighter ? { strength, lighterBecause: because } : {};
      test(title, asTrial({ ...trial, ...lightly, kind: 'trial' }), async () => {
        if (elsewhere !== undefined) skip(elsewhere);
        await body(bench, (full) => Math.ceil(full * strength));
      });
    }
    return;
  }
  const title = `${missing.join(', ')}: not promised, so asking is refused`;
  test(title, asTrial({ ...trial, kind: 'refusal' }), () => expectRefusals(missing, bench));
}

/** Each sandbox takes them half a second and more. What is attacked is made by the code of other backends, and the way to it by the conformance suite. */
function whyTooSlow(backend: BackendName): string | undefined {
  if ((backend !== 'docker' && backend !== 'podman') || process.env['SANDBOXLIB_TEST_ENGINES'] === '1')
    return undefined;
  return 'attacks by way of a container engine take an hour: SANDBOXLIB_TEST_ENGINES=1 tries them';
}

async function expectRefusals(missing: readonly Feature[], bench: Bench): Promise<void> {
  const closed = whyClosed(bench.backend);
  if (closed !== undefined) skip(closed);
  for (const feature of missing) {
    const { spec, options } = asking[feature]?.(bench.makeDirectory('empty-root')) ?? { spec: {} };
    const optional = features.filter((other) => other !== feature);
    const asked = run(['true'], spec, { ...options, backend: bench.backend, optional });
    await expect(asked, feature).rejects.toBeInstanceOf(FeatureError);
  }
}
