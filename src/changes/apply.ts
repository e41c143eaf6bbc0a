// Does to a directory what a command did to its view of it. The captured files are hostile and the directory is somebody's own: a change is made in the very
// directory that was looked at, by one name, and a file appears under its name only when it is whole.
import { randomBytes } from 'node:crypto';
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { SandboxError } from '../errors/errors.ts';
import { Directory } from '../host/directory.ts';
import type { Difference } from './compare.ts';
import { nameOf, parentOf, textOf } from './raw.ts';
import type { ApplyReport } from './types.ts';
import type { UpperEntry } from './upper.ts';

const CHUNK = 1 << 20;
const CONFLICTS_SHOWN = 20;
/** chmod(2): set-user-ID and set-group-ID. A command must not give away what its caller may do. */
const SET_IDS = 0o6000;

/** One view, and what changed in it. */
export interface Work {
  /** Of the capture. */
  readonly id: string;
  readonly upper: string;
  readonly source: string;
  readonly differences: readonly Difference[];
}

/**
 * Whom applied files belong to. `all`: whom they did in the view. `known`: whom they did before, where the command left that as it was; else the caller.
 * `none`: the caller.
 */
export type GivesOwners = 'all' | 'known' | 'none';

/** proc_sys_kernel(5), overflowuid: who has no name in a user namespace. */
const NOBODY = 65534;

/** @throws {SandboxError} `SBX_CHANGES_CONFLICT` before anything is changed. */
export function applyAll(works: readonly Work[], startedNs: bigint, owners: GivesOwners): ApplyReport {
  const conflicts = works.flatMap((work) => conflictsOf(work, startedNs));
  if (conflicts.length > 0) throw conflictError(conflicts);
  const skipped: { source: string; because: string }[] = [];
  let applied = 0;
  for (const work of works) applied += new Application(work, owners, skipped).run();
  return { applied, skipped };
}

function conflictError(conflicts: readonly string[]): SandboxError {
  const more = conflicts.length - CONFLICTS_SHOWN;
  const shown = conflicts.slice(0, CONFLICTS_SHOWN).join('; ');
  return new SandboxError(
    'SBX_CHANGES_CONFLICT',
    `nothing was applied, because the source has changed since the run began: ${shown}${more > 0 ? `; and ${more} more` : ''}`,
    { remedy: 'look at both with diff, apply by hand what is wanted, and discard the rest' },
  );
}

function conflictsOf({ source, differences }: Work, startedNs: bigint): string[] {
  using root = Directory.open(source);
  return differences.flatMap((difference) => {
    const why = conflict(root, difference, startedNs);
    return why === undefined ? [] : [`${source}/${textOf(difference.path)} ${why}`];
  });
}

/** A difference says what was found when it was made; here is what is found now. Whoever touched a file since gave it a later ctime. */
function conflict(root: Directory, { kind, path, before, type }: Difference, startedNs: bigint): string | undefined {
  const parent = enterParent(root, path);
  if (parent === undefined) return kind === 'added' ? undefined : 'is gone';
  try {
    const now = parent.status(nameOf(path));
    if (kind === 'added') return now === undefined || isNewToo(now, type) ? undefined : 'exists by now';
    if (now === undefined) return kind === 'deleted' ? undefined : 'is gone';
    // Of a directory that stays one this would be about what else is in it.
    if (type === 'directory' && now.isDirectory() && kind === 'modified') return undefined;
    if (before === undefined || now.ctimeNs >= startedNs) return 'was changed';
    if (now.isDirectory() && holdsNewer(parent, nameOf(path), startedNs)) return 'holds something new';
    return undefined;
  } finally {
    if (parent !== root) parent.close();
  }
}

/** Both made the same directory. */
function isNewToo(now: BigIntStats, type: Difference['type']): boolean {
  return type === 'directory' && now.isDirectory();
}

function holdsNewer(parent: Directory, name: string, startedNs: bigint): boolean {
  using directory = parent.enter(name);
  return directory.names().some((child) => {
    const status = directory.status(child);
    if (status === undefined) return false;
    return status.ctimeNs >= startedNs || (status.isDirectory() && holdsNewer(directory, child, startedNs));
  });
}

/** The directory that holds `path`; `root` itself for a name in it, `undefined` where the way is not there, or leads over a symlink. */
function enterParent(root: Directory, path: string): Directory | undefined {
  let directory = root;
  for (const name of parentOf(path).split('/').filter(Boolean)) {
    try {
      const next = directory.enter(name);
      if (directory !== root) directory.close();
      directory = next;
    } catch (error) {
      if (directory !== root) directory.close();
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined;
      throw error;
    }
  }
  return directory;
}

class Application {
  readonly #work: Work;
  readonly #skipped: { source: string; because: string }[];
  readonly #owners: GivesOwners;
  /** What a directory gets once all in it is done: it may not let its owner write. */
  readonly #later: { readonly path: string; readonly entry: UpperEntry }[] = [];
  /** What files are called until they are whole. One of these is left behind where somebody kills this process. */
  readonly #temporary: string;
  readonly #cleared = new Set<string>();

