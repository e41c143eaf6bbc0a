// Differences as git shows them (git-diff(1), "Generating patch text with -p"), so that people read them and `git apply` takes them.
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { structuredPatch } from 'diff';
import { type Difference, deleted } from './compare.ts';
import type { Lower } from './lower.ts';
import { quoted } from './quoted.ts';
import { bytesOf, join, rawOf } from './raw.ts';
import type { UpperEntry } from './upper.ts';

/** Larger files are only named. */
const TEXT_MAX = 8 * 1024 * 1024;
/** git looks as far for a NUL. */
const BINARY_PROBE = 8000;
/** For lines that have nothing in common the search takes a time that grows with the square of their number. */
const SEARCH_MS = 2000;

/** Of one side: what a patch is made of. */
interface Side {
  readonly mode: string;
  /** `undefined`: no text. */
  readonly text: string | undefined;
}

/** `prefix`: of the names, where there are several views. */
export function diffOf(upper: string, lower: Lower, prefix: string, differences: readonly Difference[]): string {
  const above = rawOf(upper);
  // git knows no directories: what they held is shown by itself.
  const all = differences.flatMap((each) => (each.kind === 'deleted' ? withContents(lower, each) : [each]));
  return all.map((difference) => patchOf(above, lower, prefix, difference)).join('');
}

function withContents(lower: Lower, difference: Difference): Difference[] {
  if (difference.type !== 'directory') return [difference];
  return lower.names(difference.path).flatMap((name) => {
    const path = join(difference.path, name);
    const before = lower.status(path);
    return before === undefined ? [] : withContents(lower, deleted(path, before));
  });
}

function patchOf(upper: string, lower: Lower, prefix: string, difference: Difference): string {
  const { path, before, after, problem } = difference;
  const name = `${prefix}${path}`;
  if (problem !== undefined) return `# ${quoted(name)}: ${problem}\n`;
  const old = before === undefined ? undefined : sideOf(lower.at(path), before);
  const now = after === undefined ? undefined : sideOf(bytesOf(join(upper, path)), after);
  if (old === undefined && now === undefined) return '';
  const [a, b] = [quoted(`a/${name}`), quoted(`b/${name}`)];
  const head = [`diff --git ${a} ${b}`, ...modeLines(old, now)];
  return `${[...head, ...contentLines(a, b, old, now)].join('\n')}\n`;
}

function modeLines(old: Side | undefined, now: Side | undefined): string[] {
  if (old === undefined) return [`new file mode ${now?.mode}`];
  if (now === undefined) return [`deleted file mode ${old.mode}`];
  return old.mode === now.mode ? [] : [`old mode ${old.mode}`, `new mode ${now.mode}`];
}

function contentLines(a: string, b: string, old: Side | undefined, now: Side | undefined): string[] {
  const from = old === undefined ? '/dev/null' : a;
  const to = now === undefined ? '/dev/null' : b;
  const [left, right] = [old === undefined ? '' : old.text, now === undefined ? '' : now.text];
  if (left === undefined || right === undefined) return [`Binary files ${from} and ${to} differ`];
  if (left === right) return [];
  const hunks = structuredPatch('', '', left, right, '', '', { context: 3, timeout: SEARCH_MS })?.hunks ?? [
    wholeHunk(left, right),
  ];
  return [
    `--- ${from}`,
    `+++ ${to}`,
    ...hunks.flatMap(({ oldStart, oldLines, newStart, newLines, lines }) => [
      `@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@`,
      ...lines,
    ]),
  ];
}

/** Of an empty side the line before counts, which is 0. */
function range(start: number, lines: number): string {
  const first = lines === 0 ? start - 1 : start;
  return lines === 1 ? String(first) : `${Math.max(first, 0)},${lines}`;
}

type Hunk = NonNullable<ReturnType<typeof structuredPatch>>['hunks'][number];

/** All of one for all of the other, where nothing better was found in time. */
function wholeHunk(left: string, right: string): Hunk {
  const [removed, added] = [linesOf(left, '-'), linesOf(right, '+')];
  const count = (lines: readonly string[]): number => lines.filter((line) => !line.startsWith('\\')).length;
  return {
    oldStart: 1,
    oldLines: count(removed),
    newStart: 1,
    newLines: count(added),
    lines: [...removed, ...added],
  };
}

function linesOf(text: string, mark: string): string[] {
  if (text === '') return [];
  const whole = text.endsWith('\n');
  const lines = (whole ? text.slice(0, -1) : text).split('\n').map((line) => `${mark}${line}`);
  return whole ? lines : [...lines, '\\ No newline at end of file'];
}

/** `undefined` for a directory. */
function sideOf(path: Buffer, status: BigIntStats | UpperEntry): Side | undefined {
  const { type, mode } = 'type' in status ? status : { type: typeOfStatus(status), mode: Number(status.mode) };
  if (type === 'directory') return undefined;
  if (type === 'symlink') {
    const target = readlinkSync(path, { encoding: 'buffer' });
    return { mode: '120000', text: target.toString('utf8') };
  }
  return { mode: (mode & 0o100) === 0 ? '100644' : '100755', text: type === 'file' ? textOfFile(path) : undefined };
}

function typeOfStatus(status: BigIntStats): UpperEntry['type'] {
  if (status.isDirectory()) return 'directory';
  if (status.isSymbolicLink()) return 'symlink';
  return status.isFile() ? 'file' : 'device';
}

function textOfFile(path: Buffer): string | undefined {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (fstatSync(descriptor).size > TEXT_MAX) return undefined;
    const bytes = readFileSync(descriptor);
    if (bytes.length > TEXT_MAX || bytes.subarray(0, BINARY_PROBE).includes(0)) return undefined;
    const text = bytes.toString('utf8');
    // Else the patch would not be about these bytes.
    return Buffer.from(text).equals(bytes) ? text : undefined;
  } finally {
    closeSync(descriptor);
  }
}
