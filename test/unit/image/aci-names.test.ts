import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  appNameOf,
  checkAbsolute,
  checkIdentifier,
  checkImageId,
  checkName,
  checkTimestamp,
  checkVariableName,
  checkWebUrl,
  judgeVersion,
} from '../../../src/image/aci/names.ts';
import { lesser, parseQuantity, type Quantity, toCores, toUnits } from '../../../src/image/aci/quantity.ts';

describe('an AC Identifier (A23)', () => {
  test.each(['a', '0', 'example.com/reduce-worker', 'a-b.c_d~e/f', '1.2.3', 'coreos.com/ace-validator-main'])(
    '%s is one',
    (text) => expect(checkIdentifier(text)).toBeUndefined(),
  );

  test.each(['', 'A', 'a b', '-a', 'a-', 'a/', '/a', 'é', 'a\n', 'a:b', `${'a'.repeat(1000)}-`])(
    '%j is none, and the message says what one is',
    (text) => expect(checkIdentifier(text)).toMatch(/must not be empty|is not an AC Identifier: lower-case letters/),
  );

  test.each(['a--b', 'a//b', 'a.-b', 'a~~b'])(
    '%s has two separators in a row, which the text forbids and the reference code allows: refused',
    (text) => expect(checkIdentifier(text)).toContain('with single'),
  );
});

describe('an AC Name (A24)', () => {
  test.each(['a', 'work', 'ftp-data', '0-1'])('%s is one', (text) => expect(checkName(text)).toBeUndefined());
  test.each(['', 'A', 'a.b', 'a/b', 'a_b', '-a', 'a-'])('%j is none', (text) => expect(checkName(text)).toBeDefined());
  test('neither is longer than 1024 characters', () => {
    expect(checkName('a'.repeat(1024))).toBeUndefined();
    expect(checkIdentifier('a'.repeat(1025))).toBe('must not be longer than 1024 characters');
  });
  test('a--b is refused, as the text has it and the reference code has not', () => {
    expect(checkName('a--b')).toContain("single '-'");
  });

  test('the name of an app is made of the last component of any image’s name (A52)', () => {
    expect(appNameOf('coreos.com/ace-validator-main')).toBe('ace-validator-main');
    expect(appNameOf('example.com/My_App~1.0')).toBe('my-app-1-0');
    const identifier = fc.stringMatching(/^[a-z0-9]{1,4}([-._~/][a-z0-9]{1,4}){0,5}$/);
    fc.assert(
      fc.property(fc.oneof(identifier, fc.string()), (text) => {
        expect(checkName(appNameOf(text))).toBeUndefined();
      }),
    );
  });
});

describe('the version of a document (A22)', () => {
  test.each(['0.8.11', '0.5.2', '0.8.11-rc.1+git', '0.0.1'])('%s is read', (text) => {
    expect(judgeVersion(text)).toEqual({ note: undefined });
  });
  test.each(['0.8.12', '0.9.0', '0.100.0'])('%s is read with a note', (text) => {
    expect(judgeVersion(text)).toEqual({ note: expect.stringContaining('newer than 0.8.11') });
  });
  test.each([
    ['', 'is not a semantic version'],
    ['0.8', 'is not a semantic version'],
    ['0.08.1', 'is not a semantic version'],
    ['v0.8.1', 'is not a semantic version'],
    ['0.8.1-01', 'is not a semantic version'],
    ['0.0.0', "not '0.0.0'"],
    ['1.0.0', 'newer than 0.8.11'],
  ])('%j is refused: %s', (text, part) =>
    expect(judgeVersion(text)).toEqual({ problem: expect.stringContaining(part) }),
  );
});

