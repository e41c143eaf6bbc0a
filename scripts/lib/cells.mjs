// Single tests, summed up to the cells of a table: a row, a backend, a caller. Pure.
import { SetupError } from './steps.mjs';

/**
 * @typedef {'root' | 'user'} Caller
 *
 * What test/helpers/trials-reporter.ts writes.
 * @typedef {object} TrialRecord
 * @property {string} backend
 * @property {Caller} caller
 * @property {readonly string[]} rows
 * @property {'trial' | 'refusal'} kind
 * @property {string} title
 * @property {'passed' | 'failed' | 'skipped'} state
 * @property {string} [reason]
 * @property {readonly string[]} [lacks] features that the case asks for as well and the backend does not promise: what was tried is the refusal
 * @property {number} [strength] how much of its repetitions it had; absent: all
 * @property {string} [lighterBecause] why that is enough
 *
 * `held`: what was tried passed. `refused`: so was asking. `untried`: every case was skipped. `nothing`: there is nothing to try. `missing`: there
 * is, and no test did.
 * @typedef {'held' | 'refused' | 'untried' | 'nothing' | 'failed' | 'missing'} Verdict
 *
 * @typedef {object} Cell
 * @property {string} row
 * @property {string} backend
 * @property {Caller} caller
 * @property {Verdict} verdict
 * @property {number} cases
 * @property {Readonly<Record<string, number>>} skipped how many of the cases, by reason
 * @property {Readonly<Record<string, number>>} [lacking] how many of the cases were refused, by the features that are not promised
 * @property {Readonly<Record<string, number>>} [lighter] how many of the cases were repeated less often than elsewhere, by reason
 *
 * @typedef {object} Shape what the table must have, whatever ran
 * @property {readonly string[]} rows
 * @property {readonly string[]} backends
 * @property {string} [always] the row of tests that name none
 * @property {(row: string, backend: string) => 'trial' | 'refusal' | 'nothing' | undefined} kindOf `undefined`: the run knows
 * @property {Readonly<Partial<Record<Caller, string>>>} absent callers that this run cannot have, and why
 */

/** @type {readonly Caller[]} */
export const callers = ['root', 'user'];

/** @param {Pick<Cell, 'row' | 'backend' | 'caller'>} cell */
export const keyOf = ({ row, backend, caller }) => `${row}, ${backend}, ${caller}`;

/**
 * Every cell of `shape`, and no other.
 *
 * @param {readonly TrialRecord[]} records
 * @param {Shape} shape
 * @returns {Cell[]}
 * @throws {SetupError} when a test is of no cell.
 */
export function cellsOf(records, shape) {
  const rows = shape.always === undefined ? shape.rows : [shape.always, ...shape.rows];
  const byCell = new Map(
    rows.flatMap((row) =>
      shape.backends.flatMap((backend) => callers.map((caller) => [keyOf({ row, backend, caller }), []])),
    ),
  );
  for (const record of records) {
    const named = record.rows.length > 0 || shape.always === undefined ? record.rows : [shape.always];
    for (const row of named) {
      const key = keyOf({ ...record, row });
      const list = byCell.get(key);
      if (list === undefined) throw new SetupError(`a test is of no cell of the table: ${key}, ${record.title}`);
      list.push(record);
    }
  }
  return rows.flatMap((row) =>
    shape.backends.flatMap((backend) =>
      callers.map((caller) => {
        const kind = row === shape.always ? 'trial' : shape.kindOf(row, backend);
        const found = byCell.get(keyOf({ row, backend, caller }));
        return { row, backend, caller, ...sumUp(found, kind, shape.absent[caller]) };
      }),
    ),
  );
}

/**
 * @param {readonly TrialRecord[]} records
 * @param {'trial' | 'refusal' | 'nothing' | undefined} kind
 * @param {string | undefined} whyAbsent
 * @returns {Pick<Cell, 'verdict' | 'cases' | 'skipped' | 'lacking' | 'lighter'>}
 */
function sumUp(records, kind, whyAbsent) {
  if (records.length === 0) {
    if (kind === 'nothing') return { verdict: 'nothing', cases: 0, skipped: {} };
    if (whyAbsent !== undefined) return { verdict: 'untried', cases: 0, skipped: { [whyAbsent]: 0 } };
    return { verdict: 'missing', cases: 0, skipped: {} };
  }
  const cases = [...worstByTitle(records).values()];
  const ran = cases.filter(({ state }) => state !== 'skipped');
  const skipped = counted(
    cases.filter(({ state }) => state === 'skipped').map(({ reason }) => reason ?? 'no reason given'),
  );
  const lacking = counted(ran.flatMap(({ lacks }) => (lacks === undefined ? [] : [lacks.join(', ')])));
  const lighter = counted(
    ran.flatMap(({ strength, lighterBecause }) =>
      strength === undefined ? [] : [`${strength} of the repetitions: ${lighterBecause}`],
    ),
  );
  return {
    verdict: verdictOf(cases, kind),
    cases: cases.length,
    skipped,
    ...(Object.keys(lacking).length === 0 ? {} : { lacking }),
    ...(Object.keys(lighter).length === 0 ? {} : { lighter }),
  };
}

