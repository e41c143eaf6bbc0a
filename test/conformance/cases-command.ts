// The command itself: how it is started, what it finds, how it ends.
import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ExecReason } from '../../src/errors/errors.ts';
import { run } from '../../src/index.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { requires } from '../helpers/requires.ts';
import type { Bench } from './bench.ts';
import type { Suite } from './describe-backend.ts';

const signals = [
  ['SIGHUP', 1],
  ['SIGABRT', 6],
  ['SIGKILL', 9],
  ['SIGUSR1', 10],
  ['SIGSEGV', 11],
  ['SIGTERM', 15],
] as const;

export function commandCases({ bench, always, promise }: Suite): void {
  always("an exit status is the command's own", async () => {
    for (const code of [0, 1, 2, 42, 124, 125, 126, 127, 128, 255]) {
      const { outcome, exitCode, signal } = await bench.run(['exit', code]);
      expect({ outcome, exitCode, signal }).toEqual({
        outcome: { kind: 'exited', code },
        exitCode: code,
        signal: undefined,
      });
    }
  });

  always('a signal that ends the command is named', async () => {
    for (const [signal, number] of signals) {
      const { outcome, exitCode } = await bench.run(['signal', number]);
      expect({ outcome, exitCode }).toEqual({ outcome: { kind: 'signalled', signal }, exitCode: undefined });
    }
  });

  always('arguments arrive as they are', async () => {
    const words = ['', ' ', "it's", '"', '$HOME', '*', 'a\nb', '漢字', '-n', '\\', ';true'];
    expect(await bench.answer(['echo', ...words])).toBe(words.join('\n'));
  });

  promise(['env'], 'the environment has nothing of the caller but what is inherited by name', async () => {
    process.env['SANDBOXLIB_SECRET'] = 'secret';
    process.env['SANDBOXLIB_WANTED'] = 'wanted';
    try {
      const names = (text: string): string[] =>
        text
          .split('\n')
          .map((line) => line.split('=')[0] ?? '')
          .sort();
      const clean = names(await bench.answer(['env']));
      expect(clean.filter((name) => !['HOME', 'LANG', 'LOGNAME', 'PATH', 'TMPDIR', 'USER'].includes(name))).toEqual([]);
      const env = { inherit: ['SANDBOXLIB_WANTED', 'SANDBOXLIB_ABSENT'], set: { ADDED: 'a=b\nc', EMPTY: '' } };
      const given = await bench.answer(['env'], { env });
      expect(given).toContain('SANDBOXLIB_WANTED=wanted\n');
      expect(given).toContain('ADDED=a=b\nc\n');
      expect(given).toMatch(/^EMPTY=$/m);
      expect(given).not.toContain('SANDBOXLIB_ABSENT');
      expect(given).not.toContain('secret');
    } finally {
      delete process.env['SANDBOXLIB_SECRET'];
      delete process.env['SANDBOXLIB_WANTED'];
    }
  });

  promise(['cwd'], 'the command starts in the directory that is named', async () => {
    expect(await bench.answer(['cwd'], { cwd: '/usr' })).toBe('/usr');
  });

  promise(['cwd'], 'a directory that does not exist is no place to start in', async () => {
    await expect(bench.run(['cwd'], { cwd: '/nowhere' })).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
  });

  promise(['hostname'], "the host name is the sandbox's own", async () => {
    expect(await bench.answer(['hostname'])).toBe('sandbox');
    expect(await bench.answer(['hostname'], { hostname: 'box.example' })).toBe('box.example');
  });

  promise(['umask'], 'the umask is 022 or as asked for', async () => {
    expect(await bench.answer(['umask'])).toBe('0022');
    expect(await bench.answer(['umask'], { umask: 0o077 })).toBe('0077');
  });

  promise(['user'], 'the command is the caller unless a user is named', async () => {
    const [uid, gid] = [process.getuid?.(), process.getgid?.()];
    expect(await bench.answer(['ids'])).toMatch(new RegExp(`^uid ${uid} ${uid} ${uid}\ngid ${gid} ${gid} ${gid}\n`));
    const named = await bench.answer(['ids'], { user: { uid: 0, gid: 0 } });
    expect(named).toMatch(/^uid 0 0 0\ngid 0 0 0\n/);
  });

  always('the command has no descriptors but 0, 1 and 2', async () => {
    const extra = openSync('/dev/null', 'r');
    try {
      expect(await bench.answer(['fds'])).toBe(bench.openDescriptors([0, 1, 2]));
    } finally {
      closeSync(extra);
    }
  });

  always('the command starts with no signal blocked or ignored', async () => {
    const state = await bench.answer(['state']);
    expect(state).toContain('masked 0\n');
    expect(state).toContain('ignored 0\n');
  });

  always('the command leads a session of its own', async () => {
    const state = Object.fromEntries((await bench.answer(['state'])).split('\n').map((line) => line.split(' ')));
    expect(state['sid']).toBe(state['pid']);
    expect(state['pgid']).toBe(state['pid']);
  });

  execFailures({ bench, always, promise });
  architectureCases({ bench, always, promise });
}

