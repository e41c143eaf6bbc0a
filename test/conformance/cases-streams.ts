// What goes in and what comes out: every byte, in order, however it is asked for.
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import type { RunOptions } from '../../src/run/types.ts';
import { pattern, sameBytes } from './bench.ts';
import type { Suite } from './describe-backend.ts';

const MiB = 1024 * 1024;

export function streamCases(suite: Suite): void {
  outputCases(suite);
  redirectionCases(suite);
  inputCases(suite);
  descriptorCases(suite);
}

function outputCases({ bench, always, promise }: Suite): void {
  always('stdout and stderr are collected apart', async () => {
    const { stdout, stderr } = await bench.run(['interleave', 2]);
    expect({ stdout, stderr }).toEqual({ stdout: 'o0\no1\n', stderr: 'e0\ne1\n' });
  });

  promise(['mount.proc', 'user'], 'a command may open its streams again, whoever it is', async () => {
    // As /dev/stdin, /dev/stdout and /dev/stderr: a socket could not be opened.
    const ids = process.getuid?.() === 0 ? [0, 1] : [process.getuid?.() ?? 0];
    for (const id of ids) {
      const spec = { user: { uid: id, gid: id === 0 ? 0 : (process.getgid?.() ?? 0) || id } };
      const { stdout, stderr } = await bench.run(['write', '/proc/self/fd/2', 'e'], spec);
      expect({ stdout, stderr }).toEqual({ stdout: 'written\n', stderr: 'e' });
      expect(await bench.answer(['read', '/proc/self/fd/0'], spec, { input: 'some input' })).toBe('some input');
    }
  });

  always('a flood of bytes is exact on both outputs', async () => {
    const expected = pattern(5 * MiB + 13);
    const { stdout } = await bench.run(['flood', 1, expected.length], {}, { encoding: 'buffer' });
    expect(sameBytes(stdout, expected)).toBe(true);
    const { stderr } = await bench.run(['flood', 2, expected.length], {}, { encoding: 'buffer' });
    expect(sameBytes(stderr, expected)).toBe(true);
  });

  always('a flood of single bytes is exact', async () => {
    const { stdout } = await bench.run(['bytewise', 1, 20_000], {}, { encoding: 'buffer' });
    expect(sameBytes(stdout, pattern(20_000))).toBe(true);
  });

  always('a slow reader slows the command down, and loses nothing', async () => {
    const size = 32 * MiB;
    await using process = bench.spawn(['flood', 1, size]);
    const { stdout } = process;
    await process.started;
    expect(await Promise.race([process.result, delay(300, 'still running')])).toBe('still running');
    let received = 0;
    for await (const chunk of stdout as AsyncIterable<Uint8Array>) received += chunk.length;
    expect(received).toBe(size);
    expect(await process).toMatchObject({ outcome: { kind: 'exited', code: 0 }, stdout: undefined });
  });

  always('lines come one by one while the command runs', async () => {
    await using process = bench.spawn(['stubborn']);
    const lines = process.lines();
    expect((await lines[Symbol.asyncIterator]().next()).value).toBe('ready');
  });

  always('a loop over a handle is over its lines', async () => {
    const lines: string[] = [];
    for await (const line of bench.spawn(['echo', 'one', 'zwei 漢', ''])) lines.push(line);
    expect(lines).toEqual(['one', 'zwei 漢', '']);
  });

  always('a command that closes its output goes on', async () => {
    expect(await bench.run(['close-output', 100])).toMatchObject({ stdout: 'ready\n', exitCode: 3 });
  });

  always('two runs at once do not mix', async () => {
    const runs = Array.from({ length: 8 }, (_, index) => bench.answer(['echo', `run ${index}`]));
    expect(await Promise.all(runs)).toEqual(Array.from({ length: 8 }, (_, index) => `run ${index}`));
  });
}

