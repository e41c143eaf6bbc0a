// The life of a run, over a backend that launches nothing: who is told what, and when.
import { getEventListeners } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { LaunchError } from '../../src/errors/errors.ts';
import { COLLECT_BYTES_MAX } from '../../src/run/collect.ts';
import type { Prepared } from '../../src/run/plan.ts';
import { Process, type Purpose } from '../../src/run/process.ts';
import type { Soon } from '../../src/run/soon.ts';
import type { RunEvent, RunOptions } from '../../src/run/types.ts';
import {
  callOf,
  type FakeBackend,
  type FakeLaunch,
  type FakeOptions,
  fakeBackend,
  preparedFor,
} from '../helpers/fake-backend.ts';

interface Run {
  readonly process: Process;
  readonly backend: FakeBackend;
  readonly prepared: Prepared;
  launch(): FakeLaunch;
}

function begin(
  options: RunOptions = {},
  more: { purpose?: Purpose; fake?: FakeOptions; prepare?: (ready: Prepared) => Soon<Prepared> } = {},
): Run {
  const backend = fakeBackend(more.fake);
  const prepared = preparedFor(backend, more.fake?.recognized);
  const process = new Process(callOf(options), more.purpose ?? 'handle', () => more.prepare?.(prepared) ?? prepared);
  return {
    process,
    backend,
    prepared,
    launch() {
      const [launch] = backend.launches;
      if (launch === undefined) throw new Error('nothing was launched');
      return launch;
    },
  };
}

describe('abort', () => {
  test('before the start launches nothing, and is cancelled with its reason', async () => {
    const { process, backend } = begin({ signal: AbortSignal.abort('no need') });
    const result = await process;
    expect(result.outcome).toEqual({ kind: 'cancelled', reason: 'no need' });
    expect(result).toMatchObject({ exitCode: undefined, stdout: '', stderr: '', enforcement: { applied: [] } });
    expect(backend.launches).toEqual([]);
    await expect(process.started).rejects.toMatchObject({ code: 'SBX_CANCELLED' });
  });

  test('while it is being prepared launches nothing', async () => {
    const controller = new AbortController();
    const { process, backend } = begin({ signal: controller.signal }, { prepare: async (ready) => ready });
    controller.abort('changed my mind');
    expect((await process).outcome).toEqual({ kind: 'cancelled', reason: 'changed my mind' });
    expect(backend.launches).toEqual([]);
  });

  test('while it runs asks for an orderly end, and the first reason stays', async () => {
    const controller = new AbortController();
    const { process, launch } = begin({ signal: controller.signal, killSignal: 'SIGINT', gracePeriodMs: '3s' });
    controller.abort('first');
    process.terminate('second');
    expect(launch().orders).toEqual(['terminate SIGINT 3000', 'terminate SIGINT 3000']);
    launch().end({ code: undefined, signal: 'SIGINT', cause: { kind: 'terminated' } });
    expect(await process).toMatchObject({ outcome: { kind: 'cancelled', reason: 'first' }, signal: 'SIGINT' });
  });

  test('after the end changes nothing', async () => {
    const controller = new AbortController();
    const { process, launch } = begin({ signal: controller.signal });
    launch().end({ code: 0 });
    const result = await process;
    controller.abort();
    process.terminate();
    process.kill();
    expect(launch().orders).toEqual([]);
    expect(result.outcome).toEqual({ kind: 'exited', code: 0 });
  });

  test.each(['ends well', 'fails', 'cannot be prepared'])(
    'leaves no listener on the signal of a run that %s',
    async (how) => {
      const controller = new AbortController();
      const prepare = (): Prepared => {
        throw new Error('no');
      };
      const { process, backend } = begin(
        { signal: controller.signal },
        how === 'cannot be prepared' ? { prepare } : {},
      );
      if (how === 'ends well') backend.launches[0]?.end();
      if (how === 'fails') backend.launches[0]?.fail(new LaunchError('x', { step: 'exec' }));
      await process.catch(() => {});
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    },
  );

  test('terminate without a reason gives the signal as the reason, kill gives SIGKILL', async () => {
    const first = begin();
    first.process.terminate();
    first.launch().end({ code: undefined, signal: 'SIGTERM', cause: { kind: 'terminated' } });
    expect((await first.process).outcome).toEqual({ kind: 'cancelled', reason: 'SIGTERM' });
    const second = begin();
    second.process.kill();
    expect(second.launch().orders).toEqual(['kill']);
    second.launch().end({ code: undefined, signal: 'SIGKILL', cause: { kind: 'terminated' } });
    expect((await second.process).outcome).toEqual({ kind: 'cancelled', reason: 'SIGKILL' });
  });
});

