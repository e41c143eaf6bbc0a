import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatMountString, parseMountString } from '../../src/spec/mount-string.ts';

test.each([
  ['/a:/b', '/a', '/b', true],
  ['/a:/b:ro', '/a', '/b', true],
  ['./a:/b:rw', './a', '/b', false],
  ['a\\:b:/c', 'a:b', '/c', true],
  ['a\\\\:/c', 'a\\', '/c', true],
  ['a\\b:/c', 'a\\b', '/c', true],
  ['a:/c\\', 'a', '/c\\', true],
])('%s is understood', (text, source, destination, readonly) => {
  expect(parseMountString(text)).toEqual({ source, destination, readonly });
});

test.each([
  ['', 'has no destination'],
  ['/a', 'has no destination'],
  ['/a\\:/b', 'has no destination'],
  [':/b', 'empty source'],
  ['/a:', 'empty destination'],
  ['/a:/b:', "'' is neither 'ro' nor 'rw'"],
  ['/a:/b:or', "did you mean 'ro'?"],
  ['/a:/b:exec', 'for a colon of a path write \\:'],
  ['/a:/b:ro:', 'too many parts'],
])('%s is refused: %s', (text, problem) => {
  expect(parseMountString(text)).toEqual({ problem: expect.stringContaining(problem) });
});

test('what is formatted is parsed back', () => {
  const path = fc.oneof(fc.string({ minLength: 1 }), fc.stringMatching(/^[\\:/a]{1,8}$/));
  fc.assert(
    fc.property(path, path, fc.boolean(), (source, destination, readonly) => {
      const mount = { source, destination, readonly };
      expect(parseMountString(formatMountString(mount))).toEqual(mount);
    }),
  );
});

test('any text is a mount or one reason', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const parsed = parseMountString(text);
      if ('problem' in parsed) expect(parsed.problem).not.toBe('');
      else expect(parsed.source.length * parsed.destination.length).toBeGreaterThan(0);
    }),
  );
});
