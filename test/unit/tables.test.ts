// How results of tests become the tables of docs/: nothing that was not run may look as if it had held.
import { describe, expect, test } from 'vitest';
// @ts-expect-error: plain JavaScript of the scripts
import { cellsOf, differences, faultsOf, keepWhatIsOutOfReach } from '../../scripts/lib/cells.mjs';
// @ts-expect-error: plain JavaScript of the scripts
import { renderMatrix } from '../../scripts/lib/matrix.mjs';
import type { TrialRecord } from '../helpers/trials-reporter.ts';

interface Cell {
  readonly row: string;
  readonly backend: string;
  readonly caller: string;
  readonly verdict: string;
  readonly cases: number;
  readonly skipped: Readonly<Record<string, number>>;
}

const shape = { rows: ['climb', 'dig'], backends: ['native'], kindOf: () => undefined, absent: {} };

function record(values: Partial<TrialRecord> = {}): TrialRecord {
  const state = {
    backend: 'native',
    caller: 'root',
    rows: ['climb'],
    kind: 'trial',
    title: 'a',
    state: 'passed',
  } as const;
  return { ...state, ...values };
}

/** `climb` on native as root. */
function cellOf(records: readonly TrialRecord[], changes: object = {}): Cell {
  return (cellsOf(records, { ...shape, ...changes }) as Cell[])[0] as Cell;
}

const skipped = (reason: string, title = 'a'): TrialRecord => record({ state: 'skipped', reason, title });

describe('a cell', () => {
  test('holds where every case passed', () => {
    expect(cellOf([record(), record({ title: 'b' })])).toMatchObject({ verdict: 'held', cases: 2, skipped: {} });
  });

  test('fails with one case', () => {
    expect(cellOf([record(), record({ title: 'b', state: 'failed' })]).verdict).toBe('failed');
    expect(cellOf([record({ kind: 'refusal', state: 'failed' })]).verdict).toBe('failed');
  });

  test('is missing where no test is', () => {
    expect(cellOf([]).verdict).toBe('missing');
    expect(cellOf([record({ rows: ['dig'] })]).verdict).toBe('missing');
    expect(cellOf([record({ caller: 'user' })]).verdict).toBe('missing');
  });

  test('is missing where a promise was refused instead of tried, or tried without being one', () => {
    expect(cellOf([record({ kind: 'refusal' })], { kindOf: () => 'trial' }).verdict).toBe('missing');
    expect(cellOf([record()], { kindOf: () => 'refusal' }).verdict).toBe('missing');
    expect(cellOf([record(), record({ kind: 'refusal', title: 'b' })]).verdict).toBe('missing');
  });

  test('is refused where asking was', () => {
    expect(cellOf([record({ kind: 'refusal' })]).verdict).toBe('refused');
  });

  test('counts what was refused because a case asks for more, and is refused where that is all', () => {
    const lacks = ['capabilities.keep'] as const;
    expect(cellOf([record(), record({ lacks, title: 'b' })])).toMatchObject({
      verdict: 'held',
      lacking: { 'capabilities.keep': 1 },
    });
    expect(cellOf([record({ lacks }), skipped('no', 'b')]).verdict).toBe('refused');
    expect(cellOf([record(), record({ lacks, state: 'failed', title: 'b' })]).verdict).toBe('failed');
  });

  test('says what was repeated less often, and why', () => {
    const strength = { strength: 0.1, lighterBecause: 'the same code' };
    expect(cellOf([record(strength), record({ title: 'b' })])).toMatchObject({
      verdict: 'held',
      cases: 2,
      lighter: { '0.1 of the repetitions: the same code': 1 },
    });
  });

  test('is untried where all was skipped, and says how much was elsewhere', () => {
    expect(cellOf([skipped('no')])).toMatchObject({ verdict: 'untried', cases: 1, skipped: { no: 1 } });
    const some = [record(), skipped('no', 'b'), skipped('no', 'c')];
    expect(cellOf(some)).toMatchObject({ verdict: 'held', cases: 3, skipped: { no: 2 } });
  });

  test('counts a case once that ran twice, at its worst', () => {
    expect(cellOf([record(), record({ state: 'failed' })])).toMatchObject({ verdict: 'failed', cases: 1 });
    expect(cellOf([record(), skipped('no')])).toMatchObject({ verdict: 'held', cases: 1, skipped: {} });
  });

  test('of a caller that the run cannot have says why', () => {
    expect(cellOf([], { absent: { root: 'no root' } })).toMatchObject({
      verdict: 'untried',
      skipped: { 'no root': 0 },
    });
  });

  test('is empty where there is nothing to try', () => {
    expect(cellOf([], { kindOf: () => 'nothing' }).verdict).toBe('nothing');
  });
});

test('a test that is of no cell is an error', () => {
  expect(() => cellsOf([record({ rows: ['fly'] })], shape)).toThrow('fly, native, root');
});

