import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSandboxError } from '../../../src/errors/errors.ts';
import { DOCUMENT_BYTES_MAX, parseJson } from '../../../src/image/json.ts';

function messageOf(text: string | Uint8Array): string {
  try {
    parseJson(text, 'the manifest');
  } catch (error) {
    if (isSandboxError(error)) {
      expect(error.code).toBe('SBX_IMAGE_INVALID');
      return error.message;
    }
    throw error;
  }
  throw new Error('was read');
}

/** As JSON.parse would have it. */
function rounded(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, rounded(member)]));
}

describe('JSON of others', () => {
  test('is what JSON.parse says, where that is strict too', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 2), (text, indent) => {
        const pretty = JSON.stringify(JSON.parse(text), null, indent);
        expect(rounded(parseJson(pretty, 'it'))).toEqual(JSON.parse(pretty));
      }),
    );
  });

  test('is refused where JSON.parse refuses it, and otherwise the same', () => {
    const soup = fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0e1-+. \ntrfalsn'.split('')), maxLength: 24 });
    fc.assert(
      fc.property(soup, (text) => {
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          expect(messageOf(text)).toMatch(/line \d+, column \d+/);
          return;
        }
        // The one thing that JSON.parse takes and we do not.
        try {
          expect(rounded(parseJson(text, 'it'))).toEqual(expected);
        } catch (error) {
          expect(String(error)).toContain('stands twice');
        }
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ['', 'line 1, column 1: expected a value, found the end'],
    ['{\n  "a": 1,\n  "b": }', 'line 3, column 8: expected a value, found "}"'],
    ['{"a":1,}', 'line 1, column 8: expected the name of a member in quotes, found "}"'],
    ['{"a":1 "b":2}', `line 1, column 8: expected ',' or '}', found "\\""`],
    ['[1,\n2', "line 2, column 2: expected ',' or ']', found the end"],
    ['{"a" 1}', `expected ':' after 'a', found "1"`],
    ["{'a': 1}", 'expected the name of a member in quotes, found "\'"'],
    ['{"a": tru}', 'column 7: expected a value, found "tru"'],
    ['{} x', 'unexpected "x" after the end of the document'],
    ['// a comment\n{}', 'line 1, column 1: expected a value, found "/"'],
    ['"line\nbreak"', 'column 6: a string has a control character in it'],
    ['"\\x41"', 'column 2: a backslash begins nothing that JSON knows'],
    ['"\\"', 'column 1: a string has no end'],
    ['["\\ud800"]', 'column 2: a string has half of a surrogate pair'],
    ['{"a": 01}', 'found "01"'],
    ['[1e999]', 'too large'],
    ['[NaN]', 'found "NaN"'],
    ['\uFEFF{}', 'byte order mark'],
    ['{"😀": 1, x}', 'column 10'],
  ])('%j is refused, and the message says %j', (text, part) => {
    expect(messageOf(text)).toContain(part);
  });

  test('a member that stands twice is refused, at its second place', () => {
    expect(messageOf('{"user": "0",\n "user": "1"}')).toContain("line 2, column 2: the member 'user' stands twice");
    expect(messageOf('{"a": 1, "\\u0061": 2}')).toContain("'a' stands twice");
  });

  test('no nesting reaches the end of the stack', () => {
    expect(messageOf('['.repeat(1_000_000))).toContain('is nested more than 100 deep');
    expect(messageOf('{"a":'.repeat(500_000))).toContain('is nested more than 100 deep');
  });

  test('integers of 64 bits are exact', () => {
    expect(parseJson('[18446744073709551615, -9007199254740993, 9007199254740991]', 'it')).toEqual([
      18446744073709551615n,
      -9007199254740993n,
      9007199254740991,
    ]);
  });

  test('__proto__ is a member like any other', () => {
    const read = parseJson('{"__proto__": {"polluted": true}}', 'it') as object;
    expect(Object.keys(read)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });

  test('bytes that are not UTF-8 are refused, and so is a document without bounds', () => {
    expect(messageOf(Uint8Array.from([0x22, 0xff, 0x22]))).toBe('the manifest is not UTF-8');
    expect(messageOf(' '.repeat(DOCUMENT_BYTES_MAX + 1))).toContain('more than the 4194304 that are read');
  });

  test('a string may be as long as the document', () => {
    const text = `"${'\\n'.repeat(DOCUMENT_BYTES_MAX / 2 - 1)}"`;
    expect((parseJson(text, 'it') as string).length).toBe(DOCUMENT_BYTES_MAX / 2 - 1);
  });
});
