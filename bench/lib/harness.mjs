// Measuring, all ways in turn in one process, so that noise hits all alike; medians, and ratios to the first way.
import { setTimeout as delay } from 'node:timers/promises';

/** What a way leaves to be done behind its end is not to be in the time of the next. */
const REST_MS = 5;

/**
 * @typedef {object} Way
 * @property {string} name
 * @property {() => Promise<number | void>} [once] one measurement; what it resolves to counts, in the table's unit, or else the milliseconds that it took
 * @property {string} [absent] why it cannot be measured here
 * @property {string} [note]
 */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} [median]
 * @property {number} [ratio] to the first way that could be measured
 * @property {number[]} [samples]
 * @property {string} [absent]
 * @property {string} [note]
 */

/** @typedef {{ title: string, unit: string, rows: Row[] }} Table */

/**
 * Measures each way `rounds` times, in turn. A way that fails is named in the table with its reason, and left out from then on.
 *
 * @param {string} title
 * @param {readonly Way[]} ways the first is what the others are compared with
 * @param {{ rounds: number, unit?: string, warm?: boolean }} options `warm`: once before, not counted
 * @returns {Promise<Table>}
 */
export async function inTurn(title, ways, { rounds, unit = 'ms', warm = true }) {
  const rows = ways.map(({ name, absent, note }) => ({ name, absent, note, samples: [] }));
  for (let round = warm ? -1 : 0; round < rounds; round++) {
    for (const [index, { once }] of ways.entries()) {
      const row = rows[index];
      if (row.absent !== undefined) continue;
      await delay(REST_MS);
      const start = performance.now();
      try {
        const value = (await once()) ?? performance.now() - start;
        if (round >= 0) row.samples.push(value);
      } catch (error) {
        row.absent = `failed: ${String(error.message).split('\n')[0]}`;
      }
    }
  }
  return { title, unit, rows: withRatios(rows) };
}

/** @param {Row[]} rows @returns {Row[]} */
export function withRatios(rows) {
  const withMedians = rows.map((row) =>
    row.absent === undefined
      ? { ...row, median: row.median ?? median(row.samples) }
      : { name: row.name, absent: row.absent },
  );
  const base = withMedians.find((row) => row.median !== undefined)?.median;
  return withMedians.map((row) => (row.median === undefined ? row : { ...row, ratio: row.median / base }));
}

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {Table} table */
export function printTable({ title, unit, rows }) {
  const width = Math.max(...rows.map(({ name }) => name.length));
  console.log(`\n${title}`);
  for (const { name, median: value, ratio, absent, note } of rows) {
    const figures =
      absent === undefined
        ? `${value.toFixed(2).padStart(10)} ${unit}  x ${ratio.toFixed(2)}`
        : `    absent: ${absent}`;
    console.log(`  ${name.padEnd(width)} ${figures}${note === undefined ? '' : `  (${note})`}`);
  }
}
