// Why a launch failed, where that is not what failed first.
import type { BackendReport } from '../backends/backend.ts';
import { registry } from '../backends/registry.ts';
import { BackendError, FeatureError, isSandboxError, LaunchError, type MissingFeature } from '../errors/errors.ts';
import type { Feature } from '../features/feature.ts';
import { type StandIns, withStandIn } from '../features/stand-ins.ts';
import { agreeByProbing, probeBackend, rememberWanting, reportFor } from './agreement.ts';
import type { Prepared } from './plan.ts';

/**
 * The error to show for a launch that failed: where the host lacks what the plan needs, that is the reason, not the step it showed at.
 */
export async function explainFailure(prepared: Prepared, error: unknown): Promise<unknown> {
  if (!(error instanceof LaunchError) || (error.step === 'exec' && !isForeign(prepared, error))) return error;
  let report: BackendReport;
  try {
    report = reportFor(await probeBackend(prepared.backend), prepared.spec.architecture);
  } catch (probeError) {
    // The launch failed first and says more; what the probe said is for whoever looks closer.
    if (isSandboxError(probeError) && error.cause === undefined) error.cause = probeError;
    return error;
  }
  const missing = prepared.plan.applied.flatMap(({ feature }) => missingIn(report, feature, prepared.request.standIns));
  if (report.usable.available && missing.length === 0) return error;
  if (othersMayServe(prepared)) return explainToAll(prepared, error);
  if (report.usable.available) return new FeatureError(prepared.backend.name, missing, { cause: error });
  const { because, remedy } = report.usable;
  const { name } = prepared.backend;
  const unusable = new BackendError(`backend ${name} cannot run here`, [{ backend: name, because }], remedy);
  unusable.cause = error;
  return unusable;
}

/** Whether nobody named a backend, and another one knows everything that is asked for. */
function othersMayServe({ backend, request }: Prepared): boolean {
  const { required, optional, chosen } = request;
  if (chosen !== undefined) return false;
  const needed = optional === 'all' ? [] : [...required].filter((feature) => ![...optional].includes(feature));
  return registry.some(
    ({ name, recognized, byNameOnly }) =>
      name !== backend.name && !byNameOnly && needed.every((feature) => recognized.has(feature)),
  );
}

/** Nobody named a backend: the next run asks the others too, and this error says what they would answer. */
async function explainToAll(prepared: Prepared, error: LaunchError): Promise<unknown> {
  rememberWanting();
  try {
    const { backend } = await agreeByProbing(prepared.request);
    const remedy = `backend ${backend} offers all of it, and is taken from the next run of this process on; SANDBOXLIB_BACKEND=${backend} takes it at once`;
    const because = `it was preferred, and failed: ${error.message}`;
    const next = new BackendError('the sandbox failed', [{ backend: prepared.backend.name, because }], remedy);
    next.cause = error;
    return next;
  } catch (refusal) {
    if (isSandboxError(refusal)) refusal.cause = error;
    return refusal;
  }
}

/** A program of the architecture that was asked for, where all that should have run it is the kernel itself. */
function isForeign({ plan }: Prepared, { reason }: LaunchError): boolean {
  return reason === 'wrong-architecture' && plan.applied.some(({ feature }) => feature === 'architecture');
}

function missingIn(report: BackendReport, feature: Feature, standIns: StandIns | undefined): MissingFeature[] {
  const availability = report.features.get(feature);
  if (availability === undefined || availability.available) return [];
  const standIn = standIns?.get(feature);
  const offered = standIn !== undefined && report.features.get(standIn)?.available === true;
  const missing = { feature, because: availability.because, remedy: availability.remedy };
  return [withStandIn(missing, offered ? standIn : undefined)];
}
