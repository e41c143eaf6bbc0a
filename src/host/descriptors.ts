// What the descriptors of this process are.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface OpenedFile {
  /** As in /proc/self/fd: a path, `pipe:[4711]`, `anon_inode:[eventpoll]`. */
  readonly target: string;
  readonly readable: boolean;
  readonly writable: boolean;
}

/** proc_pid_fdinfo(5). The access mode is the last two bits of the flags: 0 read, 1 write, 2 both. `undefined`: not open. */
export function openedFile(fd: number): OpenedFile | undefined {
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    const mode = Number.parseInt(flags, 8) & 3;
    return { target, readable: mode !== 1, writable: mode !== 0 };
  } catch {
    return undefined;
  }
}

/**
 * Whether `fd` is one that Node made for itself: an event queue, or a pipe of which it has both ends. They take the numbers that the caller
 * of Node left free.
 */
export function isNodesOwn(fd: number, { target }: OpenedFile): boolean {
  if (target.startsWith('anon_inode:')) return true;
  if (!target.startsWith('pipe:')) return false;
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((other) => other > 2 && other !== fd)
    .map(openedFile)
    .some((other) => other?.target === target && other.readable);
}
