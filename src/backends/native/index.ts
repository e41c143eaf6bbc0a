// The native backend: our launcher, with nothing between it and the kernel.
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { knownLauncherPath, launcherPath } from '../launcher/locate.ts';
import { keepWarm, launchByServer } from '../launcher/server.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { planNative } from './plan.ts';
import { recognized } from './recognized.ts';

export const native: Backend<LauncherPlan> = {
  name: 'native',
  recognized,

  // Asked for rarely, and it brings in everything that reads /proc and /sys.
  async probe() {
    const { probeNative } = await import('./probe.ts');
    return probeNative(launcherPath());
  },

  plan: planNative,
  launch(plan, request) {
    return launchByServer(knownLauncherPath(), plan, request) ?? launchPlan(launcherPath(), plan, request);
  },

  keepWarm: (plan, count) => keepWarm(launcherPath(), plan, count),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),

  async compile(plan, request) {
    const { compilePlan } = await import('../launcher/compiled.ts');
    return compilePlan(launcherPath(), plan, request);
  },
};