describe('output', () => {
  test('is collected when nobody takes it', async () => {
    const { process, launch } = begin();
    launch().stdout?.write('out');
    launch().stderr?.write('err');
    launch().end();
    expect(await process).toMatchObject({ stdout: 'out', stderr: 'err' });
  });

  test('that somebody takes is his alone, from its first byte, however late he comes', async () => {
    const { process, launch } = begin();
    launch().stdout?.write('early ');
    await turn();
    const reader = process.stdout;
    launch().stdout?.write('late');
    launch().end();
    expect(await text(reader)).toBe('early late');
    expect(await process).toMatchObject({ stdout: undefined, stderr: '' });
    expect(process.stdout).toBe(reader);
  });

  test('can be taken before there is a command', async () => {
    const { process, backend } = begin({}, { prepare: async (ready) => ready });
    const lines = process.lines('stderr');
    const first = lines.next();
    await turn();
    backend.launches[0]?.stderr?.write('one\ntwo\n');
    expect(await first).toEqual({ done: false, value: 'one' });
    backend.launches[0]?.end();
    expect(await lines.next()).toEqual({ done: false, value: 'two' });
    expect(await lines.next()).toEqual({ done: true, value: undefined });
  });

  test('that nobody reads holds no result back', async () => {
    const { process, launch } = begin();
    const reader = process.stdout;
    launch().stdout?.write(Buffer.alloc(1 << 20));
    launch().end({ code: 4 });
    expect(await process).toMatchObject({ exitCode: 4, stdout: undefined });
    expect((await text(reader)).length).toBe(1 << 20);
  });

  test('of a reader who leaves early is closed, as in command | head', async () => {
    const { process, launch } = begin();
    setTimeout(() => launch().stdout?.write('1\n2\n3\n'));
    for await (const line of process) {
      expect(line).toBe('1');
      break;
    }
    await turn();
    expect(launch().stdout?.destroyed).toBe(true);
    launch().end({ code: 0 });
    await process;
  });

  test('beyond what is kept ends the run, is cut, and says which', async () => {
    const { process, launch } = begin({ encoding: 'buffer' }, { purpose: 'run' });
    launch().stderr?.write('e');
    await turn();
    launch().stdout?.write(Buffer.alloc(COLLECT_BYTES_MAX));
    await turn();
    expect(launch().orders).toEqual(['kill']);
    launch().end({ code: undefined, signal: 'SIGKILL', cause: { kind: 'terminated' } });
    const result = await process;
    expect(result).toMatchObject({
      outcome: { kind: 'limit', limit: 'outputBytes' },
      stdoutTruncated: true,
      stderrTruncated: false,
    });
    expect(result.stdout?.length).toBe(COLLECT_BYTES_MAX - 1);
  });

  test('is not bounded here where the backend enforces limits.outputBytes', async () => {
    const { process, launch } = begin(
      { encoding: 'buffer' },
      { purpose: 'run', fake: { recognized: ['limits.outputBytes'] } },
    );
    launch().stdout?.write(Buffer.alloc(COLLECT_BYTES_MAX + 1));
    launch().end({ stdoutTruncated: true, cause: { kind: 'limit', limit: 'outputBytes' } });
    const result = await process;
    expect(result.stdout?.length).toBe(COLLECT_BYTES_MAX + 1);
    expect(result).toMatchObject({ stdoutTruncated: true, outcome: { kind: 'limit', limit: 'outputBytes' } });
  });

  test('goes to every target of a list, which then end', async () => {
    const [first, second] = [new PassThrough(), new PassThrough()];
    const { process, launch } = begin({ stdout: ['pipe', first, second], stderr: second });
    launch().stdout?.write('o');
    await turn();
    launch().stderr?.write('e');
    await turn();
    launch().end();
    const [one, two, result] = await Promise.all([text(first), text(second), process]);
    expect([one, two, result.stdout, result.stderr]).toEqual(['o', 'oe', 'o', undefined]);
  });

  test('whose target breaks fails the run with that error, after ending it', async () => {
    const target = new PassThrough();
    const { process, launch } = begin({ stdout: target });
    target.destroy(new Error('disk full'));
    await turn();
    expect(launch().orders).toEqual(['terminate SIGTERM 2000']);
    launch().stdout?.write('more than nobody reads');
    launch().end({ cause: { kind: 'terminated' } });
    await expect(process.result).rejects.toMatchObject({
      code: 'SBX_STREAM_FAILED',
      message: 'cannot write a copy of stdout of cmd: disk full',
    });
  });

  test('leaves no listener on a target', async () => {
    const target = new PassThrough();
    const before = target.eventNames();
    const { process, launch } = begin({ stdout: target });
    target.resume();
    launch().end();
    await process;
    await turn();
    expect(target.eventNames().filter((name) => !before.includes(name) && name !== 'error')).toEqual([]);
  });

  test('has no stream unless it is a pipe', async () => {
    const { process, launch } = begin({ stdout: 'ignore', stderr: 'stdout' });
    expect(() => process.stdout).toThrow(expect.objectContaining({ code: 'SBX_SPEC_INVALID' }));
    expect(() => process.stderr).toThrow(expect.objectContaining({ code: 'SBX_SPEC_INVALID' }));
    expect(() => process.stdin).toThrow(expect.objectContaining({ code: 'SBX_SPEC_INVALID' }));
    expect(launch().request.stdio).toEqual(['ignore', 'ignore', 'stdout']);
    launch().end();
    expect(await process).toMatchObject({ stdout: undefined, stderr: undefined });
  });
});

