// linux-user-chroot, the set-user-ID helper of 2015, with our init inside: for hosts that let nobody make a user namespace and have this. No distribution
// has the program any more: our tests run a stand-in of ours that does the same for the same words.
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { PROGRAM, planLinuxUserChroot } from './plan.ts';
import { mechanisms, recognized } from './recognized.ts';

export const linuxUserChroot: Backend<LauncherPlan> = {
  name: 'linux-user-chroot',
  recognized,

  probe: () =>
    probeByTrial(linuxUserChroot, mechanisms, {
      // Where it is missing nobody is told to install a set-user-ID program of 2015 who did not ask for this backend.
      program: PROGRAM,
      spec: { root: { path: '/', readonly: false } },
    }),

  plan: planLinuxUserChroot,
  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};
