// Who may know whom in src/. A dependency that goes up makes the parts below unusable alone, and slow to load.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { backendNames } from '../../src/backends/backend.ts';

/** From the top. Each imports from those below it; `host` is for who plans and who asks, never for `spec`. */
const layers = [
  'cli',
  'index.ts',
  'run',
  'image',
  'changes',
  'archive',
  'backends',
  'host',
  'features',
  'seccomp',
  'spec',
  'errors',
];
/** Everybody may name the types of these. */
const contracts = ['backends/backend.ts', 'features/feature.ts'];
/** Only these load the schema library, which costs more than a whole sandbox. */
const schemas = /^(spec\/(schema(-\w+)?|json-schema)|image\/(\w+\/)*schema(-\w+)?)\.ts$/;

interface Import {
  readonly from: string;
  /** Relative to src/, or the name of a package. */
  readonly to: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

const source = fileURLToPath(new URL('../../src', import.meta.url));
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const code = new Map(files.map((name) => [name, readFileSync(join(source, name), 'utf8')]));
const imports = files.flatMap(importsOf);
const words = ({ from, to }: Import): string => `${from} imports ${to}`;

function importsOf(from: string): Import[] {
  const statements = /^(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm;
  return [...(code.get(from) ?? '').matchAll(statements)].map(([, type, named, dynamic]) => {
    const target = named ?? dynamic ?? '';
    const to = target.startsWith('.') ? posix.join(posix.dirname(from), target) : target;
    return { from, to, typeOnly: type !== undefined, dynamic: dynamic !== undefined };
  });
}

const layerOf = (path: string): number => layers.indexOf(path.split('/')[0] ?? '');
const backendOf = (path: string): string | undefined =>
  backendNames.find((name) => new RegExp(`^backends/${name}[-./]`).test(path));

/** What importing `entry` brings in before anything runs. */
function loadedBy(entry: string, loaded = new Set<string>()): Set<string> {
  if (loaded.has(entry)) return loaded;
  loaded.add(entry);
  for (const { from, to, typeOnly, dynamic } of imports)
    if (from === entry && !typeOnly && !dynamic) loadedBy(to, loaded);
  return loaded;
}

describe('in src/', () => {
  test('every import is found', () => {
    const text = [...code.values()].join('\n');
    expect(imports.length).toBe(text.match(/^(import\b|export\b[^;]*\bfrom ')|\bimport\('/gm)?.length);
    expect(imports.length).toBeGreaterThan(300);
  });

  test('every file is in a layer', () => {
    expect(files.filter((name) => layerOf(name) === -1)).toEqual([]);
  });

  test('imports go down, but for the types of the contracts', () => {
    const up = imports.filter(({ from, to }) => layerOf(to) !== -1 && layerOf(to) < layerOf(from));
    expect(up.filter(({ to, typeOnly }) => !typeOnly || !contracts.includes(to)).map(words)).toEqual([]);
  });

  test('a backend imports no other backend', () => {
    const between = imports.filter(({ from, to }) => backendOf(from) !== undefined && backendOf(to) !== undefined);
    expect(between.length).toBeGreaterThan(10);
    expect(between.filter(({ from, to }) => backendOf(from) !== backendOf(to)).map(words)).toEqual([]);
  });

  test('only the registry loads a backend, when it is to run something', () => {
    const files = backendNames.map((name) => (name === 'none' ? 'backends/none.ts' : `backends/${name}/index.ts`));
    const loads = imports.filter(({ to }) => files.includes(to));
    expect(loads.map(words)).toEqual(files.map((file) => `backends/registry.ts imports ${file}`));
    expect(loads.filter(({ dynamic }) => !dynamic)).toEqual([]);
  });

  test('only schemas load zod, and a run without a spec of its own loads none of them', () => {
    const zod = imports.filter(({ to }) => to === 'zod').map(({ from }) => from);
    expect(zod.filter((from) => !schemas.test(from))).toEqual([]);
    expect(zod.length).toBeGreaterThan(0);
    for (const entry of ['index.ts', 'cli/dispatch.ts', 'cli/run.ts', 'backends/native/index.ts']) {
      const loaded = loadedBy(entry);
      expect(loaded.size).toBeGreaterThan(5);
      expect(
        zod.filter((name) => loaded.has(name)),
        `what ${entry} loads`,
      ).toEqual([]);
    }
  });

  test('few packages are used, and fzstd is loaded only where Node meets what it cannot decompress', () => {
    const packages = imports.filter(({ to }) => layerOf(to) === -1 && !to.startsWith('node:'));
    expect([...new Set(packages.map(({ to }) => to))].sort()).toEqual(['diff', 'fzstd', 'zod']);
    expect(packages.filter(({ to, dynamic }) => to === 'fzstd' && !dynamic).map(words)).toEqual([]);
  });

  test('a run without an image loads nothing of images', () => {
    // But the way in, which loads the rest when it is called.
    for (const entry of ['index.ts', 'cli/dispatch.ts', 'cli/run.ts', 'backends/native/index.ts']) {
      expect([...loadedBy(entry)].filter((name) => name !== 'image/api.ts' && name.startsWith('image/'))).toEqual([]);
    }
  });

  test('only host/ and spec/host.ts read /proc and /sys', () => {
    const readers = files.filter((name) => {
      const statements = (code.get(name) ?? '').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '');
      return /from 'node:fs(\/promises)?'/.test(statements) && /['"`]\/(proc|sys)\//.test(statements);
    });
    expect(readers).toContain('spec/host.ts');
    expect(readers.filter((name) => !name.startsWith('host/') && name !== 'spec/host.ts')).toEqual([]);
  });
});
