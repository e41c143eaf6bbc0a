// A sandbox that is planned like any other, to be started in the namespaces of a pod.
import type { Backend, BackendPlan } from '../backends/backend.ts';
import { launchPlan } from '../backends/launcher/launch.ts';
import { launcherPath } from '../backends/launcher/locate.ts';
import { joiningPlan } from '../backends/launcher/pod.ts';
import type { LauncherPlan } from '../backends/launcher/steps.ts';
import type { PodCall } from './options.ts';
import type { Prepared } from './plan.ts';

/** Preconditions: the backend is native. Never by the server, which has no descriptors of ours. */
export function joined(prepared: Prepared, { joins }: PodCall): Prepared {
  const plan = joiningPlan(prepared.plan as BackendPlan<LauncherPlan>);
  const backend: Backend<LauncherPlan> = {
    name: prepared.backend.name,
    recognized: prepared.backend.recognized,
    probe: () => prepared.backend.probe(),
    plan: () => plan,
    launch: (joining, request) => launchPlan(launcherPath(), joining, { ...request, joins: joins() }),
  };
  return {
    ...prepared,
    backend: backend as Backend,
    plan,
    apart: prepared.plan,
    enforcement: { ...prepared.enforcement, applied: plan.applied },
  };
}
