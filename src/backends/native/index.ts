// The native backend: our launcher, with nothing between it and the kernel.
import type { Backend, WrappedLaunch } from '../backend.ts';
import { encodePlan } from './encode.ts';
import { callSteps, launchNative } from './launch.ts';
import { launcherPath } from './locate.ts';
import { type NativePlan, planNative } from './plan.ts';
import { recognized } from './recognized.ts';

/** One string of an environment may hold 128 KiB (execve(2)). */
const CHUNK_CHARACTERS = 120_000;
const PLAN_VARIABLE = 'SANDBOXLIB_PLAN';

export const native: Backend<NativePlan> = {
  name: 'native',
  recognized,

  // Asked for rarely, and it brings in everything that reads /proc and /sys.
  async probe() {
    const { probeNative } = await import('./probe.ts');
    return probeNative(launcherPath());
  },

  probedFor: () => process.env['SANDBOXLIB_LAUNCHER'] ?? '',

  plan: planNative,

  launch: (plan, request) => launchNative(launcherPath(), plan, request),

  // In the environment rather than in an argument: /proc/PID/cmdline is open to every user of the host.
  wrap(plan, request): WrappedLaunch {
    const text = Buffer.from(encodePlan(callSteps(plan.detail, request, []))).toString('base64');
    const env: Record<string, string> = {};
    for (let part = 0; part * CHUNK_CHARACTERS < text.length; part++) {
      env[`${PLAN_VARIABLE}${part}`] = text.slice(part * CHUNK_CHARACTERS, (part + 1) * CHUNK_CHARACTERS);
    }
    return { file: launcherPath(), args: ['run', '--plan-env', PLAN_VARIABLE], env };
  },
};
