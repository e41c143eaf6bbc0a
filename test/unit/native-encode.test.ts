// Plans as bytes: a reader written from the page of the format alone gets back what was put in.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePlan, encodeRecords, Writer } from '../../src/backends/launcher/encode.ts';
import {
  type CgroupContent,
  cgroupContents,
  type MountFlag,
  mountFlags,
  mountKinds,
  type NamespaceName,
  namespaceFlags,
  podNamespaces,
  type RecordType,
  recordTypes,
  rootKinds,
  type Step,
  skeletonKinds,
} from '../../src/backends/launcher/steps.ts';
import { type CapabilityName, capabilities, capabilityNames } from '../../src/spec/capabilities.ts';
import { landlockAccesses, landlockScopes } from '../../src/spec/landlock.ts';
import type { LandlockAccess } from '../../src/spec/types.ts';

class Reader {
  readonly #bytes: Buffer;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
  }
  get rest(): number {
    return this.#bytes.length - this.at;
  }
  raw(count: number): Buffer {
    if (count > this.rest) throw new Error(`cut off: ${count} of ${this.rest} bytes`);
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }
  u16(): number {
    return this.raw(2).readUInt16LE();
  }
  u32(): number {
    return this.raw(4).readUInt32LE();
  }
  u64(): bigint {
    return this.raw(8).readBigUInt64LE();
  }
  string(): string {
    const bytes = this.raw(this.u32());
    if (bytes.indexOf(0) !== bytes.length - 1) throw new Error('a NUL inside of a string, or none at its end');
    return bytes.subarray(0, -1).toString('utf8');
  }
  list<T>(read: () => T): T[] {
    return Array.from({ length: this.u32() }, read);
  }
}

const nameOf = <T extends string>(numbers: Readonly<Record<T, number>>, value: number): T =>
  (Object.keys(numbers) as T[]).find((name) => numbers[name] === value) ?? (`unknown ${value}` as T);
const namesOf = <T extends string>(flags: Readonly<Record<T, number>>, value: number): T[] =>
  (Object.keys(flags) as T[]).filter((name) => (value & flags[name]) !== 0);
const keptOf = (mask: bigint): CapabilityName[] =>
  capabilityNames.filter((name) => (mask & (1n << BigInt(capabilities[name]))) !== 0n);
const NO_BOUND = 0xffff_ffff_ffff_ffffn;
const bounded = (value: bigint): number | undefined => (value === NO_BOUND ? undefined : Number(value));

function decode(bytes: Uint8Array): Step[] {
  const reader = new Reader(bytes);
  expect(reader.raw(4).toString('latin1')).toBe('SBXP');
  expect([reader.u32(), reader.u32()]).toEqual([1, bytes.length]);
  const steps = reader.list(() => {
    const type = nameOf(recordTypes, reader.u16());
    expect(reader.u16()).toBe(0);
    const payload = new Reader(reader.raw(reader.u32()));
    const step = decodeStep(type, payload);
    expect(payload.rest).toBe(0);
    return step;
  });
  expect(reader.rest).toBe(0);
  return steps;
}

