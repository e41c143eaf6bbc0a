import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatPath, SpecError } from '../../src/errors/errors.ts';
import { validateCommand } from '../../src/spec/command.ts';
import { editDistance, nearest } from '../../src/spec/nearest.ts';
import { validateSpec } from '../../src/spec/schema.ts';

const fixtures = new URL('../fixtures/', import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, fixtures), 'utf8'));

interface Bad {
  readonly spec: unknown;
  /** Path and part of the message of every issue, in the order of the spec's keys. */
  readonly issues: readonly (readonly [string, string])[];
}

function issuesOf(attempt: () => unknown): [string, string][] {
  try {
    attempt();
  } catch (error) {
    if (error instanceof SpecError) return error.issues.map(({ path, message }) => [formatPath(path), message]);
    throw error;
  }
  return [];
}

describe('a spec', () => {
  test.each(readdirSync(new URL('good/', fixtures)))('%s is accepted as it is', (name) => {
    const spec = read(`good/${name}`);
    expect(validateSpec(spec)).toEqual(spec);
  });

  test.each(readdirSync(new URL('bad/', fixtures)))('%s is refused with every issue at its path', (name) => {
    const { spec, issues } = read(`bad/${name}`) as Bad;
    const expected = issues.map(([path, part]) => [path, expect.stringContaining(part)]);
    const actual = issuesOf(() => validateSpec(spec));
    expect(actual.sort()).toEqual(expected.sort());
  });

  test('a message has no word of the validator in it', () => {
    for (const name of readdirSync(new URL('bad/', fixtures))) {
      const { spec } = read(`bad/${name}`) as Bad;
      for (const [, message] of issuesOf(() => validateSpec(spec))) {
        expect(message).not.toMatch(/Invalid input|expected|received|Unrecognized|Too (big|small)|\[object/);
      }
    }
  });

  test('a file may name its schema for editors', () => {
    expect(validateSpec({ $schema: './sandbox-spec.schema.json', umask: 0 })).toEqual({ umask: 0 });
    expect(issuesOf(() => validateSpec({ $schema: 5 }))).toEqual([['$schema', 'must be a string, not 5']]);
  });

  test('members that are undefined count as left out', () => {
    expect(validateSpec({ root: undefined, limits: { wallMs: undefined, pids: 5 } })).toEqual({ limits: { pids: 5 } });
  });

  test('NaN and Infinity are no numbers', () => {
    expect(
      issuesOf(() =>
        validateSpec({ umask: Number.NaN, limits: { cpus: Number.POSITIVE_INFINITY, fileBytes: Number.NaN } }),
      ),
    ).toEqual([
      ['umask', 'must be a number, not NaN'],
      ['limits.cpus', 'must be a number, not Infinity'],
      ['limits.fileBytes', 'must be a number, not NaN'],
    ]);
  });

  test('what is returned shares nothing with what was given', () => {
    const given = { mounts: [{ type: 'tmpfs', destination: '/a' }], env: { A: 'b' } };
    const spec = validateSpec(given);
    given.env.A = 'changed';
    given.mounts.pop();
    expect(spec).toEqual({ mounts: [{ type: 'tmpfs', destination: '/a' }], env: { A: 'b' } });
  });

  test('whatever is given, there is a spec or one SpecError', () => {
    const keys = fc.constantFrom(
      'root',
      'mounts',
      'workspace',
      'env',
      'user',
      'limits',
      'network',
      'seccomp',
      'uidMappings',
      'terminal',
    );
    const values = fc.anything({
      withNullPrototype: true,
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSparseArray: true,
    });
    fc.assert(
      fc.property(fc.oneof(values, fc.dictionary(keys, values)), (value) => {
        try {
          validateSpec(value);
        } catch (error) {
          expect(error).toBeInstanceOf(SpecError);
          expect((error as SpecError).issues.length).toBeGreaterThan(0);
          for (const issue of (error as SpecError).issues) expect(issue.message).not.toBe('');
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a command', () => {
  test('is an argv', () => {
    const argv = ['sh', '-c', '', 'x'.repeat(131_071)];
    expect(validateCommand(argv)).toEqual(argv);
    expect(validateCommand(argv)).not.toBe(argv);
  });

  test.each([
    ['make check', "command: pass an argv array, such as ['sh', '-c', ...]: a string is never given to a shell"],
    [[], 'command: must name a program: the array is empty'],
    [[''], 'command[0]: must name a program: it is empty'],
    [undefined, "command: must be an argv array, such as ['make', 'check'], not undefined"],
    [{ 0: 'true', length: 1 }, "command: must be an argv array, such as ['make', 'check'], not an object"],
    [['a\0b'], 'command[0]: must not contain a NUL character'],
    [['a', 5, null], 'command[1]: must be a string, not a number; command[2]: must be a string, not null'],
    [['a', 'x'.repeat(131_072)], 'is 131072'],
    [['a', 'é'.repeat(65_536)], 'is 131072'],
    [['a', '\udc00'], 'well-formed'],
  ])('%j is refused', (value, message) => {
    expect(() => validateCommand(value)).toThrow(message);
  });

  test('a hole in the array is no argument', () => {
    const sparse = ['a'];
    sparse[2] = 'b';
    expect(() => validateCommand(sparse)).toThrow('command[1]: must be a string, not undefined');
  });
});

describe('the nearest word', () => {
  test.each([
    ['readonyl', 'readonly'],
    ['READ_ONLY', 'readonly'],
    ['writeable-paths', 'writablePaths'],
    ['mount', 'mounts'],
  ])('to %s is %s', (word, expected) => {
    expect(nearest(word, ['root', 'mounts', 'readonly', 'writablePaths'])).toBe(expected);
  });

  test('is none when nothing is near', () => {
    expect(nearest('zebra', ['root', 'mounts'])).toBeUndefined();
    expect(nearest('', ['root'])).toBeUndefined();
    expect(nearest('root', [])).toBeUndefined();
  });

  test('a swap of neighbours is one edit', () => {
    expect(editDistance('ab', 'ba')).toBe(1);
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'abc')).toBe(3);
  });

  test('the distance is symmetric, and none between equal words', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, a)).toBe(0);
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});
