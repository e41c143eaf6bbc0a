import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { linesOf } from '../../src/run/lines.ts';

async function linesFrom(chunks: readonly Uint8Array[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(Readable.from(chunks, { objectMode: true }))) lines.push(line);
  return lines;
}

/** Cuts `bytes` at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  const chunks = ends.map((end) => {
    const chunk = bytes.subarray(start, end);
    start = end;
    return chunk;
  });
  return [...chunks, bytes.subarray(start)];
}

describe('lines', () => {
  test('do not depend on how the output was cut into chunks', async () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '漢', '😀', '\n', '\r', '\u2028') });
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(200)), async (written, places) => {
        const expected = written
          .split('\n')
          .map((line, index, all) => (index < all.length - 1 ? line.replace(/\r$/, '') : line));
        if (expected.at(-1) === '') expected.pop();
        expect(await linesFrom(cut(Buffer.from(written), places))).toEqual(expected);
      }),
    );
  });

  test('that are no UTF-8 keep their number and get replacement characters', async () => {
    const bytes = Buffer.from([0x61, 0xff, 0x0a, 0xe6, 0xbc, 0x0a, 0x62]);
    expect(await linesFrom([bytes])).toEqual(['a\ufffd', '\ufffd', 'b']);
  });

  test('a last line without a newline is a line, and an empty output has none', async () => {
    expect(await linesFrom([Buffer.from('a\nb')])).toEqual(['a', 'b']);
    expect(await linesFrom([])).toEqual([]);
    expect(await linesFrom([Buffer.from('\n')])).toEqual(['']);
  });

  test('are read only as fast as they are wanted', async () => {
    let produced = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        produced += 1;
        yield Buffer.from(`${produced}\n`);
      }
    }
    const source = Readable.from(endless(), { objectMode: true, highWaterMark: 1 });
    const lines = linesOf(source);
    expect((await lines.next()).value).toBe('1');
    await new Promise((resolve) => setImmediate(resolve));
    expect(produced).toBeLessThan(5);
    await lines.return();
    expect(source.destroyed).toBe(true);
  });
});
