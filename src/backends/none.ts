// Runs the command plainly, as a child of this process in a process group of its own. It promises next to nothing, and says so: what a spec asks
// for beyond that is refused, or skipped where the caller made it optional.
import type { Availability, Feature } from '../features/feature.ts';
import type { Backend } from './backend.ts';
import { mechanisms, noneFeatures } from './none-recognized.ts';
import { type PlainDetail, PlainProcess } from './plain/process.ts';

export const none: Backend<PlainDetail> = {
  name: 'none',
  recognized: new Set(noneFeatures),

  async probe() {
    const features = noneFeatures.map((name): [Feature, Availability] => [
      name,
      { available: true, mechanism: mechanisms[name] },
    ]);
    return { backend: 'none', usable: { available: true, mechanism: 'spawn' }, features: new Map(features) };
  },

  plan(spec, granted) {
    const applied = noneFeatures.filter((name) => granted.has(name));
    return {
      backend: 'none',
      applied: applied.map((feature) => ({ feature, mechanism: mechanisms[feature] })),
      notes: ['the command is not isolated: it can do whatever this process can'],
      detail: {
        env: spec.env,
        cwd: spec.cwdGiven ? spec.cwd : undefined,
        wallMs: granted.has('limits.wallMs') ? spec.limits.wallMs : undefined,
      },
    };
  },

  launch: (plan, request) => new PlainProcess(plan, request),
};
