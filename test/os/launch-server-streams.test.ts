// Streams of a command that a server started (native/serve.c): what holds for those of a launcher of one's own.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';
import { createSandbox, LaunchError, run, type SandboxProcess, spawn } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';
import {
  childrenOf,
  inits,
  killAnything,
  sendSignal,
  serveAll,
  servers,
  supervisors,
  until,
} from '../helpers/serving.ts';
import { inNode } from '../security/in-node.ts';

requires('linux', 'userns');

serveAll();

const MiB = 1024 * 1024;
const shell = (script: string, options: Parameters<typeof spawn>[2] = {}): SandboxProcess =>
  spawn(['sh', '-c', script], {}, options);
const descriptors = (): number => readdirSync('/proc/self/fd').length;

async function lengthOf(stream: Readable): Promise<number> {
  let length = 0;
  for await (const chunk of stream) length += (chunk as Uint8Array).length;
  return length;
}

describe('a handle', () => {
  it('is served: no process of its own, and the supervisor is who it says', async () => {
    const handle = shell('read line; echo "$line"; echo error >&2; exit 3', { stdin: 'pipe' });
    await handle.started;
    expect(supervisors()).toEqual([String(handle.pid)]);
    handle.stdin.end('hello\n');
    expect(await textOf(handle.stdout)).toBe('hello\n');
    expect(await handle).toMatchObject({ exitCode: 3, stderr: 'error\n', stdout: undefined });
    await until(() => supervisors().length === 0);
    expect(servers().length).toBe(1);
  });

  it('has streams beyond those that one server has', async () => {
    for (let number = 0; number < 40; number++) {
      const handle = shell('cat', { stdin: 'pipe' });
      handle.stdin.end(String(number));
      expect(await textOf(handle.stdout), String(number)).toBe(String(number));
      expect((await handle).exitCode).toBe(0);
    }
    // The first has none left, and nothing to do; how many there are depends on when each was seen to be idle.
    expect(servers().length).toBeGreaterThan(1);
    await until(() => supervisors().length === 0);
  });

  it('is one of a hundred at once, and nothing of it stays open', async () => {
    await shell('true');
    await endServers();
    const before = descriptors();
    const handles = Array.from({ length: 100 }, (_, number) => shell(`cat; echo ${number}`, { stdin: 'pipe' }));
    for (const [number, handle] of handles.entries()) handle.stdin.end(`in ${number} `);
    const texts = await Promise.all(handles.map((handle) => textOf(handle.stdout)));
    expect(texts).toEqual(handles.map((_, number) => `in ${number} ${number}\n`));
    await Promise.all(handles);
    await endServers();
    await until(() => descriptors() <= before);
  });

  it('does not keep Node alive once it is over', () => {
    const { status, stdout, stderr } = inNode(
      `for (let i = 0; i < 3; i++) { const p = spawn(['echo', 'hi']); for await (const line of p) console.log(line); }`,
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'hi\n'.repeat(3), stderr: '' });
  });

  it('finds pipes, which it may open again', async () => {
    const handle = shell('cat < /dev/stdin > /dev/stdout; echo error > /dev/stderr; stat -Lc %F /proc/self/fd/0', {
      stdin: 'pipe',
    });
    handle.stdin.end('again ');
    expect(await textOf(handle.stdout)).toBe('again fifo\n');
    expect(await handle).toMatchObject({ stderr: 'error\n' });
  });

  it('has what it writes to both in order where both go one way', async () => {
    const handle = shell('for i in 1 2 3; do echo $i; echo $i >&2; done', { stderr: 'stdout' });
    expect(await textOf(handle.stdout)).toBe('1\n1\n2\n2\n3\n3\n');
  });

  it('answers for calls that the command makes', async () => {
    const sandbox = await createSandbox({ onSyscall: [{ names: ['mkdir', 'mkdirat'], action: 'ask' }] });
    const calls: string[] = [];
    const { stdout, exitCode } = await sandbox.run(['sh', '-c', 'mkdir /tmp/one && ls /tmp'], {
      onSyscall: (call) => {
        calls.push(call.action);
        return 'allow';
      },
    });
    expect({ stdout, exitCode, calls }).toEqual({ stdout: 'one\n', exitCode: 0, calls: ['ask'] });
    expect(servers().length).toBe(1);
    await sandbox.dispose();
  });
});

