// What is seen of an image that is being pulled: one line, rewritten on a terminal; elsewhere one at the end.
import { isatty } from 'node:tty';
import type { ImageOptions } from '../image/open/open.ts';
import { formatBytes } from '../spec/units.ts';
import type { Settings } from './option.ts';
import { say } from './say.ts';
import { writeAll } from './write.ts';

const REDRAW_MS = 100;

/** The option of a run that shows it. Nothing with `--quiet`. */
export function pullProgress({ quiet }: Pick<Settings, 'quiet'>): Pick<ImageOptions, 'onProgress'> {
  if (quiet) return {};
  const draws = isatty(2) && process.env['TERM'] !== 'dumb';
  let drawn = 0;
  return {
    onProgress: ({ layersDone, layers, bytesDone, bytes }) => {
      const done = layersDone === layers;
      const now = performance.now();
      if (!done && (!draws || now - drawn < REDRAW_MS)) return;
      drawn = now;
      const text = `${layersDone} of ${layers} layers, ${rounded(bytesDone)} of ${rounded(bytes)}`;
      if (!draws) say(`pulled ${text}`);
      // Back to the start of the line, and nothing of the one before behind it.
      else writeAll(2, `\r\u001b[Krun-sandbox: pulling ${text}${done ? '\n' : ''}`);
    },
  };
}

export function rounded(bytes: number): string {
  const MiB = 1024 * 1024;
  return bytes < MiB ? formatBytes(bytes) : `${(bytes / MiB).toFixed(1)} MiB`;
}
