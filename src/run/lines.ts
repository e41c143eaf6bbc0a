// Lines are cut as bytes and decoded one by one: no character is ever split, whatever the chunks were.
import type { Readable } from 'node:stream';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * The lines of `stream`, without their `\n` or `\r\n`; the last one also when nothing ends it.
 *
 * Nothing is read ahead of the reader but the chunk at hand, so a slow reader slows the command down. Leaving the loop early
 * destroys the stream: the command then meets EPIPE, as in `command | head`.
 */
export async function* linesOf(stream: Readable): AsyncGenerator<string, void, undefined> {
  let parts: Uint8Array[] = [];
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      start = end + 1;
      if (parts.length === 0) {
        yield decodeLine(piece);
      } else {
        parts.push(piece);
        const line = Buffer.concat(parts);
        parts = [];
        yield decodeLine(line);
      }
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield decoder.decode(Buffer.concat(parts));
}

function decodeLine(bytes: Uint8Array): string {
  const length = bytes.length;
  return decoder.decode(length > 0 && bytes[length - 1] === CARRIAGE_RETURN ? bytes.subarray(0, length - 1) : bytes);
}
