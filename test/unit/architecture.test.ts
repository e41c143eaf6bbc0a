// Programs of another architecture: how they are known, and what of a host runs them.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findEmulation, formatStep } from '../../src/backends/native/binfmt.ts';
import { planNative } from '../../src/backends/native/plan.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import { FeatureError } from '../../src/errors/errors.ts';
import { magicOf } from '../../src/host/elf.ts';
import { type EmulationFacts, parseEntry, readEmulation } from '../../src/host/emulation.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { type Architecture, architectures } from '../../src/spec/architectures.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { type FakeTree, fakeHost, fakeHosts } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

/** Starts of headers as compilers write them, from elf(5). */
function header({ bits = 64, order = 1, osabi = 0, padding = 0, type = 2, machine = 183 } = {}): Uint8Array {
  const ident = [0x7f, 0x45, 0x4c, 0x46, bits / 32, order, 1, osabi, padding, 0, 0, 0, 0, 0, 0, 0];
  return Uint8Array.from([...ident, type & 0xff, type >> 8, machine & 0xff, machine >> 8, 1, 0, 0, 0]);
}

/** As the kernel compares. */
function takes(architecture: Architecture, bytes: Uint8Array): boolean {
  const { magic, mask } = magicOf(architecture);
  return magic.every((byte, at) => (((bytes[at] ?? 0) ^ byte) & (mask[at] ?? 0)) === 0);
}

const machines: Readonly<Record<Architecture, { bits: number; machine: number }>> = {
  x64: { bits: 64, machine: 62 },
  arm64: { bits: 64, machine: 183 },
  arm: { bits: 32, machine: 40 },
  ia32: { bits: 32, machine: 3 },
  riscv64: { bits: 64, machine: 243 },
};

describe('the magic', () => {
  test.each(architectures)('of %s takes its executables, whatever linker made them, and no other', (architecture) => {
    for (const own of architectures) {
      for (const osabi of [0, 3, 97])
        for (const type of [2, 3])
          expect(takes(architecture, header({ ...machines[own], osabi, type }))).toBe(own === architecture);
      // An AppImage has a mark of its own in the padding.
      expect(takes(architecture, header({ ...machines[own], padding: 0x41 }))).toBe(own === architecture);
    }
  });

  test.each(architectures)('of %s takes no object file, no core, no other word size, no other byte order', (name) => {
    const own = machines[name];
    for (const type of [0, 1, 4, 0xfe02, 6]) expect(takes(name, header({ ...own, type }))).toBe(false);
    expect(takes(name, header({ ...own, bits: 96 - own.bits }))).toBe(false);
    expect(takes(name, header({ ...own, order: 2 }))).toBe(false);
    expect(takes(name, Uint8Array.from(Buffer.from('#!/bin/sh\nexit 0; true\n')))).toBe(false);
  });
});

const entry = (name: Architecture, change: (text: string) => string = (text) => text): string => {
  const { magic, mask } = magicOf(name);
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  return change(`enabled\ninterpreter /usr/libexec/x\nflags: POF\noffset 0\nmagic ${hex(magic)}\nmask ${hex(mask)}\n`);
};
const TABLE = '/proc/sys/fs/binfmt_misc';
const table = { [`${TABLE}/status`]: 'enabled\n', [`${TABLE}/register`]: '' };
const qemu = { '/usr/bin/qemu-aarch64-static': { text: '', mode: 0o755 } };

describe("the host's own table", () => {
  test('an entry is known by what it takes, not by its name', () => {
    expect(parseEntry('rosetta', entry('x64'))).toEqual({ name: 'rosetta', takes: ['x64'] });
    // As Debian has it: anything as ABI, zeros behind.
    const debian = `enabled\ninterpreter /q\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n`;
    expect(parseEntry('qemu-aarch64', debian)).toEqual({ name: 'qemu-aarch64', takes: ['arm64'] });
  });

  test.each([
    ['is switched off', (text: string) => text.replace('enabled', 'disabled')],
    ['opens its interpreter later, inside', (text: string) => text.replace('POF', 'PO')],
    ['looks elsewhere in the file', (text: string) => text.replace('offset 0', 'offset 4')],
    ['goes by the ending of the name', () => 'enabled\ninterpreter /q\nflags: F\nextension .x\n'],
    ['cannot be read', () => ''],
  ])('an entry does not count that %s', (_why, change) => {
    expect(parseEntry('x', entry('arm64', change))).toBeUndefined();
  });

  test('something else that is registered takes no architecture', () => {
    const text = 'enabled\ninterpreter /usr/bin/python3\nflags: F\noffset 0\nmagic 6f0d0d0a\n';
    expect(parseEntry('python', text)).toEqual({ name: 'python', takes: [] });
  });

  test('any text is an entry or none', () => {
    const line = fc.oneof(
      fc.constantFrom('enabled', 'flags: F', 'offset 0', 'magic', 'mask', 'mask zz'),
      fc.stringMatching(/^(magic|mask) [0-9a-f]{0,80}$/),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const found = parseEntry('x', lines.join('\n'));
        if (found !== undefined) expect(found.name).toBe('x');
      }),
    );
  });
});

