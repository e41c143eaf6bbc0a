// Images as an object of their own: brought into the store, listed, and what nobody needs removed. To run one, name it as the root of a
// spec. What does the work is loaded when somebody asks.
import type { Changes } from '../changes/types.ts';
import type { ImageOptions } from './open/open.ts';
import type { PushedImage, PushOptions } from './push.ts';
import type { RecordedKind } from './store/records.ts';
import type { Collected, StoredImage } from './store/store.ts';

export interface ImageLayer {
  /** SHA-256 of its archive, uncompressed: `sha256:...`, the diffID of OCI. */
  readonly diffId: string;
  /** Of content, without holes. */
  readonly bytes: number;
  readonly entries: number;
  /** What its archive has and the layer does not, by kind: `devices`, `owners`, `xattrs`, `modes`, `others`. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** An image whose layers are in the store. */
export interface Image {
  /** As the store has it: with everything that was left out. It may be given as `root.image`. */
  readonly reference: string;
  readonly kind: RecordedKind;
  /** `sha256:...` of the manifest of OCI, of an archive of `docker save` of its configuration; the image ID of App Container, `sha512-...`; of a tar archive its hash, uncompressed. */
  readonly id: string;
  /** The uppermost first. */
  readonly layers: readonly ImageLayer[];
  /** The image manifest of App Container, or the configuration of OCI, as it came; nothing for a tar archive. */
  readonly document: string | undefined;
  /** What its archives have and its layers do not, in words; only of those that were unpacked now. */
  readonly notes: readonly string[];
}

/**
 * Brings an image into the store, unless it is there.
 *
 * @param reference - `./FILE`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`, or a name at a registry.
 * @throws {ImageError} `SBX_IMAGE_*`. Nothing of it is left then.
 * @example const { id } = await openImage('./app.aci');
 */
export async function openImage(reference: string, options: ImageOptions = {}): Promise<Image> {
  const { openReference } = await import('./open/open.ts');
  const notes: string[] = [];
  const opened = await openReference(reference, { ...options, onNote: (note) => notes.push(note) });
  return imageOf(opened, notes);
}

/** Those in the store of the caller, by reference. @throws {ImageError} `SBX_IMAGE_STORE` */
export async function listImages(): Promise<Image[]> {
  const { findStore } = await import('./open/open.ts');
  return (await findStore()).store.list().map((image) => imageOf(image, []));
}

/**
 * Removes layers that no image of the store has any more and nobody uses, and what killed processes left.
 *
 * @throws {ImageError} `SBX_IMAGE_STORE`
 */
export async function collectImages(): Promise<Collected> {
  const { findStore } = await import('./open/open.ts');
  return await (await findStore()).store.collect();
}

function imageOf({ record, layers }: StoredImage, notes: readonly string[]): Image {
  const { reference, kind, id, document } = record;
  return {
    reference,
    kind,
    id,
    layers: layers.map(({ diffId, bytes, entries, leftOut }) => ({ diffId, bytes, entries, leftOut })),
    document,
    notes,
  };
}

/**
 * Pushes captured changes of an image as a layer above it, under a name at a registry. Settings are those of the image.
 *
 * @param reference `REGISTRY/NAME[:TAG]`, without a digest
 * @throws {ImageError} `SBX_IMAGE_REFERENCE`, `SBX_IMAGE_UNSUPPORTED` where these are no changes of an OCI image that can still be read, `SBX_IMAGE_REGISTRY`
 */
export async function pushChanges(
  changes: Changes,
  reference: string,
  options: PushOptions = {},
): Promise<PushedImage> {
  const { push } = await import('./push.ts');
  return await push(changes, reference, options);
}