describe('bytes', () => {
  it('come as they were written, whoever is slow', async () => {
    const handle = shell(`seq 1 3000000; seq 1 3000000 | sha256sum >&2`);
    const hash = createHash('sha256');
    let seen = 0;
    for await (const chunk of handle.stdout) {
      hash.update(chunk as Uint8Array);
      seen += (chunk as Uint8Array).length;
      if (seen % 7 === 0) await delay(1);
    }
    expect(`${hash.digest('hex')}  -\n`).toBe((await handle).stderr);
  });

  it('go in as they are given, whoever is slow', async () => {
    const handle = shell('sleep 0.2; sha256sum', { stdin: 'pipe' });
    const hash = createHash('sha256');
    for (let piece = 0; piece < 40; piece++) {
      const bytes = Buffer.alloc(MiB, `${piece},`);
      hash.update(bytes);
      if (!handle.stdin.write(bytes)) await once(handle.stdin, 'drain');
    }
    handle.stdin.end();
    expect(await textOf(handle.stdout)).toBe(`${hash.digest('hex')}  -\n`);
  });

  it('wait for their reader, and so does who writes them', async () => {
    const handle = shell('head -c 50000000 /dev/zero; echo done >&2');
    const output = handle.stdout;
    await handle.started;
    await delay(300);
    expect(inits().length).toBe(1);
    expect(await lengthOf(output)).toBe(50_000_000);
    expect((await handle).stderr).toBe('done\n');
  });

  it('that nobody has read yet outlast the end', async () => {
    const handle = shell('head -c 200000 /dev/zero');
    const output = handle.stdout;
    const { outcome, usage } = await handle;
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
    expect(usage.outputBytes).toBe(200_000);
    expect(await lengthOf(output)).toBe(200_000);
    await until(() => supervisors().length === 0);
    expect((await run(['echo', 'next'])).stdout).toBe('next\n');
  });

  it('that nobody will read go with the handle', async () => {
    {
      await using handle = spawn(['cat', '/dev/zero'], { limits: { wallMs: 300 } }, { gracePeriodMs: 0 });
      void handle.stdout;
      expect((await handle).outcome).toEqual({ kind: 'limit', limit: 'wallMs' });
      expect(supervisors().length).toBe(1);
    }
    await until(() => supervisors().length === 0);
  });

  it('are bounded exactly', async () => {
    const bounded = (outputBytes: number) => {
      const handle = spawn(['head', '-c', '3000000', '/dev/zero'], { limits: { outputBytes } });
      return Promise.all([lengthOf(handle.stdout), handle]);
    };
    for (const bound of [0, 1, 65_536, 2_999_999]) {
      const [length, { outcome, stdoutTruncated }] = await bounded(bound);
      expect({ length, outcome, stdoutTruncated }).toEqual({
        length: bound,
        outcome: { kind: 'limit', limit: 'outputBytes' },
        stdoutTruncated: true,
      });
    }
    const [length, { outcome, stdoutTruncated }] = await bounded(3_000_000);
    expect({ length, outcome, stdoutTruncated }).toEqual({
      length: 3_000_000,
      outcome: { kind: 'exited', code: 0 },
      stdoutTruncated: false,
    });
  });

  it('go several ways at once', async () => {
    const copy = new PassThrough();
    const copied = textOf(copy);
    const { stdout } = await run(['seq', '1', '50000'], {}, { stdout: ['pipe', copy], input: 'x'.repeat(200_000) });
    expect(await copied).toBe(stdout);
    expect(String(stdout).length).toBe(288_894);
  });
});

describe('whoever leaves early', () => {
  it('the reader: the command has SIGPIPE', async () => {
    const handle = spawn(['yes']);
    handle.stdout.once('data', () => handle.stdout.destroy());
    expect(await handle).toMatchObject({ signal: 'SIGPIPE' });
  });

  it('the reader at once: so too', async () => {
    for (let round = 0; round < 20; round++) {
      const handle = spawn(['yes']);
      handle.stdout.destroy();
      expect(await handle, String(round)).toMatchObject({ signal: 'SIGPIPE' });
    }
  });

  it('the command: who writes to it is no worse', async () => {
    const handle = shell('exec <&-; echo closed; sleep 0.3; exit 4', { stdin: 'pipe' });
    await once(handle.stdout, 'data');
    for (let piece = 0; piece < 20; piece++) handle.stdin.write(Buffer.alloc(MiB));
    expect(await handle).toMatchObject({ exitCode: 4 });
    await until(() => supervisors().length === 0);
  });

  it('nobody: without an end of its input a command waits for one', async () => {
    const handle = shell('cat', { stdin: 'pipe' });
    handle.stdin.write('some');
    await once(handle.stdout, 'data');
    await delay(100);
    expect(inits().length).toBe(1);
    handle.stdin.end();
    expect(await handle).toMatchObject({ exitCode: 0 });
  });
});

