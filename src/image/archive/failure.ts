// What is wrong with an archive, in words: which one, which entry, what, and what to do.
import { ImageError } from '../../errors/errors.ts';
import { shown } from './bytes.ts';
import type { Compression } from './detect.ts';
import type { ArchiveLimits } from './limits.ts';

/** What a message about an archive begins with. */
export interface Subject {
  /** As the caller calls it: its path. */
  readonly archive: string;
  readonly entry?: { readonly number: number; readonly name: string } | undefined;
}

export function beyond(limit: keyof ArchiveLimits, limits: ArchiveLimits, what: string, subject: Subject): ImageError {
  return new ImageError(
    'SBX_IMAGE_LIMIT',
    `${about(subject)}: ${what}, more than the limit of ${limits[limit]}`,
    { ...subject, limit },
    { remedy: `if you trust it, raise limits.${limit}` },
  );
}

export function invalid(
  what: string,
  subject: Subject,
  options: { remedy?: string; cause?: unknown } = {},
): ImageError {
  return new ImageError('SBX_IMAGE_INVALID', `${about(subject)}: ${what}`, subject, options);
}

export function unsupported(what: string, subject: Subject, remedy: string): ImageError {
  return new ImageError('SBX_IMAGE_UNSUPPORTED', `${about(subject)}: ${what}`, subject, { remedy });
}

/** `'app.tar', entry 3 'etc/passwd'`. */
export function about({ archive, entry }: Subject): string {
  return entry === undefined ? archive : `${archive}, entry ${entry.number} '${shown(entry.name)}'`;
}

/** What a decoder says of a stream that ends early. */
export function truncated(compression: Compression, subject: Subject, cause?: unknown): Error {
  return broken(compression, 'is truncated', subject, cause);
}

export function broken(compression: Compression, what: string, subject: Subject, cause?: unknown): Error {
  return invalid(`its ${compression} stream ${what}`, subject, cause === undefined ? {} : { cause });
}
