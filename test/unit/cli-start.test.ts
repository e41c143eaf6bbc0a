// What a plain run loads: starting must stay close to Node's own start, and the schema library alone costs more than that.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../src/', import.meta.url));

/** Files and packages that `entries` import statically, and what those import. Types cost nothing. */
function reachable(entries: readonly string[]): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const pending = entries.map((entry) => join(source, entry));
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, clause = '', name = ''] of text.matchAll(/^(?:import|export)\s([^;]*?)from '([^']+)'/gm)) {
      if (/^type\s|^\{(?:\s*type [^,}]+,?)+\s*\}/.test(clause)) continue;
      if (name.startsWith('.')) pending.push(join(dirname(file), name));
      else packages.add(name);
    }
  }
  return { files, packages };
}

const plainRun = ['cli/main.ts', 'cli/dispatch.ts', 'cli/run.ts', 'backends/native/index.ts'];

test('a plain run loads no package', () => {
  const { files, packages } = reachable(plainRun);
  expect(files.size).toBeGreaterThan(20);
  expect([...files].every((file) => existsSync(file))).toBe(true);
  expect([...packages].filter((name) => !name.startsWith('node:'))).toEqual([]);
});

test('a profile does load the schema library, so the search above can find it', () => {
  expect([...reachable(['cli/profile.ts']).packages]).toContainEqual(expect.stringMatching(/^zod/));
});

test('a plain run loads nothing that only other commands need', () => {
  const names = [...reachable(plainRun).files].map((file) => file.slice(source.length));
  for (const name of [
    'index.ts',
    'cli/help.ts',
    'cli/hints.ts',
    'cli/render.ts',
    'host/report.ts',
    'backends/native/probe.ts',
    'seccomp/compile.ts',
    'seccomp/syscalls.ts',
  ]) {
    expect(names).not.toContain(name);
  }
});

test('the version alone loads neither options nor anything of a run', () => {
  const names = [...reachable(['cli/main.ts', 'cli/version.ts']).files].map((file) => file.slice(source.length));
  expect(names.sort()).toEqual(['cli/main.ts', 'cli/version.ts', 'cli/write.ts', 'host/package-root.ts']);
});
