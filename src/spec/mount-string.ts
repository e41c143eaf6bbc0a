// `SOURCE:DESTINATION[:ro|:rw]`, as people know it from other tools. A colon of a path is written `\:`, a backslash `\\`.
import { nearest } from './nearest.ts';

export interface MountString {
  readonly source: string;
  readonly destination: string;
  readonly readonly: boolean;
}

/** What `text` says, or why it says nothing. */
export function parseMountString(text: string): MountString | { readonly problem: string } {
  const [source, destination, access, ...rest] = split(text);
  const form = 'SOURCE:DESTINATION[:ro|:rw]';
  if (source === undefined || destination === undefined) {
    return { problem: `'${text}' has no destination: a mount is written ${form}` };
  }
  if (rest.length > 0)
    return { problem: `'${text}' has too many parts: a mount is written ${form}; for a colon of a path write \\:` };
  if (source === '') return { problem: `'${text}' has an empty source: a mount is written ${form}` };
  if (destination === '') return { problem: `'${text}' has an empty destination: a mount is written ${form}` };
  if (access !== undefined && access !== 'ro' && access !== 'rw') {
    const meant = nearest(access, ['ro', 'rw']);
    const hint = meant === undefined ? '; for a colon of a path write \\:' : `; did you mean '${meant}'?`;
    return { problem: `'${access}' is neither 'ro' nor 'rw' in '${text}'${hint}` };
  }
  return { source, destination, readonly: access !== 'rw' };
}

/** The inverse of parseMountString. */
export function formatMountString(mount: MountString): string {
  return `${escapeColons(mount.source)}:${escapeColons(mount.destination)}:${mount.readonly ? 'ro' : 'rw'}`;
}

function split(text: string): string[] {
  const parts = [''];
  for (let i = 0; i < text.length; i++) {
    let character = text.charAt(i);
    const next = text[i + 1];
    if (character === ':') {
      parts.push('');
      continue;
    }
    if (character === '\\' && (next === ':' || next === '\\')) {
      character = next;
      i += 1;
    }
    parts[parts.length - 1] += character;
  }
  return parts;
}

function escapeColons(path: string): string {
  return path.replaceAll(/[\\:]/g, (character) => `\\${character}`);
}
