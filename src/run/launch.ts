// From what the caller wrote to what a backend launches. Everything that can happen in the same tick does.
import { release } from 'node:os';
import type { Backend, BackendName, BackendPlan, BackendReport, LaunchRequest } from '../backends/backend.ts';
import { loadBackend, registry } from '../backends/registry.ts';
import {
  BackendError,
  FeatureError,
  ImageError,
  InternalError,
  isSandboxError,
  LaunchError,
  type MissingFeature,
  SpecError,
  type SpecIssue,
} from '../errors/errors.ts';
import type { Availability, Feature } from '../features/feature.ts';
import { type Agreement, type Candidate, type NegotiationRequest, negotiate } from '../features/negotiate.ts';
import { withoutMissingOverlays } from '../features/overlays.ts';
import { type RequirementOptions, requirements } from '../features/requirements.ts';
import { type StandIns, standInsFor, withStandIn } from '../features/stand-ins.ts';
import { callerFacts } from '../host/facts.ts';
import { mayRefuseUserNamespaces } from '../host/suspicion.ts';
import type { PreparedImages } from '../image/prepare.ts';
import { capturedViews } from '../spec/captures.ts';
import { checkCommand, checkWords } from '../spec/command.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize, type ReadFilters, type SpecImages } from '../spec/normalize.ts';
import type { NormalizedSpec, RootSpec, SandboxSpec } from '../spec/types.ts';
import type { AroundRun, PlanStage, RunProgram } from './around.ts';
import { type CallOptions, type CheckedOptions, checkOptions, type OptionName, sandboxOptionNames } from './options.ts';
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
  /** What was asked for, to ask others when this backend fails. */
  readonly request: Request;
  /** Where changes are captured: who keeps them. */
  readonly keeper: Keeper | undefined;
  /** Where the root is an image: the whole command for what the caller said of it. */
  readonly commandOf: PreparedImages['command'];
  /** What the image wants to be ended by. */
  readonly stopSignal?: NodeJS.Signals | undefined;
  /** Where programs run around the command: what each run begins with. */
  readonly begin?: ((call: CheckedCall, runProgram: RunProgram, captures: readonly string[]) => AroundRun) | undefined;
  /** Directories for what is captured, where that is not the keeper's business. */
  readonly captures?: readonly string[] | undefined;
}

export type Keeper = typeof import('../changes/keeper.ts');

export interface CheckedCall {
  /** Empty only where an image says what it runs. */
  readonly command: readonly string[];
  readonly options: CallOptions;
  readonly issues: SpecIssue[];
}

/** Never throws: what is wrong is reported together with what is wrong in the spec. */
export function checkCall(
  command: unknown,
  options: unknown,
  allowed: readonly OptionName[],
  inImage = false,
): CheckedCall {
  const issues: SpecIssue[] = [];
  const checked = inImage ? checkWords(command, issues) : checkCommand(command, issues);
  return { command: checked, options: checkOptions(options, allowed, issues), issues };
}

/** Whether a spec, which nobody has checked yet, names an image as its root. */
export function namesImage(spec: unknown): boolean {
  const root: unknown = typeof spec === 'object' && spec !== null && 'root' in spec ? spec.root : undefined;
  return typeof root === 'object' && root !== null && 'image' in root && root.image !== undefined;
}

/** Options of a spec rather than of a call. */
export function checkSandboxOptions(
  options: unknown,
  allowed: readonly OptionName[] = sandboxOptionNames,
): { readonly options: CheckedOptions; readonly issues: SpecIssue[] } {
  const issues: SpecIssue[] = [];
  return { options: checkOptions(options, allowed, issues), issues };
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
  if (hasImages(spec)) return withImages(spec, options);
  // Passed over, somebody would take for signed what is run.
  if (options.image.keyring !== undefined)
    throw new SpecError([{ path: ['options', 'image', 'keyring'], message: 'is for an image, and the spec has none' }]);
  return planFor(spec, options, undefined);
}

