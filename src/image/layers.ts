// Entries of archives as records: what replaces what, what whiteouts do, and which directories wait for the end. Pure, but for reading the entries.
import { shown } from './archive/bytes.ts';
import { invalid } from './archive/failure.ts';
import type { TarEntry } from './archive/tar.ts';
import { join, NameTree } from './name-tree.ts';
import {
  attributesRecord,
  dataHead,
  emptyRecord,
  endRecord,
  entryRecord,
  type FileAttributes,
  KEPT_MAX,
  removeRecord,
} from './records.ts';

/**
 * What `.wh.NAME` and `.wh..wh..opq` are (OCI image spec, layer.md): files like others; removals from the layers below, done at once; or the marks of
 * overlayfs with `userxattr`, for a directory that becomes a layer.
 */
export type Whiteouts = 'keep' | 'apply' | 'overlay';

export interface LayerOptions {
  readonly whiteouts: Whiteouts;
  /** Whether an archive may have a name twice; where it may, the later one counts. */
  readonly duplicates: 'refuse' | 'last';
  /** Bits set-user-ID and set-group-ID. */
  readonly setid: 'keep' | 'drop';
  /**
   * Where the directory becomes a layer of overlayfs: it has no devices but the marks that hide what is below, and no attributes but ours that mean something
   * to overlayfs. Without `marks` what a device would hide is seen; then whiteouts are not to be `overlay`.
   */
  readonly asLayer: { readonly marks: boolean } | undefined;
  /** Hears of what an entry has and is not written. */
  readonly onLost: (what: string, name: string, because: string) => void;
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const SETID = 0o6000;
const none: ReadonlyMap<string, Uint8Array> = new Map();
const OVERLAY = 'user.overlay.';
export const OPAQUE_XATTR: string = `${OVERLAY}opaque`;
const opaque: readonly [string, Uint8Array] = [OPAQUE_XATTR, Buffer.from('y')];
/** Of a directory with marks in it: the kernel lists their names where nothing is below to be hidden, unless it takes the directory for one that was copied up. */
const hides: readonly [string, Uint8Array] = [`${OVERLAY}origin`, Buffer.alloc(0)];
const marks = [opaque, hides];

const nothing = { target: '', size: 0, major: 0, minor: 0, replacesDirectory: false } as const;

/** What a directory is made as where an archive names only what is in it. */
const implied: Directory = { mode: 0o755, uid: 0, gid: 0, seconds: 0, nanoseconds: 0, xattrs: none, isImplied: true };

interface Directory extends FileAttributes {
  /** Whether nothing but a name below it speaks of it, so that over a layer that has it, it is what it is there. */
  readonly isImplied: boolean;
}

/** Of the names of implied directories together: they are kept with the layer, and names that are long and deep make many of few entries. */
const IMPLIED_CHARACTERS_MAX = 4 * 1024 * 1024;

/** What one archive has by a name: an entry of its own, or a mark that hides what is below. */
type Seen = 'entry' | 'hidden';

/** Archives of one tree, from the lowest on. */
export class Layers {
  readonly #options: LayerOptions;
  /** Of all archives: those that get their modes and times at the end. */
  readonly #directories = new NameTree<Directory>();
  /** Of the present archive, where anything depends on it. */
  #seen = new NameTree<Seen>();
  #count = 0;
  #hides = false;

  constructor(options: LayerOptions) {
    this.#options = options;
    // Many archives do not name their top, which is not to stay as closed as it is while it is made.
    if (options.asLayer !== undefined) this.#directories.at('').value = implied;
  }

