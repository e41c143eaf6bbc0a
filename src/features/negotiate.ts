// Who does it: the first backend, in the order given, that offers all that is asked for. Pure; finding out what a host offers is not done here.
import { BackendError, FeatureError, type MissingFeature, reasonsOf } from '../errors/errors.ts';
import { nearest } from '../spec/nearest.ts';
import type { Availability, Feature } from './feature.ts';
import { type StandIns, withStandIn } from './stand-ins.ts';

export interface Candidate<Name extends string = string> {
  readonly name: Name;
  /** What its code knows. */
  readonly recognized: ReadonlySet<Feature>;
  /** What this host lets it do. Without one it counts as able to do all that it recognizes: the launch is its own probe. */
  readonly report?:
    | { readonly usable: Availability; readonly features: ReadonlyMap<Feature, Availability> }
    | undefined;
  /** What its code shows where it may be missing, without a promise: why it is none. */
  readonly views?: ReadonlyMap<Feature, string>;
  /** Never taken unless it was asked for by name. */
  readonly byNameOnly?: boolean;
}

export interface NegotiationRequest<Name extends string = string> {
  readonly required: ReadonlySet<Feature>;
  /** Of the required ones, those that may be missing. */
  readonly optional: Iterable<Feature> | 'all';
  /** What is taken instead, where it is to be had. */
  readonly standIns?: StandIns;
  /** In order of preference. */
  readonly candidates: readonly Candidate<Name>[];
  /** This backend and no other. */
  readonly chosen?: string | undefined;
  /** What nobody can give for this very spec, and why. */
  readonly excluded?: ReadonlyMap<Feature, string>;
  /** What a feature is needed for in this very spec, where that is not plain: for the message. */
  readonly needs?: ReadonlyMap<Feature, string>;
}

export interface Agreement<Name extends string = string> {
  readonly backend: Name;
  /** Of the required features, those to apply; and what stands in for one that was skipped. */
  readonly granted: Set<Feature>;
  readonly skipped: readonly { readonly feature: Feature; readonly because: string }[];
}

/**
 * @throws {FeatureError} `SBX_FEATURE_UNAVAILABLE` when the chosen backend, or the only one, lacks something.
 * @throws {BackendError} `SBX_BACKEND_UNAVAILABLE` when none of several fits, or the chosen one is unknown or cannot run here.
 */
export function negotiate<Name extends string>(request: NegotiationRequest<Name>): Agreement<Name> {
  const { candidates, chosen } = request;
  const eligible = candidates.filter(({ name, byNameOnly }) =>
    chosen === undefined ? byNameOnly !== true : name === chosen,
  );
  if (chosen !== undefined && eligible.length === 0) throw unknownBackend(chosen, candidates);
  if (eligible.length > 1) refuseUnserved(request, eligible);
  const refusals: Refusal[] = [];
  for (const candidate of eligible) {
    const answer = consider(candidate, request);
    if (!('because' in answer)) return answer;
    refusals.push(answer);
  }
  throw refuse(refusals);
}

/** What nobody's code knows is refused once, and not by each candidate in turn. */
function refuseUnserved<Name extends string>(
  request: NegotiationRequest<Name>,
  [preferred]: readonly Candidate<Name>[],
): void {
  if (preferred === undefined || request.optional === 'all') return;
  const optional = new Set(request.optional);
  const isServed = (feature: Feature): boolean =>
    request.excluded?.has(feature) !== true && request.candidates.some(({ recognized }) => recognized.has(feature));
  const unserved = [...request.required].filter((feature) => !optional.has(feature) && !isServed(feature));
  if (unserved.length === 0) return;
  throw new FeatureError(
    preferred.name,
    unserved.map((feature) => ({
      feature,
      because: request.excluded?.get(feature) ?? offerOf(feature, preferred, request),
    })),
  );
}

function offerOf<Name extends string>(
  feature: Feature,
  candidate: Candidate<Name>,
  { candidates }: NegotiationRequest<Name>,
): string {
  const answer = offer(feature, candidate, candidates);
  return answer.available ? '' : answer.because;
}

interface Refusal {
  readonly backend: string;
  readonly because: string;
  readonly remedy: string | undefined;
  /** Empty: the backend cannot run at all. */
  readonly missing: readonly MissingFeature[];
}

