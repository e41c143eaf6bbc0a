// Attacks that are long in C are told in Python, which the host view has where the host has it.
import { expect } from 'vitest';
import { run } from '../../src/index.ts';
import type { RunOptions } from '../../src/run/types.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import type { Bench } from '../conformance/bench.ts';
import { requires } from '../helpers/requires.ts';

/** `os`, `sys` and `socket` are imported; `attempt(call)` is the name of the errno, or `ok`; `libc` is C's own. */
const prelude = `
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(call):
    try: call()
    except OSError as error: return errno.errorcode.get(error.errno, str(error.errno))
    return 'ok'
def syscall(*args):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args])
    if result < 0: raise OSError(ctypes.get_errno(), 'syscall')
    return result
`;

/** Lines of stdout of a script that must end well and say nothing on stderr. */
export async function inPython(
  bench: Bench,
  script: string,
  spec: SandboxSpec = {},
  options: RunOptions = {},
): Promise<string[]> {
  requires('file:/usr/bin/python3');
  const { stdout, stderr, outcome } = await run(pythonCommand(script), bench.withHost(spec), bench.options(options));
  expect({ stderr, outcome }).toEqual({ stderr: '', outcome: { kind: 'exited', code: 0 } });
  return (stdout as string).trimEnd().split('\n');
}

export function pythonCommand(script: string): string[] {
  return ['/usr/bin/python3', '-I', '-c', prelude + script];
}
