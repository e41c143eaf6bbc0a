// An OCI image layout of some layers, made by tar(1).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The first layer has a static busybox and `/bin/true`; each of the others a file of its own, and one that all of them write.
 *
 * @param {string} directory that is to become the layout
 * @param {number} layers
 * @param {string} busybox
 */
export function writeLayout(directory, layers, busybox) {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const add = (bytes, mediaType) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const document = (value, mediaType) => add(Buffer.from(JSON.stringify(value)), mediaType);
  const packed = Array.from({ length: layers }, (_, number) => {
    const bytes = pack(directory, (root) => (number === 0 ? writeRoot(root, busybox) : writeChange(root, number)));
    return add(bytes, 'application/vnd.oci.image.layer.v1.tar');
  });
  const config = document(
    {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: packed.map(({ digest }) => digest) },
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = document({ schemaVersion: 2, mediaType, config, layers: packed }, mediaType);
  const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

/** @param {string} root @param {string} busybox */
export function writeRoot(root, busybox) {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'tmp', 'd']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(busybox, join(root, 'bin', 'busybox'));
  for (const name of ['true', 'sh', 'cat']) symlinkSync('busybox', join(root, 'bin', name));
}

function writeChange(root, number) {
  mkdirSync(join(root, 'd'));
  writeFileSync(join(root, 'd', String(number)), `${number}\n`);
  writeFileSync(join(root, 'd', 'last'), `${number}\n`);
}

function pack(directory, write) {
  const root = join(directory, 'layer');
  const archive = join(directory, 'layer.tar');
  mkdirSync(root);
  write(root);
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', archive, '.']);
  const bytes = readFileSync(archive);
  rmSync(root, { recursive: true });
  rmSync(archive);
  return bytes;
}