  /** Records of one archive, over those that came before. */
  async *archive(entries: AsyncIterable<TarEntry>, archive: string): AsyncGenerator<Uint8Array, void, undefined> {
    this.#seen = new NameTree();
    this.#count += 1;
    for await (const entry of entries) {
      if (this.#options.asLayer !== undefined) yield* this.#above(entry.name);
      const whiteout = this.#whiteout(entry, archive);
      if (whiteout === undefined) yield* this.#write(entry, archive);
      else yield* whiteout;
    }
  }

  /** Directories, those deepest first: the mode of one may close what is below it. */
  *end(): Generator<Uint8Array, void, undefined> {
    for (const [name, attributes] of this.#directories.deepestFirst()) yield attributesRecord(name, attributes);
    yield endRecord();
  }

  /** Whether there are marks in the tree that hide names of lower layers. */
  get hides(): boolean {
    return this.#hides;
  }

  /** Directories that hide what lower layers have in them, as far as archives said. */
  opaqueDirectories(): string[] {
    return [...this.#directories.deepestFirst()].flatMap(([name, { xattrs }]) => (xattrs.has(opaque[0]) ? [name] : []));
  }

  /** Directories that archives only imply, those above others first. @throws {ImageError} where they are too many. */
  impliedDirectories(archive: string): string[] {
    const found: string[] = [];
    let characters = 0;
    for (const [name, directory] of this.#directories.all()) {
      if (directory?.isImplied === false) continue;
      found.push(name);
      characters += name.length;
      if (characters > IMPLIED_CHARACTERS_MAX)
        throw invalid('it has too many directories that no entry of their own describes', { archive });
    }
    return found;
  }

  /** Extended attributes of directories, but for the marks. */
  *directoryXattrs(): Generator<readonly [name: string, xattrs: ReadonlyMap<string, Uint8Array>], void, undefined> {
    for (const [name, { xattrs }] of this.#directories.deepestFirst()) {
      const own = [...xattrs].filter(([key]) => !marks.some((mark) => mark[0] === key));
      if (own.length > 0) yield [name, new Map(own)];
    }
  }

  /** What is above an entry: implied as long as none of its own has come. Of what the archive hid by a mark before, nothing is seen: it is made anew. */
  *#above(name: string): Generator<Uint8Array, void, undefined> {
    const parent = name.slice(0, Math.max(name.lastIndexOf('/'), 0));
    this.#directories.at(parent);
    if (this.#options.whiteouts !== 'overlay' || !this.#hides) return;
    let path = '';
    for (const component of parent.split('/')) {
      path = join(path, component);
      const seen = this.#seen.find(path);
      if (seen === undefined) return;
      if (seen.value !== 'hidden') continue;
      seen.value = 'entry';
      this.#directories.at(path).value = { ...implied, isImplied: false, xattrs: new Map([opaque]) };
      yield entryRecord({ ...implied, ...nothing, kind: 'directory', name: path });
    }
  }

  /** Records of a whiteout; `undefined` for any other entry. */
  #whiteout(entry: TarEntry, archive: string): Uint8Array[] | undefined {
    if (this.#options.whiteouts === 'keep') return undefined;
    const slash = entry.name.lastIndexOf('/');
    const last = entry.name.slice(slash + 1);
    if (!last.startsWith(WHITEOUT)) return undefined;
    const applies = this.#options.whiteouts === 'apply';
    const parent = entry.name.slice(0, Math.max(slash, 0));
    if (last === OPAQUE) return applies ? this.#clear(parent) : this.#markOpaque(parent);
    const hidden = last.slice(WHITEOUT.length);
    // What aufs kept for itself: no file, and no whiteout either.
    if (hidden.startsWith(WHITEOUT)) {
      this.#options.onLost('aufs', entry.name, 'a file that the file system aufs kept for itself');
      return [];
    }
    if (hidden === '' || hidden === '.' || hidden === '..') {
      throw invalid('it is a whiteout of nothing', { archive, entry });
    }
    return applies ? this.#remove(join(parent, hidden)) : this.#hide(join(parent, hidden));
  }

  /** Only what lower layers have: what this one has by that name stays. */
  #remove(name: string): Uint8Array[] {
    if (this.#seen.find(name) !== undefined) return this.#isDirectory(name) ? this.#clear(name) : [];
    this.#directories.remove(name);
    return [removeRecord(name)];
  }

  #clear(name: string): Uint8Array[] {
    const own = [...(this.#seen.find(name)?.below.keys() ?? [])];
    if (own.length > KEPT_MAX) {
      const what = `the mark that hides what is below '${shown(name)}' comes after more than ${KEPT_MAX} entries of it`;
      throw invalid(what, { archive: `layer ${this.#count}` });
    }
    const kept = new Set(own);
    const known = this.#directories.find(name);
    for (const child of [...(known?.below.keys() ?? [])]) if (!kept.has(child)) known?.below.delete(child);
    const records = [emptyRecord(name, own)];
    for (const child of own) {
      const path = join(name, child);
      if (this.#isDirectory(path)) records.push(...this.#clear(path));
    }
    return records;
  }

  /** A file of the present archive has taken the place of any directory that was known by its name. */
  #isDirectory(name: string): boolean {
    return this.#directories.find(name) !== undefined || (this.#seen.find(name)?.below.size ?? 0) > 0;
  }

  #markOpaque(name: string): Uint8Array[] {
    const isMade = name === '' || this.#seen.find(name) !== undefined;
    this.#mark(name, opaque);
    this.#seen.at(name);
    return isMade ? [] : [entryRecord({ ...implied, ...nothing, kind: 'directory', name })];
  }

  #mark(name: string, mark: (typeof marks)[number]): void {
    const directory = this.#directories.at(name);
    const attributes = directory.value ?? implied;
    directory.value = { ...attributes, xattrs: new Map([...attributes.xattrs, mark]) };
  }

  /** A character device 0:0, which nobody needs a privilege to make since Linux 5.8. */
  #hide(name: string): Uint8Array[] {
    if (this.#seen.find(name) !== undefined) return this.#isDirectory(name) ? this.#markOpaque(name) : [];
    this.#seen.at(name).value = 'hidden';
    this.#hides = true;
    this.#mark(name.slice(0, Math.max(name.lastIndexOf('/'), 0)), hides);
    return [entryRecord({ ...implied, ...nothing, kind: 'character', name, mode: 0 })];
  }

  async *#write(entry: TarEntry, archive: string): AsyncGenerator<Uint8Array, void, undefined> {
    const isDevice = entry.kind === 'character' || entry.kind === 'block';
    const { asLayer, whiteouts, onLost } = this.#options;
    if (asLayer !== undefined && isDevice) {
      onLost('device', entry.name, 'an image has no devices: the sandbox has its own');
      if (whiteouts === 'apply') yield* this.#remove(entry.name);
      else if (asLayer.marks) yield* this.#hide(entry.name);
      return;
    }
    const isHidden = this.#see(entry, archive);
    const attributes = this.#attributesOf(entry);
    if (entry.kind !== 'directory') this.#directories.remove(entry.name);
    else this.#keep(entry.name, attributes, isHidden);
    // Over a lower layer anything may come; within one archive nobody means to replace a directory that has something in it.
    yield entryRecord({ ...entry, ...attributes, replacesDirectory: whiteouts === 'apply' });
    if (entry.kind !== 'file') return;
    for await (const { offset, bytes } of entry.content) {
      yield dataHead(offset, bytes);
      yield bytes;
    }
  }

  /** Returns whether the archive hid what lower layers have by that name. */
  #see(entry: TarEntry, archive: string): boolean {
    const { duplicates, whiteouts } = this.#options;
    if (duplicates === 'last' && whiteouts === 'keep') return false;
    const seen = this.#seen.at(entry.name);
    if (duplicates === 'refuse' && seen.value === 'entry') {
      throw invalid('the archive has that name twice', { archive, entry });
    }
    const isHidden = seen.value === 'hidden';
    seen.value = 'entry';
    return isHidden;
  }

