// Calls that are wrong, unlucky or many: each gets an error of ours or works, nothing goes unhandled, and nothing stays open.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';
import { type RunOptions, type RunResult, run, type SandboxProcess, type SandboxSpec, spawn } from '../../src/index.ts';
import { buildCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';
import { sendSignal } from '../helpers/serving.ts';

requires('linux', 'userns');

const index = new URL('../../dist/index.js', import.meta.url).href;
let directory: string;
beforeAll(() => {
  buildCli();
  directory = mkdtempSync(join(tmpdir(), 'hostile-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** As a caller without types may write it. */
const call = (command: unknown, spec?: unknown, options?: unknown): Promise<RunResult> =>
  run(command as string[], spec as SandboxSpec, options as RunOptions);

function closedDescriptor(): number {
  const descriptor = openSync('/dev/null', 'r+');
  closeSync(descriptor);
  return descriptor;
}

const strange: readonly unknown[] = [
  ...[null, 0, 1.5, Number.NaN, true, '', Symbol('s'), 10n, [], [[]], () => {}],
  ...[new Date(), new Map([['hostname', 'x']]), new Set(), /x/, Promise.resolve({}), new Uint8Array(2)],
];

describe('values of the wrong kind', () => {
  test.each(strange.map((value) => ({ value })))('$value is no command, no spec and no options', async ({ value }) => {
    const calls = [call(value), call([value]), call(['true'], value), call(['true'], {}, value)];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SBX_SPEC_INVALID' } });
    }
  });

  test('objects that are no plain data are refused wherever they are', async () => {
    await expect(call(['true'], { limits: new Map([['wallMs', 1]]) })).rejects.toMatchObject({
      issues: [{ path: ['limits'], message: 'must be plain data, not a Map' }],
    });
    await expect(call(['true'], Promise.resolve({ network: 'none' }))).rejects.toMatchObject({
      issues: [{ path: [], message: 'must be plain data, not a Promise' }],
    });
  });

  test('what contains itself is refused', async () => {
    const landlock: Record<string, unknown> = {};
    landlock['self'] = landlock;
    const spec: Record<string, unknown> = { hostname: 'x' };
    spec['env'] = spec;
    for (const circular of [{ landlock }, spec]) {
      await expect(call(['true'], circular)).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    }
  });

  test('classes, prototypes, getters, null prototypes and frozen objects mean what they say', async () => {
    class Spec {
      hostname = 'box';
    }
    const specs = [
      new Spec(),
      Object.create({ hostname: 'box' }) as object,
      Object.assign(Object.create(null), { hostname: 'box' }) as object,
      Object.defineProperty({}, 'hostname', { value: 'box' }),
      Object.freeze({ hostname: 'box', mounts: Object.freeze([]) }),
      {
        get hostname() {
          return 'box';
        },
      },
    ];
    for (const spec of specs) expect((await call(['hostname'], spec)).stdout).toBe('box\n');
    const options = Object.freeze(Object.create({ stripFinalNewline: true })) as object;
    expect((await call(['hostname'], {}, options)).stdout).toBe('sandbox');
  });

  test("an exception of the caller's own getter is the caller's", async () => {
    const failing = {
      get hostname(): string {
        throw new Error('out of order');
      },
    };
    await expect(call(['true'], failing)).rejects.toThrow('out of order');
  });

  test('a spec that is changed after the call changes nothing', async () => {
    const spec = { hostname: 'before', env: { WORD: 'before' } };
    const command = ['sh', '-c', 'hostname; echo $WORD'];
    const running = run(command, spec);
    spec.hostname = 'after';
    spec.env.WORD = 'after';
    command[2] = 'echo after';
    expect((await running).stdout).toBe('before\nbefore\n');
  });
});

describe('descriptors and files', () => {
  test('a descriptor that is not open is refused by its number, wherever it is named', async () => {
    const fd = closedDescriptor();
    const named: Record<string, RunOptions> = {
      stdin: { stdin: fd },
      stdout: { stdout: fd },
      stderr: { stderr: ['pipe', fd] },
      'descriptors.5': { descriptors: { 5: fd } },
    };
    for (const [option, options] of Object.entries(named)) {
      await expect(run(['true'], {}, options)).rejects.toMatchObject({
        issues: [{ path: ['options', option], message: `descriptor ${fd} is not open in this process` }],
      });
    }
    await expect(run(['true'], {}, { stdout: 1e10 })).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
  });

  test('a URL that cannot be opened is refused with the reason, and all of them at once', async () => {
    const stdout = pathToFileURL(directory);
    const stdin = pathToFileURL(join(directory, 'missing'));
    await expect(run(['true'], {}, { stdin, stdout, stderr: ['pipe', stdout] })).rejects.toMatchObject({
      issues: [
        { path: ['options', 'stdin'], message: expect.stringMatching(/ cannot be opened for reading: ENOENT$/) },
        { path: ['options', 'stdout'], message: expect.stringMatching(/ cannot be opened for writing: EISDIR$/) },
        { path: ['options', 'stderr'], message: expect.stringMatching(/ cannot be opened for writing: EISDIR$/) },
      ],
    });
  });
});

describe('streams', () => {
  const broken = (why: string): Readable =>
    new Readable({
      read() {
        this.destroy(new Error(why));
      },
    });

  test.each([
    ['a stream that fails', () => broken('boom'), 'boom'],
    ['a stream that was destroyed', () => new Readable({ read() {} }).destroy(), 'Premature close'],
    [
      'a generator that throws',
      async function* () {
        yield 'a';
        throw new Error('boom');
      },
      'boom',
    ],
    ['chunks that are neither text nor bytes', () => Readable.from([{}]), 'input must give strings or Uint8Arrays'],
    [
      'an iterable that gives no iterator',
      () => ({
        [Symbol.asyncIterator]() {
          throw new Error('boom');
        },
      }),
      'boom',
    ],
  ])('input from %s fails the run', async (_, make, why) => {
    await expect(call(['cat'], {}, { input: make() })).rejects.toMatchObject({
      code: 'SBX_STREAM_FAILED',
      message: expect.stringContaining(why),
    });
  });

  test('what only looks like a stream is refused', async () => {
    const locked = new ReadableStream();
    locked.getReader();
    for (const options of [
      { input: { [Symbol.asyncIterator]: 3 } },
      { input: { getReader: 3 } },
      { input: locked },
      { stdin: { pipe() {}, read() {} } },
      { stdout: { write() {}, end() {} } },
    ]) {
      await expect(call(['true'], {}, options)).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    }
  });

  test('a destination that fails, or is closed, fails the run', async () => {
    const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('full')) });
    await expect(run(['echo', 'x'], {}, { stdout: full })).rejects.toMatchObject({
      code: 'SBX_STREAM_FAILED',
      message: expect.stringContaining('full'),
    });
    const closed = new PassThrough();
    closed.destroy();
    await expect(run(['echo', 'x'], {}, { stdout: closed })).rejects.toMatchObject({ code: 'SBX_STREAM_FAILED' });
  });

  test('an abort ends also a run whose destination takes nothing', async () => {
    const stuck = new Writable({ write() {} });
    const options: RunOptions = { stdout: ['pipe', stuck], signal: AbortSignal.timeout(200), gracePeriodMs: 100 };
    const { stdout } = await run(['head', '-c', '1000000', '/dev/zero'], {}, options);
    expect(typeof stdout).toBe('string');
  });

  // 3 MB are more than the sockets and pipes of a run hold, 200 kB more than a pipe.
  describe('output that nobody reads yet', () => {
    const bytes = (count: number): [string, ...string[]] => ['head', '-c', `${count}`, '/dev/zero'];

    test('keeps no run from its limit, and what was written before can be read after it', async () => {
      await using process = spawn(bytes(3_000_000), { limits: { wallMs: 100 } }, { gracePeriodMs: 100 });
      const { stdout } = process;
      const { outcome, usage } = await process;
      expect(outcome).toMatchObject({ kind: 'limit', limit: 'wallMs' });
      let read = 0;
      for await (const chunk of stdout) read += (chunk as Buffer).length;
      expect(read).toBe(usage.outputBytes);
      expect(read).toBeGreaterThan(0);
    });

    test('is what a run came to when its command has ended', async () => {
      await using process = spawn(bytes(200_000));
      const { stdout } = process;
      const { exitCode, usage } = await process;
      expect({ exitCode, bytes: usage.outputBytes }).toEqual({ exitCode: 0, bytes: 200_000 });
      let read = 0;
      for await (const chunk of stdout) read += (chunk as Buffer).length;
      expect(read).toBe(200_000);
    });

    // Somewhere in between lies what the launcher has read when it is asked, and what is still in its pipe.
    const bounds = Array.from({ length: 12 }, (_, i) => 160_000 + i * 30_001);
    test.each(bounds)('is counted against limits.outputBytes before it is read: %d', async (outputBytes) => {
      const limits = { wallMs: 100, outputBytes };
      await using process = spawn(bytes(3_000_000), { limits }, { gracePeriodMs: 100 });
      const { stdout } = process;
      const { outcome, stdoutTruncated, usage } = await process;
      // What ended the run stays what it was where the rest turns out to be too much.
      if (!stdoutTruncated) expect(outcome).toMatchObject({ kind: 'limit', limit: 'wallMs' });
      let read = 0;
      for await (const chunk of stdout) read += (chunk as Buffer).length;
      expect(read).toBe(stdoutTruncated ? outputBytes : usage.outputBytes);
      expect(usage.outputBytes).toBeGreaterThanOrEqual(read);
    });

    describe.each(['always', 'off'])('half must not look like all, SANDBOXLIB_SERVER=%s', (choice) => {
      beforeEach(() => void vi.stubEnv('SANDBOXLIB_SERVER', choice));
      afterEach(async () => {
        vi.unstubAllEnvs();
        await endServers();
      });
      const alive = (pid: number | undefined): boolean => {
        try {
          return process.kill(pid ?? -1, 0);
        } catch {
          return false;
        }
      };
      const kill = (handle: SandboxProcess): void => {
        try {
          sendSignal(handle.pid, 'SIGKILL');
        } catch (error) {
          // All of it has been delivered.
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      };
      /** A command that was ended with its streams full: the rest is with its launcher. In an object, for a handle that is returned is awaited. */
      const full = async (attempts = 20): Promise<{ readonly left: SandboxProcess }> => {
        const handle = spawn(['cat', '/dev/zero'], {}, { gracePeriodMs: 100 });
        const taken = handle.stdout as PassThrough;
        await vi.waitFor(() => expect(taken.writableNeedDrain).toBe(true), { timeout: 60_000 });
        await setTimeout(500);
        handle.terminate();
        await handle;
        await setTimeout(200);
        // On a busy machine all that was written may have fitted into the sockets: then there is no launcher any more.
        if (alive(handle.pid)) return { left: handle };
        if (attempts === 1) throw new Error('nothing was ever left to read');
        await handle[Symbol.asyncDispose]();
        return full(attempts - 1);
      };
      const lengthOf = async (stream: Readable): Promise<number> => {
        let length = 0;
        for await (const chunk of stream) length += (chunk as Buffer).length;
        return length;
      };
      const cutOff = /was ended by SIGKILL|ended without a word/;

      test('to a reader that comes after the launcher was killed', async () => {
        const { left } = await full();
        await using handle = left;
        kill(handle);
        await vi.waitFor(() => expect(alive(handle.pid)).toBe(false), { timeout: 60_000 });
        await expect(lengthOf(handle.stdout)).rejects.toThrow(cutOff);
      });

      test('to a reader that reads meanwhile, whenever that is', async () => {
        let lost = 0;
        for (let round = 0; round < 12; round++) {
          const { left } = await full();
          await using handle = left;
          const { usage } = await handle;
          const reading = lengthOf(handle.stdout);
          for (let turn = 0; turn < round; turn++) await setImmediate();
          kill(handle);
          const [outcome] = await Promise.allSettled([reading]);
          if (outcome.status === 'fulfilled') {
            expect(outcome.value).toBe(usage.outputBytes);
          } else {
            expect(outcome.reason).toMatchObject({ message: expect.stringMatching(cutOff) });
            lost++;
          }
        }
        expect(lost).toBeGreaterThan(0);
      });
    });

    test('keeps no program alive', () => {
      const script = `
        import { spawn } from ${JSON.stringify(index)};
        const handle = spawn(['head', '-c', '3000000', '/dev/zero'], { limits: { wallMs: 100 } }, { gracePeriodMs: 0 });
        handle.stdout;
        console.log((await handle).outcome.kind);`;
      const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        timeout: 60_000,
      });
      expect({ stdout, stderr }).toEqual({ stdout: 'limit\n', stderr: '' });
    });
  });
});

