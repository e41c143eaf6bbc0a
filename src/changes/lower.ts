// What a view lies over: a directory, or the layers of an image as one. Paths are raw (raw.ts), and relative to the top, which is `''`.
import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import type { CapturedView } from '../spec/captures.ts';
import type { FileKind, Found } from '../spec/host.ts';
import { LayerLookup, type RootLayer } from '../spec/layered-root.ts';
import { bytesOf, join, rawOf, typeOf } from './raw.ts';

export interface Lower {
  /** `undefined` where there is nothing. Not of what a symlink leads to. */
  status(path: string): BigIntStats | undefined;
  /** For node:fs, of what is there. */
  at(path: string): Buffer;
  /** Of a directory, in the order of their bytes. */
  names(path: string): string[];
}

export function lowerOf({ source, layers }: Pick<CapturedView, 'source' | 'layers'>): Lower {
  return layers === undefined ? new PlainLower(source) : new LayeredLower(layers);
}

class PlainLower implements Lower {
  readonly #top: string;

  constructor(directory: string) {
    this.#top = rawOf(directory);
  }

  status(path: string): BigIntStats | undefined {
    return statusOf(join(this.#top, path));
  }

  at(path: string): Buffer {
    return bytesOf(join(this.#top, path));
  }

  names(path: string): string[] {
    return namesIn(join(this.#top, path));
  }
}

class LayeredLower implements Lower {
  readonly #lookup: LayerLookup;

  constructor(layers: readonly RootLayer[]) {
    const raw = layers.map(({ directory, opaque }) => ({ directory: rawOf(directory), opaque: opaque.map(rawOf) }));
    this.#lookup = new LayerLookup(raw, lookAt);
  }

  status(path: string): BigIntStats | undefined {
    const real = this.#find(path);
    return real === undefined ? undefined : statusOf(real);
  }

  at(path: string): Buffer {
    const real = this.#find(path);
    if (real === undefined) throw new Error('a path of which nobody has said that it is there');
    return bytesOf(real);
  }

  names(path: string): string[] {
    const place = this.#lookup.find(`/${path}`);
    if (place.kind !== 'directory') return [];
    const all = new Set(place.paths.flatMap(namesIn));
    // Without those that a layer hides.
    return [...all].filter((name) => this.#find(join(path, name)) !== undefined).sort();
  }

  #find(path: string): string | undefined {
    const place = this.#lookup.find(`/${path}`);
    if (place.kind === 'nothing') return undefined;
    return place.kind === 'directory' ? place.paths[0] : place.path;
  }
}

function namesIn(raw: string): string[] {
  return readdirSync(bytesOf(raw), { encoding: 'buffer' })
    .map((name) => name.toString('latin1'))
    .sort();
}

/** Not of what a symlink leads to; `undefined` where there is nothing. */
function statusOf(raw: string): BigIntStats | undefined {
  try {
    return lstatSync(bytesOf(raw), { bigint: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

const kinds: Readonly<Record<ReturnType<typeof typeOf>, FileKind>> = {
  file: 'file',
  directory: 'directory',
  symlink: 'symlink',
  fifo: 'FIFO',
  socket: 'socket',
  // Of layers all devices are whiteouts.
  device: 'character device',
};

function lookAt(raw: string): Found {
  const status = statusOf(raw);
  return status === undefined ? { kind: 'nothing', errno: 'ENOENT' } : { kind: kinds[typeOf(status)] };
}