describe('times, URLs, variables, paths and image IDs', () => {
  test.each(['2014-10-27T19:32:27.67021798Z', '2016-02-29T00:00:00+01:00', '1990-12-31T23:59:60Z'])(
    '%s is a time (A29)',
    (text) => expect(checkTimestamp(text)).toBeUndefined(),
  );
  test.each([
    '2014-10-27 19:32:27Z',
    '2014-10-27t19:32:27z',
    '2015-02-29T00:00:00Z',
    '2014-13-01T00:00:00Z',
    '2014-10-27',
    '',
  ])('%j is no time (A29)', (text) => expect(checkTimestamp(text)).toContain('RFC 3339'));
  test('a URL has http or https as its scheme (A29)', () => {
    expect(checkWebUrl('https://example.com/docs')).toBeUndefined();
    for (const text of ['ftp://example.com', 'example.com', 'javascript:alert(1)', ''])
      expect(checkWebUrl(text)).toBeDefined();
  });
  test('names of variables are those of POSIX, with "." and "-" (A49)', () => {
    for (const text of ['A', '_a1', 'a.b-c']) expect(checkVariableName(text)).toBeUndefined();
    for (const text of ['', '1A', 'A=B', 'é', 'A B']) expect(checkVariableName(text)).toBeDefined();
  });
  test('a path is absolute and stays where it is', () => {
    expect(checkAbsolute('/opt//scratch/')).toBeUndefined();
    for (const text of ['', 'opt', '/a/../b', '/a\0']) expect(checkAbsolute(text)).toBeDefined();
  });
  test('an image ID is sha512- and 128 hexadecimal digits (A14)', () => {
    expect(checkImageId(`sha512-${'0a'.repeat(64)}`)).toBeUndefined();
    for (const text of [
      'sha512-...',
      `sha512-${'A0'.repeat(64)}`,
      `sha256-${'0'.repeat(64)}`,
      `sha512:${'0'.repeat(128)}`,
    ])
      expect(checkImageId(text)).toBeDefined();
  });
});

describe('amounts (A85)', () => {
  const nanos = (text: string): bigint => {
    const quantity = parseQuantity(text);
    if ('problem' in quantity) throw new Error(quantity.problem);
    return quantity.nanos;
  };

  test.each([
    [['128974848', '125952Ki', '123Mi']],
    [['0.3', '300m', '.3', '3e-1', '300000u', '300000000n']],
    [['2G', '2000M', '2e9', '2000000K']],
    [['1', '1.', '1.0', '1000m', '01']],
    [['1Ei', '1024Pi']],
  ])('%j are the same', (texts) => {
    expect(new Set(texts.map(nanos)).size).toBe(1);
  });

  test('K is the text’s thousand and k the reference code’s: both are taken', () => {
    expect(nanos('5K')).toBe(nanos('5k'));
    expect(nanos('5K')).toBe(nanos('5000'));
  });

  test('E is a suffix alone and an exponent before digits', () => {
    expect(nanos('1E')).toBe(nanos('1e18'));
    expect(nanos('1E3')).toBe(nanos('1000'));
  });

  test.each([
    ['', 'is no amount'],
    ['G', 'is no amount'],
    ['.', 'is no amount'],
    ['1 G', 'is no amount'],
    ['1,5', 'is no amount'],
    ['0x10', 'is no amount'],
    ['٣', 'is no amount'],
    ['-1', 'has a sign'],
    ['+1', 'has a sign'],
    ['5KB', 'no suffix that is known: n, u, m, k, K'],
    ['5g', 'no suffix'],
    ['5constructor', 'no suffix'],
    ['9223372036854775808', 'more than 2^63 - 1'],
    ['8Ei', 'more than 2^63 - 1'],
    ['1e99', 'more than 2^63 - 1'],
    ['0.1n', 'finer than a billionth'],
    ['1e-10', 'finer than a billionth'],
    ['9'.repeat(10_000), 'is no amount'],
  ])('%j is refused: %s', (text, part) =>
    expect(parseQuantity(text)).toEqual({ problem: expect.stringContaining(part) }),
  );

  test('9223372036854775807 is the most', () =>
    expect(nanos('9223372036854775807')).toBe((2n ** 63n - 1n) * 10n ** 9n));

  test('parts of a byte are rounded up, and processors are exact to a thousandth', () => {
    const amount = (text: string): Quantity => ({ nanos: nanos(text) });
    expect(toUnits(amount('0.3Ki'))).toBe(308);
    expect(toUnits(amount('123Mi'))).toBe(128_974_848);
    expect(toUnits(amount('7Ei'))).toBe(Number.MAX_SAFE_INTEGER);
    expect(toCores(amount('250m'))).toBe(0.25);
    expect(toCores(amount('0.0001'))).toBe(0.001);
    expect(lesser(amount('1G'), amount('1Gi'))).toEqual(amount('1G'));
    expect(lesser(undefined, amount('1'))).toEqual(amount('1'));
  });

  test('any whole number of any unit is exact', () => {
    const binary: Readonly<Record<string, bigint>> = { '': 0n, Ki: 10n, Mi: 20n, Gi: 30n };
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom('', 'Ki', 'Mi', 'Gi'), (count, suffix) => {
        expect(nanos(`${count}${suffix}`)).toBe(BigInt(count) * 2n ** (binary[suffix] ?? 0n) * 10n ** 9n);
      }),
    );
  });
});