describe('orders', () => {
  test('one that crosses the end of the command is no failure', async () => {
    const kinds = new Set<string>();
    for (let round = 0; round < 150; round++) {
      await using process = spawn(['true']);
      await process.started;
      // The event loop is blocked, and so does not know yet that the command has ended.
      const end = performance.now() + (round % 5);
      while (performance.now() < end);
      process.terminate('late');
      kinds.add((await process).outcome.kind);
    }
    expect([...kinds].filter((kind) => kind !== 'exited' && kind !== 'cancelled')).toEqual([]);
  });

  test('an exception of onEvent is the result, whenever it comes', async () => {
    for (const kind of ['planned', 'started', 'ended']) {
      const onEvent = (event: { kind: string }): void => {
        if (event.kind === kind) throw new Error(`at ${kind}`);
      };
      await expect(run(['true'], {}, { onEvent })).rejects.toThrow(`at ${kind}`);
    }
  });
});

describe('many', () => {
  /** Of a Node process of its own: its limit of descriptors is for it alone. */
  function inNode(script: string, descriptors = 20_000): string {
    const shell = `ulimit -n ${descriptors} && exec "$0" --input-type=module -e "$1"`;
    const { status, stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, script], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trim();
  }
  const tally = `
    const tally = (all) => {
      const seen = {};
      for (const { value, reason } of all) {
        const key = value === undefined ? reason.code + ' ' + reason.errno + ' ' + reason.remedy : value.outcome.kind + ' ' + value.stdout.trim();
        seen[key] = (seen[key] ?? 0) + 1;
      }
      return seen;
    };
  `;

  test('three hundred runs at once all work', () => {
    const script = `${tally}
      import { run } from ${JSON.stringify(index)};
      const all = await Promise.allSettled(Array.from({ length: 300 }, () => run(['echo', 'x'])));
      console.log(JSON.stringify(tally(all)));
    `;
    expect(JSON.parse(inNode(script))).toEqual({ 'exited x': 300 });
  });

  test('runs that find no descriptor left are told so, and the others work', () => {
    const script = `${tally}
      import { run } from ${JSON.stringify(index)};
      await run(['true']);
      const all = await Promise.allSettled(Array.from({ length: 100 }, () => run(['echo', 'x'])));
      console.log(JSON.stringify(tally(all)));
    `;
    const seen = JSON.parse(inNode(script, 100)) as Record<string, number>;
    const told = 'SBX_LAUNCH_FAILED EMFILE run fewer at once, or raise the number of descriptors: ulimit -n';
    expect(Object.keys(seen).sort()).toEqual([told, 'exited x']);
  });

  test('after two hundred runs, good and bad, as many descriptors are open as before', async () => {
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    const round = async (): Promise<void> => {
      const outcomes = await Promise.allSettled([
        run(['echo', 'x']),
        run(['no-such-program']),
        run(['true'], { cwd: '/nowhere' }),
        run(['true'], { hostname: '' }),
        run(['true'], { landlock: {} }),
        run(['true'], { landlock: { paths: {} } }),
        run(['true'], { landlock: { paths: { '/nowhere': 'ro' } } }),
        run(['true'], { selinux: 'x' }),
        run(['cat'], {}, { input: Readable.from(['x']) }),
        call(['cat'], {}, { input: Readable.from([{}]) }),
        run(['sleep', '9'], {}, { signal: AbortSignal.timeout(5), gracePeriodMs: 0 }),
        run(['echo', 'x'], {}, { stdout: ['pipe', new URL('file:///dev/null')] }),
        run(['echo', 'x'], {}, { stdout: new URL('file:///dev/null'), stderr: pathToFileURL(directory) }),
        run(['echo', 'x'], {}, { stdout: new URL('file:///dev/null'), descriptors: { 9: 12_345 } }),
        run(['true'], {}, { descriptors: { 3: 'pipe' } }),
        run(['true'], { terminal: true }),
      ]);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(6);
    };
    await round();
    // A server keeps sockets for runs to come, and how many there are depends on what ran at the same time.
    await endServers();
    const before = descriptors();
    for (let done = 13; done < 213; done += 13) await round();
    await endServers();
    await expect.poll(descriptors).toBeLessThanOrEqual(before);
  });

  test('each Worker runs sandboxes of its own', async () => {
    const script = `
      const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(index)})
        .then(({ run }) => Promise.all([run(['hostname'], { hostname: 'worker' }), run(['echo', 'x'])]))
        .then((results) => parentPort.postMessage(results.map(({ stdout }) => stdout)));
    `;
    const answers = Array.from({ length: 4 }, () => {
      const worker = new Worker(script, { eval: true });
      return new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 4 }, () => ['worker\n', 'x\n']));
  });
});
