// Images in files: the OCI image layout (`oci-layout`, `index.json`, `blobs/`), and archives of `docker save` (`manifest.json`).
import { ImageError, type SpecIssue } from '../../errors/errors.ts';
import { digestOf, parseDigest } from '../digest.ts';
import { parseJson } from '../json.ts';
import { listSome, type Place, readDocument, shorten } from '../place.ts';
import type { Descriptor } from './descriptor.ts';
import type { OciIndex } from './manifest.ts';
import { kindOf } from './media-types.ts';

/** Whether a directory or an archive is an image layout that is read here. @throws {ImageError} `SBX_IMAGE_INVALID` */
export function checkOciLayout(document: string | Uint8Array): void {
  readDocument(parseJson(document, 'oci-layout'), 'oci-layout', (place) => {
    if (!place.isObject(['imageLayoutVersion'])) return {};
    const version = place
      .at('imageLayoutVersion')
      .string((text) =>
        /^1\.\d+\.\d+$/.test(text) ? undefined : `must be a version 1 of the layout, not '${shorten(text)}'`,
      );
    return { version };
  });
}

/** Where a layout has its content. `digest` was checked, so that nothing of it leads elsewhere. */
export function blobPath(digest: string): string {
  const { algorithm, hex } = digestOf(digest);
  return `blobs/${algorithm}/${hex}`;
}

const refName = 'org.opencontainers.image.ref.name';

/**
 * The one of a layout's `index.json` that is meant: by its name, or its digest, or because there is no other.
 *
 * @throws {ImageError} `SBX_IMAGE_REFERENCE`, with the names that there are.
 */
export function selectFromLayout({ manifests }: OciIndex, ref: string | undefined): Descriptor {
  const images = manifests.filter(({ mediaType }) => kindOf(mediaType) === 'manifest' || kindOf(mediaType) === 'index');
  const names = images.map(({ annotations, digest }) => annotations.get(refName) ?? digest);
  const found = images.filter((image, index) => ref === undefined || names[index] === ref || image.digest === ref);
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first;
  const there = names.length === 0 ? 'it has none' : `it has ${listSome(names.map((name) => `'${shorten(name)}'`))}`;
  if (ref === undefined)
    throw new ImageError(
      'SBX_IMAGE_REFERENCE',
      `the layout has no one image: ${there}`,
      {},
      { remedy: 'name one after a colon' },
    );
  throw new ImageError(
    'SBX_IMAGE_REFERENCE',
    `the layout has ${first === undefined ? 'no' : 'more than one'} image '${shorten(ref)}': ${there}`,
  );
}

export interface DockerArchiveImage {
  /** Paths in the archive. */
  readonly config: string;
  readonly layers: readonly string[];
  readonly repoTags: readonly string[];
  /** Where the name of the file is one: the digest that the configuration must have. */
  readonly configDigest: string | undefined;
}

/** `manifest.json` of `docker save`. @throws {ImageError} `SBX_IMAGE_INVALID` with every issue. */
export function parseDockerArchive(document: string | Uint8Array): {
  readonly images: readonly DockerArchiveImage[];
  readonly notes: readonly SpecIssue[];
} {
  return readDocument(parseJson(document, 'manifest.json'), 'manifest.json', (place) => {
    const images = place.list(readArchiveImage);
    if (images.length === 0) place.report('must be a list with an image in it');
    return { images };
  });
}

function readArchiveImage(place: Place): DockerArchiveImage | undefined {
  if (!place.isObject(['Config', 'RepoTags', 'Layers', 'LayerSources', 'Parent'])) return undefined;
  const config = place.at('Config').string(checkMember);
  const layers = place.at('Layers').strings(checkMember);
  if (layers.length === 0) place.at('Layers').report('must have a layer: without one there is nothing to run');
  return { config, layers, repoTags: place.at('RepoTags').strings(), configDigest: digestInName(config) };
}

/** A path in the archive. */
function checkMember(path: string): string | undefined {
  const parts = path.split('/');
  if (path !== '' && !path.includes('\0') && !parts.some((part) => part === '' || part === '.' || part === '..'))
    return undefined;
  return `'${shorten(path)}' is no path in the archive`;
}

/** `HEX.json` of older archives, `blobs/sha256/HEX` of later ones. */
function digestInName(path: string): string | undefined {
  const match = /^(?:blobs\/(sha256|sha512)\/([0-9a-f]+)|([0-9a-f]{64})\.json)$/.exec(path);
  if (match === null) return undefined;
  const digest = `${match[1] ?? 'sha256'}:${match[2] ?? match[3]}`;
  return 'problem' in parseDigest(digest) ? undefined : digest;
}

/** @throws {ImageError} `SBX_IMAGE_REFERENCE`, with the names that there are. */
export function selectFromArchive(images: readonly DockerArchiveImage[], tag: string | undefined): DockerArchiveImage {
  const found = images.filter(({ repoTags }) => tag === undefined || repoTags.includes(tag));
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first;
  const tags = images.flatMap(({ repoTags }) => repoTags);
  const there =
    tags.length === 0 ? 'none has a name' : `there is ${listSome(tags.map((name) => `'${shorten(name)}'`))}`;
  if (tag === undefined)
    throw new ImageError(
      'SBX_IMAGE_REFERENCE',
      `the archive has ${images.length} images: ${there}`,
      {},
      {
        remedy: 'name one after a colon',
      },
    );
  throw new ImageError(
    'SBX_IMAGE_REFERENCE',
    `the archive has ${first === undefined ? 'no' : 'more than one'} image '${shorten(tag)}': ${there}`,
  );
}
