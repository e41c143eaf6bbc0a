// Images of OCI and Docker as layers: from a layout, an archive of one, an archive of `docker save`, or a registry. Only layers that are missing are read.
import { join } from 'node:path';
import { ImageError } from '../../errors/errors.ts';
import { readArchiveFile } from '../archive-file.ts';
import { hashBytes } from '../digest.ts';
import { parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { checkOciLayout, parseDockerArchive, selectFromArchive, selectFromLayout } from '../oci/layout.ts';
import { parseOciDocument } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import { checkLayers } from '../oci/spec.ts';
import type { RegistryReference } from '../reference.ts';
import { RegistryClient, type RegistryOptions } from '../registry/client.ts';
import { fetchImage, fetchLayers } from '../registry/pull.ts';
import type { StoredLayer } from '../store/layers.ts';
import { type FileIdentity, type ImageRecord, identify } from '../store/records.ts';
import type { ImageStore } from '../store/store.ts';
import { type ArchiveSource, unpack } from '../unpack.ts';
import { inheritedLayer } from './inherited.ts';
import { type LayerOptions, nameOfLayer, obtainOciLayer, obtainOciLayers } from './layer.ts';
import { LayoutDirectory } from './layout-directory.ts';

export interface OciOptions extends LayerOptions {
  readonly platform: Platform;
}

/** What is recorded, where it was found. */
interface Origin {
  readonly reference: string;
  readonly file: FileIdentity | undefined;
}

/** `layers`: as in the manifest, the lowest first. */
async function recordOf(
  store: ImageStore,
  { reference, file }: Origin,
  id: string,
  layers: readonly StoredLayer[],
  document: Uint8Array,
  { signal }: OciOptions,
): Promise<ImageRecord> {
  // From the lowest on in a manifest. overlayfs takes no directory twice, and of two that are the same the lower one shows nothing. Nor does it look whether a
  // layer as a whole hides those below.
  const lowest = Math.max(
    layers.findLastIndex(({ opaque }) => opaque.includes('/')),
    0,
  );
  const all = layers.toReversed();
  const shown = all.slice(0, all.length - lowest);
  const unique = shown.filter(({ name }, index) => shown.findIndex((layer) => layer.name === name) === index);
  const directories = await inheritedLayer(store, { layers: unique, all }, signal);
  return {
    version: 1,
    reference,
    kind: 'oci',
    id,
    layers: unique.map(({ name }) => name),
    directories,
    document: Buffer.from(document).toString('utf8'),
    file,
    createdMs: Date.now(),
  };
}

/** `ref`: its name in the layout, or its digest. */
export async function recordLayout(
  store: ImageStore,
  reference: string,
  directory: string,
  ref: string | undefined,
  options: OciOptions,
): Promise<ImageRecord> {
  const file = identify(join(directory, 'index.json'));
  return await recordFromLayout(store, { reference, file }, directory, ref, directory, options);
}

/** `what`: as messages call the layout. */
async function recordFromLayout(
  store: ImageStore,
  origin: Origin,
  directory: string,
  ref: string | undefined,
  what: string,
  options: OciOptions,
): Promise<ImageRecord> {
  const layout = new LayoutDirectory(directory, what);
  checkOciLayout(layout.document('oci-layout'));
  const index = parseOciDocument(layout.document('index.json'), `index.json of ${what}`);
  if (index.kind !== 'index') throw new ImageError('SBX_IMAGE_INVALID', `index.json of ${what} is a manifest`);
  const { manifest, digest } = await layout.manifest(selectFromLayout(index, ref), options.platform);
  const document = await layout.blob(manifest.config, 'the configuration');
  const config = parseImageConfig(document, `the configuration of ${what}`);
  checkLayers(manifest, config);
  const sources = manifest.layers.map((layer, position) => () => layout.layer(layer, position));
  const layers = await obtainOciLayers(store.layers, config.diffIds, sources, options);
  return await recordOf(store, origin, digest, layers, document, options);
}

/** An archive of either kind: unpacked to a directory that is gone again when its layers are in the store. */
export async function recordArchive(
  store: ImageStore,
  reference: string,
  path: string,
  kind: 'oci-archive' | 'docker-archive',
  ref: string | undefined,
  options: OciOptions,
): Promise<ImageRecord> {
  const origin: Origin = { reference, file: identify(path) };
  const work = store.layers.makeWork();
  try {
    const { limits, signal } = options;
    const whole = { ...(limits === undefined ? {} : { limits }), ...(signal === undefined ? {} : { signal }) };
    const directory = join(work, 'archive');
    await unpack(path, directory, { ...whole, whiteouts: 'keep', setid: 'drop' });
    return kind === 'oci-archive'
      ? await recordFromLayout(store, origin, directory, ref, path, options)
      : await recordFromDocker(store, origin, directory, ref, path, options);
  } finally {
    await store.layers.removeWork(work);
  }
}

async function recordFromDocker(
  store: ImageStore,
  origin: Origin,
  directory: string,
  tag: string | undefined,
  what: string,
  options: OciOptions,
): Promise<ImageRecord> {
  const archive = new LayoutDirectory(directory, what);
  const { images } = parseDockerArchive(archive.document('manifest.json'));
  const image = selectFromArchive(images, tag);
  const document = archive.document(image.config);
  const digest = hashBytes(document);
  if (image.configDigest !== undefined && image.configDigest !== digest)
    throw new ImageError('SBX_IMAGE_DIGEST', `${what}: '${image.config}' is not what its name says: it is ${digest}`);
  const config = parseImageConfig(document, `the configuration of ${what}`);
  checkLayers(image, config);
  const sources = image.layers.map(
    (path) => (): ArchiveSource => ({
      name: `${what}, layer '${path}'`,
      content: readArchiveFile(archive.at(path)),
    }),
  );
  const layers = await obtainOciLayers(store.layers, config.diffIds, sources, options);
  return await recordOf(store, origin, digest, layers, document, options);
}

export interface PullOptions extends OciOptions {
  readonly registry?: RegistryOptions;
  /** Hears of layers as they come. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

export interface PullProgress {
  /** Of the layers that are missing; a layer counts when it is unpacked. */
  readonly layersDone: number;
  readonly layers: number;
  /** Compressed, of all of them. */
  readonly bytesDone: number;
  readonly bytes: number;
}

export async function recordPulled(
  store: ImageStore,
  reference: string,
  remote: RegistryReference,
  options: PullOptions,
): Promise<ImageRecord> {
  const client = new RegistryClient({
    ...options.registry,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const { digest, manifest, config, document } = await fetchImage(client, remote, options.platform);
  const origin: Origin = { reference, file: undefined };
  if (!store.layers.holdsMarks) {
    const progress = new Progress(manifest.layers, options.onProgress);
    const sources = manifest.layers.map(
      (layer, position) => (): ArchiveSource => ({
        name: `${reference}, layer ${position + 1}`,
        content: progress.whole(client.blob(remote, layer)),
      }),
    );
    const layers = await obtainOciLayers(store.layers, config.diffIds, sources, options);
    return await recordOf(store, origin, digest, layers, document, options);
  }
  const found = new Map<number, StoredLayer>();
  const missing: Descriptor[] = [];
  const positions: number[] = [];
  for (const [position, layer] of manifest.layers.entries()) {
    const there = store.layers.find(nameOfLayer(config.diffIds[position] ?? ''));
    if (there !== undefined) found.set(position, there);
    else {
      missing.push(layer);
      positions.push(position);
    }
  }
  const progress = new Progress(missing, options.onProgress);
  await fetchLayers(client, remote, missing, async (_layer, index, content) => {
    const position = positions[index] ?? 0;
    const source = { name: `${reference}, layer ${position + 1}`, content: progress.counted(content) };
    found.set(position, await obtainOciLayer(store.layers, config.diffIds[position] ?? '', () => source, options));
    progress.finished();
  });
  const layers = manifest.layers.map((_, position) => found.get(position)).filter((layer) => layer !== undefined);
  return await recordOf(store, origin, digest, layers, document, options);
}

class Progress {
  readonly #tell: PullOptions['onProgress'];
  readonly #layers: number;
  readonly #bytes: number;
  #layersDone = 0;
  #bytesDone = 0;

  constructor(missing: readonly Descriptor[], tell: PullOptions['onProgress']) {
    this.#tell = tell;
    this.#layers = missing.length;
    this.#bytes = missing.reduce((sum, { size }) => sum + size, 0);
  }

  async *counted(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of content) {
      this.#bytesDone += chunk.byteLength;
      this.#say();
      yield chunk;
    }
  }

  async *whole(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    yield* this.counted(content);
    this.finished();
  }

  finished(): void {
    this.#layersDone += 1;
    this.#say();
  }

  #say(): void {
    this.#tell?.({
      layersDone: this.#layersDone,
      layers: this.#layers,
      bytesDone: this.#bytesDone,
      bytes: this.#bytes,
    });
  }
}
