// From what the caller wrote to what a backend launches. Everything that can happen in the same tick does.
import type { Backend, BackendName, BackendPlan, BackendReport, LaunchRequest } from '../backends/backend.ts';
import { backendNames } from '../backends/backend.ts';
import { isBackendName, loadBackend, preference } from '../backends/registry.ts';
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
import { negotiate } from '../features/negotiate.ts';
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

export function then<T, U>(value: Soon<T>, next: (value: T) => Soon<U>): Soon<U> {
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
  return then(checkSpec(spec, issues), (checked) => negotiateAndPlan(normalize(checked, nodeSpecHost()), options));
}

let validateSpec: ((value: unknown) => SandboxSpec) | undefined;

/** The schema library costs more than a run, so it is loaded by the first spec that says anything. */
function checkSpec(spec: unknown, issues: readonly SpecIssue[]): Soon<SandboxSpec> {
  if (isEmpty(spec)) {
    if (issues.length > 0) throw new SpecError(issues);
    return {};
  }
  return then(validateSpec ?? loadSchema(), (validate) => {
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
  return typeof spec === 'object' && spec !== null && !Array.isArray(spec) && Object.keys(spec).length === 0;
}

function negotiateAndPlan(spec: NormalizedSpec, options: CallOptions): Soon<Prepared> {
  const chosen = options.backend ?? backendOfEnvironment();
  const required = requirements(spec, { descriptors: options.descriptors.size > 0 });
  const names = chosen === undefined ? preference : [chosen];
  // A run without `optional` is its own probe: only its failure is looked into.
  const optional = options.optional === 'all' ? required : new Set(options.optional);
  return then(loadCandidates(names, optional.size > 0), (candidates) => {
    const {
      backend: name,
      granted,
      skipped,
    } = negotiate({
      required,
      optional,
      candidates: candidates.map(({ backend, report }) => ({
        name: backend.name,
        recognized: backend.recognized,
        ...(report === undefined ? {} : { report }),
      })),
      ...(chosen === undefined ? {} : { chosen }),
    });
    const candidate = candidates.find(({ backend }) => backend.name === name) as Candidate;
    const plan = candidate.backend.plan(spec, granted, callerFacts());
    return { spec, backend: candidate.backend, plan, enforcement: { backend: name, applied: plan.applied, skipped } };
  });
}

interface Candidate {
  readonly backend: Backend;
  readonly report: BackendReport | undefined;
}

function loadCandidates(names: readonly BackendName[], probed: boolean): Soon<Candidate[]> {
  const backends = names.map(loadBackend);
  if (!probed && !backends.some((backend) => backend instanceof Promise)) {
    return backends.map((backend) => ({ backend: backend as Backend, report: undefined }));
  }
  return Promise.all(
    backends.map(async (loading) => {
      const backend = await loading;
      return { backend, report: probed ? await probeBackend(backend) : undefined };
    }),
  );
}

function backendOfEnvironment(): BackendName | undefined {
  const name = process.env['SANDBOXLIB_BACKEND'];
  if (name === undefined || name === '') return undefined;
  if (isBackendName(name)) return name;
  throw new BackendError(
    `the environment variable SANDBOXLIB_BACKEND names no backend: '${name}'`,
    [],
    `set it to one of ${backendNames.join(', ')}`,
  );
}

const reports = new WeakMap<Backend, Promise<BackendReport>>();

/** What a host offers does not change under a process often enough to ask twice; a probe that failed to run is asked again. */
export function probeBackend(backend: Backend): Promise<BackendReport> {
  const known = reports.get(backend);
  if (known !== undefined) return known;
  const report = backend.probe();
  reports.set(backend, report);
  report.catch(() => reports.delete(backend));
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
