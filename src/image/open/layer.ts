// Archives to layers of the store.
import { ImageError } from '../../errors/errors.ts';
import type { ArchiveFacts } from '../archive/open.ts';
import type { Whiteouts } from '../layers.ts';
import type { LayerFacts, LayerStore, StoredLayer } from '../store/layers.ts';
import { hashOf } from '../store/place.ts';
import { type ArchiveSource, type UnpackOptions, unpackSources } from '../unpack.ts';

export type LayerOptions = Pick<UnpackOptions, 'limits' | 'signal'> & {
  /** Hears of what an archive has and its layer does not. */
  readonly onNote?: ((note: string) => void) | undefined;
};

/** A layer's name in the store: what it is the content of. */
export function nameOfLayer(diffId: string): string {
  return diffId.replace(':', '-');
}

type Source = () => ArchiveSource | Promise<ArchiveSource>;

/** Layers of OCI or Docker, from the lowest on, by the digests that the configuration gives them. Those are fetched, by `sources`, that are missing. */
export async function obtainOciLayers(
  layers: LayerStore,
  diffIds: readonly string[],
  sources: readonly Source[],
  options: LayerOptions,
): Promise<StoredLayer[]> {
  if (!layers.holdsMarks && sources.length > 0) return [await obtainOciTree(layers, diffIds, sources, options)];
  const obtained: StoredLayer[] = [];
  for (const [position, source] of sources.entries())
    obtained.push(await obtainOciLayer(layers, diffIds[position] ?? '', source, options));
  return obtained;
}

/** All of them as one, each written over those below: what a layer hides is not there. */
async function obtainOciTree(
  layers: LayerStore,
  diffIds: readonly string[],
  sources: readonly Source[],
  options: LayerOptions,
): Promise<StoredLayer> {
  const name = `tree-${hashOf(...diffIds)}`;
  return await layers.obtain(name, async (directory) => {
    const from = await Promise.all(sources.map((source) => source()));
    const { facts, archives } = await unpackLayer(layers, from, directory, 'apply', options);
    for (const [position, { name }] of from.entries())
      refuseOther(name, archives[position]?.diffId ?? '', diffIds[position] ?? '');
    return { ...facts, diffId: name };
  });
}

function refuseOther(archive: string, read: string, diffId: string): void {
  if (read !== diffId)
    throw new ImageError(
      'SBX_IMAGE_DIGEST',
      `${archive} is not the layer that the configuration of the image names: it is ${read}, uncompressed, and not ${diffId}`,
    );
}

export async function obtainOciLayer(
  layers: LayerStore,
  diffId: string,
  source: Source,
  options: LayerOptions,
): Promise<StoredLayer> {
  return await layers.obtain(nameOfLayer(diffId), async (directory) => {
    const archive = await source();
    const { facts } = await unpackLayer(layers, [archive], directory, 'overlay', options);
    refuseOther(archive.name, facts.diffId, diffId);
    return facts;
  });
}

export interface UnpackedLayer {
  readonly facts: LayerFacts;
  readonly archives: readonly ArchiveFacts[];
  /** The last of them. */
  readonly archive: ArchiveFacts;
}

/** `whiteouts`: whether names that begin with `.wh.` are marks (OCI, Docker) or names like others. Preconditions: `overlay` only where `layers` can hold marks. */
export async function unpackLayer(
  layers: LayerStore,
  sources: readonly ArchiveSource[],
  directory: string,
  whiteouts: Whiteouts,
  { limits, signal, onNote }: LayerOptions,
): Promise<UnpackedLayer> {
  const options = {
    whiteouts,
    ...(limits === undefined ? {} : { limits }),
    ...(signal === undefined ? {} : { signal }),
  };
  const report = await unpackSources(sources, directory, options, { marks: layers.holdsMarks });
  const { layer, archives } = report;
  const archive = archives.at(-1);
  if (archive === undefined) throw new Error('an archive was unpacked, and nothing is known of it');
  const { first, ...counts } = report.leftOut;
  const leftOut = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  const [example] = first;
  if (Object.keys(leftOut).length > 0) {
    const what = Object.entries(leftOut).map(([kind, count]) => `${count} ${count === 1 ? kind.slice(0, -1) : kind}`);
    const why = example === undefined ? '' : `, the first at ${example.path}: ${example.because}`;
    onNote?.(`${about(sources)}: left out ${what.join(', ')}${why}`);
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
  return { facts, archives, archive };
}

function about(sources: readonly ArchiveSource[]): string {
  const [first, ...more] = sources;
  return more.length === 0 ? `${first?.name}` : `${first?.name}, and ${more.length} more`;
}

/** Paths in archives have one character for each byte. */
function inside(name: string): string {
  return `/${Buffer.from(name, 'latin1').toString('utf8')}`;
}

function textOf([name, xattrs]: readonly [string, ReadonlyMap<string, Uint8Array>]): [string, Record<string, string>] {
  const values = [...xattrs].map(([key, value]) => [key, Buffer.from(value).toString('base64')] as const);
  return [inside(name), Object.fromEntries(values)];
}
