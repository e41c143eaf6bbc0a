// Plain write(2): a stream of Node would make the descriptor non-blocking, and the command shares it.
import { writeSync } from 'node:fs';

/** All of `text`, however slow the reader. Returns false when there is no reader any more. */
export function writeAll(fd: number, text: string | Uint8Array): boolean {
  let rest = typeof text === 'string' ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return false;
      // Somebody who shares the descriptor made it non-blocking.
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
  return true;
}