function decodeStep(step: RecordType, r: Reader): Step {
  switch (step) {
    case 'namespaces':
      return { step, namespaces: namesOf(namespaceFlags, r.u32()) };
    case 'map-ids': {
      const kind = r.u32() === 0 ? 'uid' : 'gid';
      const denySetgroups = r.u32() === 1;
      const helper = r.string();
      const mappings = r.list(() => ({ inside: r.u32(), outside: r.u32(), size: r.u32() }));
      return { step, kind, denySetgroups, mappings, helper: helper === '' ? undefined : helper };
    }
    case 'limit-wall':
      return { step, milliseconds: Number(r.u64()) };
    case 'limit-output':
      return { step, bytes: Number(r.u64()) };
    case 'termination':
      return { step, signal: r.u32(), gracePeriodMs: r.u32() };
    case 'terminal':
      return { step, columns: r.u32(), rows: r.u32() };
    case 'descriptor':
      return { step, from: r.u32(), to: r.u32() };
    case 'cgroup': {
      const flags = r.u32();
      const [own, parent] = [r.u32(), r.string()];
      const files = r.list(() => ({ optional: r.u32() === 1, name: r.string(), value: r.string() }));
      return {
        step,
        holds: namesOf(cgroupContents, flags),
        unified: (flags & 8) !== 0,
        vacate: (flags & 16) !== 0,
        own,
        parent,
        files,
      };
    }
    case 'limit-cpu':
      return { step, milliseconds: Number(r.u64()) };
    case 'sampling': {
      const bound = () => (({ value }) => (value === 0 ? undefined : value))({ value: Number(r.u64()) });
      return { step, milliseconds: bound(), bytes: bound(), processes: bound() };
    }
    case 'hostname':
      return { step, hostname: r.string() };
    case 'join':
      return { step, namespaces: podNamespaces.map(() => r.u32()), uid: r.u32(), gid: r.u32() };
    case 'hold':
    case 'loopback':
    case 'pivot':
      return { step };
    case 'disk':
      return { step, options: r.string() };
    case 'pipes': {
      const mask = r.u32();
      return { step, streams: ([0, 1, 2] as const).filter((stream) => (mask & (1 << stream)) !== 0) };
    }
    case 'collect': {
      const has = r.u32() === 1;
      const input = r.raw(r.u32()).toString('utf8');
      return { step, input: has ? input : undefined };
    }
    case 'root': {
      const kind = nameOf(rootKinds, r.u32());
      const readonly = r.u32() === 1;
      const source = r.string();
      const options = r.string();
      const skeleton = r.list(() => {
        const kind = nameOf(skeletonKinds, r.u32());
        const path = r.string();
        if (kind === 'like') return { kind, path, layer: r.u32() };
        if (kind === 'content') return { kind, path, content: r.raw(r.u32()).toString('base64') };
        return { kind, path };
      });
      return { step, kind, readonly, source, options, skeleton };
    }
    case 'mount': {
      const kind = nameOf(mountKinds, r.u32());
      const flags = namesOf(mountFlags, r.u32());
      const sourceKind = (['any', 'directory', 'file'] as const)[r.u32()] ?? 'any';
      return { step, kind, flags, sourceKind, source: r.string(), destination: r.string(), options: r.string() };
    }
    case 'readonly':
    case 'mask':
    case 'cwd':
      return { step, path: r.string() };
    case 'mkdir':
      return { step, mode: r.u32(), path: r.string() };
    case 'symlink':
      return { step, target: r.string(), path: r.string() };
    case 'file':
      return { step, mode: r.u32(), path: r.string(), content: r.raw(r.u32()).toString('base64') };
    case 'sysctl':
      return { step, name: r.string(), value: r.string() };
    case 'rlimit':
      return { step, resource: r.u32(), soft: bounded(r.u64()), hard: bounded(r.u64()) };
    case 'umask':
      return { step, umask: r.u32() };
    case 'user': {
      const [uid, gid, setgroups] = [r.u32(), r.u32(), r.u32() === 1];
      return { step, uid, gid, setgroups, additionalGids: r.list(() => r.u32()) };
    }
    case 'capabilities':
      return { step, keep: keptOf(r.u64()) };
    case 'seccomp': {
      const flags = r.u32();
      const filter = r.raw(r.u32() * 8).toString('base64');
      const pass = r.list(() => r.u32());
      return {
        step,
        deniesKeyrings: (flags & 1) !== 0,
        tells: (flags & 2) !== 0,
        asks: (flags & 4) !== 0,
        filter,
        pass,
      };
    }
    case 'landlock': {
      const [paths, wished, ports, scopes] = [r.u64(), r.u64(), r.u64(), r.u64()];
      expect(wished === 0n).toBe(paths === 0n);
      const rules = r.list(() => {
        const kind = r.u32();
        return { rights: r.u64(), at: kind === 0 ? r.string() : r.u32() };
      });
      const portsOf = (right: bigint): number[] | undefined =>
        (ports & right) === 0n
          ? undefined
          : rules.flatMap(({ rights, at }) => (typeof at === 'number' && rights === right ? [at] : []));
      return {
        step,
        paths:
          paths === 0n
            ? undefined
            : rules.flatMap(({ rights, at }) =>
                typeof at === 'string' ? [{ path: at, access: accessOf(rights) }] : [],
              ),
        bindTcp: portsOf(1n),
        connectTcp: portsOf(2n),
        scopes: landlockScopes.filter((_, bit) => (scopes & (1n << BigInt(bit))) !== 0n),
      };
    }
    case 'binfmt': {
      const flags = r.u32();
      const blob = (): string => r.raw(r.u32()).toString('base64');
      const formats = r.list(() => ({
        name: r.string(),
        interpreter: r.string(),
        flags: r.string(),
        magic: blob(),
        mask: blob(),
      }));
      return { step, around: (flags & 1) !== 0, ifPossible: (flags & 2) !== 0, formats };
    }
    case 'source': {
      const number = r.u32();
      const sourceKind = (['any', 'directory', 'file'] as const)[r.u32()] ?? 'any';
      return { step, number, sourceKind, path: r.string() };
    }
    case 'content':
      return { step, number: r.u32(), content: r.raw(r.u32()).toString('base64') };
    case 'tree': {
      const sourceKind = (['any', 'directory', 'file'] as const)[r.u32()] ?? 'any';
      return { step, sourceKind, path: r.string() };
    }
    case 'layer':
      return { step, path: r.string() };
    case 'domain':
      return { step, closesSignals: r.u32() === 1 };
    case 'user-namespace': {
      const [uid, gid] = [r.u32(), r.u32()];
      return { step, uid, gid };
    }
    case 'tool':
      return { step, endSignal: r.u32(), traces: r.u32() === 1, ...vectorsOf(r) };
    case 'exec':
      return { step, ...vectorsOf(r) };
  }
}

