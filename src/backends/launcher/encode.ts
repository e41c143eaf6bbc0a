// Steps to bytes, as `native/README.md` has them. The launcher checks everything again.
import { InternalError } from '../../errors/errors.ts';
import { type CapabilityName, capabilities } from '../../spec/capabilities.ts';
import { landlockNumbers } from './landlock.ts';
import {
  cgroupContents,
  mountFlags,
  mountKinds,
  namespaceFlags,
  PROTOCOL,
  recordTypes,
  rootKinds,
  type Step,
  skeletonKinds,
} from './steps.ts';

const HEADER_BYTES = 16;
const RECORD_HEADER_BYTES = 8;
const NO_BOUND = 0xffff_ffff_ffff_ffffn;
/** In the flags of a control group. */
const UNIFIED = 8;
const VACATE = 16;
/** In the flags of a filter. */
const DENIES_KEYRINGS = 1;
const TELLS = 2;
const ASKS = 4;
/** In the flags of `collect`. */
const HAS_INPUT = 1;
const WAITS = 2;
const FILTERED = 4;
/** Of what a writer leaves for the next. */
const SPARE_BYTES_MAX = 64 * 1024;
const noBytes = new Uint8Array(0);
const sourceKinds = { any: 0, directory: 1, file: 2 } as const;

/** The whole plan: `exec` must be the last step. */
export function encodePlan(steps: readonly Step[]): Uint8Array {
  return joinRecords([encodeRecords(steps)]);
}

/** Some steps of a plan, to be joined with others. */
export interface Records {
  readonly bytes: Buffer;
  readonly count: number;
}

export function encodeRecords(steps: readonly Step[]): Records {
  const writer = new Writer();
  for (const step of steps) {
    const start = writer.length;
    writer.skip(RECORD_HEADER_BYTES);
    encodeStep(writer, step);
    writer.patchU32(start, recordTypes[step.step]);
    writer.patchU32(start + 4, writer.length - start - RECORD_HEADER_BYTES);
  }
  return { bytes: writer.bytes(), count: steps.length };
}

/** The plan of all of them, in this order. */
export function joinRecords(parts: readonly Records[]): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  const length = parts.reduce((sum, { bytes }) => sum + bytes.length, HEADER_BYTES);
  header.write('SBXP', 0, 'latin1');
  header.writeUInt32LE(PROTOCOL, 4);
  header.writeUInt32LE(length, 8);
  header.writeUInt32LE(
    parts.reduce((sum, { count }) => sum + count, 0),
    12,
  );
  return Buffer.concat([header, ...parts.map(({ bytes }) => bytes)], length);
}

