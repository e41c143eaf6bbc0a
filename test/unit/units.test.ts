import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSandboxError, type SpecError } from '../../src/errors/errors.ts';
import { checkBytes, formatBytes, formatMilliseconds, parseBytes, parseMilliseconds } from '../../src/spec/units.ts';

describe('sizes and times', () => {
  test.each([
    ['100B', 100],
    ['10kB', 10_000],
    ['10KiB', 10_240],
    ['512MiB', 536_870_912],
    ['1.5GB', 1_500_000_000],
    ['1.5 GiB', 1_610_612_736],
    ['2TiB', 2 ** 41],
    ['0B', 0],
    [4096, 4096],
    [0, 0],
  ])('%s is %d bytes', (text, value) => {
    expect(parseBytes(text)).toBe(value);
  });

  test.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5min', 90_000],
    ['2h', 7_200_000],
    ['0.1s', 100],
    [1500, 1500],
  ])('%s is %d milliseconds', (text, value) => {
    expect(parseMilliseconds(text)).toBe(value);
  });

  test('a part of a byte or of a millisecond is rounded up', () => {
    expect(parseBytes('0.1KiB')).toBe(103);
    expect(parseMilliseconds('0.4ms')).toBe(1);
  });

  test('fractions are exact where binary fractions are not', () => {
    expect(parseBytes('1.1kB')).toBe(1100);
    expect(parseMilliseconds('4.35s')).toBe(4350);
  });

  test.each([
    ['512', 'add a unit'],
    ['1.5', 'add a unit'],
    ['512M', 'write MB (1000² bytes) or MiB (1024² bytes)'],
    ['512mib', 'write MiB'],
    ['5KB', 'write kB (1000 bytes) or KiB (1024 bytes)'],
    ['5bytes', 'write B'],
    ['5parsecs', 'known are B, kB'],
    ['5__proto__', 'such as'],
    ['5constructor', 'known are'],
    ['', 'such as'],
    ['MiB', 'such as'],
    ['-5B', 'such as'],
    ['+5B', 'such as'],
    ['1e3B', 'such as'],
    ['1,5GB', 'such as'],
    ['.5GB', 'such as'],
    ['5  GB', 'such as'],
    [' 5GB', 'such as'],
    ['٣B', 'such as'],
    ['99999999TiB', 'too much'],
    [`${'9'.repeat(10_000)}B`, 'such as'],
    [-1, '0 or more'],
    [1.5, 'whole number'],
    [Number.NaN, 'whole number'],
    [Number.POSITIVE_INFINITY, 'whole number'],
    [2 ** 53, 'whole number'],
  ])('%s is no number of bytes, and the message says %s', (value, message) => {
    expect(checkBytes(value)).toContain(message);
  });

  test.each([
    ['30', 'add a unit'],
    ['5m', 'min (minutes) or ms (milliseconds)'],
    ['5sec', 'write s'],
    ['5d', 'known are ms, s, min, h'],
  ])('%s is no time, and the message says %s', (value, message) => {
    expect(() => parseMilliseconds(value)).toThrow(message);
  });

  test('the error has the path that was given', () => {
    try {
      parseBytes('512', ['limits', 'fileBytes']);
      expect.unreachable();
    } catch (error) {
      expect(isSandboxError(error)).toBe(true);
      expect((error as SpecError).code).toBe('SBX_SPEC_INVALID');
      expect((error as SpecError).issues).toEqual([
        { path: ['limits', 'fileBytes'], message: expect.stringContaining("add a unit to '512'") },
      ]);
    }
  });

  test('what is formatted is parsed back', () => {
    const amount = fc.oneof(
      fc.nat(),
      fc.maxSafeNat(),
      fc.nat(1000).map((n) => n * 1024 ** 3),
      fc.nat(1000).map((n) => n * 60_000),
    );
    fc.assert(
      fc.property(amount, (value) => {
        expect(parseBytes(formatBytes(value))).toBe(value);
        expect(parseMilliseconds(formatMilliseconds(value))).toBe(value);
      }),
    );
  });

  test('any text is a number or one clear issue', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,8} ?[a-zA-Z]{0,4}$/));
    fc.assert(
      fc.property(text, (value) => {
        for (const parse of [parseBytes, parseMilliseconds]) {
          try {
            expect(Number.isSafeInteger(parse(value))).toBe(true);
          } catch (error) {
            expect((error as SpecError).issues).toHaveLength(1);
          }
        }
      }),
    );
  });
});
