// A backend of which it is known before any trial that it cannot run here: for who asks for it all the same, and for reports.
import type { BackendError } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import type { Backend, BackendName } from '../backend.ts';
import type { LauncherPlan } from './steps.ts';

export function unusable(
  name: BackendName,
  recognized: ReadonlySet<Feature>,
  error: BackendError,
): Backend<LauncherPlan> {
  // A probe that bears the backend's own name need not say it again.
  const reasons = error.probes.map(({ backend, because }) => (backend === name ? because : `${backend}: ${because}`));
  const because = reasons.join(', ') || error.message;
  const usable: Availability = {
    available: false,
    because,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
  };
  const refuse = (): never => {
    throw error;
  };
  return {
    name,
    recognized,
    probe: async () => ({
      backend: name,
      usable,
      features: new Map([...recognized].map((feature) => [feature, usable])),
    }),
    plan: refuse,
    launch: refuse,
  };
}
