// Bounds on a sandbox as a whole where no control group is to be had: the launcher looks at its processes from time to time (native/sampling.c). Pure.
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { Step } from './steps.ts';
import type { Mechanisms } from './tool.ts';

/** For a backend where our init is pid 1 of a pid namespace, in a user namespace with nobody else in it. */
export const samplingMechanisms: Mechanisms = {
  'limits.cpuMs.approximate': 'processor time in /proc of all processes, looked at every 2 to 10 ms; RLIMIT_CPU',
  'limits.memoryBytes.approximate': 'resident memory in /proc of all processes, looked at every 2 to 20 ms',
  'limits.pids.approximate': 'RLIMIT_NPROC of a user namespace; threads in /proc, looked at every 2 to 50 ms',
};

export function samplingSteps({ limits }: Pick<NormalizedSpec, 'limits'>, granted: ReadonlySet<Feature>): Step[] {
  const milliseconds = granted.has('limits.cpuMs.approximate') ? limits.cpuMs : undefined;
  const bytes = granted.has('limits.memoryBytes.approximate') ? limits.memoryBytes : undefined;
  const processes = granted.has('limits.pids.approximate') ? limits.pids : undefined;
  if (milliseconds === undefined && bytes === undefined && processes === undefined) return [];
  return [{ step: 'sampling', milliseconds, bytes, processes }];
}
