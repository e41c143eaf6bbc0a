import { describe, expect, test } from 'vitest';
import { hostFiles } from '../../../src/host/files.ts';
import { requireGpgv } from '../../../src/image/aci/signature.ts';
import { judgeStatus } from '../../../src/image/aci/signature-status.ts';

const PRIMARY = 'A'.repeat(40);
const valid = (hash = '8', kind = '00'): string =>
  `VALIDSIG ${'B'.repeat(40)} 2026-01-01 1767225600 0 4 0 22 ${hash} ${kind} ${PRIMARY}`;
const good = 'GOODSIG BBBB Ann%20Example <ann@example.com>';
const judge = (...lines: string[]) => judgeStatus(lines.map((line) => `[GNUPG:] ${line}\n`).join(''));

describe('what gpgv says', () => {
  test('is good where it says so twice, and the primary key is who signed', () => {
    expect(judge('NEWSIG', 'KEY_CONSIDERED X 0', good, valid())).toEqual({
      signers: [
        { fingerprint: PRIMARY, userId: 'Ann Example <ann@example.com>', signedAt: new Date('2026-01-01T00:00:00Z') },
      ],
      problems: [],
      unknownKeys: [],
    });
  });

  test.each([
    ['the key has expired, which has exit status 0', ['EXPKEYSIG BBBB ann', valid()], 'the key of ann has expired'],
    ['the key was revoked, which has exit status 0', ['REVKEYSIG BBBB ann', valid()], 'the key of ann was revoked'],
    ['it has expired', ['EXPSIG BBBB ann', valid()], 'the signature by ann has expired'],
    ['it is bad', ['BADSIG BBBB ann'], 'it is not of these bytes, or was changed (a signature by ann)'],
    ['it is both good and bad', [good, valid(), 'BADSIG BBBB ann'], 'it is not of these bytes'],
    ['only one of two words comes', [good], 'gpgv does not say that the signature is good'],
    ['only the other comes', [valid()], 'gpgv does not say that the signature is good'],
    ['it is by way of MD5', [good, valid('1')], 'by way of MD5'],
    ['it is of a text', [good, valid('8', '01')], 'is of kind 01'],
    ['it brings its own content', ['PLAINTEXT 62 0 x', good, valid()], 'content of its own'],
    ['the algorithm is not known', ['ERRSIG BBBB 99 8 00 1 4 -'], 'the signature by BBBB cannot be checked (code 4)'],
  ])('is bad where %s', (_, lines, message) => {
    const { signers, problems } = judge('NEWSIG', ...lines);
    expect(signers).toEqual([]);
    expect(problems).toEqual([expect.stringContaining(message)]);
  });

  test('of each signature counts by itself', () => {
    const unknown = `ERRSIG CCCC 22 8 00 1 9 ${'C'.repeat(40)}`;
    expect(judge('NEWSIG', good, valid(), 'NEWSIG', unknown, 'NO_PUBKEY CCCC')).toMatchObject({
      signers: [{ fingerprint: PRIMARY }],
      problems: [],
      unknownKeys: ['C'.repeat(40)],
    });
    // The words of two signatures make no good one.
    expect(judge('NEWSIG', good, 'NEWSIG', valid()).problems.length).toBe(2);
  });

  test('counts only in its own lines', () => {
    expect(judgeStatus(`gpgv: ${good}\n x[GNUPG:] ${good}\n[GNUPG:]${valid()}`)).toEqual({
      signers: [],
      problems: [],
      unknownKeys: [],
    });
  });
});

test('without gpgv the package that has it is named', () => {
  const nothing = { ...hostFiles, stat: () => undefined };
  expect(() => requireGpgv(nothing, '/bin')).toThrow(
    'gpgv, which checks signatures, is not on PATH; install it (Debian: gpgv)',
  );
});
