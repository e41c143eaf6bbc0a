import { constants } from 'node:os';

/** Of an error by its name in errno(3). */
export function errnoNumber(name: string): number | undefined {
  const known: Readonly<Record<string, number>> = constants.errno;
  return Object.hasOwn(known, name) ? known[name] : undefined;
}
