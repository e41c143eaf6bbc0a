// An image layout, or what was unpacked of an archive of images: a directory that somebody else filled.
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ImageError } from '../../errors/errors.ts';
import { isWithin } from '../../spec/paths.ts';
import { readArchiveFile } from '../archive-file.ts';
import { verified, verifiedBytes } from '../digest.ts';
import { DOCUMENT_BYTES_MAX } from '../json.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { blobPath } from '../oci/layout.ts';
import { type OciManifest, parseOciDocument } from '../oci/manifest.ts';
import { choosePlatform, type Platform } from '../oci/platform.ts';
import type { ArchiveSource } from '../unpack.ts';

/** Indexes within indexes, as in registries. */
const INDEXES_MAX = 4;

/** Nothing of it leads out of it. */
export class LayoutDirectory {
  readonly #path: string;
  readonly #what: string;

  constructor(path: string, what: string) {
    this.#path = realpathSync(path);
    this.#what = what;
  }

  /** Symlinks are resolved: older archives of Docker have them. */
  at(name: string): string {
    const path = join(this.#path, name);
    try {
      const real = realpathSync(path);
      if (isWithin(real, this.#path)) return real;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new ImageError(
        'SBX_IMAGE_INVALID',
        `${this.#what}: '${name}' is missing (${code})`,
        { archive: this.#what },
        { cause: error },
      );
    }
    throw new ImageError('SBX_IMAGE_INVALID', `${this.#what}: '${name}' leads out of it`, { archive: this.#what });
  }

  document(name: string): Uint8Array {
    const path = this.at(name);
    const found = statSync(path);
    if (!found.isFile() || found.size > DOCUMENT_BYTES_MAX) {
      const why = found.isFile()
        ? `has ${found.size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`
        : 'is no file';
      throw new ImageError('SBX_IMAGE_INVALID', `${this.#what}: '${name}' ${why}`, { archive: this.#what });
    }
    return readFileSync(path);
  }

  async blob({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, kind: string): Promise<Uint8Array> {
    const what = `${kind} of ${this.#what}`;
    if (size > DOCUMENT_BYTES_MAX)
      throw new ImageError(
        'SBX_IMAGE_INVALID',
        `${what} has ${size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`,
      );
    return await verifiedBytes(readArchiveFile(this.at(blobPath(digest))), { digest, size, what });
  }

  /** A document by its digest alone. */
  async named(digest: string): Promise<Uint8Array> {
    const bytes = this.document(blobPath(digest));
    const { length: size } = bytes;
    return await this.blob({ digest, size }, 'the manifest');
  }

  layer(descriptor: Descriptor, position: number): ArchiveSource {
    const name = `layer ${position + 1} of ${this.#what}`;
    return { name, content: this.content(descriptor, name) };
  }

  /** As it is read; only good once the end was reached. */
  content({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, what: string): AsyncIterable<Uint8Array> {
    return verified(readArchiveFile(this.at(blobPath(digest))), { digest, size, what });
  }

  async manifest(
    first: Descriptor,
    platform: Platform,
  ): Promise<{ readonly manifest: OciManifest; readonly digest: string }> {
    let next = first;
    for (let depth = 0; depth <= INDEXES_MAX; depth += 1) {
      const bytes = await this.blob(next, 'the manifest');
      const document = parseOciDocument(bytes, `the manifest of ${this.#what}`, next.mediaType);
      if (document.kind === 'manifest') return { manifest: document, digest: next.digest };
      next = choosePlatform(document.manifests, platform, this.#what);
    }
    throw new ImageError('SBX_IMAGE_INVALID', `${this.#what} is an index of indexes, more than ${INDEXES_MAX} deep`);
  }
}
