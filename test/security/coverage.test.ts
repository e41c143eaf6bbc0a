// The table of attacks says of each where it is tried: those places exist, and nothing waits for what is there already.
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { registry } from '../../src/backends/registry.ts';
import { techniques } from './all-techniques.ts';
import { coverage } from './coverage.ts';

const project = new URL('../../', import.meta.url);
const tried = coverage.flatMap(({ triedBy = [] }) => [...triedBy]);

test('every attack is there once, in order', () => {
  const ids = coverage.map(({ id }) => id);
  const letters = [...'PKISFDLNRX'];
  const rank = (id: string): number => letters.indexOf(id.charAt(0)) * 100 + Number(id.slice(1));
  for (const id of ids) expect(id).toMatch(/^[PKISFDLNRX]\d\d$/);
  expect(ids).toEqual([...new Set(ids)].sort((one, other) => rank(one) - rank(other)));
});

test('what tries an attack exists', () => {
  const names = new Set(techniques.map(({ name }) => name));
  const absent = tried.filter((place) =>
    place.includes('/') ? !existsSync(new URL(place, project)) : !names.has(place),
  );
  expect(absent).toEqual([]);
});

test('every technique tries one of the attacks', () => {
  expect(techniques.map(({ name }) => name).filter((name) => !tried.includes(name))).toEqual([]);
});

test('a technique is called like its file', () => {
  const files = techniques.map(({ name }) => new URL(`techniques/${name}.ts`, import.meta.url));
  expect(files.filter((file) => !existsSync(file)).map(String)).toEqual([]);
});

test('nothing waits for a promise that a backend makes, or for a backend that is there', () => {
  const made = new Set<string>(registry.flatMap(({ name, recognized }) => [`backend ${name}`, ...recognized]));
  expect(coverage.filter(({ later }) => later !== undefined && made.has(later.broughtBy)).map(({ id }) => id)).toEqual(
    [],
  );
});