describe('when something is killed', () => {
  it('the supervisor: the run has failed, its output ends, and the next one has streams', async () => {
    const handle = shell('echo begun; sleep 30');
    const output = textOf(handle.stdout);
    await handle.started;
    await delay(50);
    sendSignal(handle.pid, 'SIGKILL');
    await expect(handle.result).rejects.toBeInstanceOf(LaunchError);
    expect(await output).toBe('begun\n');
    expect(await textOf(shell('echo next').stdout)).toBe('next\n');
  });

  it('the server: the run goes on, and so do its streams', async () => {
    const handle = shell('cat', { stdin: 'pipe' });
    await handle.started;
    const [server = 'nobody'] = servers();
    sendSignal(server, 'SIGKILL');
    await until(() => !servers().includes(server));
    handle.stdin.end('still there');
    expect(await textOf(handle.stdout)).toBe('still there');
    expect((await handle).exitCode).toBe(0);
  });

  it('the server before the run: it has failed, and its streams end', async () => {
    await shell('true');
    const [server = 'nobody'] = servers();
    sendSignal(server, 'SIGSTOP');
    const handle = shell('cat', { stdin: 'pipe' });
    const output = textOf(handle.stdout);
    sendSignal(server, 'SIGKILL');
    await expect(handle.result).rejects.toBeInstanceOf(LaunchError);
    expect(await output).toBe('');
  });

  it('anything at any moment: every handle settles, rightly or as a failure', async () => {
    const wrong: unknown[] = [];
    const ends = { right: 0, failed: 0 };
    let over = false;
    const work = async (): Promise<void> => {
      while (!over) {
        const handle = shell('cat; echo more; exit 5', { stdin: 'pipe' });
        handle.stdin.end('text ');
        const [output, end] = await Promise.allSettled([textOf(handle.stdout), handle.result]);
        if (end.status === 'rejected' && end.reason instanceof LaunchError) ends.failed++;
        else if (end.status === 'fulfilled' && output.status === 'fulfilled' && output.value === 'text more\n')
          ends.right++;
        else wrong.push({ output, end });
      }
    };
    const working = [work(), work(), work()];
    await killAnything(60);
    over = true;
    await Promise.all(working);
    expect(wrong).toEqual([]);
    expect(ends.right).toBeGreaterThan(0);
    expect(ends.failed).toBeGreaterThan(0);
  }, 120_000);

  it('a handle at any moment: the next one has its own streams', async () => {
    for (let round = 0; round < 60; round++) {
      const first = shell('cat', { stdin: 'pipe' });
      setTimeout(() => first.kill(), round / 6);
      // An order may cross the end that it asks for.
      const [output, end] = await Promise.all([textOf(first.stdout), first]);
      first.kill();
      expect([output, end.outcome.kind]).toEqual(['', 'cancelled']);
      const next = shell('cat', { stdin: 'pipe' });
      next.stdin.end(String(round));
      expect(await textOf(next.stdout)).toBe(String(round));
    }
  });
});

describe('a command', () => {
  it('has nothing of the server or of other runs open', async () => {
    const others = [shell('cat', { stdin: 'pipe' }), shell('cat', { stdin: 'pipe' })];
    await Promise.all(others.map((handle) => handle.started));
    const handle = shell('ls -l /proc/self/fd; ls /proc/1/fd');
    const lines = (await textOf(handle.stdout)).trim().split('\n');
    expect(lines.filter((line) => line.includes('socket:'))).toEqual([]);
    for (const other of others) other.stdin.end();
    await Promise.all(others);
  });

  it('is not what a supervisor shows to it', async () => {
    const handle = shell('cat', { stdin: 'pipe' });
    await handle.started;
    const [supervisor = 'nobody'] = supervisors();
    expect(childrenOf(supervisor).length).toBe(1);
    const open = readdirSync(`/proc/${supervisor}/fd`).length;
    // Its three streams, the lane, init's socket, the signals, and its ends of the pipes.
    expect(open).toBeLessThan(14);
    expect(readFileSync(`/proc/${supervisor}/cmdline`, 'utf8')).toContain('--streams');
    handle.stdin.end();
    await handle;
  });
});
