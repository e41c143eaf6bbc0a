// Names of what a document is: of the OCI image spec 1.1 and of Docker's schema 2, which say the same things by other names.

export type DocumentKind = 'index' | 'manifest' | 'config';

const kinds: Readonly<Record<string, DocumentKind>> = {
  'application/vnd.oci.image.index.v1+json': 'index',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index',
  'application/vnd.oci.image.manifest.v1+json': 'manifest',
  'application/vnd.docker.distribution.manifest.v2+json': 'manifest',
  'application/vnd.oci.image.config.v1+json': 'config',
  'application/vnd.docker.container.image.v1+json': 'config',
};

export type LayerCompression = 'none' | 'gzip' | 'zstd';

const layers: Readonly<Record<string, LayerCompression>> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
  'application/vnd.oci.image.layer.nondistributable.v1.tar': 'none',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd': 'zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip': 'gzip',
};

export function kindOf(mediaType: string): DocumentKind | undefined {
  return Object.hasOwn(kinds, mediaType) ? kinds[mediaType] : undefined;
}

export function layerCompression(mediaType: string): LayerCompression | undefined {
  return Object.hasOwn(layers, mediaType) ? layers[mediaType] : undefined;
}

/** Media types of manifests and indexes, as a client names them to a registry. */
export const manifestTypes: readonly string[] = Object.keys(kinds).filter((type) => kinds[type] !== 'config');

const older = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/;

/** Why a media type is none that is wanted here. */
export function whyNot(mediaType: string, wanted: string): string {
  if (older.test(mediaType))
    return `${mediaType} is Docker's schema 1, which has no digests of its parts; push the image again with a newer tool`;
  return `'${mediaType}' is not the media type of ${wanted}`;
}