function needsOf({ descriptors }: CallOptions): RequirementOptions {
  return { descriptors: descriptors.size > 0, caller: callerFacts() };
}

function requestOf(spec: SandboxSpec, options: CallOptions): Request {
  return {
    required: requirements(spec, needsOf(options)),
    optional: options.optional,
    standIns: standInsFor(spec),
    chosen: options.backend ?? backendOfEnvironment(),
    architecture: spec.architecture,
  };
}

async function withImages(spec: SandboxSpec, options: CallOptions): Promise<Prepared> {
  // Before anything is fetched: whether there is a backend that could show it.
  const request = requestOf(spec, options);
  const first = await agree(request);
  const copies = namesImage(spec) && !first.granted.has('root.image') ? await agreeToCopy(request, first) : undefined;
  const { prepareImages } = await import('../image/prepare.ts');
  const images = await prepareImages(spec, options.image);
  if (copies !== undefined && images.images.root !== undefined) return await withCopy(images, options, copies);
  const prepared = await planFor(images.spec, options, images);
  const { preStart, postStop } = images.handlers ?? {};
  if (preStart === undefined && postStop === undefined) return prepared;
  return { ...prepared, begin: await withHandlers(images, prepared) };
}

/** Each run has a pair of them, so that a sandbox that was prepared once starts them with each of its commands. */
async function withHandlers(images: PreparedImages, { spec }: Prepared): Promise<NonNullable<Prepared['begin']>> {
  const { HandlersRun } = await import('./around.ts');
  const { root } = images.images;
  refuseAround(images, spec);
  return ({ options }, runProgram, captures) => {
    const capturesRoot = spec.root.changes === 'capture';
    const ofMounts = capturesRoot ? captures.slice(1) : captures;
    const plan: PlanStage = async (above, keeps) => {
      const [top, ...below] = [...above, ...(root?.layers ?? [])];
      const changed = typeof images.spec.root === 'object' ? images.spec.root : {};
      const ofRoot = spec.root.readonly
        ? changed
        : { ...changed, changes: keeps === undefined ? 'discard' : 'capture' };
      const stacked =
        root === undefined || top === undefined ? undefined : { ...root, layers: [top, ...below] as const };
      const staged = { ...images, images: { ...images.images, root: stacked } };
      const prepared = await planFor({ ...images.spec, root: ofRoot as RootSpec }, options, staged);
      return {
        ...prepared,
        keeper: undefined,
        commandOf: undefined,
        captures: keeps === undefined ? ofMounts : [keeps, ...ofMounts],
      };
    };
    const handlers = { preStart: asCommand(images.handlers?.preStart), postStop: asCommand(images.handlers?.postStop) };
    const name = images.summary?.reference ?? '';
    const stages = {
      options,
      writes: !spec.root.readonly,
      ranges: spec.idMappings.needsHelper,
      captured: capturesRoot ? captures[0] : undefined,
    };
    return new HandlersRun(name, handlers, stages, plan, runProgram);
  };
}

/** What an image becomes where it cannot be mounted: a directory. */
interface RootCopy {
  readonly directory: string;
  readonly agreement: Agreement<BackendName>;
  readonly notes: readonly string[];
}

/**
 * Only who can do without `root.image` comes here. A directory as the root nobody does without: the command would find the host in place of the image. proot
 * promises none, but shows one.
 */
async function agreeToCopy(request: Request, first: Agreement<BackendName>): Promise<Agreement<BackendName>> {
  const skipped = first.skipped.filter(({ feature }) => feature === 'root.image');
  if (first.backend === 'proot') return first;
  const required = new Set<Feature>([...request.required].filter((feature) => feature !== 'root.image'));
  const optional = request.optional === 'all' ? [...required] : [...request.optional];
  required.add('root.path');
  const needs = new Map([['root.path', 'a copy of the image is the root'] as const]);
  const second = await agree({
    ...request,
    required,
    optional: optional.filter((feature) => feature !== 'root.path' && feature !== 'root.image'),
    needs,
  });
  return { ...second, skipped: [...second.skipped, ...skipped] };
}