function execFailures({ bench, always }: Suite): void {
  const refused = async (command: readonly string[], reason: ExecReason, host: string | undefined): Promise<void> => {
    const mounts = host === undefined ? [] : bench.mountsFor(host);
    await expect(run(command, bench.withRoot({ mounts }), bench.options({}))).rejects.toMatchObject({
      code: 'SBX_LAUNCH_FAILED',
      step: 'exec',
      reason,
    });
  };
  const file = async (name: string, content: string | Uint8Array, reason: ExecReason, mode = 0o755): Promise<void> => {
    const path = bench.makeFile(name, content, mode);
    await refused([bench.inside(path)], reason, path);
  };

  always('a program that is not there is not found', async () => {
    await refused(['sandboxlib-no-such-program'], 'not-found', undefined);
    await refused(['/no/such/program'], 'not-found', undefined);
  });

  always('a file without permission is not executable', async () => {
    await file('plain.sh', '#!/bin/sh\n', 'not-executable', 0o644);
  });

  always('a directory is no program', async () => {
    const path = bench.makeDirectory('directory');
    await refused([bench.inside(path)], 'directory', path);
  });

  always('a script whose interpreter is missing says so', async () => {
    await file('lonely', '#!/no/such/interpreter -x\n', 'missing-interpreter');
  });

  always('a file of no known kind is not a program', async () => {
    await file('words', 'just words\n', 'not-a-program');
  });

  always('a program for another machine is for another machine', async () => {
    const program = readFileSync(bench.guestOutside);
    // e_machine of elf(5): the other one of x86-64 and AArch64.
    program.writeUInt16LE(program.readUInt16LE(18) === 62 ? 183 : 62, 18);
    await file('foreign', program, 'wrong-architecture');
  });

  always('a program that is open for writing is busy', async () => {
    const path = join(bench.directory, 'busy');
    copyFileSync(bench.guestOutside, path);
    const descriptor = openSync(path, 'r+');
    try {
      await refused([bench.inside(path), 'exit', '0'], 'text-busy', path);
    } finally {
      closeSync(descriptor);
    }
  });

  always('a script that interprets itself goes round in a circle', async () => {
    const path = join(bench.directory, 'circle');
    await file('circle', `#!${bench.inside(path)}\n`, 'interpreter-loop');
  });

  always('arguments beyond what the kernel takes are too long', async () => {
    const words = Array.from({ length: 80 }, () => 'x'.repeat(100_000));
    await refused(['true', ...words], 'too-long', undefined);
  });
}

const QEMU = '/usr/bin/qemu-aarch64-static';

/** One more of the host's architectures than its own. More of it: test/os/architecture-cases.ts. */
function architectureCases({ bench, promise }: Suite): void {
  promise(
    ['architecture'],
    'a program for another architecture runs where that is asked for, and only there',
    async () => {
      requires('command:aarch64-linux-gnu-gcc', `file:${QEMU}`);
      const path = compileForArm(bench);
      const command = [bench.inside(path)];
      const spec: SandboxSpec = { mounts: bench.mountsFor(path) };
      const { outcome, stdout } = await run(command, { ...spec, architecture: 'arm64' }, bench.options({}));
      expect({ outcome, stdout }).toEqual({ outcome: { kind: 'exited', code: 7 }, stdout: 'aarch64\n' });
      const without = await run(command, spec, bench.options({})).catch((error: unknown) => error);
      // proot loads programs itself, and starts what is not one of this machine, which then crashes.
      if (bench.backend === 'proot') expect(without).toMatchObject({ outcome: { kind: 'signalled' }, stdout: '' });
      else expect(without).toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'exec', reason: 'wrong-architecture' });
    },
  );
}

function compileForArm(bench: Bench): string {
  const source = bench.makeFile(
    'machine.c',
    `#include <stdio.h>
#include <sys/utsname.h>
int main(void) {
  struct utsname name;
  if (uname(&name) < 0 || puts(name.machine) < 0) return 1;
  return 7;
}
`,
  );
  const program = join(bench.directory, 'machine');
  execFileSync('aarch64-linux-gnu-gcc', ['-O1', '-static', '-o', program, source]);
  return program;
}
