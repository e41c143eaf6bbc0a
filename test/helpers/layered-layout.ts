// The layout of an OCI image of several layers, each an archive as given, uncompressed.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { platformOf } from '../../src/image/oci/platform.ts';

/** `config`: of the command; `layers` from the lowest on. */
export function writeLayout(directory: string, layers: readonly Uint8Array[], config: object = {}): void {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const blob = (content: Uint8Array | object, type: string) => {
    const bytes = content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content));
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(directory, 'blobs/sha256', hex), bytes);
    return { mediaType: `application/vnd.oci.image.${type}`, digest: `sha256:${hex}`, size: bytes.length };
  };
  const descriptors = layers.map((layer) => blob(layer, 'layer.v1.tar'));
  const { os, architecture } = platformOf(process.arch);
  const rootfs = { type: 'layers', diff_ids: descriptors.map(({ digest }) => digest) };
  const image = blob({ os, architecture, config, rootfs }, 'config.v1+json');
  const manifest = blob({ schemaVersion: 2, config: image, layers: descriptors }, 'manifest.v1+json');
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}
