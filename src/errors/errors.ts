// What the sandbox could not do. What the command did is never an error here: that is `RunResult.outcome`.
import type { Feature } from '../features/feature.ts';

const brand: unique symbol = Symbol.for('sandboxlib.error') as never;

/** Every error of this library; match on `code`, which is stable, rather than on the class: two copies may meet in one process. */
export class SandboxError extends Error {
  readonly code: string;
  /** What a person can do about it. Already part of `message`. */
  readonly remedy: string | undefined;

  constructor(code: string, message: string, options: { remedy?: string | undefined; cause?: unknown } = {}) {
    super(
      options.remedy === undefined ? message : `${message}; ${options.remedy}`,
      'cause' in options ? { cause: options.cause } : undefined,
    );
    this.code = code;
    this.remedy = options.remedy;
    this.name = new.target.name;
    Object.defineProperty(this, brand, { value: true });
  }
}

/** Whether `value` is an error of this library, of whichever copy of it. */
export function isSandboxError(value: unknown): value is SandboxError {
  return typeof value === 'object' && value !== null && (value as { [brand]?: boolean })[brand] === true;
}

export interface SpecIssue {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** `['mounts', 0, 'destination']` as a person writes it: `mounts[0].destination`. */
export function formatPath(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text === '' ? 'spec' : text;
}

/** `SBX_SPEC_INVALID`: the spec, the command or the options are wrong; all issues at once. Nothing was created. */
export class SpecError extends SandboxError {
  readonly issues: readonly SpecIssue[];
  constructor(issues: readonly SpecIssue[]) {
    super(
      'SBX_SPEC_INVALID',
      `invalid sandbox spec: ${issues.map((i) => `${formatPath(i.path)}: ${i.message}`).join('; ')}`,
    );
    this.issues = issues;
  }
}

export interface MissingFeature {
  readonly feature: Feature;
  readonly because: string;
  readonly remedy?: string | undefined;
}

/** One reason may hold for many features, and is then said once. */
export function byReason(
  missing: readonly MissingFeature[],
): { readonly names: readonly Feature[]; readonly because: string; readonly remedy: string | undefined }[] {
  const groups = new Map<string, { names: Feature[]; because: string; remedy: string | undefined }>();
  for (const { feature, because, remedy } of missing) {
    const key = JSON.stringify([because, remedy]);
    const group = groups.get(key) ?? { names: [], because, remedy };
    group.names.push(feature);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** `FEATURES: because (remedy)`. */
export function reasonsOf(missing: readonly MissingFeature[]): string[] {
  return byReason(missing).map(
    ({ names, because, remedy }) => `${names.join(', ')}: ${because}${remedy === undefined ? '' : ` (${remedy})`}`,
  );
}

/** `SBX_FEATURE_UNAVAILABLE`: the backend that was asked for, or the only candidate, cannot give these. Nothing was created. */
export class FeatureError extends SandboxError {
  readonly backend: string;
  readonly missing: readonly MissingFeature[];
  constructor(backend: string, missing: readonly MissingFeature[], options: { cause?: unknown } = {}) {
    super('SBX_FEATURE_UNAVAILABLE', `not available on backend ${backend}: ${reasonsOf(missing).join('; ')}`, options);
    this.backend = backend;
    this.missing = missing;
  }
}

export interface CandidateReason {
  readonly backend: string;
  readonly because: string;
}

/** `SBX_BACKEND_UNAVAILABLE`: no backend gives all that is asked for; every candidate with its reasons. */
export class BackendError extends SandboxError {
  readonly probes: readonly CandidateReason[];
  constructor(message: string, probes: readonly CandidateReason[], remedy?: string) {
    super('SBX_BACKEND_UNAVAILABLE', [message, ...probes.map((p) => `${p.backend}: ${p.because}`)].join('; '), {
      remedy,
    });
    this.probes = probes;
  }
}

/** Why a command could not be executed although the sandbox stood. */
export type ExecReason =
  | 'not-found'
  | 'not-executable'
  | 'directory'
  | 'missing-interpreter'
  | 'wrong-architecture'
  | 'not-a-program'
  | 'text-busy'
  | 'interpreter-loop'
  | 'too-long'
  | 'other';

export interface LaunchFailure {
  /** A step of the launcher, one of `launchSteps`. */
  readonly step: string;
  /** Which record of the plan, counted from 0; absent where the step is not a record. */
  readonly index?: number | undefined;
  readonly syscall?: string | undefined;
  readonly errno?: string | undefined;
  readonly path?: string | undefined;
  /** Only for step `exec`. */
  readonly reason?: ExecReason | undefined;
  /** Only for reason `missing-interpreter`. */
  readonly interpreter?: string | undefined;
}

/** `SBX_LAUNCH_FAILED`: a step of setting up failed, or the launcher ended early. The command did not run, unless step is `lost`. */
export class LaunchError extends SandboxError {
  readonly step: string;
  readonly index: number | undefined;
  readonly syscall: string | undefined;
  readonly errno: string | undefined;
  readonly path: string | undefined;
  readonly reason: ExecReason | undefined;
  readonly interpreter: string | undefined;
  constructor(message: string, failure: LaunchFailure, options: { remedy?: string | undefined; cause?: unknown } = {}) {
    super('SBX_LAUNCH_FAILED', message, options);
    this.step = failure.step;
    this.index = failure.index;
    this.syscall = failure.syscall;
    this.errno = failure.errno;
    this.path = failure.path;
    this.reason = failure.reason;
    this.interpreter = failure.interpreter;
  }
}

export type ImageErrorCode =
  /** An archive or a document is broken, or made to do harm. */
  | 'SBX_IMAGE_INVALID'
  /** It is right, and asks for what is not served, or is of a kind that is known and not. */
  | 'SBX_IMAGE_UNSUPPORTED'
  /** An archive goes beyond a bound of the call. */
  | 'SBX_IMAGE_LIMIT'
  /** What it holds could not be written. */
  | 'SBX_IMAGE_UNPACK'
  /** A directory could not be made an image. */
  | 'SBX_IMAGE_BUILD'
  /** A reference names no image. */
  | 'SBX_IMAGE_REFERENCE'
  /** There is no image for this platform. */
  | 'SBX_IMAGE_PLATFORM'
  /** What came is not what its digest names. */
  | 'SBX_IMAGE_DIGEST'
  /** There is no signature, or none that can be relied on. */
  | 'SBX_IMAGE_SIGNATURE'
  /** A registry does not answer, or not as it should. */
  | 'SBX_IMAGE_REGISTRY'
  /** A program of an image that runs before its command did not end well. */
  | 'SBX_IMAGE_HANDLER'
  /** Images cannot be kept where they should be. */
  | 'SBX_IMAGE_STORE';

export interface ImageFailure {
  /** The archive, as messages call it. */
  readonly archive?: string | undefined;
  /** Which entry of the archive, counted from 1, and its name. */
  readonly entry?: { readonly number: number; readonly name: string } | undefined;
  /** Only for `SBX_IMAGE_LIMIT`: the bound, by its name in the options. */
  readonly limit?: string | undefined;
  /** Only for `SBX_IMAGE_UNPACK` and `SBX_IMAGE_BUILD`: what the kernel refused. */
  readonly syscall?: string | undefined;
  readonly errno?: string | undefined;
  /** Everything that is wrong with a document, each with its path in it. */
  readonly issues?: readonly SpecIssue[] | undefined;
}

/** As many are in a message; `issues` has the rest. */
const ISSUES_SHOWN = 20;

/** `SBX_IMAGE_*`: an image, an archive or a document of one, cannot be used. Nothing of it is left. */
export class ImageError extends SandboxError {
  readonly archive: string | undefined;
  readonly entry: ImageFailure['entry'];
  readonly limit: string | undefined;
  readonly syscall: string | undefined;
  readonly errno: string | undefined;
  readonly issues: readonly SpecIssue[];
  constructor(
    code: ImageErrorCode,
    message: string,
    failure: ImageFailure = {},
    options: { remedy?: string | undefined; cause?: unknown } = {},
  ) {
    const issues = (failure.issues ?? []).map(printableIssue);
    super(code, printable([message, ...wordsOf(issues)].join('')), options);
    this.archive = failure.archive;
    this.entry = failure.entry;
    this.limit = failure.limit;
    this.syscall = failure.syscall;
    this.errno = failure.errno;
    this.issues = issues;
  }
}

function wordsOf(issues: readonly SpecIssue[]): string[] {
  if (issues.length === 0) return [];
  const list = issues
    .slice(0, ISSUES_SHOWN)
    .map(({ path, message }) => (path.length === 0 ? message : `${formatPath(path)}: ${message}`));
  if (issues.length > list.length) list.push(`and ${issues.length - list.length} more`);
  return [`: ${list.join('; ')}`];
}

/** An image is somebody else's text, and a message goes to a terminal: what would move its cursor or turn its lines around is written out. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

export function printableIssue({ path, message }: SpecIssue): SpecIssue {
  return { path: path.map((part) => (typeof part === 'string' ? printable(part) : part)), message: printable(message) };
}

/** `SBX_COMMAND_FAILED`: thrown only by `result.assertSuccess()`; carries the whole result. */
export class CommandError<Result = unknown> extends SandboxError {
  readonly result: Result;
  constructor(message: string, result: Result) {
    super('SBX_COMMAND_FAILED', message);
    this.result = result;
  }
}

/** `SBX_INTERNAL`: a broken invariant of ours. Please report it. */
export class InternalError extends SandboxError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('SBX_INTERNAL', `${message}; this is a defect of sandboxlib, please report it`, options);
  }
}
