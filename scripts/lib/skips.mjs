// Which tests may be skipped in CI, by the reason they give.
import { readFileSync } from 'node:fs';
import { inProject } from './paths.mjs';

/** @param {string} reason */
export function isExpectedSkip(reason) {
  /** @type {{ pattern: string, why: string }[]} */
  const expected = JSON.parse(readFileSync(inProject('test', 'skips.json'), 'utf8'));
  return expected.some(({ pattern }) => new RegExp(pattern).test(reason));
}
