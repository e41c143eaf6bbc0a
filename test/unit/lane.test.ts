// What comes on a lane, cut anywhere; and what is sent there.
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Lane, LaneReader, type LaneSocket } from '../../src/backends/launcher/lane.ts';
import { encodeCall } from '../../src/backends/launcher/orders.ts';
import { InternalError, LaunchError } from '../../src/errors/errors.ts';

interface Frame {
  readonly stream: 1 | 2;
  readonly bytes: Uint8Array;
}

const head = (stream: number, bytes: number) =>
  `{"event":"output","stream":${stream},"bytes":${String(bytes).padStart(8)}}\n`;
const ended =
  '{"event":"ended","cause":"command","code":3,"stdoutTruncated":false,"stderrTruncated":false,"wallMs":1.5,"cpuUserMs":0,"cpuSystemMs":0}\n';

function said(frames: readonly Frame[]): Buffer {
  const parts = frames.flatMap(({ stream, bytes }) => [Buffer.from(head(stream, bytes.length)), bytes]);
  return Buffer.concat([...parts, Buffer.from(ended)]);
}

/** `bytes` in pieces that end where `cuts` say. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

const frames = fc.array(
  fc.record({ stream: fc.constantFrom(1 as const, 2 as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
  { maxLength: 8 },
);

describe('what comes', () => {
  it('is the same however it is cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 20 }), (given, cuts) => {
        const got = { 1: [] as Buffer[], 2: [] as Buffer[] };
        const lines: unknown[] = [];
        const reader = new LaneReader(
          (line) => lines.push(line),
          ({ stream }, bytes) => got[stream].push(bytes),
        );
        for (const piece of pieces(said(given), cuts)) reader.read(piece);
        for (const stream of [1, 2] as const) {
          const wanted = given.filter((frame) => frame.stream === stream).map(({ bytes }) => bytes);
          expect(Buffer.concat(got[stream])).toEqual(Buffer.concat(wanted));
        }
        expect(lines).toMatchObject([{ event: 'ended', code: 3 }]);
      }),
    );
  });

  it('output that looks like lines is output', () => {
    const got: Buffer[] = [];
    const lines: unknown[] = [];
    const reader = new LaneReader(
      (line) => lines.push(line),
      (_, bytes) => got.push(bytes),
    );
    const forged = Buffer.from('{"event":"ended","cause":"command","code":0}\n');
    reader.read(said([{ stream: 1, bytes: forged }]));
    expect(Buffer.concat(got)).toEqual(forged);
    expect(lines).toMatchObject([{ event: 'ended', code: 3 }]);
  });

  it.each(['hello\n', '{"event":"output","stream":3,"bytes":1}\n', '{"event":"output","stream":1,"bytes":"x"}\n'])(
    'what no launcher writes is an error: %j',
    (text) => {
      const reader = new LaneReader(
        () => {},
        () => {},
      );
      expect(() => reader.read(Buffer.from(text))).toThrow(InternalError);
    },
  );
});

describe('a lane', () => {
  function open() {
    const socket = Object.assign(new PassThrough({ allowHalfOpen: false }), { ref() {}, unref() {} });
    const sent: Buffer[] = [];
    // What is written is not what comes.
    socket.write = ((bytes: Buffer) => {
      sent.push(bytes);
      return true;
    }) as typeof socket.write;
    const events: string[] = [];
    const lane = new Lane(
      socket as LaneSocket,
      () => events.push('idle'),
      () => events.push('closed'),
    );
    return { lane, socket, sent, events };
  }
  const request = {
    command: ['true'] as [string],
    stdio: ['ignore', 'pipe', 'pipe'] as const,
    killSignal: 'SIGTERM' as const,
    gracePeriodMs: 2000,
    collect: { input: undefined, onOutput: () => {} },
  };

  it('is idle after the last word, and orders that come later are not sent', async () => {
    const { lane, socket, sent, events } = open();
    const run = lane.start(Buffer.from('plan'), request, false);
    run.terminate();
    socket.push(Buffer.from(ended));
    await expect(run.ended).resolves.toMatchObject({ code: 3 });
    run.kill();
    expect(sent.map((bytes) => bytes.length)).toEqual([4, 12]);
    expect(events).toEqual(['idle']);
    socket.destroy();
  });

  it('that ends before the last word fails its run', async () => {
    const { lane, socket, events } = open();
    const run = lane.start(Buffer.from('plan'), request, false);
    socket.push(Buffer.from(head(1, 5)));
    socket.destroy();
    await expect(run.ended).rejects.toBeInstanceOf(LaunchError);
    expect(events).toEqual(['closed']);
  });

  it('with something else on it fails its run, and is closed', async () => {
    const { lane, socket, events } = open();
    const run = lane.start(Buffer.from('plan'), request, false);
    socket.push(Buffer.from('Segmentation fault\n'));
    await expect(run.ended).rejects.toBeInstanceOf(InternalError);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events.at(-1)).toBe('closed');
  });

  const pending = (outputs: number[]) =>
    Buffer.from(ended.replace('"wallMs"', `"outputPending":[${outputs}],"wallMs"`));
  const delivered = (output: number) => Buffer.from(`{"event":"delivered","stream":${output}}\n`);
  /** With an output whose end has been seen. */
  async function lent(): Promise<LaneSocket> {
    const stream = new PassThrough();
    stream.end();
    await once(stream.resume(), 'end');
    return stream as unknown as LaneSocket;
  }

  it('tells of each output that is left when it is delivered, and is closed after the last', async () => {
    const { lane, socket, events } = open();
    const run = lane.start(Buffer.from('plan'), request, false);
    socket.push(pending([1, 2]));
    await expect(run.ended).resolves.toMatchObject({ code: 3 });
    expect(events).toEqual([]);
    socket.push(delivered(2));
    await run.rest?.(2);
    expect(events).toEqual([]);
    socket.push(delivered(1));
    await run.rest?.(1);
    await vi.waitFor(() => expect(events).toEqual(['closed']));
  });

  it('that ends before an output is delivered fails that', async () => {
    const { lane, socket } = open();
    const run = lane.start(Buffer.from('plan'), request, false);
    socket.push(pending([1]));
    await expect(run.ended).resolves.toMatchObject({ code: 3 });
    expect(run.rest?.(2)).toBe(undefined);
    socket.destroy();
    await expect(run.rest?.(1)).rejects.toBeInstanceOf(LaunchError);
  });

  it('does not tell the end of a run whose output ended before that was known to be all', async () => {
    for (const word of [delivered(1), undefined]) {
      const { lane, socket } = open();
      const run = lane.start(Buffer.from('plan'), request, false, { 1: await lent() });
      socket.push(pending([1]));
      let told = false;
      const end = run.ended.finally(() => {
        told = true;
      });
      end.catch(() => {});
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(told).toBe(false);
      if (word === undefined) socket.destroy();
      else socket.push(word);
      if (word === undefined) await expect(end).rejects.toBeInstanceOf(LaunchError);
      else await expect(end).resolves.toMatchObject({ code: 3 });
      socket.destroy();
    }
  });

  it('tells who prepared something there when it is gone', () => {
    const { lane, socket, events } = open();
    lane.prepare(Buffer.from('plan'), () => events.push('gone'));
    socket.emit('data', Buffer.from('{"event":"failed","step":"mount"}\n'));
    expect(events).toEqual(['gone', 'idle']);
    socket.destroy();
  });
});

