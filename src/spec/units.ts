// Sizes and times as people write them. A unit is never guessed: `512` could be bytes or megabytes, `5m` minutes or milliseconds.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import type { Bytes, Milliseconds } from './types.ts';

interface Quantity {
  readonly name: string;
  readonly example: string;
  /** Size of each unit in the base unit, smallest first; the base unit itself comes first. */
  readonly units: Readonly<Record<string, bigint>>;
  /** What people write that is not a unit here, and what they may mean by it. */
  readonly mistaken: Readonly<Record<string, string>>;
}

const bytes: Quantity = {
  name: 'bytes',
  example: '512MiB',
  units: {
    B: 1n,
    kB: 1000n,
    KiB: 1024n,
    MB: 1000n ** 2n,
    MiB: 1024n ** 2n,
    GB: 1000n ** 3n,
    GiB: 1024n ** 3n,
    TB: 1000n ** 4n,
    TiB: 1024n ** 4n,
  },
  mistaken: {
    k: 'kB (1000 bytes) or KiB (1024 bytes)',
    kb: 'kB (1000 bytes) or KiB (1024 bytes)',
    kib: 'KiB',
    ki: 'KiB',
    m: 'MB (1000² bytes) or MiB (1024² bytes)',
    mb: 'MB (1000² bytes) or MiB (1024² bytes)',
    mib: 'MiB',
    mi: 'MiB',
    g: 'GB (1000³ bytes) or GiB (1024³ bytes)',
    gb: 'GB (1000³ bytes) or GiB (1024³ bytes)',
    gib: 'GiB',
    gi: 'GiB',
    t: 'TB (1000⁴ bytes) or TiB (1024⁴ bytes)',
    tb: 'TB (1000⁴ bytes) or TiB (1024⁴ bytes)',
    tib: 'TiB',
    ti: 'TiB',
    b: 'B',
    byte: 'B',
    bytes: 'B',
  },
};

const milliseconds: Quantity = {
  name: 'milliseconds',
  example: '30s',
  units: { ms: 1n, s: 1000n, min: 60_000n, h: 3_600_000n },
  mistaken: {
    m: 'min (minutes) or ms (milliseconds)',
    mins: 'min',
    minute: 'min',
    minutes: 'min',
    sec: 's',
    secs: 's',
    second: 's',
    seconds: 's',
    msec: 'ms',
    millis: 'ms',
    milliseconds: 'ms',
    hour: 'h',
    hours: 'h',
    hr: 'h',
  },
};

/**
 * A number of bytes: `'512MiB'`, `'1.5GB'`, `'10kB'`, `'100B'`, or a number as it is. A fraction of a byte is rounded up.
 *
 * @throws {SpecError} with `path`, when it is none.
 */
export function parseBytes(value: Bytes, path: SpecIssue['path'] = []): number {
  return parse(value, bytes, path);
}

/**
 * A number of milliseconds: `'250ms'`, `'30s'`, `'1.5min'`, `'2h'`, or a number as it is. A fraction of a millisecond is rounded up.
 *
 * @throws {SpecError} with `path`, when it is none.
 */
export function parseMilliseconds(value: Milliseconds, path: SpecIssue['path'] = []): number {
  return parse(value, milliseconds, path);
}

/** Exact, in the largest binary unit that gives a whole number: `512MiB`, `1000B`. */
export function formatBytes(value: number): string {
  return format(value, ['TiB', 'GiB', 'MiB', 'KiB', 'B'], bytes.units);
}

/** Exact, in the largest unit that gives a whole number: `90s`, `1500ms`. */
export function formatMilliseconds(value: number): string {
  return format(value, ['h', 'min', 's', 'ms'], milliseconds.units);
}

/** Why `value` is no number of bytes. */
export function checkBytes(value: Bytes): string | undefined {
  return problemOf(() => parseBytes(value));
}

/** Why `value` is no number of milliseconds. */
export function checkMilliseconds(value: Milliseconds): string | undefined {
  return problemOf(() => parseMilliseconds(value));
}

function parse(value: number | string, quantity: Quantity, path: SpecIssue['path']): number {
  const fail = (message: string): never => {
    throw new SpecError([{ path, message }]);
  };
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && value >= 0) return value;
    return fail(`must be a whole number of ${quantity.name}, 0 or more, not ${value}`);
  }
  const match = /^(\d{1,20})(?:\.(\d{1,20}))? ?(\p{L}*)$/u.exec(value);
  if (match === null) {
    return fail(`must be a number of ${quantity.name} with a unit, such as '${quantity.example}', not ${quote(value)}`);
  }
  const [, whole = '', fraction = '', unit = ''] = match;
  const known = Object.keys(quantity.units).join(', ');
  if (unit === '') return fail(`add a unit to ${quote(value)}: ${known}`);
  const factor = Object.hasOwn(quantity.units, unit) ? quantity.units[unit] : undefined;
  if (factor === undefined) {
    const folded = unit.toLowerCase();
    const meant = Object.hasOwn(quantity.mistaken, folded)
      ? `: write ${quantity.mistaken[folded]}`
      : `; known are ${known}`;
    return fail(`${quote(value)} has no unit that is known here${meant}`);
  }
  // In integers: 1.1 * 1024 is no exact number of the machine.
  const scale = 10n ** BigInt(fraction.length);
  const result = (BigInt(whole + fraction) * factor + scale - 1n) / scale;
  if (result > BigInt(Number.MAX_SAFE_INTEGER))
    return fail(`${quote(value)} is too much: at most 2^53 - 1 ${quantity.name}`);
  return Number(result);
}

function format(value: number, names: readonly string[], units: Readonly<Record<string, bigint>>): string {
  for (const name of names) {
    const factor = Number(units[name] ?? 1n);
    if (value >= factor && value % factor === 0) return `${value / factor}${name}`;
  }
  return `${value}${names.at(-1)}`;
}

function problemOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (error instanceof SpecError) return error.issues[0]?.message;
    throw error;
  }
}

function quote(value: string): string {
  return `'${value.length > 40 ? `${value.slice(0, 40)}...` : value}'`;
}
