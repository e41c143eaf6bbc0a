// An App Container image as layers: its own files, those of the images it depends on below them, and of each what the lists of paths let through.
import { realpathSync } from 'node:fs';
import { ImageError } from '../../errors/errors.ts';
import { AciArchiveRules, entryTypes } from '../aci/archive.ts';
import { type AciImage, type RenderStep, renderOrder, whitelistJudge, whyNoMatch } from '../aci/dependencies.ts';
import { type AciDependency, type AciManifest, parseAciManifest } from '../aci/manifest.ts';
import { concat } from '../archive/bytes.ts';
import type { EntryKind, TarEntry } from '../archive/tar.ts';
import { readArchiveFile } from '../archive-file.ts';
import { DOCUMENT_BYTES_MAX } from '../json.ts';
import type { StoredLayer } from '../store/layers.ts';
import { hashOf } from '../store/place.ts';
import { type ImageRecord, identify } from '../store/records.ts';
import type { ImageStore } from '../store/store.ts';
import { inheritedLayer } from './inherited.ts';
import { type LayerOptions, unpackLayer } from './layer.ts';

export interface AciOptions extends LayerOptions {
  /** Archives of images that this one may depend on, before those that the store knows. */
  readonly dependencies?: readonly string[] | undefined;
}

/** An archive that was read: what it is, and where it is. */
interface Known extends AciImage {
  readonly path: string;
  /** Of its bytes. */
  readonly digest: string;
  readonly document: string;
}

export async function recordAci(
  store: ImageStore,
  reference: string,
  path: string,
  options: AciOptions,
): Promise<ImageRecord> {
  const file = identify(path);
  const image = await readAci(store, path, options);
  const given: Known[] = [];
  for (const dependency of options.dependencies ?? [])
    given.push(await readAci(store, realpathSync(dependency), options));
  const known = new Map<string, Known>([image, ...given].map((one) => [one.id, one]));
  const steps = renderOrder(image, (dependency) => {
    const found = given.find((one) => whyNoMatch(dependency, one) === undefined) ?? fromStore(store, dependency);
    if (found !== undefined) known.set(found.id, found);
    return found;
  });
  const layers: StoredLayer[] = [];
  for (const step of withoutCovered(steps)) {
    const { path: archive } = known.get(step.image.id) ?? image;
    layers.unshift(await layerOf(store, step, archive, options));
  }
  const names = layers.map(({ name }) => name);
  const { id, document } = image;
  const used = new Set([image, ...steps.map((step) => known.get(step.image.id) ?? image)]);
  const archives = [...used].map(({ id, manifest: { name }, path, digest }) => ({ id, name, path, digest }));
  const directories = await inheritedLayer(store, { layers, all: layers }, options.signal);
  const createdMs = Date.now();
  return { version: 1, reference, kind: 'aci', id, layers: names, directories, archives, document, file, createdMs };
}

/** Unpacks it on the way, as nearly every image is used whole. */
async function readAci(store: ImageStore, path: string, options: LayerOptions): Promise<Known> {
  let document: Uint8Array | undefined;
  let digest = '';
  const size = identify(path).size;
  const layer = await store.layers.addAs(async (directory) => {
    const reader = new AciReader(path);
    const source = { name: path, content: readArchiveFile(path), select: reader.rootfs };
    const { facts, archive } = await unpackLayer(store.layers, [source], directory, 'keep', options);
    document = reader.manifest;
    ({ digest } = archive);
    return { name: layerName(archive.imageId, []), facts };
  });
  if (document === undefined) throw new ImageError('SBX_IMAGE_INVALID', `${path}: there is no image manifest`);
  const manifest = parseAciManifest(document);
  return {
    id: layer.name.slice(PREFIX.length),
    size,
    manifest,
    path,
    digest,
    document: Buffer.from(document).toString('utf8'),
  };
}

const PREFIX = 'aci-';

function layerName(id: string, whitelists: RenderStep['pathWhitelists']): string {
  const lists = whitelists.filter((list) => list.length > 0);
  return lists.length === 0 ? `${PREFIX}${id}` : `${PREFIX}${id}-${hashOf(JSON.stringify(lists)).slice(0, 16)}`;
}

