// The same plan for another spawner: it travels in the environment.
import type { BackendPlan, LaunchRequest, WrappedLaunch } from '../backend.ts';
import { callSteps } from './call.ts';
import { encodePlan } from './encode.ts';
import type { LauncherPlan } from './steps.ts';

/** One string of an environment may hold 128 KiB (execve(2)). */
const CHUNK_CHARACTERS = 120_000;
const PLAN_VARIABLE = 'SANDBOXLIB_PLAN';

/** In the environment rather than in an argument: /proc/PID/cmdline is open to every user of the host. */
export function wrapPlan(
  launcher: string,
  plan: BackendPlan<LauncherPlan>,
  request: Pick<LaunchRequest, 'command' | 'killSignal' | 'gracePeriodMs'>,
): WrappedLaunch {
  const text = Buffer.from(encodePlan(callSteps(plan.detail, request, []))).toString('base64');
  const env: Record<string, string> = {};
  for (let part = 0; part * CHUNK_CHARACTERS < text.length; part++) {
    env[`${PLAN_VARIABLE}${part}`] = text.slice(part * CHUNK_CHARACTERS, (part + 1) * CHUNK_CHARACTERS);
  }
  return { file: launcher, args: ['run', '--plan-env', PLAN_VARIABLE], env };
}
