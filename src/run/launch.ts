// From what the caller wrote to what a backend launches. Everything that can happen in the same tick does.
import type { Backend, BackendName, BackendPlan, BackendReport, LaunchRequest } from '../backends/backend.ts';
import { loadBackend, registry } from '../backends/registry.ts';
import {
  BackendError,
  FeatureError,
  isSandboxError,
  LaunchError,
  type MissingFeature,
  SpecError,
  type SpecIssue,
} from '../errors/errors.ts';
import type { Feature } from '../features/feature.ts';
import { type Agreement, type Candidate, type NegotiationRequest, negotiate } from '../features/negotiate.ts';
import { requirements } from '../features/requirements.ts';
import { callerFacts } from '../host/facts.ts';
import { checkCommand } from '../spec/command.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../spec/types.ts';
import { type CallOptions, checkOptions, type OptionName, sandboxOptionNames } from './options.ts';
import type { Enforcement } from './types.ts';

/** A value, or a promise of it where something has to be loaded first. */
export type Soon<T> = T | Promise<T>;

export function whenReady<T, U>(value: Soon<T>, next: (value: T) => Soon<U>): Soon<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** What every run of one spec shares. */
export interface Prepared {
  readonly spec: NormalizedSpec;
  readonly backend: Backend;
  readonly plan: BackendPlan;
  readonly enforcement: Enforcement;
}

export interface CheckedCall {
  readonly command: readonly [string, ...string[]];
  readonly options: CallOptions;
  readonly issues: SpecIssue[];
}

/** Never throws: what is wrong is reported together with what is wrong in the spec. */
export function checkCall(command: unknown, options: unknown, allowed: readonly OptionName[]): CheckedCall {
  const issues: SpecIssue[] = [];
  return { command: checkCommand(command, issues), options: checkOptions(options, allowed, issues), issues };
}

/** Options of a spec rather than of a call. */
export function checkSandboxOptions(options: unknown): Omit<CheckedCall, 'command'> {
  const issues: SpecIssue[] = [];
  return { options: checkOptions(options, sandboxOptionNames, issues), issues };
}

/**
 * Checks, normalizes, negotiates and plans.
 *
 * @throws {SpecError} with every issue of the spec, the command and the options.
 * @throws {FeatureError | BackendError} when no backend gives what the spec asks for.
 */
export function prepare(spec: unknown, options: CallOptions, issues: readonly SpecIssue[]): Soon<Prepared> {
  return whenReady(checkSpec(spec, issues), (checked) => negotiateAndPlan(checked, options));
}

/** As `prepare`, for a spec that is known to have the right shape: the command line makes its own. */
export function prepareTrusted(spec: SandboxSpec, options: CallOptions, issues: readonly SpecIssue[]): Soon<Prepared> {
  if (issues.length > 0) throw new SpecError(issues);
  return negotiateAndPlan(spec, options);
}

let validateSpec: ((value: unknown) => SandboxSpec) | undefined;

/** The schema library costs more than a run, so it is loaded by the first spec that says anything. */
function checkSpec(spec: unknown, issues: readonly SpecIssue[]): Soon<SandboxSpec> {
  if (isEmpty(spec)) {
    if (issues.length > 0) throw new SpecError(issues);
    return {};
  }
  return whenReady(validateSpec ?? loadSchema(), (validate) => {
    try {
      const valid = validate(spec);
      if (issues.length === 0) return valid;
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      throw issues.length === 0 ? error : new SpecError([...error.issues, ...issues]);
    }
    throw new SpecError(issues);
  });
}

async function loadSchema(): Promise<(value: unknown) => SandboxSpec> {
  validateSpec = (await import('../spec/schema.ts')).validateSpec;
  return validateSpec;
}

function isEmpty(spec: unknown): boolean {
  if (spec === undefined) return true;
  if (typeof spec !== 'object' || spec === null) return false;
  const prototype: unknown = Object.getPrototypeOf(spec);
  // What is inherited counts, and a Map with keys is no empty object.
  return (prototype === Object.prototype || prototype === null) && Reflect.ownKeys(spec).length === 0;
}

