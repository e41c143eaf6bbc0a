// Image layouts made by hand, also such as no tool makes.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Member, member, tar } from './tar.ts';

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export interface LayoutParts {
  readonly files?: Record<string, Uint8Array>;
  readonly config?: object;
  readonly manifest?: object;
  readonly index?: object;
  /** Of the descriptor in the index. */
  readonly descriptor?: object;
  /** The layer as a blob. */
  readonly layer?: (plain: Buffer) => Uint8Array;
}

/** Files of a layout of one image with one layer, by their paths. Each part is joined over what a tool would write. */
export function layoutFiles(parts: LayoutParts = {}): Record<string, Uint8Array> {
  const files: Record<string, Uint8Array> = {};
  const blob = (bytes: Uint8Array): { digest: string; size: number } => {
    const digest = sha256(bytes);
    files[`blobs/${digest.replace(':', '/')}`] = bytes;
    return { digest, size: bytes.length };
  };
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  const plain = tar({ name: 'file', content: 'content' });
  const layer = blob((parts.layer ?? ((bytes) => gzipSync(bytes)))(plain));
  const config = blob(
    json({
      os: 'linux',
      architecture: 'amd64',
      config: { Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: [sha256(plain)] },
      ...parts.config,
    }),
  );
  const manifest = blob(
    json({
      schemaVersion: 2,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
      ...parts.manifest,
    }),
  );
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    ...manifest,
    annotations: { 'org.opencontainers.image.ref.name': 'latest' },
    ...parts.descriptor,
  };
  return {
    'oci-layout': json({ imageLayoutVersion: '1.0.0' }),
    'index.json': json({ schemaVersion: 2, manifests: [descriptor], ...parts.index }),
    ...files,
    ...parts.files,
  };
}

export function writeFiles(directory: string, files: Record<string, Uint8Array>): void {
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(join(directory, path, '..'), { recursive: true });
    writeFileSync(join(directory, path), bytes);
  }
}

export function tarOf(files: Record<string, Uint8Array>, ...more: readonly Member[]): Buffer {
  const members = Object.entries(files).map(([name, content]) => member({ name, content }));
  return Buffer.concat([...members, tar(...more)]);
}