function encodeStep(w: Writer, step: Step): void {
  switch (step.step) {
    case 'namespaces':
      w.u32(step.namespaces.reduce((flags, name) => flags | namespaceFlags[name], 0));
      return;
    case 'map-ids':
      w.u32(step.kind === 'uid' ? 0 : 1);
      w.u32(step.denySetgroups ? 1 : 0);
      w.string(step.helper ?? '');
      w.u32(step.mappings.length);
      for (const { inside, outside, size } of step.mappings) {
        w.u32(inside);
        w.u32(outside);
        w.u32(size);
      }
      return;
    case 'limit-wall':
      w.u64(BigInt(Math.ceil(step.milliseconds)));
      return;
    case 'limit-output':
      w.u64(BigInt(step.bytes));
      return;
    case 'termination':
      w.u32(step.signal);
      w.u32(step.gracePeriodMs);
      return;
    case 'terminal':
      w.u32(step.columns);
      w.u32(step.rows);
      return;
    case 'descriptor':
      w.u32(step.from);
      w.u32(step.to);
      return;
    case 'cgroup':
      w.u32(
        step.holds.reduce(
          (flags, name) => flags | cgroupContents[name],
          (step.unified ? UNIFIED : 0) | (step.vacate ? VACATE : 0),
        ),
      );
      w.u32(step.own);
      w.string(step.parent);
      w.u32(step.files.length);
      for (const { name, value, optional } of step.files) {
        w.u32(optional ? 1 : 0);
        w.string(name);
        w.string(value);
      }
      return;
    case 'limit-cpu':
      w.u64(BigInt(Math.ceil(step.milliseconds)));
      return;
    case 'sampling':
      for (const bound of [step.milliseconds, step.bytes, step.processes]) w.u64(BigInt(Math.ceil(bound ?? 0)));
      return;
    case 'pipes':
      w.u32(step.streams.reduce<number>((mask, stream) => mask | (1 << stream), 0));
      return;
    case 'collect':
      w.u32(
        (step.input === undefined ? 0 : HAS_INPUT) |
          (step.waits === undefined ? 0 : WAITS) |
          (step.waits === 'behind the filter' ? FILTERED : 0),
      );
      w.blob(typeof step.input === 'string' ? Buffer.from(step.input) : (step.input ?? noBytes));
      return;
    case 'hold':
      return;
    case 'join':
      for (const descriptor of step.namespaces) w.u32(descriptor);
      w.u32(step.uid);
      w.u32(step.gid);
      return;
    case 'hostname':
      w.string(step.hostname);
      return;
    case 'loopback':
    case 'pivot':
      return;
    case 'disk':
      w.string(step.options);
      return;
    case 'root':
      w.u32(rootKinds[step.kind]);
      w.u32(step.readonly ? 1 : 0);
      w.string(step.source);
      w.string(step.options);
      w.u32(step.skeleton.length);
      for (const entry of step.skeleton) {
        w.u32(skeletonKinds[entry.kind]);
        w.string(entry.path);
        if (entry.kind === 'like') w.u32(entry.layer);
        if (entry.kind === 'content') w.blob(Buffer.from(entry.content, 'base64'));
      }
      return;
    case 'mount':
      w.u32(mountKinds[step.kind]);
      w.u32(step.flags.reduce((flags, name) => flags | mountFlags[name], 0));
      w.u32(sourceKinds[step.sourceKind]);
      w.string(step.source);
      w.string(step.destination);
      w.string(step.options);
      return;
    case 'layer':
    case 'readonly':
    case 'mask':
    case 'cwd':
      w.string(step.path);
      return;
    case 'mkdir':
      w.u32(step.mode);
      w.string(step.path);
      return;
    case 'symlink':
      w.string(step.target);
      w.string(step.path);
      return;
    case 'file':
      w.u32(step.mode);
      w.string(step.path);
      w.blob(Buffer.from(step.content, 'base64'));
      return;
    case 'sysctl':
      w.string(step.name);
      w.string(step.value);
      return;
    case 'binfmt':
      w.u32((step.around ? 1 : 0) | (step.ifPossible ? 2 : 0));
      w.u32(step.formats.length);
      for (const { name, interpreter, flags, magic, mask } of step.formats) {
        w.string(name);
        w.string(interpreter);
        w.string(flags);
        w.blob(Buffer.from(magic, 'base64'));
        w.blob(Buffer.from(mask, 'base64'));
      }
      return;
    case 'rlimit':
      w.u32(step.resource);
      w.u64(step.soft === undefined ? NO_BOUND : BigInt(step.soft));
      w.u64(step.hard === undefined ? NO_BOUND : BigInt(step.hard));
      return;
    case 'umask':
      w.u32(step.umask);
      return;
    case 'user':
      w.u32(step.uid);
      w.u32(step.gid);
      w.u32(step.setgroups ? 1 : 0);
      w.u32(step.additionalGids.length);
      for (const gid of step.additionalGids) w.u32(gid);
      return;
    case 'capabilities':
      w.u64(capabilityMask(step.keep));
      return;
    case 'seccomp': {
      const filter = filterBytes(step.filter);
      w.u32((step.deniesKeyrings ? DENIES_KEYRINGS : 0) | (step.tells ? TELLS : 0) | (step.asks ? ASKS : 0));
      w.u32(filter.length / 8);
      w.raw(filter);
      w.u32(step.pass.length);
      for (const place of step.pass) w.u32(place);
      return;
    }
    case 'landlock': {
      const { paths, wished, ports, scopes, rules } = landlockNumbers(step);
      for (const handled of [paths, wished, ports, scopes]) w.u64(handled);
      w.u32(rules.length);
      for (const rule of rules) {
        w.u32('path' in rule ? 0 : 1);
        w.u64(rule.rights);
        if ('path' in rule) w.string(rule.path);
        else w.u32(rule.port);
      }
      return;
    }
    case 'source':
      w.u32(step.number);
      w.u32(sourceKinds[step.sourceKind]);
      w.string(step.path);
      return;
    case 'content':
      w.u32(step.number);
      w.blob(Buffer.from(step.content, 'base64'));
      return;
    case 'tree':
      w.u32(sourceKinds[step.sourceKind]);
      w.string(step.path);
      return;
    case 'domain':
      w.u32(step.closesSignals ? 1 : 0);
      return;
    case 'user-namespace':
      w.u32(step.uid);
      w.u32(step.gid);
      return;
    case 'tool':
      w.u32(step.endSignal);
      w.u32(step.traces ? 1 : 0);
      encodeVectors(w, step);
      return;
    case 'exec':
      encodeVectors(w, step);
      return;
  }
}