/**
 * @param {readonly string[]} words
 * @returns {Record<string, number>}
 */
function counted(words) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

/** Whoever is an ordinary user already runs everything twice as one. */
function worstByTitle(records) {
  const rank = { failed: 2, passed: 1, skipped: 0 };
  /** @type {Map<string, TrialRecord>} */
  const worst = new Map();
  for (const record of records) {
    const known = worst.get(record.title);
    if (known === undefined || rank[record.state] > rank[known.state]) worst.set(record.title, record);
  }
  return worst;
}

/** @returns {Verdict} */
function verdictOf(cases, kind) {
  if (cases.some(({ state }) => state === 'failed')) return 'failed';
  // A refusal is no substitute for a trial, nor the other way round.
  if (new Set([...cases.map((record) => record.kind), ...(kind === undefined ? [] : [kind])]).size > 1)
    return 'missing';
  const ran = cases.filter(({ state }) => state !== 'skipped');
  if (ran.length === 0) return 'untried';
  return ran.every((record) => record.kind === 'refusal' || record.lacks !== undefined) ? 'refused' : 'held';
}

/**
 * `run`, with the cell of `committed` wherever this host could not try as much, for reasons that are expected of hosts, or tried as much and left out the
 * rest for other such reasons.
 *
 * @param {readonly Cell[]} run
 * @param {readonly Cell[]} committed
 * @param {(reason: string) => boolean} isExpected
 * @param {{ orMore?: boolean }} [options] also where it tried more cases of what held before: hosts differ in that too. Never where nothing had been tried
 * @returns {{ cells: Cell[], kept: Cell[] }} `kept`: those of `run` that gave way
 */
export function keepWhatIsOutOfReach(run, committed, isExpected, { orMore = false } = {}) {
  const before = new Map(committed.map((cell) => [keyOf(cell), cell]));
  const isExplained = (cell) => Object.keys(cell.skipped).every(isExpected);
  /** @type {Cell[]} */
  const kept = [];
  const cells = run.map((cell) => {
    const other = before.get(keyOf(cell));
    if (other === undefined || JSON.stringify(cell) === JSON.stringify(other)) return cell;
    const less = isLess(cell, other) && isExplained(cell);
    const more = orMore && cell.verdict === other.verdict && isLess(other, cell) && isExplained(other);
    const same = isAsMuch(cell, other) && isExplained(cell) && isExplained(other);
    if (!less && !more && !same) return cell;
    kept.push(cell);
    return other;
  });
  return { cells, kept };
}

/** Whether both are about the same cases, and fewer of them were tried in `cell`: where that leaves only refusals, it is `refused`. */
function isLess(cell, other) {
  if (!['untried', 'refused', other.verdict].includes(cell.verdict)) return false;
  if (other.verdict !== 'held' && other.verdict !== 'refused') return false;
  if (cell.cases === 0) return cell.verdict === 'untried';
  if (cell.cases !== other.cases || tried(cell) >= tried(other)) return false;
  return Object.entries(cell.lacking ?? {}).every(([features, count]) => count <= (other.lacking?.[features] ?? 0));
}

/** Whether the same was tried in both, and the rest left out for whatever reasons. */
function isAsMuch(cell, other) {
  const facts = ({ verdict, cases, lacking = {}, lighter = {} }) => JSON.stringify([verdict, cases, lacking, lighter]);
  return facts(cell) === facts(other) && tried(cell) === tried(other);
}

/** @param {Cell} cell */
export function tried({ cases, skipped, lacking = {} }) {
  return [...Object.values(skipped), ...Object.values(lacking)].reduce((left, count) => left - count, cases);
}

/**
 * What nobody may commit.
 *
 * @param {readonly Cell[]} cells
 * @returns {string[]}
 */
export function faultsOf(cells) {
  return cells
    .filter(({ verdict }) => verdict === 'failed' || verdict === 'missing')
    .map(
      (cell) =>
        `${keyOf(cell)}: ${cell.verdict === 'failed' ? 'did not hold' : 'was not tried, or not in the way that the backend promises'}`,
    );
}

/**
 * @param {readonly Cell[]} committed
 * @param {readonly Cell[]} cells
 * @returns {string[]} a line for each cell that differs
 */
export function differences(committed, cells) {
  const words = (cell) => (cell === undefined ? 'nothing' : `${cell.verdict}, ${tried(cell)} of ${cell.cases} cases`);
  const [before, now] = [committed, cells].map((list) => new Map(list.map((cell) => [keyOf(cell), cell])));
  return [...new Set([...before.keys(), ...now.keys()])]
    .filter((key) => JSON.stringify(before.get(key)) !== JSON.stringify(now.get(key)))
    .map((key) => `${key}: committed ${words(before.get(key))}; now ${words(now.get(key))}`);
}
