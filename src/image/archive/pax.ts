// Extended headers: records `LENGTH KEY=VALUE\n` (pax(1)), with the keys of star, GNU tar and libarchive that matter to a tree. Pure.
import { latin1 } from './bytes.ts';
import { HeaderError } from './header.ts';

/** In the order of the archive; a key may come twice only where a map of a sparse file is written so. */
export type PaxRecords = readonly (readonly [key: string, value: Uint8Array])[];

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';
const repeatable: ReadonlySet<string> = new Set(['GNU.sparse.offset', 'GNU.sparse.numbytes', 'comment']);

export function parsePax(bytes: Uint8Array): PaxRecords {
  const records: [string, Uint8Array][] = [];
  const seen = new Set<string>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space === -1 || space - at > 10 ? '' : latin1(bytes.subarray(at, space));
    const end = at + Number(length);
    if (!/^[1-9][0-9]*$/.test(length) || end > bytes.length || end <= space + 1 || bytes[end - 1] !== 0x0a) {
      throw new HeaderError('its extended header has a record of a wrong length');
    }
    const equals = bytes.indexOf(0x3d, space + 1);
    if (equals === -1 || equals >= end - 1 || equals === space + 1) {
      throw new HeaderError('its extended header has a record without a key');
    }
    const key = latin1(bytes.subarray(space + 1, equals));
    // Readers disagree which of two counts.
    if (seen.has(key) && !repeatable.has(key))
      throw new HeaderError(`its extended header says ${printable(key)} twice`);
    seen.add(key);
    records.push([key, bytes.slice(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** An empty value takes back what was said before, but an extended attribute may be empty. */
export function takesBack(key: string, value: Uint8Array): boolean {
  return value.length === 0 && !key.startsWith(SCHILY) && !key.startsWith(LIBARCHIVE);
}

function printable(key: string): string {
  return key.replace(/[^ -~]/g, '?').slice(0, 80);
}

/** What extended headers say, all together: those of the whole archive, and over them those of one entry. */
export class PaxHeaders {
  readonly #values: ReadonlyMap<string, Uint8Array>;
  readonly #local: PaxRecords;

  constructor(globals: ReadonlyMap<string, Uint8Array>, local: PaxRecords) {
    const values = new Map(globals);
    for (const [key, value] of local) {
      if (takesBack(key, value)) values.delete(key);
      else values.set(key, value);
    }
    this.#values = values;
    this.#local = local;
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  /** Without a NUL: kept as bytes, see `latin1`. */
  text(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (value.includes(0)) throw new HeaderError(`its ${printable(key)} has a NUL in it`);
    return latin1(value);
  }

  natural(key: string): number | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw new HeaderError(`its ${printable(key)} is no number, or absurd`);
    return value;
  }

  /** Seconds and nanoseconds, rounded down. */
  time(key: string): { readonly seconds: number; readonly nanoseconds: number } | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text);
    if (match === null) throw new HeaderError(`its ${printable(key)} is no time`);
    const [, sign = '', whole = '', fraction = ''] = match;
    const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
    const seconds = Number(whole);
    if (sign === '') return { seconds, nanoseconds };
    if (nanoseconds === 0) return { seconds: seconds === 0 ? 0 : -seconds, nanoseconds: 0 };
    return { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
  }

  /** Values of a key that comes again and again, or of two by turns. */
  repeated(...keys: readonly string[]): readonly (readonly [key: string, value: string])[] {
    return this.#local.filter(([key]) => keys.includes(key)).map(([key, value]) => [key, latin1(value)] as const);
  }

  /** Extended attributes, of whoever wrote them. */
  xattrs(): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    for (const [key, value] of this.#values) {
      const attribute = xattrOf(key, value);
      if (attribute === undefined) continue;
      const [name, content] = attribute;
      if (name === '' || name.includes('\0')) throw new HeaderError('it has an extended attribute without a name');
      const other = found.get(name);
      // bsdtar writes each in both ways.
      if (other !== undefined && Buffer.compare(other, content) !== 0) {
        throw new HeaderError(`it has the extended attribute ${printable(name)} twice, with two values`);
      }
      found.set(name, content);
    }
    return found;
  }
}

function xattrOf(key: string, value: Uint8Array): readonly [name: string, value: Uint8Array] | undefined {
  // GNU tar escapes just these two, so that the key of a record ends where it should.
  if (key.startsWith(SCHILY)) return [key.slice(SCHILY.length).replaceAll('%3D', '=').replaceAll('%25', '%'), value];
  // With its final NUL, as the kernel has it.
  if (key === 'RHT.security.selinux') return ['security.selinux', value];
  if (!key.startsWith(LIBARCHIVE)) return undefined;
  const text = latin1(value);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new HeaderError('it has an extended attribute that is not base64');
  return [unescapePercent(key.slice(LIBARCHIVE.length)), new Uint8Array(Buffer.from(text, 'base64'))];
}

function unescapePercent(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Keys that say something of a file that cannot be kept here; all others are of no consequence to a tree. */
export function lostBy(headers: PaxHeaders): string[] {
  return [...headers.keys()].filter((key) => /^(SCHILY\.acl\.|SCHILY\.fflags$|LIBARCHIVE\.acl\.)/.test(key));
}
