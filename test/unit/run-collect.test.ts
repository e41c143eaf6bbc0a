import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Budget, COLLECT_BYTES_MAX, Collector, decodeOutput } from '../../src/run/collect.ts';

function collect(chunks: readonly Uint8Array[], budget = new Budget(() => {})): Collector {
  const collector = new Collector(budget);
  for (const chunk of chunks) collector.push(chunk);
  return collector;
}

describe('collected output', () => {
  test('is every byte that came, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (chunks) => {
        expect(Buffer.from(collect(chunks).bytes())).toEqual(Buffer.concat(chunks));
      }),
    );
  });

  test('text that chunks share is decoded as one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.nat(), (text, place) => {
        const bytes = Buffer.from(text);
        const at = place % (bytes.length + 1);
        const decoded = decodeOutput(collect([bytes.subarray(0, at), bytes.subarray(at)]).bytes(), 'utf8', false);
        expect(decoded).toBe(bytes.toString('utf8'));
      }),
    );
  });

  test('that is no UTF-8 never throws, and is exact as a buffer', () => {
    const bytes = Buffer.from([0x66, 0xff, 0xfe, 0x00]);
    expect(decodeOutput(bytes, 'utf8', false)).toBe('f\ufffd\ufffd\0');
    expect(decodeOutput(bytes, 'buffer', true)).toEqual(new Uint8Array(bytes));
  });

  test('keeps a byte order mark', () => {
    expect(decodeOutput(Buffer.from('\ufeffx'), 'utf8', false)).toBe('\ufeffx');
  });

  test.each([
    ['a\n', 'a'],
    ['a\n\n', 'a\n'],
    ['a\r\n', 'a'],
    ['a', 'a'],
    ['', ''],
  ])('%j without its final newline is %j', (text, expected) => {
    expect(decodeOutput(Buffer.from(text), 'utf8', true)).toBe(expected);
    expect(decodeOutput(Buffer.from(text), 'utf8', false)).toBe(text);
  });

  test('is cut to the byte at its bound, which both outputs share, and says so', () => {
    let overflows = 0;
    const budget = new Budget(() => {
      overflows += 1;
    });
    const first = collect([Buffer.alloc(COLLECT_BYTES_MAX - 3)], budget);
    const second = collect([Buffer.from('ab')], budget);
    expect(overflows).toBe(0);
    second.push(Buffer.from('cd'));
    expect(overflows).toBe(1);
    expect(Buffer.from(second.bytes()).toString()).toBe('abc');
    expect(second.truncated).toBe(true);
    expect(first.truncated).toBe(false);
    first.push(Buffer.from('x'));
    expect(first.bytes().length).toBe(COLLECT_BYTES_MAX - 3);
    expect(first.truncated).toBe(true);
  });

  test('that is handed to a late reader counts no more', () => {
    const budget = new Budget(() => {});
    const collector = collect([Buffer.alloc(COLLECT_BYTES_MAX)], budget);
    expect(collector.release().length).toBe(COLLECT_BYTES_MAX);
    expect(budget.take(5)).toBe(5);
  });
});
