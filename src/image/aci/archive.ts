// Which entries an App Container archive may have: a file `manifest` and a directory `rootfs` at its top, nothing else, and nothing twice. It is
// fed what the reader of archives sees; it reads nothing itself.
import { ImageError, type SpecIssue } from '../../errors/errors.ts';
import type { EntryKind } from '../archive/tar.ts';
import { shorten } from '../place.ts';

export interface ArchiveEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character-device' | 'block-device' | 'other';
}

/** Of what readers of archives call them. */
export const entryTypes: Readonly<Record<EntryKind, ArchiveEntry['type']>> = {
  file: 'file',
  directory: 'directory',
  symlink: 'symlink',
  link: 'hardlink',
  fifo: 'fifo',
  character: 'character-device',
  block: 'block-device',
};

/** Issues beyond these are counted only: an archive may have as many as entries. */
const ISSUES_MAX = 100;

export class AciArchiveRules {
  readonly #seen = new Set<string>();
  readonly #issues: SpecIssue[] = [];
  #more = 0;
  #manifest = false;
  #rootfs = false;

  /** Where this entry belongs; `undefined` where it has no place, which is an issue. */
  entry({ path, type }: ArchiveEntry): 'manifest' | 'rootfs' | undefined {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    const clean = parts.join('/');
    // The directory that was packed, of `tar -C image -c .`: it says nothing.
    if (clean === '' && type === 'directory' && !path.startsWith('/')) return undefined;
    if (path.startsWith('/') || parts.includes('..') || clean === '')
      return this.#report(path, 'is not a path below the top of the archive');
    // The reference code lets a second manifest pass, and joins it to the first.
    if (this.#seen.has(clean)) return this.#report(path, 'stands twice in the archive');
    this.#seen.add(clean);
    // The whole name counts: the reference code takes rootfsX for rootfs.
    if (parts[0] === 'manifest') return this.#manifestEntry(path, type, parts.length);
    if (parts[0] === 'rootfs') return this.#rootfsEntry(path, type, parts.length);
    return this.#report(
      path,
      "has no place: an App Container archive has 'manifest' and 'rootfs' at its top, nothing else",
    );
  }

  /** @throws {ImageError} `SBX_IMAGE_INVALID` with all that was wrong. */
  finish(): void {
    const issues = [...this.#issues];
    if (this.#more > 0) issues.push({ path: [], message: `and ${this.#more} more` });
    if (!this.#manifest) issues.push({ path: [], message: 'there is no image manifest' });
    if (!this.#rootfs) issues.push({ path: [], message: 'there is no rootfs' });
    if (issues.length > 0)
      throw new ImageError('SBX_IMAGE_INVALID', 'the archive is no App Container image', { issues });
  }

  #manifestEntry(path: string, type: ArchiveEntry['type'], depth: number): 'manifest' | undefined {
    this.#manifest = true;
    if (depth > 1) return this.#report(path, "lies below 'manifest', which is a file");
    return type === 'file' ? 'manifest' : this.#report(path, `must be a regular file, and is a ${type}`);
  }

  #rootfsEntry(path: string, type: ArchiveEntry['type'], depth: number): 'rootfs' | undefined {
    // tar need not name a directory before what is in it.
    this.#rootfs = true;
    if (depth > 1 || type === 'directory') return 'rootfs';
    return this.#report(path, `must be a directory, and is a ${type}`);
  }

  #report(path: string, problem: string): undefined {
    if (this.#issues.length === ISSUES_MAX) this.#more += 1;
    else this.#issues.push({ path: [], message: `'${shorten(path)}' ${problem}` });
    return undefined;
  }
}
