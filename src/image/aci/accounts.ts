// Who an app runs as: `user` and `group` of its manifest, by the accounts of its own root and never by those of the host.
import type { SpecIssue } from '../../errors/errors.ts';
import { shorten } from '../place.ts';
import type { AciApp } from './manifest.ts';

/** What is asked of the rendered root. Paths are looked up without leaving it; `undefined`: there is no such file, or it cannot be read. */
export interface RootAccounts {
  readonly read: (path: '/etc/passwd' | '/etc/group') => string | undefined;
  readonly owner: (path: string) => { readonly uid: number; readonly gid: number } | undefined;
}

export interface ResolvedAccounts {
  readonly uid: number;
  readonly gid: number;
  readonly issues: readonly SpecIssue[];
  readonly notes: readonly string[];
}

const kinds = {
  user: { file: '/etc/passwd', id: 'uid' },
  group: { file: '/etc/group', id: 'gid' },
} as const;

/**
 * In the order of the specification: a name of the root's own file, also one of digits; a number; the owner of a file.
 *
 * A name of digits that stands for another id is what CVE-2016-3697 was about. The order of the specification holds, and a note says so.
 */
export function resolveAccounts(app: Pick<AciApp, 'user' | 'group'>, root: RootAccounts): ResolvedAccounts {
  const issues: SpecIssue[] = [];
  const notes: string[] = [];
  const resolve = (kind: 'user' | 'group'): number => {
    const found = resolveOne(kind, app[kind], root);
    if ('problem' in found) issues.push({ path: ['app', kind], message: found.problem });
    else if (found.note !== undefined) notes.push(found.note);
    return 'problem' in found ? 0 : found.id;
  };
  return { uid: resolve('user'), gid: resolve('group'), issues, notes };
}

type Resolution = { readonly id: number; readonly note?: string } | { readonly problem: string };

function resolveOne(kind: 'user' | 'group', text: string, root: RootAccounts): Resolution {
  const { file, id } = kinds[kind];
  const lines = root.read(file);
  const named = lines === undefined ? undefined : findId(lines, text);
  if (named !== undefined) {
    if (parseId(text) === undefined || parseId(text) === named) return { id: named };
    return { id: named, note: `${kind} '${text}' is a name in ${file} of the image: ${id} ${named}, not ${text}` };
  }
  if (/^\d+$/.test(text)) {
    const number = parseId(text);
    return number === undefined ? { problem: `${shorten(text)} is larger than any id` } : { id: number };
  }
  if (text.startsWith('/')) {
    const owner = root.owner(text);
    return owner === undefined
      ? { problem: `there is no ${text} in the image whose ${kind} could count` }
      : { id: owner[id] };
  }
  const missing = lines === undefined ? `, which has no ${file} that can be read` : ` in ${file}`;
  return { problem: `the image has no ${kind} '${shorten(text)}'${missing}` };
}

/** Both files have the name first and the id third (passwd(5), group(5)). A line without an id that is one does not count. */
function findId(lines: string, name: string): number | undefined {
  for (const line of lines.split('\n')) {
    const [first, , third] = line.split(':');
    if (first !== name || third === undefined) continue;
    const id = parseId(third);
    if (id !== undefined) return id;
  }
  return undefined;
}

/** 4294967295 is -1 for the kernel and no id. */
const ID_MAX = 4_294_967_294;

function parseId(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= ID_MAX ? Number(text) : undefined;
}
