// How the kernel's tables are read: what is gone meanwhile, or is somebody else's, is not there.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** In the environment of a test process, and so of what it starts. */
export const markName = 'SANDBOXLIB_TEST_MARK';

/** Undefined when the process or file is gone by now, or belongs to somebody else. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

export function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A socket that a process holds, as one of a run by docker that has not come to its container yet; its process is looked for by itself. */
export function isListenedOn(name: string): boolean {
  return (readIfThere('/proc/net/unix') ?? '').split('\n').some((line) => line.endsWith(`/${name}`));
}
