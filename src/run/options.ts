// Options of one call, checked by hand: loading a schema library for them would cost more than the run.
import { constants } from 'node:os';
import { type BackendName, backendNames } from '../backends/backend.ts';
import type { SpecIssue } from '../errors/errors.ts';
import { type Feature, features } from '../features/feature.ts';
import type { PodPlace } from '../image/prepare.ts';
import { nearest } from '../spec/nearest.ts';
import { checkMilliseconds, parseMilliseconds } from '../spec/units.ts';
import { describeValue, kindOfObject } from '../spec/words.ts';
import type { InputData, InputSource, OutputTarget, RunEvent, RunOptions, SandboxOptions } from './types.ts';

export type OptionName = keyof RunOptions | keyof SandboxOptions;

/** Every option with its default filled in. */
export interface CallOptions {
  readonly stdin: InputSource;
  readonly stdout: readonly OutputTarget[];
  readonly stderr: readonly OutputTarget[] | 'stdout';
  readonly input: InputData | undefined;
  readonly descriptors: ReadonlyMap<number, number | 'pipe'>;
  /** Nothing is opened, tee'd, inherited or passed on: the usual case, which takes the short way. */
  readonly plainStdio: boolean;
  readonly encoding: 'utf8' | 'buffer';
  readonly stripFinalNewline: boolean;
  readonly signal: AbortSignal | undefined;
  /** Where the caller names none, an image may. */
  readonly killSignal: NodeJS.Signals | undefined;
  readonly gracePeriodMs: number;
  readonly backend: BackendName | undefined;
  readonly optional: readonly Feature[] | 'all';
  readonly onSyscall: RunOptions['onSyscall'];
  readonly image: NonNullable<RunOptions['image']>;
  readonly onEvent: ((event: RunEvent) => void) | undefined;
  /** Of an app of a pod; no option of a caller's. */
  readonly pod?: PodCall;
}

/** What an app of a pod has in common with the others. */
export interface PodCall {
  readonly place: PodPlace;
  /** Its namespaces: descriptors of this process, when they are there. */
  readonly joins: () => readonly number[];
}

/** The same with what only a sandbox has. */
export interface CheckedOptions extends CallOptions {
  readonly warm: number;
  readonly concurrency: number;
  readonly maxQueue: number;
}

export const sandboxOptionNames: readonly OptionName[] = ['backend', 'optional', 'image'];
/** Of createSandbox alone. */
export const poolOptionNames: readonly OptionName[] = ['warm', 'concurrency', 'maxQueue'];
export const wrapOptionNames: readonly OptionName[] = [...sandboxOptionNames, 'killSignal', 'gracePeriodMs'];
export const callOptionNames: readonly OptionName[] = [
  'stdin',
  'stdout',
  'stderr',
  'input',
  'descriptors',
  'encoding',
  'stripFinalNewline',
  'signal',
  'killSignal',
  'gracePeriodMs',
  'onSyscall',
  'onEvent',
];
export const runOptionNames: readonly OptionName[] = [...callOptionNames, ...sandboxOptionNames];

const DESCRIPTOR_MAX = 1023;
const WARM_MAX = 256;
const GRACE_PERIOD_MS_MAX = 0x7fff_ffff;

const defaults: CheckedOptions = {
  stdin: 'ignore',
  stdout: ['pipe'],
  stderr: ['pipe'],
  input: undefined,
  descriptors: new Map(),
  plainStdio: true,
  encoding: 'utf8',
  stripFinalNewline: false,
  signal: undefined,
  killSignal: undefined,
  gracePeriodMs: 2000,
  backend: undefined,
  optional: [],
  onSyscall: undefined,
  image: {},
  onEvent: undefined,
  warm: 0,
  concurrency: Number.POSITIVE_INFINITY,
  maxQueue: Number.POSITIVE_INFINITY,
};

/**
 * `options` with defaults, and every issue in it added to `issues`.
 *
 * Preconditions: what is returned is used only when no issue was added.
 */
