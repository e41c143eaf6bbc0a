// Content by media type, digest and size (OCI image spec 1.1, descriptor.md): what indexes and manifests are made of.
import { checkDigest } from '../digest.ts';
import type { Place } from '../place.ts';
import { type Platform, readPlatform } from './platform.ts';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations: ReadonlyMap<string, string>;
  readonly platform: Platform | undefined;
  /** What kind of artifact it is, where it is none of a container. */
  readonly artifactType: string | undefined;
}

/** Layers of several hundred gigabytes do not exist; a size that is none keeps a client busy for ever. */
const SIZE_MAX = 2 ** 40;

const keys = ['mediaType', 'digest', 'size', 'urls', 'annotations', 'data', 'platform', 'artifactType'];

/** `check` of the media type. */
export function readDescriptor(
  place: Place,
  check?: (mediaType: string) => string | undefined,
): Descriptor | undefined {
  if (!place.isObject(keys)) return undefined;
  // Content from anywhere else than the registry that was asked is a way to have a client fetch what it should not.
  if (place.at('urls').present) place.at('urls').note('is passed over: content comes from where the image is');
  if (place.at('data').present) place.at('data').note('is passed over: content is read by its digest');
  return {
    mediaType: place.at('mediaType').string(check),
    digest: place.at('digest').string(checkDigest),
    size: place.at('size').requiredInteger(0, SIZE_MAX),
    annotations: readAnnotations(place.at('annotations')),
    platform: place.at('platform').present ? readPlatform(place.at('platform')) : undefined,
    artifactType: place.at('artifactType').optionalString(),
  };
}

export function readAnnotations(place: Place): ReadonlyMap<string, string> {
  return place.record((member) => member.string());
}
