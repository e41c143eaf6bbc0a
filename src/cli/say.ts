// Our own words, on stderr.
import { isatty } from 'node:tty';
import { styleText } from 'node:util';
import { writeAll } from './write.ts';

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
