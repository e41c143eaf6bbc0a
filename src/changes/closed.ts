// A command may close what it leaves even to its owner. Who is not root opens it to look at it, and closes it again.
import { chmodSync } from 'node:fs';
import { Directory } from '../host/directory.ts';
import { nameOf, parentOf } from './raw.ts';
import type { UpperEntry } from './upper.ts';

/** What `action` gives, which finds every directory and file of the layer readable. */
export async function withAccess<T>(
  upper: string,
  entries: readonly UpperEntry[],
  action: () => T | Promise<T>,
): Promise<T> {
  const close = openClosed(upper, entries);
  try {
    return await action();
  } finally {
    close();
  }
}

/** Opens them; what it gives closes them again. */
export function openClosed(upper: string, entries: readonly UpperEntry[]): () => void {
  const closed = process.getuid?.() === 0 ? [] : entries.filter(isClosed);
  const opened: UpperEntry[] = [];
  const close = (): void => {
    for (const entry of opened.reverse()) setMode(upper, entry, entry.mode);
  };
  try {
    for (const entry of closed) {
      setMode(upper, entry, entry.type === 'directory' ? 0o700 : 0o600);
      opened.push(entry);
    }
  } catch (error) {
    close();
    throw error;
  }
  return close;
}

function isClosed({ type, mode, tooDeep }: UpperEntry): boolean {
  if (type === 'directory') return !tooDeep && (mode & 0o700) !== 0o700;
  return type === 'file' && (mode & 0o400) === 0;
}

/** The way there is open: directories come before what they hold. */
function setMode(upper: string, { path }: UpperEntry, mode: number): void {
  let directory = Directory.open(upper);
  try {
    for (const name of parentOf(path).split('/').filter(Boolean)) {
      const next = directory.enter(name);
      directory.close();
      directory = next;
    }
    // Nobody is left who could put a symlink there: the sandbox is gone.
    chmodSync(directory.at(nameOf(path)), mode);
  } finally {
    directory.close();
  }
}
