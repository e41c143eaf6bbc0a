// Values in words, for messages.
import type { Found } from './host.ts';

/** What `value` is: `a string`, `null`, `an array`, ... */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const kind = kindOfObject(value);
  return kind === 'Object' ? 'an object' : `${/^[AEIOU]/.test(kind) ? 'an' : 'a'} ${kind}`;
}

/** `Object`, or what is no plain data: `Map`, `Date`, `Promise`, ... Instances of classes count as objects. */
export function kindOfObject(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** `a`, `a and b`, `a, b and c`. */
export function joinWords(words: readonly string[], conjunction: 'and' | 'or' = 'and'): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} ${conjunction} ${words.at(-1)}`;
}

/** What looking at a path of the host gave: `./x does not exist (it stands for /home/a/x)`. */
export function describeLookup(text: string, absolute: string, found: Found): string {
  const meaning = text === absolute ? '' : ` (it stands for ${absolute})`;
  const tilde = text === '~' || text.startsWith('~/') ? "; only a shell replaces '~' by the home directory" : '';
  if (found.kind !== 'nothing') return `${text}${meaning} is a ${found.kind}`;
  switch (found.errno) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `${text} does not exist${meaning}${tilde}`;
    case 'EACCES':
    case 'EPERM':
      return `${text}${meaning} may not be looked at by this user (${found.errno})`;
    default:
      return `${text}${meaning} cannot be reached (${found.errno})`;
  }
}
