// From what the caller wrote to what a backend launches. Everything that can happen in the same tick does.
import type { LaunchRequest } from '../backends/backend.ts';
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { checkCommand, checkWords } from '../spec/command.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { type CallOptions, type CheckedOptions, checkOptions, type OptionName, sandboxOptionNames } from './options.ts';
import { namesImage, type Prepared, planFor } from './plan.ts';
import { type Soon, whenReady } from './soon.ts';

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
  if (hasImages(spec)) return import('./with-images.ts').then(({ withImages }) => withImages(spec, options));
  // Passed over, somebody would take for signed what is run.
  if (options.image.keyring !== undefined)
    throw new SpecError([{ path: ['options', 'image', 'keyring'], message: 'is for an image, and the spec has none' }]);
  return planFor(spec, options, undefined);
}

function hasImages(spec: SandboxSpec): boolean {
  // What excludes itself is refused in a moment, and nothing need be fetched for it.
  if (typeof spec.root === 'object' && spec.root.image !== undefined && spec.root.path !== undefined) return false;
  return namesImage(spec) || spec.mounts?.some((mount) => typeof mount === 'object' && mount.type === 'image') === true;
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
