// Attacks as scripts, for what is long in C: each line that a script says is one attempt and what came of it.
import { spawnSync } from 'node:child_process';
import { run } from '../../src/index.ts';
import type { RunResult } from '../../src/run/types.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import type { Bench } from '../conformance/bench.ts';
import { requires } from '../helpers/requires.ts';

export const PYTHON = '/usr/bin/python3';

/** `named`: a function of the C library; `call`: a system call by number; `attempt`: anything of Python's. Each answers `ok` or the errno's name. */
const prelude = `
import ctypes, errno, os, signal, socket, stat, sys, time
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == 'aarch64'
def number_of(x64, arm64): return arm64 if arm else x64
def raw(function, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = function(*wide)
    return (result, 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()])
def named(name, *arguments): return raw(getattr(libc, name), *arguments)[1]
def call(number, *arguments): return raw(libc.syscall, number, *arguments)[1]
def attempt(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
    return 'ok'
def say(what, answer): print(what, answer, flush=True)
`;

/** What the script said, inside: `{ what: answer }`. */
export async function python(...call: Parameters<typeof pythonResult>): Promise<Record<string, string>> {
  return said(String((await pythonResult(...call)).stdout));
}

/** All that came of it. */
export async function pythonResult(
  bench: Bench,
  script: string,
  spec: SandboxSpec = {},
  args: readonly (string | number)[] = [],
): Promise<RunResult> {
  requires(`file:${PYTHON}`);
  const command = [PYTHON, '-c', prelude + script, ...args.map(String)];
  const result = await run(command, bench.withHost(spec), bench.options({}));
  if (result.outcome.kind !== 'exited' || result.exitCode !== 0 || result.stderr !== '')
    throw new Error(`${JSON.stringify(result.outcome)}: ${result.stdout}${result.stderr}`);
  return result;
}

/** The same, on the host: shows that the script does what it is said to do. */
export function pythonOutside(script: string, args: readonly (string | number)[] = []): Record<string, string> {
  requires(`file:${PYTHON}`);
  const { stdout, stderr, status, error } = spawnSync(PYTHON, ['-c', prelude + script, ...args.map(String)], {
    encoding: 'utf8',
    // Outside there may be thousands of processes to look at.
    maxBuffer: 256 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`${error?.message ?? status}: ${stdout.slice(0, 10_000)}${stderr}`);
  return said(stdout);
}

function said(text: string): Record<string, string> {
  const lines = text.split('\n').filter((line) => line !== '');
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]));
}

/** Those attempts that came through. */
export function successes(answers: Record<string, string>): string[] {
  if (Object.keys(answers).length === 0) throw new Error('the script attempted nothing');
  return Object.keys(answers).filter((what) => answers[what] === 'ok');
}
