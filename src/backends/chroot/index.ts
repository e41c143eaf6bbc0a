// chroot(2): the root of another directory, and all else of the host. Where nothing better can be had.
import { basename, dirname } from 'node:path';
import { BackendError, isSandboxError } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import { callerFacts } from '../../host/facts.ts';
import { nodeSpecHost } from '../../spec/host.ts';
import { normalize } from '../../spec/normalize.ts';
import type { Backend, BackendReport } from '../backend.ts';
import { withTriedFacilities } from '../launcher/facilities.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { type PlainDetail, PlainProcess } from '../plain/process.ts';
import { notRoot, planByLauncher, planByProgram } from './plan.ts';
import { recognizedOn } from './recognized.ts';

const TRIAL_TIMEOUT_MS = 60_000;

/** On Linux, by our launcher. */
const byLauncher: Backend<LauncherPlan> = {
  name: 'chroot',
  recognized: recognizedOn('linux'),

  // The launcher's own directory has all that is needed for a trial: a program that needs nothing else.
  probe: async () => {
    try {
      const launcher = launcherPath();
      const report = await probeWith(
        byLauncher,
        dirname(launcher),
        [`/${basename(launcher)}`, '--version'],
        'chroot(2)',
      );
      return report.usable.available ? withTriedFacilities(report) : report;
    } catch (error) {
      return refusedBy(byLauncher, error);
    }
  },

  plan: planByLauncher,
  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

/** On any other POSIX system, by its chroot(8), of which only `chroot ROOT COMMAND` is the same everywhere. */
export const chrootByProgram: Backend<PlainDetail> = {
  name: 'chroot',
  recognized: recognizedOn('freebsd'),

  probe: async () => {
    try {
      return await probeWith(chrootByProgram, '/', ['true'], 'chroot(8)');
    } catch (error) {
      return refusedBy(chrootByProgram, error);
    }
  },

  plan(spec, granted, caller) {
    const program = caller.program('chroot');
    if (program === undefined) {
      const because = 'there is no chroot on PATH';
      throw new BackendError('backend chroot cannot run here', [{ backend: 'chroot', because }]);
    }
    return planByProgram(spec, granted, caller, program);
  },

  launch: (plan, request) => new PlainProcess(plan, request),
};

export const chroot: Backend = (process.platform === 'linux' ? byLauncher : chrootByProgram) as Backend;

async function probeWith<Detail>(
  backend: Backend<Detail>,
  path: string,
  command: readonly [string, ...string[]],
  mechanism: string,
): Promise<BackendReport> {
  const caller = callerFacts();
  if (caller.uid !== 0) throw notRoot();
  const spec = normalize({ root: { path }, limits: { wallMs: TRIAL_TIMEOUT_MS } }, nodeSpecHost());
  const { ended } = backend.launch(backend.plan(spec, backend.recognized, caller), {
    command,
    stdio: ['ignore', 'ignore', 'ignore'],
    killSignal: 'SIGKILL',
    gracePeriodMs: 0,
  });
  const { code } = await ended;
  const because = `a trial in ${path} ended with ${code ?? 'no exit status'}`;
  return report(backend, code === 0 ? { available: true, mechanism } : { available: false, because });
}

function refusedBy<Detail>(backend: Backend<Detail>, error: unknown): BackendReport {
  if (!isSandboxError(error)) throw error;
  const [probed] = error instanceof BackendError ? error.probes : [];
  const because = probed?.because ?? error.message;
  const { remedy } = error;
  return report(backend, { available: false, because, ...(remedy === undefined ? {} : { remedy }) });
}

function report<Detail>(backend: Backend<Detail>, usable: Availability): BackendReport {
  const features = [...backend.recognized].map((feature): [Feature, Availability] => [feature, usable]);
  return { backend: 'chroot', usable, features: new Map(features) };
}
