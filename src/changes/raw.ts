// Names as the kernel has them: bytes, here one character each (latin1), so that they can be compared and put together. Nobody sees them so.
import type { ChangedType } from './types.ts';

/** As a path for node:fs. */
export function bytesOf(raw: string): Buffer {
  return Buffer.from(raw, 'latin1');
}

export function rawOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** For people, and for JSON. */
export function textOf(raw: string): string {
  return bytesOf(raw).toString('utf8');
}

export function join(directory: string, name: string): string {
  return directory === '' || directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}

export function parentOf(raw: string): string {
  const slash = raw.lastIndexOf('/');
  return slash === -1 ? '' : raw.slice(0, slash);
}

export function nameOf(raw: string): string {
  return raw.slice(raw.lastIndexOf('/') + 1);
}

interface Kinds {
  isDirectory(): boolean;
  isFile(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

export function typeOf(status: Kinds): ChangedType {
  if (status.isDirectory()) return 'directory';
  if (status.isFile()) return 'file';
  if (status.isSymbolicLink()) return 'symlink';
  if (status.isFIFO()) return 'fifo';
  return status.isSocket() ? 'socket' : 'device';
}
