// What a run does without, in words: said before it, and by a compiled plan before each of its runs.
import { byReason } from '../errors/errors.ts';
import type { Prepared } from '../run/plan.ts';

export function wordsOfSkipped({ enforcement: { backend, skipped } }: Pick<Prepared, 'enforcement'>): string[] {
  if (skipped.length === 0) return [];
  const reasons = byReason(skipped).map(({ names, because }) => `${names.join(', ')} (${because})`);
  const isConfined = backend === 'native' && skipped.some(({ feature }) => feature === 'root.host');
  return [
    `skipped: ${reasons.join('; ')}`,
    ...(isConfined ? ['confined, not isolated: the command sees this host as you do'] : []),
  ];
}
