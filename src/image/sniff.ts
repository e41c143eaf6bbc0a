// What a path holds, by what is in it: names of files say little.
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImageError } from '../errors/errors.ts';
import { DETECT_BYTES, detect } from './archive/detect.ts';
import { type ArchiveLimits, defaultArchiveLimits } from './archive/limits.ts';
import { openArchive } from './archive/open.ts';
import type { TarEntry } from './archive/tar.ts';
import { readArchiveFile } from './archive-file.ts';

/**
 * `aci`: an App Container image; `oci-layout`: a directory, `oci-archive`: a tar of one; `docker-archive`: of `docker save`; `bundle`: a directory with the
 * configuration of an OCI runtime; `tar`: an archive of files; `directory`; `manifest`: JSON by itself.
 */
export type ImageKind =
  | 'aci'
  | 'oci-layout'
  | 'oci-archive'
  | 'docker-archive'
  | 'bundle'
  | 'tar'
  | 'directory'
  | 'manifest';

/** @throws {ImageError} where there is nothing, or nothing that can be read. */
export async function sniffImage(path: string, limits: ArchiveLimits = defaultArchiveLimits): Promise<ImageKind> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new ImageError('SBX_IMAGE_INVALID', `${path} does not exist`, { archive: path });
  if (found.isDirectory()) return kindOfDirectory(path);
  if (isJson(path)) return 'manifest';
  return (await kindOfArchive(path, limits)) ?? (path.endsWith('.aci') ? 'aci' : 'tar');
}

/** By two names; nothing is read. */
export function kindOfDirectory(path: string): 'oci-layout' | 'bundle' | 'directory' {
  const has = (name: string): boolean => existsSync(join(path, name));
  if (has('oci-layout') && has('index.json')) return 'oci-layout';
  return has('config.json') && has('rootfs') ? 'bundle' : 'directory';
}

export type FileSystemKind = 'squashfs' | 'erofs';

/** Told by its first bytes; no archive, and an image only for who runs it. */
export function fileSystemOf(path: string): FileSystemKind | undefined {
  const found = detect(headOf(path));
  return found === 'squashfs' || found === 'erofs' ? found : undefined;
}

/** `{` comes first, and it is no archive. */
function isJson(path: string): boolean {
  const head = headOf(path);
  return detect(head) === 'unknown' && /^[\s\ufeff]*\{/.test(head.toString('utf8'));
}

/** Empty where it is no file. */
function headOf(path: string): Buffer {
  // A FIFO that nobody writes to would be waited for.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const head = Buffer.alloc(DETECT_BYTES);
    return fstatSync(descriptor).isFile()
      ? head.subarray(0, readSync(descriptor, head, 0, head.length, 0))
      : head.subarray(0, 0);
  } finally {
    closeSync(descriptor);
  }
}

/** Reads no further than needed; `undefined` where no name of an image is at the top. */
async function kindOfArchive(path: string, limits: ArchiveLimits): Promise<ImageKind | undefined> {
  const { entries } = await openArchive(readArchiveFile(path), path, limits);
  for await (const { name, kind } of entries) {
    const known = kind === 'file' ? telling.get(name) : undefined;
    if (known !== undefined) return known;
    if (!mayPrecede({ name, kind })) return undefined;
  }
  return undefined;
}

const telling: ReadonlyMap<string, ImageKind> = new Map([
  ['manifest', 'aci'],
  ['oci-layout', 'oci-archive'],
  ['index.json', 'oci-archive'],
  ['manifest.json', 'docker-archive'],
]);

/** Whether one that tells may still come: an archive of another kind is not read to its end. */
function mayPrecede({ name }: Pick<TarEntry, 'name' | 'kind'>): boolean {
  const [top = ''] = name.split('/');
  // Archives of Docker, and of those who write them too, have a directory or a file for each layer and configuration, named by hash; Jib's have config.json.
  return (
    top === '' ||
    ['rootfs', 'blobs', 'repositories', 'config.json'].includes(top) ||
    /^(sha256:)?[0-9a-f]{64}(\.json|\.tar(\.gz)?)?$/.test(top)
  );
}
