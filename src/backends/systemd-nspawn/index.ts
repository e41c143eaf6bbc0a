// systemd-nspawn, with our init inside: it makes the namespaces and hands the sources in, init makes the root of the sandbox from them and leaves the one
// that it was started in, and with it all that systemd-nspawn shows a container of the host: /sys, its control groups, /run/host.
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { planNspawn } from './plan.ts';
import { mechanisms, recognized } from './recognized.ts';

export const systemdNspawn: Backend<LauncherPlan> = {
  name: 'systemd-nspawn',
  recognized,

  probe: () =>
    probeByTrial(systemdNspawn, mechanisms, { program: 'systemd-nspawn', remedy: 'install systemd-container' }),

  plan: planNspawn,
  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};