function negotiateAndPlan(spec: SandboxSpec, options: CallOptions): Soon<Prepared> {
  const chosen = options.backend ?? backendOfEnvironment();
  const needs = { descriptors: options.descriptors.size > 0, caller: callerFacts() };
  const request = { required: requirements(spec, needs), optional: options.optional, chosen };
  return whenReady(candidatesFor(request), (candidates) => {
    const first = negotiate({ ...request, candidates });
    const normalized = normalize(spec, nodeSpecHost());
    // Only who has looked at the root knows that it lacks mount points, and a spec is looked at only when somebody can serve it.
    const missingMountPoints = normalized.root.missingMountPoints.length > 0;
    const agreement = missingMountPoints
      ? negotiate({ ...request, candidates, required: requirements(spec, { ...needs, missingMountPoints }) })
      : first;
    return whenReady(loadBackend(agreement.backend), (backend) => planWith(backend, normalized, agreement));
  });
}

function planWith(backend: Backend, spec: NormalizedSpec, { granted, skipped }: Agreement<BackendName>): Prepared {
  const plan = backend.plan(spec, granted, callerFacts());
  return { spec, backend, plan, enforcement: { backend: backend.name, applied: plan.applied, skipped } };
}

/**
 * Nothing is probed where everything is required: the launch is its own probe, and only its failure is looked into. Where something may be
 * missing, it must be known beforehand what.
 */
function candidatesFor(request: Omit<NegotiationRequest, 'candidates'>): Soon<Candidate<BackendName>[]> {
  if (request.optional !== 'all' && [...request.optional].length === 0) return [...registry];
  return Promise.all(
    registry.map(async (candidate) => {
      const asked = request.chosen === undefined ? !candidate.byNameOnly : request.chosen === candidate.name;
      return asked ? { ...candidate, report: await probeBackend(await loadBackend(candidate.name)) } : candidate;
    }),
  );
}

function backendOfEnvironment(): BackendName | undefined {
  const given = process.env['SANDBOXLIB_BACKEND'];
  if (given === undefined || given === '') return undefined;
  const known = registry.find(({ name }) => name === given);
  if (known !== undefined) return known.name;
  const names = registry.map(({ name }) => name).join(', ');
  throw new BackendError(`SANDBOXLIB_BACKEND names no backend: '${given}'`, [], `known are ${names}`);
}

const reports = new WeakMap<Backend, Map<string, Promise<BackendReport>>>();

/** What a host offers does not change under a process often enough to ask twice; a probe that failed to run is asked again. */
export function probeBackend(backend: Backend): Promise<BackendReport> {
  const ofBackend = reports.get(backend) ?? new Map<string, Promise<BackendReport>>();
  reports.set(backend, ofBackend);
  const key = backend.probedFor?.() ?? '';
  const known = ofBackend.get(key);
  if (known !== undefined) return known;
  const report = backend.probe();
  ofBackend.set(key, report);
  report.catch(() => ofBackend.delete(key));
  return report;
}

export function requestFor(call: CheckedCall, stdio: LaunchRequest['stdio']): LaunchRequest {
  const { killSignal, gracePeriodMs } = call.options;
  return { command: call.command, stdio, killSignal, gracePeriodMs };
}

/**
 * The error to show for a launch that failed: where the host lacks what the plan needs, that is the reason, not the step it showed at.
 */
export async function explainFailure(prepared: Prepared, error: unknown): Promise<unknown> {
  if (!(error instanceof LaunchError) || error.step === 'exec') return error;
  let report: BackendReport;
  try {
    report = await probeBackend(prepared.backend);
  } catch (probeError) {
    // The launch failed first and says more; what the probe said is for whoever looks closer.
    if (isSandboxError(probeError) && error.cause === undefined) error.cause = probeError;
    return error;
  }
  if (!report.usable.available) {
    const { because, remedy } = report.usable;
    const { name } = prepared.backend;
    const unusable = new BackendError(`backend ${name} cannot run here`, [{ backend: name, because }], remedy);
    unusable.cause = error;
    return unusable;
  }
  const missing = prepared.plan.applied.flatMap(({ feature }) => missingIn(report, feature));
  return missing.length === 0 ? error : new FeatureError(prepared.backend.name, missing, { cause: error });
}

function missingIn(report: BackendReport, feature: Feature): MissingFeature[] {
  const availability = report.features.get(feature);
  if (availability === undefined || availability.available) return [];
  return [{ feature, because: availability.because, remedy: availability.remedy }];
}