  #attributesOf({ kind, name, mode, uid, gid, seconds, nanoseconds, xattrs, lost }: TarEntry): FileAttributes {
    const { setid, onLost, asLayer } = this.#options;
    for (const what of lost) onLost(what, name, 'there is no way to keep it');
    const drops = setid === 'drop' && kind !== 'directory' && (mode & SETID) !== 0;
    if (drops) onLost('mode', name, 'set-user-ID and set-group-ID bits were not wanted');
    const strange = asLayer !== undefined ? [...xattrs.keys()].filter((key) => key.startsWith(OVERLAY)) : [];
    for (const key of strange) onLost(key, name, 'it would mean something to overlayfs');
    const kept = strange.length === 0 ? xattrs : new Map([...xattrs].filter(([key]) => !strange.includes(key)));
    return { mode: drops ? mode & ~SETID : mode, uid, gid, seconds, nanoseconds, xattrs: kept };
  }

  /** A directory that was hidden, and then made anew, shows nothing of the layers below: overlayfs marks it so. */
  #keep(name: string, attributes: FileAttributes, isHidden: boolean): void {
    const directory = this.#directories.at(name);
    const { asLayer, whiteouts } = this.#options;
    const known = asLayer !== undefined || whiteouts === 'overlay' ? directory.value?.xattrs : undefined;
    const kept = marks.filter((mark) => known?.has(mark[0]) === true || (isHidden && mark === opaque));
    const xattrs = kept.length > 0 ? new Map([...attributes.xattrs, ...kept]) : attributes.xattrs;
    directory.value = { ...attributes, xattrs, isImplied: false };
  }
}