/** Each run has a copy of its own, so that what one writes the next does not see. */
async function withCopy(
  images: PreparedImages,
  options: CallOptions,
  agreement: Agreement<BackendName>,
): Promise<Prepared> {
  const { root } = images.images;
  const { preStart, postStop } = images.handlers ?? {};
  const name = images.summary?.reference ?? '';
  if (root === undefined) throw new InternalError('a copy of an image that is none');
  if (preStart !== undefined || postStop !== undefined)
    throw new ImageError('SBX_IMAGE_UNSUPPORTED', `${name} has programs around its command, which take overlays`);
  const { CopiedRun } = await import('./copied.ts');
  // The copy is the caller's.
  const { uidMappings, gidMappings: _gidMappings, ...spec } = images.spec;
  const ranges = uidMappings !== undefined;
  const summary = images.summary === undefined ? undefined : { ...images.summary, root: 'copy' as const };
  const planOver = (directory: string, notes: readonly string[]): Soon<Prepared> =>
    planFor(spec, options, { ...images, summary }, { directory, agreement, notes });
  // What is looked at before a run is not launched: any directory does.
  const prepared = await planOver(root.layers[0].directory, []);
  const { missingMountPoints } = prepared.spec.root;
  return { ...prepared, begin: () => new CopiedRun({ layers: root.layers, ranges }, missingMountPoints, planOver) };
}

function asCopied(spec: NormalizedSpec, { directory, agreement, notes }: RootCopy): NormalizedSpec {
  const { root } = spec;
  const what =
    root.changes === 'capture' ? 'what is written to it cannot be captured' : 'what is written to it goes with the run';
  return {
    ...spec,
    root: {
      ...root,
      kind: 'directory',
      path: directory,
      layers: [{ directory, opaque: [] }],
      image: undefined,
      readonly: root.readonly && agreement.granted.has('root.readonly'),
      changes: 'keep',
      coveredDirectories: [],
      hostsFile: undefined,
    },
    notes: [
      ...spec.notes,
      `the image ${root.image} is copied for each run, for it cannot be mounted here; ${what}`,
      ...notes,
    ],
  };
}

function asCommand(words: readonly string[] | undefined): readonly [string, ...string[]] | undefined {
  const [first, ...rest] = words ?? [];
  return first === undefined ? undefined : [first, ...rest];
}

/** With a bound each would have its writes in memory, where the next does not see them. */
function refuseAround({ summary }: PreparedImages, spec: NormalizedSpec): void {
  if (capturedViews(spec).length === 0 || spec.limits.diskBytes === undefined) return;
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `${summary?.reference} has programs around its command, so that what is captured cannot be bounded`,
    {},
    { remedy: 'leave limits.diskBytes out, or capture nothing' },
  );
}

function hasImages(spec: SandboxSpec): boolean {
  // What excludes itself is refused in a moment, and nothing need be fetched for it.
  if (typeof spec.root === 'object' && spec.root.image !== undefined && spec.root.path !== undefined) return false;
  return namesImage(spec) || spec.mounts?.some((mount) => typeof mount === 'object' && mount.type === 'image') === true;
}

