// Compiled plans for tests: made by the library, run as the programs that they are.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { LaunchError } from '../../src/errors/errors.ts';
import { compile } from '../../src/run/compile.ts';
import { makeResult } from '../../src/run/result.ts';
import type { RunOptions, RunResult } from '../../src/run/types.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';

/** Content of a program that runs `command` in a sandbox of `spec`. */
export async function compiledPlan(
  command: readonly string[],
  spec: SandboxSpec = {},
  options: Pick<RunOptions, 'optional'> = {},
): Promise<Buffer> {
  const { content } = await compile(command, spec, options, () => []);
  return Buffer.from(content);
}

export function writeProgram(file: string, content: Uint8Array): string {
  writeFileSync(file, content);
  chmodSync(file, 0o700);
  return file;
}

export interface CompiledEnd {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function callProgram(
  file: string,
  args: readonly string[] = [],
  { env = {}, cwd = '/', uid, gid }: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number; gid?: number } = {},
): Promise<CompiledEnd> {
  const ids = uid === undefined || gid === undefined ? {} : { uid, gid };
  const child = spawn(file, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], ...ids });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { status: status as number | null, stdout, stderr };
}

/**
 * What `run` gives, as far as an attack asks for it, by way of a compiled plan.
 *
 * @throws {LaunchError} where the sandbox failed, from the words that it is told in.
 */
export async function runCompiled(
  command: readonly string[],
  spec: SandboxSpec = {},
  { stripFinalNewline = false }: Pick<RunOptions, 'stripFinalNewline'> = {},
): Promise<RunResult> {
  const directory = mkdtempSync(join(tmpdir(), 'compiled-'));
  try {
    const file = writeProgram(join(directory, 'plan'), await compiledPlan(command, spec));
    const { status, stdout, stderr } = await callProgram(file);
    const words = stderr.split('\n').filter((line) => line.startsWith('run-sandbox: '));
    if (words.length > 0) throw launchError(words.join('\n'));
    const signal = status !== null && status > 128 ? signalOf(status - 128) : undefined;
    return makeResult({
      command,
      outcome: signal === undefined ? { kind: 'exited', code: status ?? -1 } : { kind: 'signalled', signal },
      exitCode: signal === undefined ? (status ?? undefined) : undefined,
      signal,
      stdout: stripFinalNewline ? stdout.replace(/\n$/, '') : stdout,
      stderr: stripFinalNewline ? stderr.replace(/\n$/, '') : stderr,
      stdoutTruncated: false,
      stderrTruncated: false,
      usage: { wallMs: 0 },
      enforcement: { backend: 'native', applied: [], skipped: [] },
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function launchError(words: string): LaunchError {
  const errno = /\b(E[A-Z0-9]+) from /.exec(words)?.[1];
  const step = words.includes(' from execve(2)') ? 'exec' : (/, step ([a-z-]+)/.exec(words)?.[1] ?? 'lost');
  const reason = words.includes('too long together') ? 'too-long' : undefined;
  return new LaunchError(words, {
    step,
    ...(errno === undefined ? {} : { errno }),
    ...(reason === undefined ? {} : { reason }),
  });
}

function signalOf(number: number): NodeJS.Signals | undefined {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] as NodeJS.Signals | undefined;
}