  constructor(work: Work, owners: GivesOwners, skipped: { source: string; because: string }[]) {
    this.#work = work;
    this.#temporary = `.sandboxlib-${work.id}-`;
    this.#owners = owners;
    this.#skipped = skipped;
  }

  run(): number {
    using upper = Directory.open(this.#work.upper);
    using root = Directory.open(this.#work.source);
    let done = 0;
    for (const difference of this.#work.differences) {
      if (difference.problem === undefined) {
        this.#inParents(upper, root, difference);
        done += 1;
      } else this.#skip(difference.path, difference.problem);
    }
    for (const { path, entry } of this.#later.reverse()) {
      this.#inParent(root, path, (parent) => {
        chmodSync(parent.at(nameOf(path)), entry.mode & ~SET_IDS);
        lutimesSync(parent.at(nameOf(path)), entry.mtime, entry.mtime);
      });
    }
    return done;
  }

  #inParents(upper: Directory, root: Directory, difference: Difference): void {
    this.#inParent(root, difference.path, (to) => {
      if (difference.after === undefined) to.remove(nameOf(difference.path));
      else {
        this.#clear(to, parentOf(difference.path));
        this.#inParent(upper, difference.path, (from) => this.#make(from, to, difference, difference.after));
      }
    });
  }

  /** Of what was left by somebody who began with these changes before. */
  #clear(directory: Directory, path: string): void {
    if (this.#cleared.has(path)) return;
    this.#cleared.add(path);
    for (const name of directory.names()) if (name.startsWith(this.#temporary)) directory.remove(name);
  }

  #inParent(root: Directory, path: string, action: (parent: Directory) => void): void {
    const parent = enterParent(root, path);
    if (parent === undefined) {
      throw new SandboxError(
        'SBX_CHANGES_CONFLICT',
        `${this.#work.source}/${textOf(parentOf(path))} is no directory any more`,
      );
    }
    try {
      action(parent);
    } finally {
      if (parent !== root) parent.close();
    }
  }

  #make(from: Directory, to: Directory, difference: Difference, entry: UpperEntry | undefined): void {
    if (entry === undefined) return;
    const name = nameOf(difference.path);
    const existing = to.status(name);
    if (entry.type === 'directory') {
      if (existing?.isDirectory() !== true) {
        if (existing !== undefined) to.remove(name);
        mkdirSync(to.at(name), 0o700);
      }
      if (this.#givesOwner(entry, difference.before)) lchownSync(to.at(name), entry.uid, entry.gid);
      this.#later.push({ path: difference.path, entry });
      return;
    }
    const beside = `${this.#temporary}${randomBytes(8).toString('hex')}`;
    try {
      if (entry.type === 'symlink') this.#makeSymlink(from, to, beside, difference, entry);
      else this.#copy(from, to, name, beside, entry, difference.before);
      if (existing?.isDirectory() === true) to.remove(name);
      renameSync(to.at(beside), to.at(name));
    } catch (error) {
      to.remove(beside);
      throw error;
    }
  }

  #makeSymlink(from: Directory, to: Directory, beside: string, { path, before }: Difference, entry: UpperEntry): void {
    symlinkSync(readlinkSync(from.at(nameOf(path)), { encoding: 'buffer' }), to.at(beside));
    if (this.#givesOwner(entry, before)) lchownSync(to.at(beside), entry.uid, entry.gid);
    lutimesSync(to.at(beside), entry.mtime, entry.mtime);
  }

  #copy(
    from: Directory,
    to: Directory,
    name: string,
    beside: string,
    entry: UpperEntry,
    before: BigIntStats | undefined,
  ): void {
    const source = openSync(from.at(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const target = openSync(
        to.at(beside),
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        0o600,
      );
      try {
        copyContent(source, target);
        if (this.#givesOwner(entry, before)) fchownSync(target, entry.uid, entry.gid);
        fchmodSync(target, this.#modeOf(entry, before, name));
        futimesSync(target, entry.mtime, entry.mtime);
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
  }

  #givesOwner({ uid, gid, path }: UpperEntry, before: BigIntStats | undefined): boolean {
    if (this.#owners !== 'known') return this.#owners === 'all';
    const isAsBefore = before !== undefined && uid === Number(before.uid) && gid === Number(before.gid);
    if (isAsBefore && uid !== NOBODY && gid !== NOBODY) return true;
    // 0 is the caller there (in-ranges.ts).
    if (uid !== 0 || gid !== 0) this.#skip(path, 'belongs to the caller now, for it was of an id of the sandbox');
    return false;
  }

  #modeOf(entry: UpperEntry, before: BigIntStats | undefined, name: string): number {
    const had = before === undefined ? 0 : Number(before.mode) & SET_IDS;
    const given = entry.mode & SET_IDS & ~had;
    if (given !== 0) this.#skip(entry.path, `${textOf(name)} does not get the set-user-ID or set-group-ID bit`);
    return entry.mode & ~given;
  }

  #skip(path: string, because: string): void {
    this.#skipped.push({ source: `${this.#work.source}/${textOf(path)}`, because });
  }
}

function copyContent(from: number, to: number): void {
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (;;) {
    const length = readSync(from, buffer);
    if (length === 0) return;
    for (let done = 0; done < length; ) done += writeSync(to, buffer, done, length - done);
  }
}
