// Our own words, on stderr. They are written with plain write(2): a stream of Node would make the descriptor non-blocking, and the
// command shares it.
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

/** One line of ours, which may hold several of text. */
export function say(text: string, style?: Style): void {
  const prefix = 'run-sandbox:';
  writeAll(2, `${style === undefined ? prefix : paint(2, style, prefix)} ${text}\n`);
}

/** Colour only on a terminal, and never with NO_COLOR (no-color.org). */
export function paint(fd: number, style: Style, text: string): string {
  return hasColour(fd) ? styleText(style, text, { validateStream: false }) : text;
}

function hasColour(fd: number): boolean {
  const { NO_COLOR, TERM } = process.env;
  return (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb' && isatty(fd);
}

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
