// Amounts of resource isolators: `128974848`, `125952Ki`, `123Mi`, `0.3`, `300m`. Exact in integers; 0.3 is no number of a machine.
import { shorten } from '../place.ts';

/** In billionths of the unit, the finest that a suffix (`n`) can say. */
export interface Quantity {
  readonly nanos: bigint;
}

const NANO = 10n ** 9n;
/** 2^63 - 1 units: what the reference code, and the kernel's counters, hold. */
const UNITS_MAX = 2n ** 63n - 1n;

/** Nanos of one of each. The text has `K` and the reference code `k`, `n` and `u`: all are taken, since none means two things. */
const suffixes: Readonly<Record<string, bigint>> = {
  '': NANO,
  n: 1n,
  u: 10n ** 3n,
  m: 10n ** 6n,
  k: NANO * 10n ** 3n,
  K: NANO * 10n ** 3n,
  M: NANO * 10n ** 6n,
  G: NANO * 10n ** 9n,
  T: NANO * 10n ** 12n,
  P: NANO * 10n ** 15n,
  E: NANO * 10n ** 18n,
  Ki: NANO * 2n ** 10n,
  Mi: NANO * 2n ** 20n,
  Gi: NANO * 2n ** 30n,
  Ti: NANO * 2n ** 40n,
  Pi: NANO * 2n ** 50n,
  Ei: NANO * 2n ** 60n,
};

/** The text has suffixes alone; the reference code also writes `12e6`, which is taken. */
const form =
  /^(?<sign>[+-]?)(?:(?<whole>\d{1,40})(?:\.(?<fraction>\d{0,40}))?|\.(?<only>\d{1,40}))(?:[eE](?<exponent>[+-]?\d{1,2})|(?<suffix>\p{L}*))$/u;

export function parseQuantity(text: string): Quantity | { readonly problem: string } {
  const groups = form.exec(text)?.groups;
  if (groups === undefined)
    return { problem: `'${shorten(text)}' is no amount such as '500m', '0.5', '2G' or '123Mi'` };
  const { sign = '', whole = '', fraction = '', only = '', exponent, suffix = '' } = groups;
  if (sign !== '') return { problem: `'${text}' has a sign: an amount is 0 or more` };
  const factor = Object.hasOwn(suffixes, suffix) ? suffixes[suffix] : undefined;
  if (factor === undefined) return { problem: `'${text}' has no suffix that is known: ${knownSuffixes}` };
  const decimals = fraction + only;
  const digits = BigInt(whole + decimals);
  const power = Number(exponent ?? 0) - decimals.length;
  const numerator = digits * factor * 10n ** BigInt(Math.max(power, 0));
  const denominator = 10n ** BigInt(Math.max(-power, 0));
  if (numerator % denominator !== 0n) return { problem: `'${text}' is finer than a billionth` };
  const nanos = numerator / denominator;
  return nanos > UNITS_MAX * NANO ? { problem: `'${text}' is more than 2^63 - 1` } : { nanos };
}

const knownSuffixes = Object.keys(suffixes)
  .filter((suffix) => suffix !== '')
  .join(', ');

/** Whole units: a part of one counts as one. A number where that is exact, and the largest that is where not: nobody has that much. */
export function toUnits({ nanos }: Quantity): number {
  const units = (nanos + NANO - 1n) / NANO;
  return units > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(units);
}

/** As a fraction of processors: exact to a thousandth, rounded up. */
export function toCores({ nanos }: Quantity): number {
  return Number((nanos + 10n ** 6n - 1n) / 10n ** 6n) / 1000;
}

export function lesser(a: Quantity | undefined, b: Quantity | undefined): Quantity | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.nanos <= b.nanos ? a : b;
}
