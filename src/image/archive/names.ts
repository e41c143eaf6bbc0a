// Names in archives: paths from the top of the tree, of bytes (see `latin1`). What leads out of it is refused, and nothing is guessed. Pure.
import { HeaderError } from './header.ts';
import type { ArchiveLimits } from './limits.ts';

const COMPONENT_BYTES_MAX = 255;

/** A bound of `ArchiveLimits` was passed. */
export class LimitError extends Error {
  readonly limit: keyof ArchiveLimits;
  constructor(limit: keyof ArchiveLimits, message: string) {
    super(message);
    this.limit = limit;
  }
}

/** Without `.` and empty components; `''` is the top. `what`: `name`, or `target of the hard link`. */
export function cleanName(name: string, what: string, limits: ArchiveLimits): string {
  if (name === '') throw new HeaderError(`its ${what} is empty`);
  if (name.includes('\0')) throw new HeaderError(`its ${what} has a NUL in it`);
  if (name.startsWith('/')) throw new HeaderError(`its ${what} is absolute`);
  if (name.length > limits.nameBytes) throw new LimitError('nameBytes', `its ${what} has ${name.length} bytes`);
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  for (const component of components) {
    if (component === '..') throw new HeaderError(`its ${what} has '..' in it`);
    if (component.length > COMPONENT_BYTES_MAX) {
      throw new HeaderError(
        `its ${what} has a component of ${component.length} bytes; Linux takes ${COMPONENT_BYTES_MAX}`,
      );
    }
  }
  if (components.length > limits.depth)
    throw new LimitError('depth', `its ${what} is ${components.length} levels deep`);
  return components.join('/');
}

/** Wherever it leads: nobody follows it while the tree is unpacked. */
export function checkTarget(target: string, limits: ArchiveLimits): void {
  if (target === '') throw new HeaderError('it is a symlink without a target');
  if (target.includes('\0')) throw new HeaderError('its target has a NUL in it');
  if (target.length > limits.nameBytes) throw new LimitError('nameBytes', `its target has ${target.length} bytes`);
}