function planFor(
  spec: SandboxSpec,
  options: CallOptions,
  prepared: PreparedImages | undefined,
  copy?: RootCopy,
): Soon<Prepared> {
  const needs = needsOf(options);
  const request = requestOf(spec, options);
  const soon = whenReady(copy?.agreement ?? agree(request), (first) =>
    whenReady(readFilters(spec), (compiled) => ({ first, compiled })),
  );
  return whenReady(soon, ({ first, compiled }) => {
    const shown = imagesOf(prepared, first.granted, copy !== undefined);
    const given = normalize(spec, nodeSpecHost(), compiled, shown);
    const normalized = copy === undefined ? given : asCopied(given, copy);
    // Only who has looked at the root knows that it lacks mount points, and a spec is looked at only when somebody can serve it.
    // A view has a layer for them anyway.
    const { kind, changes } = normalized.root;
    const isView = kind === 'image' || copy !== undefined || (changes !== 'keep' && first.granted.has('root.changes'));
    const paths = isView ? [] : normalized.root.missingMountPoints.map(({ path }) => path);
    const second =
      paths.length === 0
        ? first
        : agree({
            ...request,
            required: requirements(spec, { ...needs, missingMountPoints: true }),
            needs: new Map([['root.missingMountPoints', `the root lacks ${paths.join(', ')}`]]),
          });
    return whenReady(second, (agreement) =>
      whenReady(loadBackend(agreement.backend), (backend) =>
        whenReady(loadKeeper(spec), (keeper) => planWith(backend, normalized, agreement, request, keeper, prepared)),
      ),
    );
  });
}

/** What cannot be shown is as if nobody had found it. */
function imagesOf(
  prepared: PreparedImages | undefined,
  granted: ReadonlySet<Feature>,
  copied: boolean,
): SpecImages | undefined {
  if (prepared === undefined) return undefined;
  const { root, mounts } = prepared.images;
  return {
    root: copied || granted.has('root.image') ? root : undefined,
    mounts: granted.has('mount.image') ? mounts : new Map(),
  };
}

/** Few specs need a filter that is not the default one, and nobody else loads the compiler. */
function readFilters(spec: SandboxSpec): Soon<ReadFilters | undefined> {
  const { seccomp, onSyscall, landlock } = spec;
  const hasPorts = landlock?.bindTcp !== undefined || landlock?.connectTcp !== undefined;
  if (seccomp !== 'strict' && typeof seccomp !== 'object' && onSyscall === undefined && !hasPorts) return undefined;
  const { architecture } = callerFacts();
  return import('../seccomp/custom.ts').then((custom) => custom.readFilters(spec, { architecture, kernel: release() }));
}

function planWith(
  backend: Backend,
  normalized: NormalizedSpec,
  { granted, skipped }: Agreement<BackendName>,
  request: Request,
  keeper: Keeper | undefined,
  prepared: PreparedImages | undefined,
): Prepared {
  const spec = withoutMissingOverlays(normalized, granted);
  const plan = backend.plan(spec, granted, callerFacts());
  return {
    spec,
    backend,
    plan,
    enforcement: {
      backend: backend.name,
      applied: plan.applied,
      skipped,
      ...(prepared?.summary === undefined ? {} : { image: prepared.summary }),
    },
    request,
    keeper,
    commandOf: prepared?.command,
    stopSignal: prepared?.stopSignal,
  };
}

function loadKeeper(spec: SandboxSpec): Soon<Keeper | undefined> {
  return requirements(spec).has('changes.capture') ? import('../changes/keeper.ts') : undefined;
}

type Request = Omit<NegotiationRequest<BackendName>, 'candidates'> & {
  readonly architecture?: SandboxSpec['architecture'] | undefined;
};

/**
 * Nothing is probed where everything is required: the launch is its own probe, and only its failure is looked into. Where something may be
 * missing, it must be known beforehand what; and once a backend that was preferred has failed, the others are looked at too.
 */
function agree(request: Request): Soon<Agreement<BackendName>> {
  const everything = request.optional !== 'all' && [...request.optional].length === 0;
  if (everything && !foundWanting.has(launcherInUse()) && !mayRefuseUserNamespaces())
    return negotiate({ ...request, candidates: registry });
  return agreeByProbing(request);
}

/**
 * In order of preference, and no further than needed: a trial of each costs more than a run. Where so much is optional that a backend may do without
 * namespaces, one that isolates comes before one that only confines, whatever the order of preference.
 */
