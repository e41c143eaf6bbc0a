// Programs of this host that a backend starts.
import { posix } from 'node:path';
import type { HostFiles } from './files.ts';

/** Tools for the administrator, which an ordinary user's PATH leaves out, are found too. */
const always = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Absolute path of the first file of that name that somebody may execute. Relative entries of PATH are passed over: what they mean depends on the caller's directory. */
export function findOnPath(files: HostFiles, name: string, path: string | undefined): string | undefined {
  const directories = [...(path ?? '').split(':').filter((directory) => directory.startsWith('/')), ...always];
  for (const directory of directories) {
    const candidate = posix.join(directory, name);
    const facts = files.stat(candidate);
    if (facts?.kind === 'file' && (facts.mode & 0o111) !== 0) return candidate;
  }
  return undefined;
}