describe('input', () => {
  test('that is written before there is a command gets there', async () => {
    const { process, backend } = begin({ stdin: 'pipe' }, { prepare: async (ready) => ready });
    process.stdin.end('abc');
    await turn();
    const [launch] = backend.launches;
    expect(await text(launch?.stdin as PassThrough)).toBe('abc');
    launch?.end();
    await process;
  });

  test.each<[string, () => RunOptions['input']]>([
    ['a string', () => 'añb'],
    ['bytes', () => Buffer.from('añb')],
    ['a Readable', () => Readable.from([Buffer.from('a'), 'ñb'])],
    ['a web stream', () => new Blob(['a', 'ñb']).stream()],
    [
      'an async iterable',
      async function* () {
        yield 'a';
        yield Buffer.from('ñb');
      },
    ],
  ])('may be %s', async (_, input) => {
    const { process, launch } = begin({ input: input() as NonNullable<RunOptions['input']> });
    expect(await text(launch().stdin as PassThrough)).toBe('añb');
    launch().end();
    await process;
  });

  test('whose source breaks fails the run, after ending it', async () => {
    const { process, launch } = begin({
      input: (async function* () {
        yield 'a';
        throw new Error('the well is dry');
      })(),
    });
    await expect.poll(() => launch().orders).toEqual(['terminate SIGTERM 2000']);
    launch().end({ cause: { kind: 'terminated' } });
    await expect(process.result).rejects.toMatchObject({
      code: 'SBX_STREAM_FAILED',
      message: 'cannot read the input of cmd: the well is dry',
      cause: expect.objectContaining({ message: 'the well is dry' }),
    });
  });

  test('that the command does not read is no error, and its source is let go', async () => {
    let released = false;
    const source = (async function* () {
      try {
        for (;;) yield Buffer.alloc(1 << 16);
      } finally {
        released = true;
      }
    })();
    const { process, launch } = begin({ input: source });
    await turn();
    launch().stdin?.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    launch().end({ code: 0 });
    expect((await process).exitCode).toBe(0);
    await expect.poll(() => released).toBe(true);
  });

  test('from a source that never gives anything holds no result back', async () => {
    const source = new Readable({ read() {} });
    const { process, launch } = begin({ input: source });
    launch().end({ code: 0 });
    expect((await process).exitCode).toBe(0);
    expect(source.destroyed).toBe(true);
  });
});

