// A layer above an overlay against the directory below it: which differences a person would call changes.
import { type BigIntStats, closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs';
import type { Lower } from './lower.ts';
import { bytesOf, join, nameOf, parentOf, rawOf, typeOf } from './raw.ts';
import type { Change, ChangedType } from './types.ts';
import type { UpperEntry } from './upper.ts';

/** A change with all that is needed to show or to apply it. */
export interface Difference {
  readonly kind: Change['kind'];
  readonly type: ChangedType;
  /** Relative to both directories; see raw.ts. */
  readonly path: string;
  /** Of the layer above; absent for what was deleted. */
  readonly after: UpperEntry | undefined;
  /** Of the directory below, as it is now; absent for what was added. */
  readonly before: BigIntStats | undefined;
  readonly problem: string | undefined;
}

/** How a directory of the layer above lies over the one below: with its contents, or in its place; `new`: there is none below. */
type Relation = 'merged' | 'replaced' | 'new';

/** `entries`: each directory before what it holds. */
export function compare(upper: string, lower: Lower, entries: readonly UpperEntry[]): Difference[] {
  const comparison = new Comparison(upper, lower, entries);
  return comparison.differences();
}

class Comparison {
  readonly #upper: string;
  readonly #lower: Lower;
  readonly #entries: readonly UpperEntry[];
  readonly #relations = new Map<string, Relation>([['', 'merged']]);
  readonly #names = new Map<string, Set<string>>();

  constructor(upper: string, lower: Lower, entries: readonly UpperEntry[]) {
    this.#upper = rawOf(upper);
    this.#lower = lower;
    this.#entries = entries;
    for (const { path } of entries) {
      const parent = parentOf(path);
      const names = this.#names.get(parent) ?? new Set();
      this.#names.set(parent, names.add(nameOf(path)));
    }
  }

  differences(): Difference[] {
    const found = this.#entries.flatMap((entry) => this.#differencesOf(entry));
    return found.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  }

  #differencesOf(entry: UpperEntry): Difference[] {
    const relation = this.#relations.get(parentOf(entry.path)) ?? 'new';
    const before = relation === 'new' ? undefined : this.#lower.status(entry.path);
    if (entry.type === 'whiteout') return before === undefined ? [] : [deleted(entry.path, before)];
    const found = this.#kindOf(entry, before);
    if (entry.type !== 'directory') return found;
    const over = before?.isDirectory() === true;
    this.#relations.set(entry.path, over ? (entry.opaque || relation === 'replaced' ? 'replaced' : 'merged') : 'new');
    return [...found, ...(this.#relations.get(entry.path) === 'replaced' ? this.#hidden(entry.path) : [])];
  }

  #kindOf(entry: UpperEntry, before: BigIntStats | undefined): Difference[] {
    const type = entry.type === 'whiteout' ? 'device' : entry.type;
    const problem = problemOf(entry);
    const difference = { type, path: entry.path, after: entry, before, problem };
    if (before === undefined) return [{ kind: 'added', ...difference }];
    return problem === undefined && this.#isSame(entry, before) ? [] : [{ kind: 'modified', ...difference }];
  }

  /** What the directory below has and the one that took its place has not. */
  #hidden(path: string): Difference[] {
    const kept = this.#names.get(path) ?? new Set();
    return this.#lower
      .names(path)
      .filter((name) => !kept.has(name))
      .flatMap((name) => {
        const before = this.#lower.status(join(path, name));
        return before === undefined ? [] : [deleted(join(path, name), before)];
      });
  }

  #isSame(entry: UpperEntry, before: BigIntStats): boolean {
    if (entry.type !== typeOf(before)) return false;
    const above = bytesOf(join(this.#upper, entry.path));
    const below = this.#lower.at(entry.path);
    if (entry.type === 'symlink') return linkOf(above) === linkOf(below);
    if (entry.mode !== Number(before.mode & 0o7777n)) return false;
    if (entry.uid !== Number(before.uid) || entry.gid !== Number(before.gid)) return false;
    if (entry.type !== 'file') return true;
    return entry.size === Number(before.size) && sameContent(above, below);
  }
}

function linkOf(path: Buffer): string {
  return readlinkSync(path, { encoding: 'buffer' }).toString('latin1');
}

/** By name, a directory before what it holds and that before what comes next. */
function sortKey({ path }: Difference): string {
  return path.replaceAll('/', '\0');
}

function problemOf({ tooDeep, type }: UpperEntry): string | undefined {
  if (tooDeep) return 'lies too deep to be looked into';
  return type === 'device' || type === 'socket' || type === 'fifo' ? `a ${type} cannot be applied` : undefined;
}

export function deleted(path: string, before: BigIntStats): Difference {
  return { kind: 'deleted', type: typeOf(before), path, after: undefined, before, problem: undefined };
}

const CHUNK = 1 << 16;

/** Preconditions: both are files of the same size. What may not be read counts as different. */
function sameContent(a: Buffer, b: Buffer): boolean {
  const first = openFile(a);
  const second = openFile(b);
  try {
    return first !== undefined && second !== undefined && sameBytes(first, second);
  } finally {
    for (const descriptor of [first, second]) if (descriptor !== undefined) closeSync(descriptor);
  }
}

function openFile(path: Buffer): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return undefined;
    throw error;
  }
}

function sameBytes(a: number, b: number): boolean {
  const [left, right] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
  for (;;) {
    const length = readSync(a, left);
    let more = 0;
    while (more < length) {
      const got = readSync(b, right, more, length - more, null);
      if (got === 0) return false;
      more += got;
    }
    if (length === 0) return readSync(b, right) === 0;
    if (left.compare(right, 0, length, 0, length) !== 0) return false;
  }
}