async function layerOf(
  store: ImageStore,
  { image, pathWhitelists }: RenderStep,
  path: string,
  options: LayerOptions,
): Promise<StoredLayer> {
  const judge = whitelistJudge(pathWhitelists);
  const name = layerName(image.id, pathWhitelists);
  return await store.layers.obtain(name, async (directory) => {
    const reader = new AciReader(path, (entryPath, kind) => {
      const verdict = judge(entryPath);
      return verdict === 'listed' || (verdict === 'parent' && kind === 'directory');
    });
    const source = { name: path, content: readArchiveFile(path), select: reader.rootfs };
    const { facts, archive } = await unpackLayer(store.layers, [source], directory, 'keep', options);
    if (archive.imageId !== image.id)
      throw new ImageError('SBX_IMAGE_DIGEST', `${path} was ${image.id}, and is ${archive.imageId} now`);
    return facts;
  });
}

/** Of an image that comes twice with nothing that differs, the lower one shows nothing. */
function withoutCovered(steps: readonly RenderStep[]): RenderStep[] {
  const names = steps.map(({ image, pathWhitelists }) => layerName(image.id, pathWhitelists));
  return steps.filter((_step, index) => names.lastIndexOf(names[index] ?? '') === index);
}

/** An image that was opened before, where its archive is still there: other lists of paths may want other files of it. */
function fromStore(store: ImageStore, wanted: AciDependency): Known | undefined {
  for (const { record } of store.list()) {
    const own = record.archives?.find(({ id }) => id === record.id);
    if (own === undefined || record.document === undefined || record.file === undefined) continue;
    const manifest: AciManifest = parseAciManifest(record.document);
    const found = {
      id: record.id,
      size: record.file.size,
      manifest,
      path: record.file.path,
      digest: own.digest,
      document: record.document,
    };
    if (whyNoMatch(wanted, found) === undefined) return found;
  }
  return undefined;
}

const ROOTFS = 'rootfs';

/** The entries of an archive as those of its rootfs; the manifest on the way. */
class AciReader {
  manifest: Uint8Array | undefined;
  readonly #path: string;
  readonly #keep: (path: string, kind: EntryKind) => boolean;

  constructor(path: string, keep: (path: string, kind: EntryKind) => boolean = () => true) {
    this.#path = path;
    this.#keep = keep;
  }

  readonly rootfs = (entries: AsyncIterable<TarEntry>): AsyncIterable<TarEntry> => this.#read(entries);

  async *#read(entries: AsyncIterable<TarEntry>): AsyncGenerator<TarEntry, void, undefined> {
    const rules = new AciArchiveRules();
    for await (const entry of entries) {
      const place = rules.entry({ path: entry.name === '' ? '.' : entry.name, type: entryTypes[entry.kind] });
      if (place === 'manifest') this.manifest = await this.#content(entry);
      if (place !== 'rootfs') continue;
      const name = entry.name.slice(ROOTFS.length + 1);
      if (!this.#keep(`/${name}`, entry.kind)) continue;
      yield {
        ...entry,
        name,
        target: entry.kind === 'link' ? this.#target(entry) : entry.target,
        content: entry.content,
      };
    }
    rules.finish();
    // Before anything is kept of it.
    if (this.manifest !== undefined) parseAciManifest(this.manifest);
  }

  /** The target of a hard link is named from the top of the archive, and must be a file of the rootfs. */
  #target({ target, name, number }: TarEntry): string {
    if (target.startsWith(`${ROOTFS}/`)) return target.slice(ROOTFS.length + 1);
    throw new ImageError(
      'SBX_IMAGE_INVALID',
      `${this.#path}, entry ${number} '${name}': it is a hard link to '${target}', which is not in the rootfs`,
    );
  }

  async #content({ size, content, number }: TarEntry): Promise<Uint8Array> {
    if (size > DOCUMENT_BYTES_MAX)
      throw new ImageError(
        'SBX_IMAGE_INVALID',
        `${this.#path}, entry ${number}: the manifest has ${size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`,
      );
    const whole = new Uint8Array(size);
    for await (const { offset, bytes } of content) whole.set(bytes, offset);
    return concat([whole]);
  }
}
