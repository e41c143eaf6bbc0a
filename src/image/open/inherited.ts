// Directories that a layer only implies, by names of what is in them: where a lower layer has one, it is as it is there. In overlayfs the uppermost directory
// decides, so that a layer of nothing but such directories comes above all of them, with the attributes of those that count.
import { type BigIntStats, lstatSync, mkdirSync } from 'node:fs';
import { nodeSpecHost } from '../../spec/host.ts';
import { LayerLookup } from '../../spec/layered-root.ts';
import { below, components } from '../../spec/paths.ts';
import { type EmptyDirectory, writeDirectories } from '../directories.ts';
import type { StoredLayer } from '../store/layers.ts';
import { hashOf } from '../store/place.ts';
import type { ImageStore } from '../store/store.ts';

/** Layers that an image is shown as, and the one that is to be above them; the uppermost first. */
interface Stack {
  readonly layers: readonly StoredLayer[];
  /** Of which some show nothing. */
  readonly all: readonly StoredLayer[];
}

/**
 * The name of the layer above; `undefined` where none is needed, which is nearly always.
 *
 * @throws {ImageError}
 */
export async function inheritedLayer(
  store: ImageStore,
  stack: Stack,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const directories = new Inheritance(stack).directories();
  if (directories.length === 0) return undefined;
  const name = `directories-${hashOf(...stack.all.map((layer) => layer.name))}`;
  const made = await store.layers.obtain(name, async (directory) => {
    mkdirSync(directory, { mode: 0o700 });
    const entries = await writeDirectories(directory, directories, signal);
    return { diffId: name, opaque: [], hides: false, entries, bytes: 0, leftOut: {} };
  });
  return made.name;
}

/** Whose attributes a directory has. */
interface Source {
  readonly layer: StoredLayer;
  /** Whether another layer shows it above that one. */
  readonly isCovered: boolean;
}

class Inheritance {
  readonly #host = nodeSpecHost();
  readonly #layers: readonly StoredLayer[];
  readonly #all: readonly StoredLayer[];
  readonly #lookup: LayerLookup;
  readonly #implied: ReadonlyMap<StoredLayer, ReadonlySet<string>>;

  constructor({ layers, all }: Stack) {
    this.#layers = layers;
    this.#all = all;
    this.#lookup = new LayerLookup(layers, (path) => this.#host.lstat(path));
    this.#implied = new Map(all.map((layer) => [layer, new Set(layer.implied)]));
  }

  /** Those above others first. */
  directories(): EmptyDirectory[] {
    const wanted = new Map<string, EmptyDirectory>();
    // What the lowest layer implies nobody else says.
    for (const path of new Set(this.#all.slice(0, -1).flatMap(({ implied = [] }) => implied))) {
      const source = this.#source(path);
      if (source?.isCovered !== true || !this.#differs(path, source)) continue;
      // On the way to it others are covered, too.
      let at = '/';
      for (const name of ['', ...components(path)]) {
        at = name === '' ? at : below(at, name);
        const found = this.#source(at);
        if (found !== undefined && !wanted.has(at)) wanted.set(at, attributesOf(found.layer, at));
      }
    }
    return [...wanted.values()];
  }

  /** `undefined` where the path is no directory in the end. */
  #source(path: string): Source | undefined {
    const layers = path === '/' ? this.#all : this.#shownAbove(path);
    let uppermost: StoredLayer | undefined;
    for (const layer of layers) {
      const found = this.#host.lstat(`${layer.directory}${path}`);
      if (found.kind === 'nothing' && found.errno === 'ENOENT') continue;
      if (found.kind !== 'directory') break;
      uppermost ??= layer;
      // One that is opaque hides what is in those below, and not what they are: a layer that makes one anew does not only imply it.
      if (this.#implied.get(layer)?.has(path) !== true) return { layer, isCovered: layer !== uppermost };
    }
    return uppermost === undefined ? undefined : { layer: uppermost, isCovered: false };
  }

  /** Layers that show something of the directory that it is in. */
  #shownAbove(path: string): readonly StoredLayer[] {
    const above = path.slice(0, Math.max(path.lastIndexOf('/'), 1));
    const place = this.#lookup.find(above);
    if (place.kind !== 'directory') return [];
    const shown = new Set(place.paths);
    return this.#layers.filter(({ directory }) => shown.has(above === '/' ? directory : `${directory}${above}`));
  }

  /** Nobody sees the times of the top: what a run writes comes above it, on a directory of its own. */
  #differs(path: string, { layer }: Source): boolean {
    if (path !== '/') return true;
    const top = this.#layers[0];
    if (top === undefined) return false;
    const [a, b] = [attributesOf(top, path), attributesOf(layer, path)];
    return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || b.xattrs.size > 0;
  }
}

const NANOSECONDS = 1_000_000_000n;

function attributesOf(layer: StoredLayer, path: string): EmptyDirectory {
  const { mode, uid, gid, mtimeNs }: BigIntStats = lstatSync(`${layer.directory}${path}`, { bigint: true });
  const nanoseconds = ((mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  const xattrs = Object.entries(layer.xattrs?.[path] ?? {}).map(
    ([key, value]) => [key, Buffer.from(value, 'base64')] as const,
  );
  return {
    name: Buffer.from(path.slice(1)).toString('latin1'),
    mode: Number(mode & 0o7777n),
    uid: Number(uid),
    gid: Number(gid),
    seconds: Number((mtimeNs - nanoseconds) / NANOSECONDS),
    nanoseconds: Number(nanoseconds),
    xattrs: new Map(xattrs),
  };
}
