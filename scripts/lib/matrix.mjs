// Cells as a table in Markdown: a line for each row, a column for each backend; both callers share a field. Pure.
import { callers, tried } from './cells.mjs';

/**
 * @typedef {import('./cells.mjs').Cell} Cell
 *
 * @typedef {object} Style
 * @property {string} heading of the first column
 * @property {string} [count] heading of a column that counts the cases of a row
 * @property {(row: string) => string} nameOf
 * @property {Readonly<Record<import('./cells.mjs').Verdict, string | ((cell: Cell) => string)>>} words
 */

/** @type {Readonly<Record<import('./cells.mjs').Caller, string>>} */
const callerNames = { root: 'root', user: 'an ordinary user' };

/**
 * @param {readonly Cell[]} cells
 * @param {Style} style
 */
export function renderMatrix(cells, style) {
  const backends = [...new Set(cells.map(({ backend }) => backend))];
  const rows = [...new Set(cells.map(({ row }) => row))];
  const notes = new Map();
  const lines = rows.map((row) => {
    const ofRow = cells.filter((cell) => cell.row === row);
    const fields = backends.map((backend) =>
      fieldOf(
        ofRow.filter((cell) => cell.backend === backend),
        style,
        notes,
      ),
    );
    return [style.nameOf(row), ...(style.count === undefined ? [] : [countOf(ofRow)]), ...fields];
  });
  const head = [
    style.heading,
    ...(style.count === undefined ? [] : [style.count]),
    ...backends.map((name) => `\`${name}\``),
  ];
  const table = [head, head.map(() => '---'), ...lines].map((fields) => `| ${fields.join(' | ')} |`).join('\n');
  return notes.size === 0 ? table : `${table}\n\n${[...notes].map(noteOf).join('\n')}`;
}

/** @param {readonly Cell[]} cells */
function countOf(cells) {
  const counts = cells.filter(({ verdict }) => verdict !== 'refused').map(({ cases }) => cases);
  return counts.length === 0 ? '' : String(Math.max(...counts));
}

/**
 * `root / user`, or one word where they agree.
 *
 * @param {readonly Cell[]} cells
 * @param {Style} style
 * @param {Map<string, Cell[]>} notes by what they say; the marks are their places
 */
function fieldOf(cells, style, notes) {
  const texts = callers.map((caller) => {
    const cell = cells.find((candidate) => candidate.caller === caller);
    const word = style.words[cell.verdict];
    return `${typeof word === 'string' ? word : word(cell)}${marksOf(cell, notes)}`;
  });
  return [...new Set(texts)].join(' / ');
}

/**
 * @param {Cell} cell
 * @param {Map<string, Cell[]>} notes
 */
function marksOf(cell, notes) {
  return sayings
    .flatMap(({ of, say }) => Object.keys(cell[of] ?? {}).map(say))
    .map((saying) => {
      notes.set(saying, [...(notes.get(saying) ?? []), cell]);
      return `<sup>${[...notes.keys()].indexOf(saying) + 1}</sup>`;
    })
    .join('');
}

/** @type {readonly { of: 'skipped' | 'lacking' | 'lighter', say: (why: string) => string }[]} */
const sayings = [
  { of: 'skipped', say: (reason) => `Not tried, *${reason}*` },
  { of: 'lacking', say: (features) => `Cases that also ask for ${features} are refused by name` },
  { of: 'lighter', say: (reason) => `Repeated less often than on the native backend, ${reason}` },
];

/**
 * Where only a part was skipped, how much.
 *
 * @param {[string, Cell[]]} note
 * @param {number} index
 */
function noteOf([saying, cells], index) {
  const skippedBy = (cell) => Object.entries(cell.skipped).find(([reason]) => sayings[0].say(reason) === saying)?.[1];
  const parts = cells
    .filter((cell) => tried(cell) > 0 && skippedBy(cell) !== undefined)
    .map((cell) => {
      const { row, backend, caller, cases } = cell;
      return `${row} on \`${backend}\` as ${callerNames[caller]}, ${skippedBy(cell)} of ${cases} cases`;
    });
  return `${index + 1}. ${saying}${parts.length === 0 ? '' : `: ${parts.join('; ')}`}.`;
}