/** Written by hand from landlock(7): read, directories, execute, and what writes. */
function accessOf(rights: bigint): LandlockAccess {
  const [read, execute] = [0b1100n, 0b1n];
  const write = 0b1111_0111_1111_0010n & ~read;
  const found = landlockAccesses.find((access) => {
    const wanted = read | (access.includes('w') ? write : 0n) | (access.endsWith('x') ? execute : 0n);
    return rights === wanted;
  });
  if (found === undefined) throw new Error(`no access has the rights ${rights.toString(2)}`);
  return found;
}

function vectorsOf(r: Reader): { argv: string[]; env: Record<string, string> } {
  const argv = r.list(() => r.string());
  const env = r
    .list(() => r.string())
    .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]);
  return { argv, env: Object.fromEntries(env) as Record<string, string> };
}

const u32 = fc.nat({ max: 0xffff_ffff });
const bound = fc.option(fc.maxSafeNat(), { nil: undefined });
/** Whatever Node can hold without loss in UTF-8, but no NUL. */
const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
const name = text.filter(
  (value) => value !== '' && !value.includes('=') && !/^\d+$/.test(value) && value !== '__proto__',
);
const bytes = fc.uint8Array({ maxLength: 300 });
const base64 = (value: Uint8Array): string => Buffer.from(value).toString('base64');
const some = <T extends string>(numbers: Readonly<Record<T, number>>) => fc.subarray(Object.keys(numbers) as T[]);
const one = <T extends string>(numbers: Readonly<Record<T, number>>) =>
  fc.constantFrom(...(Object.keys(numbers) as T[]));
const is = fc.constant;

