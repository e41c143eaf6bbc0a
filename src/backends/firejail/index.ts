// firejail, with our init inside: firejail makes namespaces and a /proc of their own, init does the rest. It is a set-user-ID program, which works
// where it is that of the host: not in a user namespace, and only for users who have an account.
import { BackendError } from '../../errors/errors.ts';
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import { INIT_INSIDE, type LauncherPlan, toolDescriptors } from '../launcher/steps.ts';
import { asCaller, throughTool } from '../launcher/tool.ts';
import { probeByTrial, reportOf } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { firejailArgs } from './argv.ts';
import { mechanisms, recognized } from './recognized.ts';

export const firejail: Backend<LauncherPlan> = {
  name: 'firejail',
  recognized,

  async probe() {
    const report = await probeByTrial(firejail, mechanisms, { program: 'firejail', remedy: 'install firejail' });
    const { usable } = report;
    if (usable.available || !usable.because.includes('getpwuid')) return report;
    const remedy = 'firejail serves only users who have an account in /etc/passwd';
    return reportOf(firejail, mechanisms, { ...usable, remedy });
  },

  plan(wanted, granted, caller) {
    const program = caller.program('firejail');
    if (program === undefined) throw missingFirejail();
    const spec = asCaller(wanted, caller);
    return throughTool(spec, granted, caller, {
      backend: 'firejail',
      mechanisms,
      room: [{ step: 'namespaces', namespaces: [] }],
      // Killed, it would leave its notes on the sandbox in /run/firejail. It removes them when init has ended.
      endSignal: 0,
      argv: [
        program,
        ...firejailArgs(spec, granted, caller),
        `--keep-fd=${toolDescriptors.socket},${toolDescriptors.launcher}`,
        // firejail has the caller's login shell start the program. Without `exec` that would stay above init, and hold what init holds.
        ...['--', 'exec', ...INIT_INSIDE],
      ],
      notes: [
        "the command sees this host's files, and may do with them what the caller may; /usr, /etc and /var are read-only",
      ],
    });
  },

  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

function missingFirejail(): BackendError {
  return new BackendError(
    'backend firejail cannot run here',
    [{ backend: 'firejail', because: 'there is no firejail on PATH' }],
    'install firejail',
  );
}
