// How the readers beside this file see the host: through this interface, so that tests can show them any host. Absence is an answer here and
// not an error: a file that is missing, or that this caller may not read, is `undefined`.
import {
  accessSync,
  constants,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  type Stats,
  statSync,
} from 'node:fs';

export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  /** Permission bits with set-user-ID, set-group-ID and sticky. */
  readonly mode: number;
  readonly uid: number;
}

export interface HostFiles {
  readFile(path: string): string | undefined;
  readlink(path: string): string | undefined;
  readdir(path: string): readonly string[] | undefined;
  /** Follows symlinks. */
  stat(path: string): FileFacts | undefined;
  lstat(path: string): FileFacts | undefined;
  /** Whether this caller may write there, as access(2) says. */
  writable(path: string): boolean;
}

export const hostFiles: HostFiles = {
  readFile: (path) => orUndefined(() => readFileSync(path, 'utf8')),
  readlink: (path) => orUndefined(() => readlinkSync(path)),
  readdir: (path) => orUndefined(() => readdirSync(path)),
  // Without an exception where there is nothing: most paths that are asked for are not there, and a stack trace costs more than the call.
  stat: (path) => orUndefined(() => factsOf(statSync(path, { throwIfNoEntry: false }))),
  lstat: (path) => orUndefined(() => factsOf(lstatSync(path, { throwIfNoEntry: false }))),
  writable: (path) =>
    orUndefined(() => {
      accessSync(path, constants.W_OK);
      return true;
    }) === true,
};

function factsOf(stats: Stats | undefined): FileFacts | undefined {
  if (stats === undefined) return undefined;
  const kind = stats.isFile()
    ? 'file'
    : stats.isDirectory()
      ? 'directory'
      : stats.isSymbolicLink()
        ? 'symlink'
        : 'other';
  return { kind, mode: stats.mode & 0o7777, uid: stats.uid };
}

/** What the host does not show is no failure of ours; anything but a system error is. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
}