function factsOf(tree: FakeTree, architecture = 'x64'): EmulationFacts {
  return readEmulation(fakeHost({ '/proc/sys/kernel/osrelease': '6.12.0\n', ...tree }), architecture);
}

describe('what runs a program', () => {
  test('a static QEMU, by a table of the sandbox’s own', () => {
    const expected = { kind: 'table', architecture: 'arm64', interpreter: '/usr/bin/qemu-aarch64-static' };
    expect(findEmulation('arm64', factsOf(qemu))).toEqual(expected);
    // Also where the host has registered one.
    const both = { ...qemu, ...table, [`${TABLE}/qemu`]: entry('arm64') };
    expect(findEmulation('arm64', factsOf(both))).toEqual(expected);
  });

  test('an entry of the host, where there is no QEMU, or the kernel has no tables for user namespaces', () => {
    const registered = { ...table, [`${TABLE}/qemu`]: entry('arm64') };
    const expected = { kind: 'host', architecture: 'arm64', entry: 'qemu' };
    expect(findEmulation('arm64', factsOf(registered))).toEqual(expected);
    expect(
      findEmulation('arm64', factsOf({ ...registered, ...qemu, '/proc/sys/kernel/osrelease': '6.6.9\n' })),
    ).toEqual(expected);
  });

  test('the release alone refuses nothing: what else there is is tried', () => {
    const old = factsOf({ ...qemu, '/proc/sys/kernel/osrelease': '6.1.0\n' });
    expect(findEmulation('arm64', old)).toMatchObject({ kind: 'table' });
  });

  test('a table that is switched off is none', () => {
    const off = { ...table, [`${TABLE}/status`]: 'disabled\n', [`${TABLE}/qemu`]: entry('arm64') };
    expect(findEmulation('arm64', factsOf(off))).toMatchObject({ feature: 'architecture' });
  });

  test('the kernel, for i386 on x64, where nothing else does', () => {
    const kernel = { '/proc/sys/abi/vsyscall32': '1\n' };
    expect(findEmulation('ia32', factsOf(kernel))).toEqual({ kind: 'kernel', architecture: 'ia32' });
    expect(findEmulation('ia32', factsOf(kernel, 'arm64'))).toMatchObject({ feature: 'architecture' });
    const i386 = { ...kernel, '/usr/bin/qemu-i386-static': { text: '', mode: 0o755 } };
    expect(findEmulation('ia32', factsOf(i386))).toMatchObject({ kind: 'table' });
  });

  test('nothing: with the program that is missing, and what to install', () => {
    for (const nothing of [{}, { '/usr/bin/qemu-riscv64-static': { text: '', mode: 0o644 } }]) {
      expect(findEmulation('riscv64', factsOf(nothing))).toEqual({
        feature: 'architecture',
        because: expect.stringContaining('there is no qemu-riscv64-static in /usr/bin or /usr/local/bin'),
        remedy: expect.stringContaining('install qemu-user-static'),
      });
    }
  });
});