export function checkOptions(options: unknown, allowed: readonly OptionName[], issues: SpecIssue[]): CheckedOptions {
  if (options === undefined) return defaults;
  if (!isRecord(options)) {
    issues.push({ path: ['options'], message: `must be an object, not ${describeValue(options)}` });
    return defaults;
  }
  const report = (path: readonly (string | number)[], message: string): void => {
    issues.push({ path: ['options', ...path], message });
  };
  const given: Record<string, unknown> = {};
  // With those that are inherited: defaults of the caller's own may be a prototype.
  for (const name in options) {
    const value = options[name];
    if (!(allowed as readonly string[]).includes(name)) report([name], unknownOption(name, allowed));
    else if (value !== undefined) given[name] = value;
  }
  const checked: Partial<Record<OptionName, unknown>> = {};
  for (const [name, value] of Object.entries(given)) {
    checked[name as OptionName] = checks[name as OptionName](value, (path, message) =>
      report([name, ...path], message),
    );
  }
  if (given['input'] !== undefined && given['stdin'] !== undefined)
    report(['input'], 'excludes stdin: give one of the two');
  const call = { ...defaults, ...checked } as CheckedOptions;
  const { stdin, stdout, stderr, descriptors } = checked;
  const plainStdio = [stdin, stdout, stderr, descriptors].every((option) => option === undefined);
  return { ...call, plainStdio };
}

type Report = (path: readonly (string | number)[], message: string) => void;

const checks: { readonly [Name in OptionName]: (value: unknown, report: Report) => unknown } = {
  stdin(value, report) {
    if (isStdioWord(value) || isDescriptor(value) || isFileUrl(value) || isReadable(value)) return value;
    report([], "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Readable");
    return defaults.stdin;
  },
  stdout: checkTargets,
  stderr: (value, report) => (value === 'stdout' ? value : checkTargets(value, report)),
  input(value, report) {
    if (typeof value === 'string' || value instanceof Uint8Array) return value;
    if (isObject(value) && (isIterable(value) || typeof value['getReader'] === 'function')) {
      if (value['locked'] === true) report([], 'is a web stream that another reader has locked');
      return value;
    }
    report([], 'must be a string, a Uint8Array, a Readable, a web ReadableStream or an async iterable');
    return undefined;
  },
  descriptors(value, report) {
    const found = new Map<number, number | 'pipe'>();
    if (!isRecord(value)) report([], 'must be an object of descriptor numbers');
    else {
      for (const [key, source] of Object.entries(value)) {
        const number = Number(key);
        if (!Number.isInteger(number) || String(number) !== key || number < 3 || number > DESCRIPTOR_MAX) {
          report([key], `must be named by a descriptor number from 3 to ${DESCRIPTOR_MAX}`);
        } else if (source !== 'pipe' && !isDescriptor(source)) {
          report([key], "must be 'pipe' or a descriptor of this process");
        } else found.set(number, source);
      }
    }
    return found;
  },
  encoding: oneOf(['utf8', 'buffer']),
  stripFinalNewline: ofType('boolean', 'true or false'),
  signal(value, report) {
    if (isObject(value) && 'aborted' in value && typeof value['addEventListener'] === 'function') return value;
    report([], 'must be an AbortSignal');
    return undefined;
  },
  killSignal(value, report) {
    if (typeof value === 'string' && Object.hasOwn(constants.signals, value)) return value;
    report([], `must be the name of a signal, such as 'SIGTERM'${suggestion(value, Object.keys(constants.signals))}`);
    return defaults.killSignal;
  },
  gracePeriodMs(value, report) {
    if (typeof value !== 'number' && typeof value !== 'string') {
      report([], "must be a number of milliseconds, or a string with a unit such as '2s'");
      return defaults.gracePeriodMs;
    }
    const problem = checkMilliseconds(value);
    if (problem !== undefined) {
      report([], problem);
      return defaults.gracePeriodMs;
    }
    const milliseconds = parseMilliseconds(value);
    if (milliseconds > GRACE_PERIOD_MS_MAX) report([], `must be at most ${GRACE_PERIOD_MS_MAX} ms`);
    return milliseconds;
  },
  backend: oneOf(backendNames),
  optional(value, report) {
    if (value === 'all') return value;
    if (!Array.isArray(value)) {
      report([], "must be a list of features, or 'all'");
      return [];
    }
    value.forEach((feature, index) => {
      if (!(features as readonly unknown[]).includes(feature)) {
        report([index], `is no feature: ${quote(feature)}${suggestion(feature, features)}`);
      }
    });
    return value;
  },
  onSyscall: ofType('function', 'a function'),
  image(value, report) {
    if (!isRecord(value)) {
      report([], `must be an object, not ${describeValue(value)}`);
      return {};
    }
    const known = Object.keys(imageChecks) as (keyof typeof imageChecks)[];
    for (const [name, option] of Object.entries(value)) {
      const check = known.find((key) => key === name);
      if (check === undefined) report([name], unknownOption(name, known));
      else if (option !== undefined) imageChecks[check](option, (path, message) => report([name, ...path], message));
    }
    return value;
  },
  onEvent: ofType('function', 'a function'),
  warm: integerWithin(0, WARM_MAX),
  concurrency: integerWithin(1, Number.MAX_SAFE_INTEGER),
  maxQueue: integerWithin(0, Number.MAX_SAFE_INTEGER),
};

