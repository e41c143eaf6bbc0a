// The files of an image layout, from a directory or from an archive, one by one and as often as they are asked for: nothing is unpacked for it.
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { ImageError } from '../../errors/errors.ts';
import { Directory } from '../../host/directory.ts';
import { shown } from '../archive/bytes.ts';
import type { ArchiveLimits } from '../archive/limits.ts';
import { cleanName } from '../archive/names.ts';
import { openArchive } from '../archive/open.ts';
import { readArchiveFile } from '../archive-file.ts';
import { contiguous } from '../contiguous.ts';

/** A file, or a name of another one: older archives of `docker save` have a layer once, and links to it. */
export type Member =
  | { readonly path: string; readonly size: number; readonly content: AsyncIterable<Uint8Array> }
  | { readonly path: string; readonly target: string };

/** Good until the next is asked for. */
export type Members = () => AsyncGenerator<Member, void, undefined>;

/** @throws {ImageError} while it is read. */
export function archiveMembers(path: string, limits: ArchiveLimits): Members {
  return async function* members() {
    const { entries } = await openArchive(readArchiveFile(path), path, limits);
    for await (const entry of entries) {
      const { name, kind, size, target } = entry;
      if (kind === 'file') yield { path: name, size, content: contiguous(entry) };
      else if (kind === 'link') yield { path: name, target };
      else if (kind === 'symlink') {
        const inside = within(name, target, limits);
        if (inside !== undefined) yield { path: name, target: inside };
      }
    }
  };
}

/** What a symlink leads to; `undefined` where that is out of the archive. */
function within(name: string, target: string, limits: ArchiveLimits): string | undefined {
  if (target.startsWith('/')) return undefined;
  const parts = name.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return cleanName(parts.join('/'), 'target', limits);
}

const CHUNK = 1 << 18;

/** Of an image layout: the two documents, and blobs. Symlinks are not followed: a layout has none. */
export function layoutMembers(path: string): Members {
  return async function* members() {
    using top = Directory.open(realpathSync(path));
    for (const name of ['oci-layout', 'index.json', 'manifest.json'])
      if (top.status(name) !== undefined) yield* memberOf(top, name, name);
    if (top.status('blobs') === undefined) return;
    using blobs = top.enter('blobs');
    for (const algorithm of blobs.names()) {
      if (blobs.status(algorithm)?.isDirectory() !== true) continue;
      using directory = blobs.enter(algorithm);
      for (const name of directory.names()) yield* memberOf(directory, name, `blobs/${algorithm}/${name}`);
    }
  };
}

async function* memberOf(directory: Directory, name: string, path: string): AsyncGenerator<Member, void, undefined> {
  const descriptor = openSync(directory.at(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw new ImageError('SBX_IMAGE_INVALID', `'${shown(path)}' is no regular file`);
    yield { path, size: status.size, content: contentOf(descriptor) };
  } finally {
    closeSync(descriptor);
  }
}

async function* contentOf(descriptor: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let position = 0; ; ) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const length = readSync(descriptor, chunk, 0, CHUNK, position);
    if (length === 0) return;
    yield chunk.subarray(0, length);
    position += length;
  }
}