function consider<Name extends string>(
  candidate: Candidate<Name>,
  request: NegotiationRequest<Name>,
): Agreement<Name> | Refusal {
  const { name: backend, report } = candidate;
  if (report !== undefined && !report.usable.available) {
    return { backend, because: report.usable.because, remedy: report.usable.remedy, missing: [] };
  }
  const optional = request.optional === 'all' ? undefined : new Set(request.optional);
  const because = (reason: string, feature: Feature): string => {
    const need = request.needs?.get(feature);
    return need === undefined ? reason : `${reason}; ${need}`;
  };
  const granted = new Set<Feature>();
  const skipped: { feature: Feature; because: string }[] = [];
  const missing: MissingFeature[] = [];
  for (const feature of request.required) {
    const reason = request.excluded?.get(feature);
    const availability: Availability =
      reason === undefined ? offer(feature, candidate, request.candidates) : { available: false, because: reason };
    if (availability.available) {
      granted.add(feature);
      continue;
    }
    const standIn = offeredStandIn(feature, candidate, request);
    if (optional === undefined || optional.has(feature)) {
      const instead = standIn === undefined ? '' : `; ${standIn} stands in for it`;
      skipped.push({ feature, because: `${availability.because}${instead}` });
      if (standIn !== undefined) granted.add(standIn);
    } else {
      const why = because(availability.because, feature);
      missing.push(withStandIn({ feature, because: why, remedy: availability.remedy }, standIn));
    }
  }
  if (missing.length === 0) return { backend, granted, skipped };
  return { backend, because: shortReasons(missing, candidate), remedy: undefined, missing };
}

function offeredStandIn(
  feature: Feature,
  candidate: Candidate,
  { candidates, standIns }: Pick<NegotiationRequest, 'candidates' | 'standIns'>,
): Feature | undefined {
  const standIn = standIns?.get(feature);
  return standIn !== undefined && offer(standIn, candidate, candidates).available ? standIn : undefined;
}

/** Of one candidate among several: what it does not know is listed, what this host lacks is explained. */
function shortReasons(missing: readonly MissingFeature[], { recognized }: Candidate): string {
  const unknown = missing.filter(({ feature }) => !recognized.has(feature)).map(({ feature }) => feature);
  const lacking = reasonsOf(missing.filter(({ feature }) => recognized.has(feature)));
  return [...(unknown.length === 0 ? [] : [`it does not serve ${unknown.join(', ')}`]), ...lacking].join(', ');
}

function offer(feature: Feature, candidate: Candidate, all: readonly Candidate[]): Availability {
  const { name, recognized, report, views } = candidate;
  if (!recognized.has(feature)) {
    const others = all.filter((other) => other.recognized.has(feature)).map((other) => other.name);
    const view = views?.get(feature);
    if (others.length === 0)
      return { available: false, because: view ?? `not served by backend ${name} yet, nor by any other` };
    const because = view ?? `not served by backend ${name}`;
    return { available: false, because, remedy: `use backend ${others.join(' or ')}` };
  }
  if (report === undefined) return { available: true, mechanism: 'not probed' };
  return (
    report.features.get(feature) ?? {
      available: false,
      because: `backend ${name} did not find it when it probed this host`,
    }
  );
}

function refuse(refusals: readonly Refusal[]): FeatureError | BackendError {
  const [only] = refusals;
  if (refusals.length === 1 && only !== undefined) {
    if (only.missing.length > 0) return new FeatureError(only.backend, only.missing);
    return new BackendError(`backend ${only.backend} cannot run here`, [only], only.remedy);
  }
  const remedies = refusals.flatMap(({ backend, remedy }) =>
    remedy === undefined ? [] : [`for ${backend}: ${remedy}`],
  );
  const message =
    refusals.length === 0 ? 'there is no backend for this host' : 'no backend offers all that is asked for';
  return new BackendError(
    message,
    refusals.map(({ backend, because }) => ({ backend, because })),
    remedies.join('; ') || undefined,
  );
}

function unknownBackend(chosen: string, candidates: readonly Candidate[]): BackendError {
  const names = candidates.map(({ name }) => name);
  const meant = nearest(chosen, names);
  return new BackendError(
    `there is no backend '${chosen}'`,
    [],
    meant === undefined ? `known are ${names.join(', ')}` : `did you mean '${meant}'?`,
  );
}