describe('a plan', () => {
  const tree = { ...fakeHosts.plain, ...qemu };
  const plan = (spec: SandboxSpec, without: readonly string[] = []) => {
    const granted = new Set([...recognized].filter((feature) => !without.includes(feature)));
    const caller = readCallerFacts(fakeHost(tree), { uid: 1000, gid: 1000, architecture: 'x64' });
    return planNative(normalize(spec, new MemoryHost()), granted, caller);
  };
  const steps = (spec: SandboxSpec) => plan(spec).detail.steps;
  const maps = (spec: SandboxSpec) => steps(spec).flatMap((step) => (step.step === 'map-ids' ? step.mappings : []));

  test('has the table last before the pivot, and says by what it runs', () => {
    const { detail, applied, notes } = plan({ architecture: 'arm64' });
    const names = detail.steps.map(({ step }) => step);
    expect(names.indexOf('binfmt')).toBe(names.indexOf('pivot') - 1);
    expect(applied).toContainEqual({
      feature: 'architecture',
      mechanism: 'binfmt_misc of a user namespace, /usr/bin/qemu-aarch64-static',
    });
    expect(notes.join()).toContain("the filter of system calls sees what QEMU asks of this host's kernel");
  });

  test('puts the table around a sandbox that has no uid 0, whose ids then count from there', () => {
    expect(steps({ architecture: 'arm64' })).toContainEqual(expect.objectContaining({ step: 'binfmt', around: true }));
    expect(maps({ architecture: 'arm64' })).toEqual([
      { inside: 1000, outside: 0, size: 1 },
      { inside: 1000, outside: 0, size: 1 },
    ]);
    const asRoot = { architecture: 'arm64', user: { uid: 0, gid: 0 } } as const;
    expect(steps(asRoot)).toContainEqual(expect.objectContaining({ step: 'binfmt', around: false }));
    expect(maps(asRoot)).toEqual([
      { inside: 0, outside: 1000, size: 1 },
      { inside: 0, outside: 1000, size: 1 },
    ]);
  });

  test('of the host’s own architecture, or where the feature is left out, has no table', () => {
    for (const { detail, applied } of [plan({}, ['architecture']), plan({ architecture: 'arm64' }, ['architecture'])]) {
      expect(detail.steps.map(({ step }) => step)).not.toContain('binfmt');
      expect(applied.map(({ feature }) => feature)).not.toContain('architecture');
    }
  });

  test('of a command that is uid 0 of the host hides the formats of the host, and uses none of them', () => {
    const loaded = { '/proc/filesystems': 'nodev\tproc\n\text4\nnodev\tbinfmt_misc\nnodev\tmqueue\n' };
    const registered = { ...fakeHosts.plain, ...loaded, ...table, [`${TABLE}/qemu`]: entry('arm64') };
    const root = readCallerFacts(fakeHost(registered, { uid: 0 }), { uid: 0, gid: 0, architecture: 'x64' });
    const ids = [{ containerID: 0, hostID: 0, size: 4294967295 }];
    const spec = {
      ...normalize({}, new MemoryHost()),
      idMappings: { uid: ids, gid: ids, privileged: true, needsHelper: false },
    };
    const without = new Set([...recognized].filter((feature) => feature !== 'architecture'));
    const hidden = { step: 'binfmt', around: false, ifPossible: true, formats: [] };
    expect(planNative(spec, without, root).detail.steps).toContainEqual(hidden);
    expect(() => planNative({ ...spec, architecture: 'arm64' }, recognized, root)).toThrow(/entry qemu .*uid 0/);
    // What is not loaded holds nothing, and shall not be loaded by us.
    const bare = readCallerFacts(fakeHost(fakeHosts.plain, { uid: 0 }), { uid: 0, gid: 0, architecture: 'x64' });
    expect(planNative(spec, without, bare).detail.steps.map(({ step }) => step)).not.toContain('binfmt');
    // Anybody else could not change it anyway.
    const ann = readCallerFacts(fakeHost(registered), { uid: 1000, gid: 1000, architecture: 'x64' });
    const mine = planNative(normalize({ architecture: 'arm64' }, new MemoryHost()), recognized, ann);
    expect(mine.detail.steps.map(({ step }) => step)).not.toContain('binfmt');
    expect(mine.applied).toContainEqual({
      feature: 'architecture',
      mechanism: 'binfmt_misc of the host, entry qemu',
    });
  });

  test('is refused where nothing runs the architecture', () => {
    expect(() => plan({ architecture: 'riscv64' })).toThrow(FeatureError);
    expect(() => plan({ architecture: 'riscv64' })).toThrow(/architecture: .*qemu-riscv64-static.*install/s);
  });

  test('is refused where the mappings leave out who could write the table', () => {
    const emulation = { kind: 'table', architecture: 'arm64', interpreter: '/q' } as const;
    const caller = readCallerFacts(fakeHost(tree), { uid: 1000, gid: 1000, architecture: 'x64' });
    const spec = normalize({}, new MemoryHost());
    const ids = [{ containerID: 1000, hostID: 100000, size: 1000 }];
    for (const idMappings of [
      { uid: ids, gid: ids, privileged: false, needsHelper: true },
      { uid: ids, gid: ids, privileged: true, needsHelper: false },
    ]) {
      expect(() => formatStep(emulation, { ...spec, idMappings }, caller)).toThrow(/map container ids from 0 on/);
    }
  });
});
