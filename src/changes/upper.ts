// The layer above an overlay, as the launcher lists it (native/changes.h): hostile, and read by nobody else.
import { spawn } from 'node:child_process';
import { launcherPath } from '../backends/launcher/locate.ts';
import { SandboxError } from '../errors/errors.ts';
import type { ChangedType } from './types.ts';

/** One entry; `whiteout`: there is nothing of this name any more. */
export interface UpperEntry {
  readonly type: ChangedType | 'whiteout';
  /** A directory that hides what the one below has; one that lies too deep to be looked into. */
  readonly opaque: boolean;
  readonly tooDeep: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** In seconds. */
  readonly mtime: number;
  /** Relative to the layer; see raw.ts. */
  readonly path: string;
}

const types: Readonly<Record<string, UpperEntry['type']>> = {
  d: 'directory',
  f: 'file',
  l: 'symlink',
  p: 'fifo',
  s: 'socket',
  b: 'device',
  c: 'device',
  w: 'whiteout',
};

/** More than a person looks at, or memory should hold: what a command left behind has no bound of its own. */
const ENTRIES_MAX = 1_000_000;
const STDERR_MAX = 4096;

/** @throws {SandboxError} `SBX_CHANGES_UNREADABLE` where they cannot all be listed. */
export function listUpper(directory: string): Promise<UpperEntry[]> {
  const child = spawn(launcherPath(), ['changes', directory], { stdio: ['ignore', 'pipe', 'pipe'], env: {}, cwd: '/' });
  const entries: UpperEntry[] = [];
  let rest = '';
  let complaint = '';
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(
        new SandboxError('SBX_CHANGES_UNREADABLE', `the changes in ${directory} cannot be listed: ${why}`, { cause }),
      );
    child.stdout.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString('latin1')).split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) entries.push(parseEntry(part));
      if (entries.length <= ENTRIES_MAX) return;
      child.kill('SIGKILL');
      fail(`there are more than ${ENTRIES_MAX}`);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString('utf8')).slice(0, STDERR_MAX);
    });
    child.on('error', (cause) => fail(cause.message, cause));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(entries);
      else fail(complaint.trim() || `the launcher ended with ${code ?? signal}`);
    });
  });
}

function parseEntry(line: string): UpperEntry {
  const fields = line.split(' ', 7);
  const [kind = '', mode = '', uid, gid, size, mtime] = fields;
  const path = line.slice(fields.join(' ').length + 1);
  return {
    type: types[kind.charAt(0)] ?? 'device',
    opaque: kind.charAt(1) === 'o',
    tooDeep: kind.charAt(1) === 'x',
    mode: Number.parseInt(mode, 8),
    uid: Number(uid),
    gid: Number(gid),
    size: Number(size),
    mtime: Number(mtime),
    path,
  };
}
