// One archive to one layer of the store.
import { ImageError } from '../../errors/errors.ts';
import type { ArchiveFacts } from '../archive/open.ts';
import type { LayerFacts, LayerStore, StoredLayer } from '../store/layers.ts';
import { type ArchiveSource, type UnpackOptions, unpackSources } from '../unpack.ts';

export type LayerOptions = Pick<UnpackOptions, 'limits' | 'signal'> & {
  /** Hears of what an archive has and its layer does not. */
  readonly onNote?: ((note: string) => void) | undefined;
};

/** A layer's name in the store: what it is the content of. */
export function nameOfLayer(diffId: string): string {
  return diffId.replace(':', '-');
}

/** A layer of OCI or Docker, by the digest that its configuration gives it. It is fetched, by `source`, only where it is missing. */
export async function obtainOciLayer(
  layers: LayerStore,
  diffId: string,
  source: () => ArchiveSource | Promise<ArchiveSource>,
  options: LayerOptions,
): Promise<StoredLayer> {
  return await layers.obtain(nameOfLayer(diffId), async (directory) => {
    const archive = await source();
    const { facts, archive: read } = await unpackLayer(archive, directory, 'overlay', options);
    if (facts.diffId !== diffId)
      throw new ImageError(
        'SBX_IMAGE_DIGEST',
        `${archive.name} is not the layer that the configuration of the image names: it is ${read.diffId}, uncompressed, and not ${diffId}`,
      );
    return facts;
  });
}

export interface UnpackedLayer {
  readonly facts: LayerFacts;
  readonly archive: ArchiveFacts;
}

/** `whiteouts`: whether names that begin with `.wh.` are marks (OCI, Docker) or names like others. */
export async function unpackLayer(
  source: ArchiveSource,
  directory: string,
  whiteouts: 'overlay' | 'keep',
  { limits, signal, onNote }: LayerOptions,
): Promise<UnpackedLayer> {
  const options = {
    whiteouts,
    ...(limits === undefined ? {} : { limits }),
    ...(signal === undefined ? {} : { signal }),
  };
  const report = await unpackSources([source], directory, options, true);
  const { layer } = report;
  const [archive] = report.archives;
  if (archive === undefined) throw new Error('an archive was unpacked, and nothing is known of it');
  const { first, ...counts } = report.leftOut;
  const leftOut = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  const [example] = first;
  if (Object.keys(leftOut).length > 0) {
    const what = Object.entries(leftOut).map(([kind, count]) => `${count} ${count === 1 ? kind.slice(0, -1) : kind}`);
    const why = example === undefined ? '' : `, the first at ${example.path}: ${example.because}`;
    onNote?.(`${source.name}: left out ${what.join(', ')}${why}`);
  }
  const facts: LayerFacts = {
    diffId: archive.diffId,
    opaque: layer.opaque.map(inside),
    hides: layer.hides,
    ...(layer.implied.length === 0 ? {} : { implied: layer.implied.map(inside) }),
    ...(layer.xattrs.size === 0 ? {} : { xattrs: Object.fromEntries([...layer.xattrs].map(textOf)) }),
    entries: report.entries,
    bytes: report.bytes,
    leftOut,
  };
  return { facts, archive };
}

/** Paths in archives have one character for each byte. */
function inside(name: string): string {
  return `/${Buffer.from(name, 'latin1').toString('utf8')}`;
}

function textOf([name, xattrs]: readonly [string, ReadonlyMap<string, Uint8Array>]): [string, Record<string, string>] {
  const values = [...xattrs].map(([key, value]) => [key, Buffer.from(value).toString('base64')] as const);
  return [inside(name), Object.fromEntries(values)];
}