async function agreeByProbing(request: Request): Promise<Agreement<BackendName>> {
  const candidates: Candidate<BackendName>[] = [...registry];
  const lesser: Agreement<BackendName>[] = [];
  for (const [index, candidate] of registry.entries()) {
    const asked = request.chosen === undefined ? !candidate.byNameOnly : request.chosen === candidate.name;
    if (!asked) continue;
    const report = reportFor(await reportOf(candidate.name), request.architecture);
    candidates[index] = { ...candidate, report };
    try {
      const agreement = negotiate({ ...request, candidates, chosen: candidate.name });
      if (isolates(agreement)) return agreement;
      lesser.push(agreement);
    } catch (error) {
      if (!(error instanceof FeatureError || error instanceof BackendError)) throw error;
    }
  }
  const rooted = lesser.find(({ granted }) => granted.has('root.path'));
  const best = request.required.has('root.path') ? (rooted ?? lesser[0]) : lesser[0];
  // Nobody: the error has each candidate's reasons.
  return best ?? negotiate({ ...request, candidates });
}

function isolates({ granted }: Agreement<BackendName>): boolean {
  return granted.has('namespace.pid') && granted.has('namespace.mount');
}

/** A backend that cannot even be asked offers nothing, for that reason. */
export async function reportOf(name: BackendName): Promise<BackendReport> {
  const backend = await loadBackend(name);
  try {
    return await probeBackend(backend);
  } catch (error) {
    if (!isSandboxError(error)) throw error;
    const { message, remedy } = error;
    const usable: Availability = { available: false, because: message, ...(remedy === undefined ? {} : { remedy }) };
    return { backend: name, usable, features: new Map([...backend.recognized].map((feature) => [feature, usable])) };
  }
}

/** Launchers with which a launch failed for want of something that this host does not have. */
const foundWanting = new Set<string>();

/** What was found with one launcher says nothing about another. */
function launcherInUse(): string {
  return process.env['SANDBOXLIB_LAUNCHER'] ?? '';
}

/** That some other architecture is to be had helps nobody. */
function reportFor(report: BackendReport, architecture: SandboxSpec['architecture']): BackendReport {
  const answer = architecture === undefined ? undefined : report.architectures?.get(architecture);
  if (answer === undefined) return report;
  return { ...report, features: new Map([...report.features, ['architecture', answer]]) };
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
  const byLauncher = reports.get(backend) ?? new Map<string, Promise<BackendReport>>();
  reports.set(backend, byLauncher);
  const launcher = launcherInUse();
  const known = byLauncher.get(launcher);
  if (known !== undefined) return known;
  const report = backend.probe();
  byLauncher.set(launcher, report);
  report.catch(() => byLauncher.delete(launcher));
  return report;
}

/** What is executed. Preconditions: nothing was wrong with the call. @throws {ImageError} where neither the caller nor the image names anything. */
export function commandFor({ commandOf }: Prepared, { command }: CheckedCall): readonly [string, ...string[]] {
  if (commandOf !== undefined) return commandOf(command);
  const [first = '', ...rest] = command;
  return [first, ...rest];
}

export function requestFor(
  command: LaunchRequest['command'],
  { options: { gracePeriodMs } }: CheckedCall,
  stdio: LaunchRequest['stdio'],
  killSignal: NodeJS.Signals,
): LaunchRequest {
  return { command, stdio, killSignal, gracePeriodMs };
}

/** What asks a command to end: as the caller says, else as its image does. */
export function killSignalOf(
  prepared: Pick<Prepared, 'stopSignal'> | undefined,
  { killSignal }: Pick<CallOptions, 'killSignal'>,
): NodeJS.Signals {
  return killSignal ?? prepared?.stopSignal ?? 'SIGTERM';
}

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
  foundWanting.add(launcherInUse());
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
