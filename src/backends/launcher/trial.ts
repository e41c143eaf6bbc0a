// Whether a tool works here is found by running the smallest sandbox with it: a version number says little, and what a tool needs of a host shows
// only when it asks for it.
import { BackendError, isSandboxError } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import { requirements } from '../../features/requirements.ts';
import { callerFacts } from '../../host/facts.ts';
import { nodeSpecHost } from '../../spec/host.ts';
import { normalize } from '../../spec/normalize.ts';
import type { SandboxSpec } from '../../spec/types.ts';
import type { Backend, BackendReport } from '../backend.ts';
import { withTriedFacilities } from './facilities.ts';
import { rangesOfOrdinaryUser } from './room.ts';
import type { LauncherPlan } from './steps.ts';
import type { Mechanisms } from './tool.ts';

/** Of a tool that has to be there. */
export interface TrialTool {
  readonly program: string;
  /** What to do where it is missing, if anything. */
  readonly remedy?: string;
  /**
   * Of the trial.
   *
   * @defaultValue that of every sandbox of which nothing is said
   */
  readonly spec?: SandboxSpec;
}

const TRIAL_TIMEOUT_MS = 60_000;

export async function probeByTrial(
  backend: Backend<LauncherPlan>,
  mechanisms: Mechanisms,
  tool: TrialTool,
): Promise<BackendReport> {
  const report = reportOf(backend, mechanisms, await tryOnce(backend, tool));
  return report.usable.available ? withTriedFacilities(report) : report;
}

/** The same for a tool in a room, which an ordinary user can make of one id alone. */
export async function probeInRoom(
  backend: Backend<LauncherPlan>,
  mechanisms: Mechanisms,
  tool: TrialTool,
): Promise<BackendReport> {
  const report = await probeByTrial(backend, mechanisms, tool);
  if (!report.usable.available || callerFacts().uid === 0) return report;
  const { feature, because, remedy } = rangesOfOrdinaryUser(backend.name);
  const ranges: Availability = { available: false, because, remedy };
  return { ...report, features: new Map([...report.features, [feature, ranges]]) };
}

/** What a tool gives where a trial went well: all that its backend knows; else none of it, for one and the same reason. */
export function reportOf(
  backend: Pick<Backend<LauncherPlan>, 'name'>,
  mechanisms: Mechanisms,
  usable: Availability,
): BackendReport {
  const features = (Object.entries(mechanisms) as [Feature, string][]).map(
    ([feature, mechanism]): [Feature, Availability] => [
      feature,
      usable.available ? { available: true, mechanism } : usable,
    ],
  );
  return { backend: backend.name, usable, features: new Map(features) };
}

/** Runs `true` in a sandbox of the backend, if its program is there. */
export async function tryOnce(backend: Backend<LauncherPlan>, tool: TrialTool): Promise<Availability> {
  const caller = callerFacts();
  const file = caller.program(tool.program);
  if (file === undefined) {
    return { available: false, because: `there is no ${tool.program} on PATH`, ...withRemedy(tool.remedy) };
  }
  const trial = { ...tool.spec, limits: { wallMs: TRIAL_TIMEOUT_MS } };
  const spec = normalize(trial, nodeSpecHost());
  const granted = new Set([...requirements(trial)].filter((feature) => backend.recognized.has(feature)));
  try {
    const plan = backend.plan(spec, granted, caller);
    const { ended } = backend.launch(plan, {
      command: ['true'],
      stdio: ['ignore', 'ignore', 'ignore'],
      killSignal: 'SIGKILL',
      gracePeriodMs: 0,
    });
    const { code } = await ended;
    if (code === 0) return { available: true, mechanism: file };
    return { available: false, because: `a trial sandbox of ${file} ended with ${code ?? 'no exit status'}` };
  } catch (error) {
    if (!isSandboxError(error)) throw error;
    // A backend that refuses to plan says so of itself, and why.
    const [refusal] = error instanceof BackendError ? error.probes : [];
    return { available: false, because: refusal?.because ?? error.message, ...withRemedy(error.remedy) };
  }
}

function withRemedy(remedy: string | undefined): { remedy?: string } {
  return remedy === undefined ? {} : { remedy };
}