const arbitrarySteps: { readonly [Name in RecordType]: fc.Arbitrary<Step> } = {
  namespaces: fc.record({ step: is('namespaces'), namespaces: some<NamespaceName>(namespaceFlags) }),
  'map-ids': fc.record({
    step: is('map-ids'),
    kind: fc.constantFrom('uid', 'gid'),
    denySetgroups: fc.boolean(),
    mappings: fc.array(fc.record({ inside: u32, outside: u32, size: u32 })),
    helper: fc.option(
      text.filter((value) => value !== ''),
      { nil: undefined },
    ),
  }),
  'limit-wall': fc.record({ step: is('limit-wall'), milliseconds: fc.maxSafeNat() }),
  'limit-output': fc.record({ step: is('limit-output'), bytes: fc.maxSafeNat() }),
  termination: fc.record({ step: is('termination'), signal: u32, gracePeriodMs: u32 }),
  terminal: fc.record({ step: is('terminal'), columns: u32, rows: u32 }),
  descriptor: fc.record({ step: is('descriptor'), from: u32, to: u32 }),
  cgroup: fc.record({
    step: is('cgroup'),
    holds: some<CgroupContent>(cgroupContents),
    unified: fc.boolean(),
    vacate: fc.boolean(),
    own: u32,
    parent: text,
    files: fc.array(fc.record({ name: text, value: text, optional: fc.boolean() })),
  }),
  'limit-cpu': fc.record({ step: is('limit-cpu'), milliseconds: fc.maxSafeNat() }),
  sampling: fc.record({
    step: is('sampling'),
    milliseconds: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
    bytes: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
    processes: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
  }),
  hold: fc.record({ step: is('hold') }),
  join: fc.record({
    step: is('join'),
    namespaces: fc.array(u32, { minLength: podNamespaces.length, maxLength: podNamespaces.length }),
    uid: u32,
    gid: u32,
  }),
  hostname: fc.record({ step: is('hostname'), hostname: text }),
  source: fc.record({
    step: is('source'),
    number: u32,
    sourceKind: fc.constantFrom('any', 'directory', 'file'),
    path: text,
  }),
  content: fc.record({ step: is('content'), number: u32, content: bytes.map(base64) }),
  tree: fc.record({ step: is('tree'), sourceKind: fc.constantFrom('any', 'directory', 'file'), path: text }),
  layer: fc.record({ step: is('layer'), path: text }),
  domain: fc.record({ step: is('domain'), closesSignals: fc.boolean() }),
  'user-namespace': fc.record({ step: is('user-namespace'), uid: u32, gid: u32 }),
  tool: fc.record({
    step: is('tool'),
    endSignal: u32,
    traces: fc.boolean(),
    argv: fc.array(text),
    env: fc.dictionary(name, text),
  }),
  loopback: is({ step: 'loopback' }),
  root: fc.record({
    step: is('root'),
    kind: one(rootKinds),
    readonly: fc.boolean(),
    source: text,
    options: text,
    skeleton: fc.array(
      fc.oneof(
        fc.record({ path: text, kind: fc.constantFrom('directory', 'file') }),
        fc.record({ path: text, kind: fc.constant('like' as const), layer: u32 }),
        fc.record({ path: text, kind: fc.constant('content' as const), content: bytes.map(base64) }),
      ),
    ),
  }),
  mount: fc.record({
    step: is('mount'),
    kind: one(mountKinds),
    flags: some<MountFlag>(mountFlags),
    sourceKind: fc.constantFrom('any', 'directory', 'file'),
    source: text,
    destination: text,
    options: text,
  }),
  readonly: fc.record({ step: is('readonly'), path: text }),
  mask: fc.record({ step: is('mask'), path: text }),
  mkdir: fc.record({ step: is('mkdir'), mode: u32, path: text }),
  symlink: fc.record({ step: is('symlink'), target: text, path: text }),
  file: fc.record({ step: is('file'), mode: u32, path: text, content: bytes.map(base64) }),
  sysctl: fc.record({ step: is('sysctl'), name: text, value: text }),
  pivot: is({ step: 'pivot' }),
  binfmt: fc.record({
    step: is('binfmt'),
    around: fc.boolean(),
    ifPossible: fc.boolean(),
    formats: fc.array(
      fc.record({ name: text, interpreter: text, flags: text, magic: bytes.map(base64), mask: bytes.map(base64) }),
    ),
  }),
  rlimit: fc.record({ step: is('rlimit'), resource: u32, soft: bound, hard: bound }),
  umask: fc.record({ step: is('umask'), umask: u32 }),
  user: fc.record({ step: is('user'), uid: u32, gid: u32, setgroups: fc.boolean(), additionalGids: fc.array(u32) }),
  capabilities: fc.record({ step: is('capabilities'), keep: fc.subarray([...capabilityNames]) }),
  cwd: fc.record({ step: is('cwd'), path: text }),
  seccomp: fc.record({
    step: is('seccomp'),
    filter: bytes.map((value) => base64(value.subarray(0, value.length & ~7))),
    deniesKeyrings: fc.boolean(),
    tells: fc.boolean(),
    asks: fc.boolean(),
    pass: fc.array(u32),
  }),
  disk: fc.record({ step: is('disk'), options: text }),
  collect: fc.record({ step: is('collect'), input: fc.option(text, { nil: undefined }) }),
  pipes: fc.record({ step: is('pipes'), streams: fc.subarray([0, 1, 2] as (0 | 1 | 2)[]) }),
  landlock: fc.record({
    step: is('landlock'),
    paths: fc.option(fc.array(fc.record({ path: text, access: fc.constantFrom(...landlockAccesses) })), {
      nil: undefined,
    }),
    bindTcp: fc.option(fc.array(u32), { nil: undefined }),
    connectTcp: fc.option(fc.array(u32), { nil: undefined }),
    scopes: fc.subarray([...landlockScopes]),
  }),
  exec: fc.record({
    step: is('exec'),
    argv: fc.array(text),
    env: fc.dictionary(name, text, { noNullPrototype: true }),
  }),
};

