// Indexes and manifests of OCI images and of Docker's schema 2 (OCI image spec 1.1: image-index.md, manifest.md).
import type { SpecIssue } from '../../errors/errors.ts';
import { parseJson } from '../json.ts';
import { type Place, readDocument } from '../place.ts';
import { type Descriptor, readAnnotations, readDescriptor } from './descriptor.ts';
import { kindOf, layerCompression, whyNot } from './media-types.ts';

export interface OciIndex {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly notes: readonly SpecIssue[];
}

export interface OciManifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  /** From the lowest to the topmost. */
  readonly layers: readonly Descriptor[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly notes: readonly SpecIssue[];
}

/** More than any file system stacks. */
const LAYERS_MAX = 1000;
const MANIFESTS_MAX = 10_000;

const nowhere: Descriptor = {
  mediaType: '',
  digest: '',
  size: 0,
  annotations: new Map(),
  platform: undefined,
  artifactType: undefined,
};

/**
 * `mediaType`: what the document came as. It must not say otherwise: a document that is a manifest to one reader and an index to another is how
 * one image is verified and another one run (CVE-2021-41190).
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID` with every issue.
 */
export function parseOciDocument(
  document: string | Uint8Array,
  what: string,
  mediaType?: string,
): OciIndex | OciManifest {
  const json = parseJson(document, what);
  return readDocument(json, what, (place) => {
    const kind = documentKind(place, mediaType);
    return kind === 'index' ? readIndex(place) : readManifest(place);
  }) as OciIndex | OciManifest;
}

function documentKind(place: Place, announced: string | undefined): 'index' | 'manifest' {
  if (!place.isObject('any')) return 'manifest';
  const own = place.at('mediaType').optionalString();
  if (own !== undefined && announced !== undefined && own !== announced)
    place.at('mediaType').report(`is '${own}', and the document came as '${announced}'`);
  const [hasManifests, hasLayers] = [
    place.at('manifests').present,
    place.at('layers').present || place.at('config').present,
  ];
  if (hasManifests && hasLayers) place.report('has manifests and layers: it is an index or a manifest, not both');
  const mediaType = announced ?? own;
  // Neither is required in a file of its own: then it is told by what is in it.
  if (mediaType === undefined) return hasManifests ? 'index' : 'manifest';
  const kind = kindOf(mediaType);
  if (kind === 'index' || kind === 'manifest') return kind;
  place.at('mediaType').report(whyNot(mediaType, 'an image index or manifest'));
  return hasManifests ? 'index' : 'manifest';
}

const indexKeys = ['schemaVersion', 'mediaType', 'artifactType', 'manifests', 'subject', 'annotations'];
const manifestKeys = ['schemaVersion', 'mediaType', 'artifactType', 'config', 'layers', 'subject', 'annotations'];

function readIndex(place: Place): Omit<OciIndex, 'notes'> {
  if (place.isObject(indexKeys)) readSchemaVersion(place.at('schemaVersion'));
  const manifests = place.at('manifests').list((element) => readDescriptor(element));
  if (!place.at('manifests').present) place.at('manifests').report('is required');
  if (manifests.length > MANIFESTS_MAX) place.at('manifests').report(`has more than ${MANIFESTS_MAX} elements`);
  return { kind: 'index', manifests, annotations: readAnnotations(place.at('annotations')) };
}

function readManifest(place: Place): Omit<OciManifest, 'notes'> {
  if (place.isObject(manifestKeys)) readSchemaVersion(place.at('schemaVersion'));
  const config = readDescriptor(place.at('config'), checkConfigType) ?? nowhere;
  const layers = place.at('layers').list((layer) => readDescriptor(layer, checkLayerType));
  if (layers.length === 0) place.at('layers').report('must have a layer: without one there is nothing to run');
  if (layers.length > LAYERS_MAX) place.at('layers').report(`has more than ${LAYERS_MAX} elements`);
  return { kind: 'manifest', config, layers, annotations: readAnnotations(place.at('annotations')) };
}

function readSchemaVersion(place: Place): void {
  if (place.requiredInteger(1) === 1 && place.value === 1)
    place.report("is 1, Docker's older form, which is not read here; push the image again with a newer tool");
  else if (typeof place.value === 'number' && place.value !== 2) place.report(`must be 2, not ${place.value}`);
}

function checkConfigType(mediaType: string): string | undefined {
  if (kindOf(mediaType) === 'config') return undefined;
  return `${whyNot(mediaType, 'the configuration of an image')}: it may be an artifact of another kind, which cannot be run`;
}

function checkLayerType(mediaType: string): string | undefined {
  return layerCompression(mediaType) === undefined ? whyNot(mediaType, 'a layer that can be unpacked') : undefined;
}