function encodeVectors(w: Writer, { argv, env }: Pick<Step & { step: 'exec' }, 'argv' | 'env'>): void {
  w.u32(argv.length);
  for (const argument of argv) w.string(argument);
  const entries = Object.entries(env);
  w.u32(entries.length);
  for (const [name, value] of entries) w.string(`${name}=${value}`);
}

/** Bit n is capability n of capabilities(7). */
function capabilityMask(names: readonly CapabilityName[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(capabilities[name])), 0n);
}

let lastFilter: { readonly base64: string; readonly bytes: Buffer } | undefined;

/** Nearly every run installs the same filter: it is decoded once. */
function filterBytes(base64: string): Buffer {
  if (lastFilter?.base64 !== base64) lastFilter = { base64, bytes: Buffer.from(base64, 'base64') };
  return lastFilter.bytes;
}

/** What the last writer wrote into, for the next: buffers are not on the heap, and a new one for every run makes the collector run the sooner. */
let spare: Buffer | undefined;

/** Grows as it is written to; a plan is a few kilobytes. */
export class Writer {
  #buffer: Buffer;
  length = 0;

  constructor() {
    this.#buffer = spare ?? Buffer.allocUnsafe(16 * 1024);
    // Nobody else's until `bytes`.
    spare = undefined;
  }

  #room(count: number): void {
    if (this.length + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.length + count));
    this.#buffer.copy(larger, 0, 0, this.length);
    this.#buffer = larger;
  }

  skip(count: number): void {
    this.#room(count);
    this.#buffer.fill(0, this.length, this.length + count);
    this.length += count;
  }

  patchU32(offset: number, value: number): void {
    this.#buffer.writeUInt32LE(value, offset);
  }

  u32(value: number): void {
    this.#room(4);
    this.#buffer.writeUInt32LE(value >>> 0, this.length);
    this.length += 4;
  }

  u64(value: bigint): void {
    this.#room(8);
    this.#buffer.writeBigUInt64LE(value, this.length);
    this.length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  blob(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  string(text: string): void {
    // Refused long before by the spec's checks; a NUL here would cut what follows.
    if (text.includes('\0')) throw new InternalError(`a plan holds a string with a NUL byte: ${JSON.stringify(text)}`);
    const length = Buffer.byteLength(text);
    this.#room(length + 5);
    this.#buffer.writeUInt32LE(length + 1, this.length);
    this.#buffer.write(text, this.length + 4);
    this.#buffer[this.length + 4 + length] = 0;
    this.length += length + 5;
  }

  /** A copy; the last that is called. */
  bytes(): Buffer {
    const written = Buffer.from(this.#buffer.subarray(0, this.length));
    if (this.#buffer.length <= SPARE_BYTES_MAX) spare = this.#buffer;
    return written;
  }
}