/** What only the readers of images can judge, they judge. */
const imageChecks: {
  readonly [Name in keyof NonNullable<RunOptions['image']>]-?: (value: unknown, report: Report) => unknown;
} = {
  pull: oneOf(['always', 'missing', 'never']),
  platform: ofType('string', "a platform, such as 'linux/arm64'"),
  dependencies: checkTexts,
  keyring: ofType('string', 'a file of keys'),
  plainHttp: checkTexts,
  limits: ofType('object', 'an object of bounds'),
  onProgress: ofType('function', 'a function'),
  signal: ofType('object', 'an AbortSignal'),
};

function checkTexts(value: unknown, report: Report): unknown {
  if (!Array.isArray(value) || value.some((text) => typeof text !== 'string')) report([], 'must be a list of strings');
  return value;
}

function checkTargets(value: unknown, report: Report): readonly OutputTarget[] {
  const targets: readonly unknown[] = Array.isArray(value) ? value : [value];
  const path = (index: number): readonly number[] => (Array.isArray(value) ? [index] : []);
  if (targets.length === 0) report([], 'must name at least one target');
  targets.forEach((target, index) => {
    if (isStdioWord(target) || isDescriptor(target) || isFileUrl(target) || isWritable(target)) return;
    report(path(index), "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Writable");
  });
  return targets as readonly OutputTarget[];
}

function oneOf(words: readonly string[]): (value: unknown, report: Report) => unknown {
  return (value, report) => {
    if (!words.includes(value as string)) {
      report([], `must be one of ${words.map((word) => `'${word}'`).join(', ')}, not ${quote(value)}`);
    }
    return value;
  };
}

function ofType(
  type: 'boolean' | 'function' | 'string' | 'object',
  words: string,
): (value: unknown, report: Report) => unknown {
  return (value, report) => {
    if (typeof value !== type) report([], `must be ${words}, not ${describeValue(value)}`);
    return value;
  };
}

function integerWithin(least: number, most: number): (value: unknown, report: Report) => unknown {
  return (value, report) => {
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value;
    const to = most === Number.MAX_SAFE_INTEGER ? ` and at least ${least}` : ` from ${least} to ${most}`;
    report([], `must be a whole number${to}, not ${quote(value)}`);
    return least;
  };
}

function unknownOption(name: string, allowed: readonly string[]): string {
  if ((runOptionNames as readonly string[]).includes(name)) {
    return (sandboxOptionNames as readonly string[]).includes(name)
      ? 'belongs to createSandbox(), not to one run of the sandbox'
      : 'is an option of run() and spawn(), and means nothing here';
  }
  if ((poolOptionNames as readonly string[]).includes(name)) return 'is an option of createSandbox()';
  return `is no option${suggestion(name, allowed)}`;
}

function suggestion(value: unknown, words: readonly string[]): string {
  const close = typeof value === 'string' ? nearest(value, words) : undefined;
  return close === undefined ? '' : `; did you mean '${close}'?`;
}

function quote(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : describeValue(value);
}

/** No array, Map, Date, Promise or the like: of those nothing would be read. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return isObject(value) && kindOfObject(value) === 'Object';
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}

function isStdioWord(value: unknown): boolean {
  return value === 'pipe' || value === 'ignore' || value === 'inherit';
}

function isDescriptor(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

function isFileUrl(value: unknown): boolean {
  return value instanceof URL && value.protocol === 'file:';
}

function isReadable(value: unknown): boolean {
  return hasMethods(value, 'pipe', 'read', 'on') && isIterable(value);
}

function isWritable(value: unknown): boolean {
  return hasMethods(value, 'write', 'end', 'on');
}

function hasMethods(value: unknown, ...names: readonly string[]): value is Record<PropertyKey, unknown> {
  return isObject(value) && names.every((name) => typeof value[name] === 'function');
}

function isIterable(value: Record<PropertyKey, unknown>): boolean {
  return typeof value[Symbol.asyncIterator] === 'function';
}
