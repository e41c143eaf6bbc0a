// "Did you mean ...?": for keys of a spec and for options of the command line.

/**
 * The candidate that `word` was most likely meant to be; `undefined` when none is near.
 *
 * Case, `-` and `_` do not count: `read_only`, `read-only` and `readOnly` are all `readonly`.
 */
export function nearest<Word extends string>(word: string, candidates: readonly Word[]): Word | undefined {
  const wanted = fold(word);
  let best: Word | undefined;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, fold(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function fold(word: string): string {
  // Longer words are no slip of the finger, and the distance takes time in the square of their length.
  return word.slice(0, 64).toLowerCase().replaceAll(/[-_]/g, '');
}

/** Damerau-Levenshtein distance in its restricted form: insertions, deletions, substitutions and swaps of neighbours. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let distance = Math.min(at(current, j - 1) + 1, at(previous, j) + 1, at(previous, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, at(beforePrevious, j - 2) + 1);
      }
      current.push(distance);
    }
    beforePrevious = previous;
    previous = current;
  }
  return at(previous, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