describe('encodePlan', () => {
  it.each(Object.entries(arbitrarySteps))('%s comes back as it went in', (_name, step) => {
    fc.assert(
      fc.property(step, (value) => {
        expect(decode(encodePlan([value]))).toEqual([value]);
      }),
    );
  });

  it('many steps come back in their order', () => {
    const plan = fc.array(fc.oneof(...Object.values(arbitrarySteps)), { maxLength: 40 });
    fc.assert(
      fc.property(plan, (steps) => {
        expect(decode(encodePlan(steps))).toEqual(steps);
      }),
    );
  });

  it('a plan larger than its first buffer is whole', () => {
    const steps: Step[] = [
      { step: 'file', mode: 0o644, path: '/large', content: base64(new Uint8Array(100_000).fill(7)) },
      { step: 'exec', argv: Array.from({ length: 5000 }, (_, index) => `argument ${index}`), env: {} },
    ];
    expect(decode(encodePlan(steps))).toEqual(steps);
  });

  it('plans do not share memory', () => {
    const first = encodePlan([{ step: 'cwd', path: '/first' }]);
    const copy = Buffer.from(first);
    encodePlan([{ step: 'cwd', path: '/other' }]);
    expect(copy.equals(first)).toBe(true);
  });

  it('nor do parts of plans, which are kept', () => {
    const first = encodeRecords([{ step: 'cwd', path: '/first' }]).bytes;
    const copy = Buffer.from(first);
    encodeRecords([{ step: 'cwd', path: '/other' }]);
    expect(copy.equals(first)).toBe(true);
  });

  it('nor do two that are written at the same time', () => {
    const [one, other] = [new Writer(), new Writer()];
    one.string('one');
    other.string('other');
    expect([one.bytes(), other.bytes()].map((bytes) => bytes.toString('latin1', 4))).toEqual(['one\0', 'other\0']);
  });

  it('a string with a NUL byte is a defect of ours', () => {
    expect(() => encodePlan([{ step: 'cwd', path: '/tmp\0/etc' }])).toThrow(/NUL/);
  });

  it('a fraction of a millisecond of wall time is rounded up', () => {
    expect(decode(encodePlan([{ step: 'limit-wall', milliseconds: 0.25 }]))).toEqual([
      { step: 'limit-wall', milliseconds: 1 },
    ]);
  });
});
