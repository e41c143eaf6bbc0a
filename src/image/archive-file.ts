// The bytes of an archive that is a file.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ImageError, isSandboxError } from '../errors/errors.ts';

/** @throws {ImageError} `SBX_IMAGE_INVALID` or `SBX_IMAGE_UNSUPPORTED` while it is read. */
export async function* readArchiveFile(file: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    // A FIFO that nobody writes to would be waited for; a device is no archive.
    const found = await stat(file);
    if (!found.isFile())
      throw new ImageError('SBX_IMAGE_UNSUPPORTED', `${file}: it is no regular file`, { archive: file });
    for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 })) yield chunk as Uint8Array;
  } catch (error) {
    if (isSandboxError(error)) throw error;
    const { code, syscall } = error as NodeJS.ErrnoException;
    const message = `${file}: it cannot be read (${code} from ${syscall}(2))`;
    throw new ImageError('SBX_IMAGE_INVALID', message, { archive: file, syscall, errno: code }, { cause: error });
  }
}
