// From a name at a registry to what must be unpacked: the manifest for a platform, its configuration, and its layers.
import { ImageError } from '../../errors/errors.ts';
import { verifiedBytes } from '../digest.ts';
import { DOCUMENT_BYTES_MAX } from '../json.ts';
import { type OciImageConfig, parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type OciManifest, parseOciDocument } from '../oci/manifest.ts';
import { choosePlatform, type Platform } from '../oci/platform.ts';
import { checkLayers } from '../oci/spec.ts';
import { formatReference, type RegistryReference } from '../reference.ts';
import type { RegistryClient } from './client.ts';

export interface RemoteImage {
  /** Of the manifest for the platform: what the image is. */
  readonly digest: string;
  readonly manifest: OciManifest;
  readonly config: OciImageConfig;
  /** The configuration as it came. */
  readonly document: Uint8Array;
}

/** An index may list indexes; no tool makes more than two of them. */
const INDEXES_MAX = 4;

/** @throws {ImageError} `SBX_IMAGE_*` */
export async function fetchImage(
  client: RegistryClient,
  reference: RegistryReference,
  platform: Platform,
): Promise<RemoteImage> {
  const name = formatReference(reference);
  let next = reference;
  let announced: Descriptor | undefined;
  for (let depth = 0; depth <= INDEXES_MAX; depth += 1) {
    const { digest, mediaType, bytes } = await client.manifest(next);
    if (announced !== undefined && announced.size !== bytes.byteLength)
      throw new ImageError(
        'SBX_IMAGE_DIGEST',
        `${name}: ${digest} has ${bytes.byteLength} bytes, and was announced with ${announced.size}`,
      );
    const document = parseOciDocument(bytes, `the manifest of ${name}`, announced?.mediaType ?? known(mediaType));
    if (document.kind === 'manifest')
      return { digest, manifest: document, ...(await fetchConfig(client, reference, document, name)) };
    announced = choosePlatform(document.manifests, platform, name);
    next = { ...reference, digest: announced.digest };
  }
  throw new ImageError('SBX_IMAGE_INVALID', `${name} is an index of indexes, more than ${INDEXES_MAX} deep`);
}

/** Servers of plain files have no idea of what they send, and say so. */
function known(mediaType: string | undefined): string | undefined {
  const vague = ['application/json', 'application/octet-stream', 'text/plain'];
  return mediaType === undefined || vague.includes(mediaType) ? undefined : mediaType;
}

async function fetchConfig(
  client: RegistryClient,
  reference: RegistryReference,
  manifest: OciManifest,
  name: string,
): Promise<Pick<RemoteImage, 'config' | 'document'>> {
  const { digest, size } = manifest.config;
  const what = `the configuration of ${name}`;
  if (size > DOCUMENT_BYTES_MAX)
    throw new ImageError(
      'SBX_IMAGE_INVALID',
      `${what} has ${size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`,
    );
  const bytes = await verifiedBytes(client.blob(reference, manifest.config), { digest, size, what });
  const config = parseImageConfig(bytes, what);
  checkLayers(manifest, config);
  return { config, document: bytes };
}

/** At once; registries count connections. */
const PARALLEL_DEFAULT = 3;

/**
 * Hands each layer to `take`, several at once. The first that fails ends the others, and is what is thrown; `take` must not use what it was given
 * before the end of it was reached.
 */
export async function fetchLayers(
  client: RegistryClient,
  reference: RegistryReference,
  layers: readonly Descriptor[],
  take: (layer: Descriptor, index: number, content: AsyncIterable<Uint8Array>) => Promise<void>,
  parallel: number = PARALLEL_DEFAULT,
): Promise<void> {
  const queue = [...layers.entries()];
  const others = new AbortController();
  const work = async (): Promise<void> => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      const [index, layer] = entry;
      await take(layer, index, client.blob(reference, layer, others.signal));
    }
  };
  const workers = Array.from({ length: Math.min(parallel, layers.length) }, () =>
    work().catch((error) => {
      // The first error is the reason of the rest.
      others.abort(error);
    }),
  );
  await Promise.all(workers);
  others.signal.throwIfAborted();
}
