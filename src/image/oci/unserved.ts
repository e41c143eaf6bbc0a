// Settings of a runtime bundle that a sandbox does not serve.
import type { Place } from '../place.ts';

/** Says that a setting is not served. */
export type Unserved = (place: Place, because: string) => void;

/** A member that says something: not left out, and neither empty nor zero. */
export function hasMembers({ value }: Place): boolean {
  if (value === undefined || value === null || value === '' || value === 0) return false;
  if (typeof value !== 'object') return true;
  return Object.values(value).some((member) => !(Array.isArray(member) && member.length === 0));
}

export function readAbsent(place: Place, names: readonly string[], because: string, unserved: Unserved): void {
  for (const name of names) {
    if (hasMembers(place.at(name))) unserved(place.at(name), because);
  }
}