describe('a run', () => {
  test('that nobody awaits rejects silently on a handle', async () => {
    const { process, launch } = begin();
    launch().fail(new LaunchError('cannot mount', { step: 'mount' }));
    await turn();
    await expect(process.started).rejects.toMatchObject({ step: 'mount' });
  });

  test('ends its streams when it cannot be launched, and the loop over its lines throws', async () => {
    const { process } = begin(
      { stdin: 'pipe' },
      {
        prepare: async () => {
          throw new LaunchError('cannot', { step: 'clone' });
        },
      },
    );
    const { stdin } = process;
    stdin.write('into the void');
    await expect(async () => {
      for await (const line of process) expect(line).toBeUndefined();
    }).rejects.toMatchObject({ step: 'clone' });
    expect(stdin.destroyed).toBe(true);
  });

  test('tells its steps in order', async () => {
    const events: RunEvent[] = [];
    const { process, launch } = begin({ onEvent: (event) => events.push(event) });
    launch().start();
    await process.started;
    launch().end({ code: 2 });
    await process;
    expect(events).toEqual([
      { kind: 'planned', backend: 'none' },
      { kind: 'started', pid: 4711 },
      { kind: 'ended', outcome: { kind: 'exited', code: 2 } },
    ]);
  });

  test.each(['planned', 'started', 'ended'])('fails with what a listener throws at %s', async (kind) => {
    const error = new Error('not my day');
    const { process, backend } = begin({
      onEvent: (event) => {
        if (event.kind === kind) throw error;
      },
    });
    const [launch] = backend.launches;
    launch?.start();
    await turn();
    if (kind === 'started') expect(launch?.orders).toEqual(['terminate SIGTERM 2000']);
    if (kind === 'planned') expect(launch).toBeUndefined();
    launch?.end({ cause: { kind: 'terminated' }, signal: 'SIGTERM' });
    await expect(process.result).rejects.toBe(error);
  });

  test('keeps orders that come before the launch', async () => {
    const { process, backend } = begin({}, { prepare: async (ready) => ready });
    process.sendSignal('SIGUSR1');
    process.resize(80, 25);
    process.forward('SIGINT');
    await turn();
    expect(backend.launches[0]?.orders).toEqual(['signal SIGUSR1', 'resize 80 25', 'forward SIGINT']);
    backend.launches[0]?.end();
    await process;
  });

  test('that is disposed of is killed and waited for', async () => {
    const { process, launch } = begin();
    const disposed = process[Symbol.asyncDispose]();
    expect(launch().orders).toEqual(['kill']);
    let over = false;
    const watched = disposed.then(() => {
      over = true;
    });
    await turn();
    expect(over).toBe(false);
    launch().end({ cause: { kind: 'terminated' }, signal: 'SIGKILL', code: undefined });
    await watched;
  });

  test('is awaited, caught and finished like a promise', async () => {
    const { process, launch } = begin();
    let finished = 0;
    const after = process.finally(() => {
      finished += 1;
    });
    launch().fail(new LaunchError('x', { step: 'exec' }));
    await expect(after).rejects.toMatchObject({ step: 'exec' });
    expect(await process.catch((error: unknown) => error)).toMatchObject({ step: 'exec' });
    expect(finished).toBe(1);
  });
});

describe('a launch that fails', () => {
  test('at a step of set-up names the feature that this host lacks', async () => {
    const { process, launch } = begin(
      {},
      { fake: { recognized: ['namespace.pid', 'cwd'], unavailable: ['namespace.pid'] } },
    );
    const cause = new LaunchError('cannot clone', { step: 'clone', errno: 'EPERM' });
    launch().fail(cause);
    await expect(process.result).rejects.toMatchObject({
      code: 'SBX_FEATURE_UNAVAILABLE',
      missing: [{ feature: 'namespace.pid', because: 'the fake host lacks it', remedy: 'use another host' }],
      cause,
    });
  });

  test('where the backend cannot run at all says that', async () => {
    const { process, launch } = begin(
      {},
      { fake: { usable: { available: false, because: 'no launcher', remedy: 'get one' } } },
    );
    const cause = new LaunchError('lost', { step: 'lost' });
    launch().fail(cause);
    await expect(process.result).rejects.toMatchObject({
      code: 'SBX_BACKEND_UNAVAILABLE',
      message: 'backend none cannot run here; none: no launcher; get one',
      cause,
    });
  });

  test('for a reason that the host does not explain is itself', async () => {
    const { process, launch } = begin({}, { fake: { recognized: ['namespace.pid'] } });
    const error = new LaunchError('cannot mount /src', { step: 'mount', errno: 'ENOENT' });
    launch().fail(error);
    await expect(process.result).rejects.toBe(error);
  });

  test('at exec is the command, and needs no probe', async () => {
    const { process, launch, backend } = begin();
    const error = new LaunchError('not found', { step: 'exec', reason: 'not-found' });
    launch().fail(error);
    await expect(process.result).rejects.toBe(error);
    expect(backend.probes).toBe(0);
  });
});

async function text(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
