// Finds a program as execvp(3) does, and says beforehand why execve(2) would refuse it: its ENOENT alone has three meanings.
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { endianness } from 'node:os';
import { resolve } from 'node:path';
import type { ExecReason, LaunchFailure } from '../../errors/errors.ts';

/** execve(2) looks at this much of a script's first line. */
const SCRIPT_LINE_BYTES = 256;
const HEAD_BYTES = 4096;
const EM_X86_64 = 62;
const EM_AARCH64 = 183;
const PT_INTERP = 3;

/** As the kernel's own default, where the environment has no PATH. */
const defaultPath = '/usr/local/bin:/usr/bin:/bin';

export type FoundProgram = { readonly file: string } | { readonly failure: LaunchFailure; readonly message: string };

export interface Whereabouts {
  readonly path: string | undefined;
  readonly cwd: string;
  /** Where a path of the command is on this host; without it: where it says. */
  readonly locate?: (path: string) => string;
}

const asItSays = (path: string): string => path;

/** `file` is the path as the command's root has it. */
export function findProgram(name: string, where: Whereabouts): FoundProgram {
  const { cwd, locate = asItSays } = where;
  if (name.includes('/')) return examine(resolve(cwd, name), name, locate);
  let refused: FoundProgram | undefined;
  for (const directory of (where.path ?? defaultPath).split(':')) {
    const found = examine(resolve(cwd, directory, name), name, locate);
    if ('file' in found) return found;
    // As in execvp(3): what is there but may not be executed is passed over, and remembered.
    if (found.failure.reason !== 'not-found') refused ??= found;
  }
  return refused ?? refuse(name, 'ENOENT', 'not-found', 'there is no such program on PATH');
}

type Locate = (path: string) => string;

function examine(file: string, name: string, locate: Locate): FoundProgram {
  const place = locate(file);
  try {
    if (statSync(place).isDirectory()) return refuse(file, 'EACCES', 'directory', 'it is a directory');
    accessSync(place, constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return refuse(name, 'ENOENT', 'not-found', 'there is no such file');
    return refuse(file, code, code === 'EACCES' ? 'not-executable' : 'other', `it may not be executed (${code})`);
  }
  return examineHead(file, locate);
}

function examineHead(file: string, locate: Locate): FoundProgram {
  let head: Buffer;
  try {
    head = readHead(locate(file));
  } catch {
    // It may be executed without being readable: then only the kernel can tell.
    return { file };
  }
  if (head.subarray(0, 2).toString('latin1') === '#!') return examineScript(file, head, locate);
  if (head.subarray(0, 4).toString('latin1') === '\x7fELF') return examineElf(file, head, locate);
  return refuse(file, 'ENOEXEC', 'not-a-program', "it is no program of this machine and has no '#!' line");
}

function examineScript(file: string, head: Buffer, locate: Locate): FoundProgram {
  const line = head.subarray(2, SCRIPT_LINE_BYTES).toString('utf8').split('\n', 1)[0] ?? '';
  const interpreter = line.trim().split(/[ \t]/, 1)[0] ?? '';
  if (interpreter === '') return refuse(file, 'ENOEXEC', 'not-a-program', "its '#!' line names no interpreter");
  return withInterpreter(file, interpreter, locate);
}

/** elf(5). Only the headers at the start are looked at: what is unusual is left to the kernel. */
function examineElf(file: string, head: Buffer, locate: Locate): FoundProgram {
  if (head.length < 64 || head[4] !== 2 || head[5] !== 1 || endianness() !== 'LE') return { file };
  const machine = head.readUInt16LE(18);
  const own = process.arch === 'arm64' ? EM_AARCH64 : EM_X86_64;
  if (machine !== own && (machine === EM_X86_64 || machine === EM_AARCH64)) {
    return refuse(file, 'ENOEXEC', 'wrong-architecture', `it is made for another machine than ${process.arch}`);
  }
  const [start, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let at = start; at < start + size * count && at + 56 <= head.length; at += size) {
    if (head.readUInt32LE(at) !== PT_INTERP) continue;
    const offset = Number(head.readBigUInt64LE(at + 8));
    const length = Number(head.readBigUInt64LE(at + 32));
    if (length < 1 || offset + length > head.length) return { file };
    return withInterpreter(file, head.subarray(offset, offset + length - 1).toString('utf8'), locate);
  }
  return { file };
}

function withInterpreter(file: string, interpreter: string, locate: Locate): FoundProgram {
  try {
    statSync(locate(interpreter));
    return { file };
  } catch {
    const found = refuse(file, 'ENOENT', 'missing-interpreter', `its interpreter ${interpreter} does not exist`);
    return 'failure' in found ? { ...found, failure: { ...found.failure, interpreter } } : found;
  }
}

function readHead(file: string): Buffer {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    return head.subarray(0, readSync(descriptor, head));
  } finally {
    closeSync(descriptor);
  }
}

function refuse(path: string, errno: string | undefined, reason: ExecReason, because: string): FoundProgram {
  const failure: LaunchFailure = { step: 'exec', syscall: 'execve', errno, path, reason };
  return { failure, message: `cannot run ${path}: ${because}` };
}