function redirectionCases({ bench, always }: Suite): void {
  always('output that is ignored is not collected', async () => {
    const result = await bench.run(['interleave', 1], {}, { stdout: 'ignore', stderr: 'ignore' });
    expect(result).toMatchObject({ stdout: undefined, stderr: undefined, exitCode: 0 });
  });

  always('stderr into stdout keeps the order', async () => {
    const expected = Array.from({ length: 500 }, (_, index) => `o${index}\ne${index}\n`).join('');
    const { stdout, stderr } = await bench.run(['interleave', 500], {}, { stderr: 'stdout' });
    expect(stdout).toBe(expected);
    expect(stderr).toBeUndefined();
  });

  always('stderr into a stdout that is a file keeps the order', async () => {
    const file = pathToFileURL(join(bench.directory, 'both.txt'));
    await bench.run(['interleave', 3], {}, { stdout: file, stderr: 'stdout' });
    expect(readFileSync(file, 'utf8')).toBe('o0\ne0\no1\ne1\no2\ne2\n');
  });

  always('a file is created, or truncated, and holds the output', async () => {
    const file = pathToFileURL(join(bench.directory, 'out.txt'));
    await bench.run(['echo', 'a long first line'], {}, { stdout: file });
    await bench.run(['echo', 'short'], {}, { stdout: file });
    expect(readFileSync(file, 'utf8')).toBe('short\n');
  });

  always('a descriptor of the caller stays open and in place', async () => {
    const path = join(bench.directory, 'descriptor.txt');
    const descriptor = openSync(path, 'w');
    try {
      writeSync(descriptor, 'before\n');
      await bench.run(['echo', 'inside'], {}, { stdout: descriptor });
      writeSync(descriptor, 'after\n');
    } finally {
      closeSync(descriptor);
    }
    expect(readFileSync(path, 'utf8')).toBe('before\ninside\nafter\n');
  });

  always('a list of targets gets copies, and the result too', async () => {
    const file = pathToFileURL(join(bench.directory, 'copy.txt'));
    const stream = new PassThrough();
    const [copy, result] = await Promise.all([
      text(stream),
      bench.run(['interleave', 100], {}, { stdout: ['pipe', file, stream] }),
    ]);
    expect(copy).toBe(result.stdout);
    expect(readFileSync(file, 'utf8')).toBe(result.stdout);
  });

  always('a file that cannot be opened is an issue, and nothing runs', async () => {
    const stdin = pathToFileURL(join(bench.directory, 'missing.txt'));
    const stdout = pathToFileURL(join(bench.directory, 'no-directory', 'x.txt'));
    await expect(bench.run(['exit', 0], {}, { stdin, stdout })).rejects.toMatchObject({
      code: 'SBX_SPEC_INVALID',
      issues: [{ path: ['options', 'stdin'] }, { path: ['options', 'stdout'] }],
    });
  });
}

function inputCases({ bench, always }: Suite): void {
  const big = pattern(3 * MiB);
  const inputs: readonly [string, () => Partial<RunOptions>][] = [
    ['bytes', () => ({ input: big })],
    ['a Readable', () => ({ input: Readable.from([Buffer.from(big.subarray(0, 10)), Buffer.from(big.subarray(10))]) })],
    ['a web stream', () => ({ input: new Blob([Uint8Array.from(big)]).stream() })],
    [
      'an async iterable',
      () => ({
        input: (async function* () {
          for (let at = 0; at < big.length; at += 100_000) yield big.subarray(at, at + 100_000);
        })(),
      }),
    ],
    ['a Readable as stdin', () => ({ stdin: Readable.from([Buffer.from(big)]) })],
  ];
  for (const [name, options] of inputs) {
    always(`input from ${name} arrives whole`, async () => {
      const { stdout } = await bench.run(['cat'], {}, { ...options(), encoding: 'buffer' });
      expect(sameBytes(stdout, big)).toBe(true);
    });
  }

  always('input from a string arrives as UTF-8', async () => {
    expect(await bench.answer(['cat'], {}, { input: 'añb漢' })).toBe('añb漢');
  });

  always('input from a file arrives whole', async () => {
    const path = join(bench.directory, 'in.txt');
    writeFileSync(path, 'from a file\n');
    expect(await bench.answer(['cat'], {}, { stdin: pathToFileURL(path) })).toBe('from a file');
  });

  always('without input stdin is empty', async () => {
    expect(await bench.answer(['cat'])).toBe('');
  });

  always('a command that does not read its input ends as it likes', async () => {
    const { outcome } = await bench.run(['exit', 5], {}, { input: big });
    expect(outcome).toEqual({ kind: 'exited', code: 5 });
  });

  always('a source that breaks fails the run and ends the command', async () => {
    const input = (async function* () {
      yield 'first';
      throw new Error('the source broke');
    })();
    await expect(bench.run(['cat'], {}, { input })).rejects.toMatchObject({
      code: 'SBX_STREAM_FAILED',
      message: expect.stringContaining('the source broke'),
    });
  });

  always('stdin of a handle is a conversation', async () => {
    await using process = bench.spawn(['cat'], {}, { stdin: 'pipe' });
    const lines = process.lines()[Symbol.asyncIterator]();
    process.stdin.write('ping\n');
    expect((await lines.next()).value).toBe('ping');
    process.stdin.end('pong');
    expect((await lines.next()).value).toBe('pong');
    expect((await process).exitCode).toBe(0);
  });
}

function descriptorCases({ bench, promise }: Suite): void {
  promise(['descriptors'], 'extra descriptors are where they were asked for, and no others', async () => {
    const path = join(bench.directory, 'extra.txt');
    writeFileSync(path, 'through nine');
    const descriptor = openSync(path, 'r');
    try {
      const descriptors = { 5: descriptor, 9: descriptor };
      expect(await bench.answer(['fds'], {}, { descriptors })).toBe(bench.openDescriptors([0, 1, 2, 5, 9]));
      expect(await bench.answer(['cat', 9], {}, { descriptors })).toBe('through nine');
    } finally {
      closeSync(descriptor);
    }
  });

  promise(['descriptors'], 'an extra descriptor may be a stream both ways', async () => {
    await using process = bench.spawn(['cat', 4, 4], {}, { descriptors: { 4: 'pipe' } });
    const stream = process.extra.get(4);
    stream?.end('there and back');
    expect(await text(stream as Readable)).toBe('there and back');
    expect((await process).exitCode).toBe(0);
  });
}
