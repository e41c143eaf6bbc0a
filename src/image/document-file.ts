// A document that is a file by itself: a manifest that somebody wrote by hand, a configuration.
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { ImageError } from '../errors/errors.ts';
import { DOCUMENT_BYTES_MAX } from './json.ts';

/** @throws {ImageError} `SBX_IMAGE_INVALID` where it cannot be read, or is larger than any document. */
export function readDocumentFile(file: string): Uint8Array {
  const refuse = (what: string, cause?: unknown): ImageError =>
    new ImageError('SBX_IMAGE_INVALID', `${file}: ${what}`, {}, { cause });
  let descriptor: number | undefined;
  try {
    // A FIFO that nobody writes to would be waited for.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw refuse('it is no regular file');
    if (status.size > DOCUMENT_BYTES_MAX)
      throw refuse(`it has more than the ${DOCUMENT_BYTES_MAX} bytes that are read`);
    return readFileSync(descriptor);
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const { code, syscall } = error as NodeJS.ErrnoException;
    throw refuse(code === 'ENOENT' ? 'it does not exist' : `it cannot be read (${code} from ${syscall}(2))`, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