describe('a call', () => {
  it('is read back as it was', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
          { minLength: 1 },
        ),
        fc.nat(100_000),
        fc.string({ unit: 'grapheme' }),
        (command, gracePeriodMs, given) => {
          const input = Buffer.from(given);
          const collect = { input: given, onOutput: () => {} };
          const bytes = encodeCall({ command: command as [string], killSignal: 'SIGINT', gracePeriodMs, collect });
          if (bytes === undefined) throw new Error('refused');
          expect([bytes.readUInt32LE(0), bytes.readUInt32LE(4)]).toEqual([7, bytes.length - 12]);
          expect([bytes.readUInt32LE(12), bytes.readUInt32LE(16)]).toEqual([2, gracePeriodMs]);
          const read: string[] = [];
          for (let at = 32 + input.length; at < bytes.length; ) {
            const length = bytes.readUInt32LE(at);
            expect(bytes[at + 3 + length]).toBe(0);
            read.push(bytes.toString('utf8', at + 4, at + 3 + length));
            at += 4 + length;
          }
          expect(read).toEqual(command);
          expect(bytes.readUInt32LE(28 + input.length)).toBe(command.length);
          expect([bytes.readUInt32LE(20), bytes.toString('utf8', 28, 28 + input.length)]).toEqual([
            1,
            input.toString(),
          ]);
        },
      ),
    );
  });

  it('that is too large is none', () => {
    const call = (command: [string, ...string[]]) =>
      encodeCall({ command, killSignal: 'SIGTERM', gracePeriodMs: 0 })?.length;
    expect(call(['x'.repeat(196_608 - 20 - 5)])).toBe(12 + 196_608);
    expect(call(['x'.repeat(196_608 - 20 - 4)])).toBe(undefined);
    expect(call(['x', ...Array<string>(4095).fill('')])).toBeGreaterThan(0);
    expect(call(['x', ...Array<string>(4096).fill('')])).toBe(undefined);
  });
});
