// Sandboxes that have all namespaces but that of mounts in common: one makes them and holds them, the others join. Pure, but for the launch.
import { InternalError } from '../../errors/errors.ts';
import type { BackendPlan } from '../backend.ts';
import type { LauncherPlan, PlanIdMapping, Step } from './steps.ts';

/** The plan of the one that makes them. */
export function holdingPlan(plan: BackendPlan<LauncherPlan>): BackendPlan<LauncherPlan> {
  const [namespaces, ...rest] = plan.detail.steps;
  if (namespaces?.step !== 'namespaces') throw new InternalError('a plan that does not begin with its namespaces');
  return { ...plan, detail: { ...plan.detail, steps: [namespaces, { step: 'hold' }, ...rest] } };
}

/** What the whole pod has, of which there is one. */
const ofThePod: ReadonlySet<Step['step']> = new Set<Step['step']>([
  'namespaces',
  'map-ids',
  'hostname',
  'loopback',
  'sysctl',
  'binfmt',
]);

const mechanisms: Readonly<Record<string, string>> = {
  hostname: 'sethostname in the uts namespace of the pod',
  'namespace.user': 'user namespace of the pod',
  'namespace.pid': 'pid namespace of the pod',
  'namespace.network': 'network namespace of the pod',
  'namespace.ipc': 'ipc namespace of the pod',
  'namespace.uts': 'uts namespace of the pod',
  'namespace.cgroup': 'cgroup namespace of the pod',
  'network.none': 'network namespace of the pod, with nothing but lo',
  'lifecycle.killTree': 'SIGKILL of init to its descendants; at the latest the end of pid 1 of the pod',
};

/** The same sandbox in the namespaces of a pod; which descriptors they are is known at the launch. */
export function joiningPlan(plan: BackendPlan<LauncherPlan>): BackendPlan<LauncherPlan> {
  const { steps } = plan.detail;
  const own = steps.filter(({ step }) => !ofThePod.has(step));
  return {
    ...plan,
    applied: plan.applied.map(({ feature, mechanism }) => ({ feature, mechanism: mechanisms[feature] ?? mechanism })),
    detail: {
      ...plan.detail,
      steps: [
        { step: 'namespaces', namespaces: ['mount'] },
        { step: 'join', namespaces: [], uid: idOfInit(steps, 'uid'), gid: idOfInit(steps, 'gid') },
        ...own,
      ],
    },
  };
}

/** With the launcher's descriptors of the namespaces. */
export function withNamespaces(step: Step, namespaces: readonly number[]): Step {
  return step.step === 'join' ? { ...step, namespaces } : step;
}

/** Of a user namespace, which all of a pod must agree on: to be compared. */
export function idMapsOf({ detail: { steps } }: BackendPlan<LauncherPlan>): string {
  return JSON.stringify(steps.filter(({ step }) => step === 'map-ids'));
}

/** The one that init takes in a user namespace of its own (native/plan.c). */
function idOfInit(steps: readonly Step[], kind: 'uid' | 'gid'): number {
  const mappings = steps.flatMap((step): readonly PlanIdMapping[] =>
    step.step === 'map-ids' && step.kind === kind ? step.mappings : [],
  );
  const [first] = mappings;
  if (first === undefined) throw new InternalError(`a plan without mappings of ${kind}s`);
  return mappings.some(({ inside }) => inside === 0) ? 0 : first.inside;
}