test('failed and missing cells are faults', () => {
  const cells = cellsOf([record({ state: 'failed' }), record({ rows: ['dig'] })], shape);
  expect(faultsOf(cells)).toEqual([
    'climb, native, root: did not hold',
    'climb, native, user: was not tried, or not in the way that the backend promises',
    'dig, native, user: was not tried, or not in the way that the backend promises',
  ]);
});

describe('on a host that cannot try everything', () => {
  const full = cellsOf([record(), record({ title: 'b' })], shape) as Cell[];
  const keep = (records: readonly TrialRecord[]): Cell =>
    (
      keepWhatIsOutOfReach(cellsOf(records, shape), full, (reason: string) => reason === 'expected') as {
        cells: Cell[];
      }
    ).cells[0] as Cell;

  test('what was committed stays, for an expected reason', () => {
    expect(keep([skipped('expected'), skipped('expected', 'b')])).toEqual(full[0]);
    expect(keep([record(), skipped('expected', 'b')])).toEqual(full[0]);
  });

  test('it does not for any other reason, for other cases, or where something failed or is missing', () => {
    expect(keep([skipped('whim'), skipped('expected', 'b')]).verdict).toBe('untried');
    expect(keep([skipped('expected')]).verdict).toBe('untried');
    expect(keep([record({ state: 'failed' }), skipped('expected', 'b')]).verdict).toBe('failed');
    expect(keep([]).verdict).toBe('missing');
  });

  test('a host that can try more of what held agrees, unless the table is being written', () => {
    const committed = cellsOf([record(), skipped('expected', 'b')], shape) as Cell[];
    const agree = (orMore: boolean): Cell[] =>
      (keepWhatIsOutOfReach(full, committed, () => true, { orMore }) as { cells: Cell[] }).cells;
    expect(differences(committed, agree(true))).toEqual([]);
    expect(differences(committed, agree(false))).toHaveLength(1);
    const whim = keepWhatIsOutOfReach(full, committed, () => false, { orMore: true }) as { cells: Cell[] };
    expect(differences(committed, whim.cells)).toHaveLength(1);
  });

  test('what is left of a cell where only the refusals could be tried gives way to what was committed', () => {
    const lacking = record({ title: 'b', lacks: ['cwd'] });
    const committed = cellsOf([record(), lacking], shape) as Cell[];
    const agree = (records: readonly TrialRecord[]): Cell[] =>
      (keepWhatIsOutOfReach(cellsOf(records, shape), committed, () => true) as { cells: Cell[] }).cells;
    expect(differences(committed, agree([skipped('expected'), lacking]))).toEqual([]);
    // That much more is refused is news.
    const more = [record({ lacks: ['env'] }), lacking];
    expect(differences(committed, agree(more))).toHaveLength(1);
    expect(differences(committed, agree([skipped('expected'), record({ title: 'b', lacks: ['env'] })]))).toHaveLength(
      1,
    );
  });

  test('as much, with the rest left out for another expected reason, agrees', () => {
    const committed = cellsOf([record(), skipped('needs root', 'b')], shape) as Cell[];
    const now = cellsOf([record(), skipped('takes long', 'b')], shape) as Cell[];
    const agree = (isExpected: () => boolean): Cell[] =>
      (keepWhatIsOutOfReach(now, committed, isExpected) as { cells: Cell[] }).cells;
    expect(
      differences(
        committed,
        agree(() => true),
      ),
    ).toEqual([]);
    expect(
      differences(
        committed,
        agree(() => false),
      ),
    ).toHaveLength(1);
  });

  test('a committed cell that was not tried gives way to one that was', () => {
    const committed = cellsOf([skipped('expected')], shape);
    const now = cellsOf([record()], shape);
    const { cells } = keepWhatIsOutOfReach(now, committed, () => true, { orMore: true }) as { cells: Cell[] };
    expect(differences(committed, cells)).toEqual([
      'climb, native, root: committed untried, 0 of 1 cases; now held, 1 of 1 cases',
    ]);
  });
});

test('a table has one field for both callers, and a note for each reason', () => {
  const both = (values: Partial<TrialRecord>): TrialRecord[] => [record(values), record({ ...values, caller: 'user' })];
  const records = [
    ...both({}),
    record({ title: 'b' }),
    record({ title: 'b', caller: 'user', state: 'skipped', reason: 'needs root' }),
    ...both({ rows: ['dig'], kind: 'refusal' }),
  ];
  const words = { held: 'held', refused: 'refused' };
  const style = { heading: 'technique', count: 'cases', nameOf: (row: string) => `*${row}*`, words };
  expect(renderMatrix(cellsOf(records, shape), style)).toBe(
    [
      '| technique | cases | `native` |',
      '| --- | --- | --- |',
      '| *climb* | 2 | held / held<sup>1</sup> |',
      '| *dig* |  | refused |',
      '',
      '1. Not tried, *needs root*: climb on `native` as an ordinary user, 1 of 2 cases.',
    ].join('\n'),
  );
});
