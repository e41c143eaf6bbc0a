// What another process of this user has open, opened once more.
import { closeSync, openSync } from 'node:fs';

/** All of them, or none. Preconditions: the number is still that process's. @throws what open(2) says. */
export function openDescriptorsOf(pid: number, descriptors: readonly number[]): number[] {
  const opened: number[] = [];
  try {
    for (const descriptor of descriptors) opened.push(openSync(`/proc/${pid}/fd/${descriptor}`, 'r'));
    return opened;
  } catch (error) {
    for (const descriptor of opened) closeSync(descriptor);
    throw error;
  }
}
