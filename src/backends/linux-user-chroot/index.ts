// linux-user-chroot, the set-user-ID helper of 2015, with our init inside: for hosts that let nobody make a user namespace and have this. Its command
// line is taken from its documentation; no distribution has the program any more, and our tests run a stand-in that keeps to the same words.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSandboxError } from '../../errors/errors.ts';
import type { Availability } from '../../features/feature.ts';
import { callerFacts } from '../../host/facts.ts';
import { nodeSpecHost } from '../../spec/host.ts';
import { normalize } from '../../spec/normalize.ts';
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { reportOf } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { PROGRAM, planLinuxUserChroot, remedyForMissing } from './plan.ts';
import { mechanisms, recognized } from './recognized.ts';

const TRIAL_TIMEOUT_MS = 60_000;

export const linuxUserChroot: Backend<LauncherPlan> = {
  name: 'linux-user-chroot',
  recognized,

  probe: async () => reportOf(linuxUserChroot, mechanisms, await tryOnce()),

  plan: planLinuxUserChroot,
  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

async function tryOnce(): Promise<Availability> {
  const file = callerFacts().program(PROGRAM);
  if (file === undefined)
    return { available: false, because: `there is no ${PROGRAM} on PATH`, remedy: remedyForMissing };
  try {
    const code = await tryInRoot();
    if (code === 0) return { available: true, mechanism: file };
    return { available: false, because: `a trial sandbox of ${file} ended with ${code ?? 'no exit status'}` };
  } catch (error) {
    if (!isSandboxError(error)) throw error;
    const { message, remedy } = error;
    return { available: false, because: message, ...(remedy === undefined ? {} : { remedy }) };
  }
}

async function tryInRoot(): Promise<number | undefined> {
  const root = mkdtempSync(join(tmpdir(), 'sandboxlib-trial-'));
  try {
    // A program that needs no other, and a place for /proc.
    copyFileSync(launcherPath(), join(root, 'launcher'));
    mkdirSync(join(root, 'proc'));
    const spec = normalize({ root: { path: root }, limits: { wallMs: TRIAL_TIMEOUT_MS } }, nodeSpecHost());
    const plan = linuxUserChroot.plan(spec, recognized, callerFacts());
    const { ended } = linuxUserChroot.launch(plan, {
      command: ['/launcher', '--version'],
      stdio: ['ignore', 'ignore', 'ignore'],
      killSignal: 'SIGKILL',
      gracePeriodMs: 0,
    });
    return (await ended).code;
  } finally {
    rmSync(root, { recursive: true });
  }
}
