// Layers of images, unpacked: made once, by one process, and never changed.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ImageError } from '../../errors/errors.ts';
import type { RootLayer } from '../../spec/layered-root.ts';
import { removeUnpacked } from '../unpack.ts';
import { lease } from './leases.ts';
import { withLock } from './lock.ts';
import { hashOf, isOfLivingProcess, parseOwn, workName } from './place.ts';

/** What `layers/NAME.json` holds. */
export interface LayerFacts {
  /** Of the uncompressed archive. */
  readonly diffId: string;
  /** Absolute inside: directories that hide what is below. */
  readonly opaque: readonly string[];
  /** Whether there are marks in it, which overlayfs alone does not show. */
  readonly hides: boolean;
  /** Absolute inside: directories that the archive has no entry for, those above others first. Over layers that have them they are to be as they are there. Nothing where there are none. */
  readonly implied?: readonly string[];
  /** Of directories, by their path and the name of the attribute, in base64. */
  readonly xattrs?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly entries: number;
  /** Of content, without holes. */
  readonly bytes: number;
  /** What the archive has and the layer does not, by kind; nothing where there was nothing. */
  readonly leftOut: Readonly<Record<string, number>>;
}

export interface StoredLayer extends LayerFacts, RootLayer {
  readonly name: string;
}

/** statfs(2), OVERLAYFS_SUPER_MAGIC: the root of a container. */
const OVERLAYFS = 0x794c7630;
const FACTS = 'facts.json';
/** What they are called while somebody decides whether the layer goes. */
const GOING = 'facts.going';

/** How long after its last use a layer may be needed by somebody who has not written a lease yet. */
const GRACE_MS = 10 * 60_000;

export class LayerStore {
  readonly directory: string;
  #holdsMarks: boolean | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Whether a layer can hide what is below it: overlayfs lets nobody make a whiteout, for that is its own. */
  get holdsMarks(): boolean {
    this.#holdsMarks ??= statfsSync(this.directory).type !== OVERLAYFS;
    return this.#holdsMarks;
  }

  /** A lease on it is written first, so that it does not go any more once it was found. */
  find(name: string): StoredLayer | undefined {
    lease(this.directory, [name]);
    const layer = this.#read(name);
    if (layer === undefined) return undefined;
    const now = new Date();
    // Where somebody is about to remove it, the lease will keep it.
    unlessGone(() => utimesSync(join(this.#at(name), FACTS), now, now));
    return layer;
  }

  /** Without a lease: it may go at any time. */
  peek(name: string): StoredLayer | undefined {
    return this.#read(name);
  }

  /** Where it is missing, `make` fills an absent directory with it; everybody else who wants it waits. */
  async obtain(name: string, make: (directory: string) => Promise<LayerFacts>): Promise<StoredLayer> {
    const found = this.find(name);
    if (found !== undefined) return found;
    return await withLock(join(this.directory, 'locks', hashOf(name)), async () => {
      const madeMeanwhile = this.find(name);
      return madeMeanwhile ?? (await this.add(name, make));
    });
  }

  /** For one whose name shows only when it was made. Somebody else may have been faster: the same name is the same content. */
  async addAs(
    make: (directory: string) => Promise<{ readonly name: string; readonly facts: LayerFacts }>,
  ): Promise<StoredLayer> {
    const work = this.makeWork();
    try {
      const { name, facts } = await make(join(work, 'tree'));
      writeFileSync(join(work, FACTS), `${JSON.stringify({ version: 1, ...facts })}\n`, { mode: 0o600 });
      lease(this.directory, [name]);
      moveUnlessThere(work, this.#at(name));
      const layer = this.#read(name) ?? (await withLock(this.#collecting, async () => this.#restored(name)));
      if (layer !== undefined) return layer;
      throw new ImageError('SBX_IMAGE_STORE', `the layer ${name} was removed from ${this.directory} while it was made`);
    } finally {
      await this.removeWork(work);
    }
  }

  private async add(name: string, make: (directory: string) => Promise<LayerFacts>): Promise<StoredLayer> {
    return await this.addAs(async (directory) => ({ name, facts: await make(directory) }));
  }

  /** A directory that is this process's, and goes with it: `removeWork`, or `collect` when it was killed. */
  makeWork(): string {
    const path = join(this.directory, 'work', workName());
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  async removeWork(path: string): Promise<void> {
    if (existsSync(path)) await removeUnpacked(path);
  }

  #at(name: string): string {
    return join(this.directory, 'layers', name);
  }

  #read(name: string): StoredLayer | undefined {
    const text = readIfThere(join(this.#at(name), FACTS));
    if (text === undefined) return undefined;
    const { version, ...facts } = parseOwn<LayerFacts & { readonly version: number }>(
      text,
      join(this.#at(name), FACTS),
    );
    return version === 1 ? { ...facts, name, directory: join(this.#at(name), 'tree') } : undefined;
  }

  get #collecting(): string {
    return join(this.directory, 'locks', hashOf('collect'));
  }

  /** As it was before somebody began to remove it. Preconditions: nobody else collects. */
  #restored(name: string): StoredLayer | undefined {
    unlessGone(() => renameSync(join(this.#at(name), GOING), join(this.#at(name), FACTS)));
    return this.#read(name);
  }

  /** Nobody else collects meanwhile. */
  async collecting<T>(work: () => Promise<T>): Promise<T> {
    return await withLock(this.#collecting, async () => {
      // Those that a killed process had begun with.
      for (const name of readdirSync(join(this.directory, 'layers')))
        if (this.#read(name) === undefined) this.#restored(name);
      return await work();
    });
  }

  /** Those that are whole, by name, with when they were used last. */
  list(): (StoredLayer & { readonly usedMs: number })[] {
    return readdirSync(join(this.directory, 'layers')).flatMap((name) => {
      const layer = this.#read(name);
      const used = statSync(join(this.#at(name), FACTS), { throwIfNoEntry: false });
      return layer === undefined || used === undefined ? [] : [{ ...layer, usedMs: used.mtimeMs }];
    });
  }

  /** Removes what `keep` does not name, nobody uses, and nobody has just looked for. Preconditions: within `collecting`. */
  async collect(
    keep: ReadonlySet<string>,
    inUse: () => ReadonlySet<string>,
    graceMs: number = GRACE_MS,
  ): Promise<StoredLayer[]> {
    const removed: StoredLayer[] = [];
    for (const layer of this.list()) {
      if (keep.has(layer.name) || inUse().has(layer.name) || Date.now() - layer.usedMs < graceMs) continue;
      const at = this.#at(layer.name);
      renameSync(join(at, FACTS), join(at, GOING));
      // Who found it until now has a lease, and who looks for it from now on does not find it.
      if (inUse().has(layer.name)) {
        this.#restored(layer.name);
        continue;
      }
      const work = join(this.directory, 'work', workName());
      renameSync(at, work);
      await this.removeWork(work);
      removed.push(layer);
    }
    return removed;
  }

  /** What processes left that were killed. */
  async collectWork(): Promise<number> {
    let removed = 0;
    for (const name of readdirSync(join(this.directory, 'work'))) {
      if (isOfLivingProcess(name)) continue;
      const path = join(this.directory, 'work', name);
      if (statSync(path).isDirectory()) await this.removeWork(path);
      else rmSync(path);
      removed += 1;
    }
    return removed;
  }
}

function moveUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

function unlessGone(work: () => void): void {
  try {
    work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
