// A root that is several directories, one above the other: what overlayfs will show, looked up before there is any overlay. Pure, over the host.
import type { FileText, Found, IdRange, SpecHost } from './host.ts';
import { below, components } from './paths.ts';

/** A directory of this host as a layer of overlayfs: character devices in it hide what is below (they are whiteouts: a layer has no other devices). */
export interface RootLayer {
  /** Absolute, without symlinks. */
  readonly directory: string;
  /** Absolute inside: directories that show nothing of the layers below. */
  readonly opaque: readonly string[];
}

/** The uppermost first. */
export interface LayeredRoot {
  readonly layers: readonly [RootLayer, ...RootLayer[]];
}

/** What such a root is called where its paths are looked up. No path of a host has a NUL in it, so that nothing else can be meant. */
export const LAYERED_ROOT = '/\0layers';

/** Where something is: a directory in each of the layers that show something of it, the uppermost first. */
export type LayerPlace =
  | { readonly kind: 'directory'; readonly paths: readonly string[] }
  | { readonly kind: 'other'; readonly path: string }
  | { readonly kind: 'nothing'; readonly errno: string };

interface Opened {
  readonly directory: string;
  readonly opaque: ReadonlySet<string>;
}

/** Looks paths up in layers as overlayfs does (overlayfs.rst): the uppermost counts; directories merge with those below, until one hides them. */
export class LayerLookup {
  readonly #lstat: SpecHost['lstat'];
  readonly #layers: readonly Opened[];
  /** Which layers show something of a directory. */
  readonly #directories = new Map<string, readonly Opened[]>();

  /** `lstat`: of paths that begin as the directories of the layers do. */
  constructor(layers: readonly RootLayer[], lstat: SpecHost['lstat']) {
    this.#lstat = lstat;
    this.#layers = layers.map(({ directory, opaque }) => ({ directory, opaque: new Set(opaque) }));
  }

  /** Preconditions: `inside` is absolute, and every component but the last is a directory, and no symlink. */
  find(inside: string): LayerPlace {
    let shown = this.#layers;
    let at = '/';
    let place: LayerPlace = { kind: 'directory', paths: shown.map(({ directory }) => directory) };
    for (const name of components(inside)) {
      if (place.kind !== 'directory') return { kind: 'nothing', errno: 'ENOTDIR' };
      at = below(at, name);
      const known = this.#directories.get(at);
      const found = known === undefined ? this.#look(shown, at) : { shown: known };
      if ('kind' in found) {
        if (found.kind === 'nothing') return found;
        place = found;
        continue;
      }
      ({ shown } = found);
      this.#directories.set(at, shown);
      place = { kind: 'directory', paths: shown.map(({ directory }) => `${directory}${at}`) };
    }
    return place;
  }

  #look(layers: readonly Opened[], path: string): LayerPlace | { readonly shown: readonly Opened[] } {
    const shown: Opened[] = [];
    for (const layer of layers) {
      const real = `${layer.directory}${path}`;
      const found = this.#lstat(real);
      if (found.kind === 'nothing') {
        if (found.errno === 'ENOENT') continue;
        return found;
      }
      if (found.kind === 'character device') break;
      if (found.kind !== 'directory') {
        if (shown.length === 0) return { kind: 'other', path: real };
        break;
      }
      shown.push(layer);
      if (layer.opaque.has(path)) break;
    }
    return shown.length === 0 ? { kind: 'nothing', errno: 'ENOENT' } : { shown };
  }
}

/** Sees a layered root at `LAYERED_ROOT`, and this host everywhere else. */
export class LayeredHost implements SpecHost {
  readonly #host: SpecHost;
  readonly #lookup: LayerLookup;

  constructor(host: SpecHost, { layers }: LayeredRoot) {
    this.#host = host;
    this.#lookup = new LayerLookup(layers, (path) => host.lstat(path));
  }

  get cwd(): string {
    return this.#host.cwd;
  }

  get env(): SpecHost['env'] {
    return this.#host.env;
  }

  get uid(): number {
    return this.#host.uid;
  }

  get gid(): number {
    return this.#host.gid;
  }

  get username(): string | undefined {
    return this.#host.username;
  }

  get home(): string | undefined {
    return this.#host.home;
  }

  get mayMapIds(): boolean {
    return this.#host.mayMapIds;
  }

  get uidRanges(): readonly IdRange[] {
    return this.#host.uidRanges;
  }

  get gidRanges(): readonly IdRange[] {
    return this.#host.gidRanges;
  }

  /** Paths of a layered root are looked up component by component, by who follows its symlinks inside of it. */
  stat(path: string): Found {
    return insideOf(path) === undefined ? this.#host.stat(path) : this.lstat(path);
  }

  lstat(path: string): Found {
    return this.#at(path, (real) => this.#host.lstat(real)) ?? { kind: 'directory' };
  }

  readlink(path: string): string | undefined {
    const answer = this.#at(path, (real) => ({ target: this.#host.readlink(real) }));
    return answer !== undefined && 'target' in answer ? answer.target : undefined;
  }

  realpath(path: string): string | undefined {
    return insideOf(path) === undefined ? this.#host.realpath(path) : path;
  }

  readFile(path: string, maxBytes: number): FileText {
    const answer = this.#at<FileText>(path, (real) => this.#host.readFile(real, maxBytes));
    if (answer === undefined) return { because: 'it is a directory' };
    return 'errno' in answer ? { because: answer.errno } : answer;
  }

  mountsBelow(path: string): readonly string[] {
    return insideOf(path) === undefined ? this.#host.mountsBelow(path) : [];
  }

  /** Where a file of the root, or the uppermost part of a directory, is on this host. */
  realPath(path: string): string | undefined {
    const inside = insideOf(path);
    if (inside === undefined) return path;
    const place = this.#lookup.find(inside);
    if (place.kind === 'nothing') return undefined;
    return place.kind === 'directory' ? place.paths[0] : place.path;
  }

  /** What `ask` says of the real place; `undefined` for a directory. */
  #at<Answer>(path: string, ask: (real: string) => Answer): Answer | Extract<Found, { kind: 'nothing' }> | undefined {
    const inside = insideOf(path);
    if (inside === undefined) return ask(path);
    const place = this.#lookup.find(inside);
    if (place.kind === 'nothing') return place;
    return place.kind === 'directory' ? undefined : ask(place.path);
  }
}

function insideOf(path: string): string | undefined {
  if (path === LAYERED_ROOT) return '/';
  return path.startsWith(`${LAYERED_ROOT}/`) ? path.slice(LAYERED_ROOT.length) : undefined;
}
