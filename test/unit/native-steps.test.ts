// The steps of a plan are written down three times: in TypeScript, in C and in the page that describes the format. They say the same.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import {
  fixedSteps,
  mountFlags,
  mountKinds,
  namespaceFlags,
  PROTOCOL,
  recordTypes,
  rootKinds,
} from '../../src/backends/launcher/steps.ts';

const native = (name: string): string => readFileSync(new URL(`../../native/${name}`, import.meta.url), 'utf8');
const readme = native('README.md');
const stepsHeader = native('steps.h');
const planHeader = native('plan.h');

/** `X(MAP_IDS, 2, "map-ids")` of one of the lists in steps.h. */
function listed(macro: string): [name: string, number: number][] {
  const list = new RegExp(`#define ${macro}\\(X\\)((?:.*\\\\\\n)*.*)`).exec(stepsHeader)?.[1] ?? '';
  return [...list.matchAll(/X\((\w+), (\d+), "([a-z-]+)"\)/g)].map(([, symbol, number, name]) => {
    expect(symbol).toBe(name?.replaceAll('-', '_').toUpperCase());
    return [name ?? '', Number(number)];
  });
}

/** The value of `PREFIX_NAME` in plan.h: given by number, or by its place in an enum. */
function constant(name: string): number {
  const value = new RegExp(`\\b${name} = (\\d+)`).exec(planHeader)?.[1];
  if (value !== undefined) return Number(value);
  const list = [...planHeader.matchAll(/enum \{([^}]*)\}/g)].map(([, body]) => (body ?? '').split(',')).flat(0);
  for (const names of list) {
    const at = names.findIndex((entry) => entry.trim() === name);
    if (at >= 0 && / = 0$/.test(names[0]?.trim() ?? '')) return at;
  }
  throw new Error(`plan.h has no ${name}`);
}

function symbol(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

it('records have the same names and numbers in C and TypeScript', () => {
  expect(Object.fromEntries(listed('RECORD_STEPS'))).toEqual(recordTypes);
});

it('records have the same names and numbers in the page, in the same order', () => {
  const rows = [...readme.matchAll(/^\| (\d+) \| `([a-z-]+)` \|/gm)].map(([, number, name]) => [name, Number(number)]);
  expect(rows).toEqual(Object.entries(recordTypes));
});

it('the steps of every run have the same names in C and TypeScript', () => {
  const fixed = listed('FIXED_STEPS');
  expect(fixed.map(([name]) => name)).toEqual([...fixedSteps]);
  expect(fixed.map(([, number]) => number)).toEqual(fixedSteps.map((_, index) => 100 + index));
});

it('no two steps share a number', () => {
  const numbers = [...listed('RECORD_STEPS'), ...listed('FIXED_STEPS')].map(([, number]) => number);
  expect(new Set(numbers).size).toBe(numbers.length);
});

it('kinds and flags of mounts and roots have the same numbers in C and TypeScript', () => {
  for (const [name, value] of Object.entries(mountKinds)) expect(constant(`PLAN_MOUNT_${symbol(name)}`)).toBe(value);
  for (const [name, value] of Object.entries(rootKinds)) expect(constant(`PLAN_ROOT_${symbol(name)}`)).toBe(value);
  for (const [name, value] of Object.entries(mountFlags)) expect(constant(`PLAN_MOUNT_${symbol(name)}`)).toBe(value);
  expect(constant('PLAN_MOUNT_FLAGS')).toBe(Object.values(mountFlags).reduce((all, flag) => all | flag, 0));
});

it('the page names every kind and flag of a mount by its number', () => {
  for (const [name, value] of Object.entries(mountKinds)) expect(readme).toContain(`${value} ${name}`);
  for (const value of Object.values(mountFlags)) expect(readme).toMatch(new RegExp(`\\b${value} \\w`));
});

it('the launcher knows every namespace that a plan may name, and no other', () => {
  const flags = /#define NAMESPACE_FLAGS \(([^)]*)\)/.exec(native('plan.c'))?.[1] ?? '';
  const known = flags.split('|').map((flag) => Number.parseInt(flag, 16));
  expect(known.sort()).toEqual(Object.values(namespaceFlags).sort());
});

it('both sides speak the same protocol', () => {
  expect(planHeader).toContain(`#define PLAN_PROTOCOL ${PROTOCOL}\n`);
  expect(readme).toContain(`\`u32\` protocol, ${PROTOCOL} |`);
});
