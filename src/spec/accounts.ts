// Who the command is: ids as given, or names looked up in passwd(5) and group(5) of the root, which may be a hostile one.
import { ACCOUNT_FILE_BYTES_MAX, checkId, checkText } from './checks.ts';
import type { SpecHost } from './host.ts';
import { type LookupCache, resolveInRoot } from './in-root.ts';
import type { Reporter } from './issues.ts';
import { nearest } from './nearest.ts';
import type { NormalizedSpec, SandboxSpec } from './types.ts';

type User = NormalizedSpec['user'];

/** The user, and whether its groups were only taken from group(5): such groups may be left out where they are not mapped. */
export interface ResolvedUser extends User {
  readonly groupsFromFile: boolean;
}

/** `rootPath`: the root directory, or `/` for the host view; `undefined` when the root is wrong already. */
export function resolveUser(
  given: SandboxSpec['user'],
  host: SpecHost,
  rootPath: string | undefined,
  report: Reporter,
  cache: LookupCache,
): ResolvedUser {
  if (given === undefined) return ownUser(host);
  const files = new AccountFiles(host, rootPath, cache);
  if (typeof given === 'string') return resolveString(given, host, files, report) ?? ownUser(host);
  for (const key of ['uid', 'gid'] as const) reportId(given[key], report, [key]);
  for (const [index, gid] of (given.additionalGids ?? []).entries()) reportId(gid, report, ['additionalGids', index]);
  return {
    uid: given.uid,
    gid: given.gid,
    additionalGids: [...new Set(given.additionalGids ?? [])],
    name: nameOf(given.uid, host, files),
    groupsFromFile: false,
  };
}

function reportId(id: number, report: Reporter, path: readonly (string | number)[]): void {
  const problem = checkId(id);
  if (problem !== undefined) report(['user', ...path], problem);
}

function ownUser(host: SpecHost): ResolvedUser {
  const name = host.uid === 0 ? 'root' : (safeName(host.username) ?? 'user');
  return { uid: host.uid, gid: host.gid, additionalGids: [], name, groupsFromFile: false };
}

/** `NAME`, `UID`, and each with `:GROUP` or `:GID`. A name alone has the groups that group(5) lists it in, as login(1) would give. */
function resolveString(text: string, host: SpecHost, files: AccountFiles, report: Reporter): ResolvedUser | undefined {
  const problem = checkText(text);
  const [userPart = '', groupPart, ...rest] = text.split(':');
  if (problem !== undefined || userPart === '' || groupPart === '' || rest.length > 0) {
    report(['user'], problem ?? `'${text}' is not NAME, NAME:GROUP or UID:GID`);
    return undefined;
  }
  const uid = parseId(userPart);
  const gid = groupPart === undefined ? undefined : parseId(groupPart);
  if (uid === 'too-large' || gid === 'too-large') {
    report(['user'], `'${text}' has an id in it that is larger than 4294967294`);
    return undefined;
  }
  // Numbers need no file, and a root without one is a good root.
  if (uid !== undefined && gid !== undefined) {
    return { uid, gid, additionalGids: [], name: nameOf(uid, host, files), groupsFromFile: false };
  }
  const account = findAccount(userPart, uid, host, files, report);
  if (account === undefined) return undefined;
  const name = account.uid === 0 ? 'root' : (safeName(account.name) ?? 'user');
  if (groupPart === undefined) {
    const additionalGids =
      uid === undefined ? files.groupsOf(account.name).filter((group) => group !== account.gid) : [];
    return { uid: account.uid, gid: account.gid, additionalGids, name, groupsFromFile: true };
  }
  const group = gid ?? findGroup(groupPart, files, report);
  if (group === undefined) return undefined;
  return { uid: account.uid, gid: group, additionalGids: [], name, groupsFromFile: false };
}

function findAccount(
  text: string,
  uid: number | undefined,
  host: SpecHost,
  files: AccountFiles,
  report: Reporter,
): Account | undefined {
  const own: Account = { name: host.username ?? '', uid: host.uid, gid: host.gid };
  if (uid === host.uid) return own;
  const found = files.accounts.find((account) => (uid === undefined ? account.name === text : account.uid === uid));
  if (found !== undefined) return found;
  // An account of a directory service is not in the file, and is the caller all the same.
  if (uid === undefined && files.isHostView && text === host.username) return own;
  if (uid !== undefined) {
    report(
      ['user'],
      `uid ${uid} has no entry in /etc/passwd ${files.where}, so its group is not known${files.unread('passwd')}; write '${uid}:GID'`,
    );
    return undefined;
  }
  const meant = nearest(text, files.accounts.map((account) => account.name).slice(0, 1000));
  const hint = meant === undefined ? "; write 'UID:GID' to do without a name" : `; did you mean '${meant}'?`;
  report(['user'], `there is no user '${text}' in /etc/passwd ${files.where}${files.unread('passwd')}${hint}`);
  return undefined;
}

function findGroup(name: string, files: AccountFiles, report: Reporter): number | undefined {
  const found = files.groups.find((group) => group.name === name);
  if (found !== undefined) return found.gid;
  const meant = nearest(name, files.groups.map((group) => group.name).slice(0, 1000));
  const hint = meant === undefined ? '; write a number to do without a name' : `; did you mean '${meant}'?`;
  report(['user'], `there is no group '${name}' in /etc/group ${files.where}${files.unread('group')}${hint}`);
  return undefined;
}

function nameOf(uid: number, host: SpecHost, files: AccountFiles): string {
  if (uid === 0) return 'root';
  const name = uid === host.uid ? host.username : files.accounts.find((account) => account.uid === uid)?.name;
  return safeName(name) ?? 'user';
}

/** A name becomes part of the path of the home directory, and of `USER`. One like `../../etc` is somebody's trick. */
function safeName(name: string | undefined): string | undefined {
  return name !== undefined && /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$/.test(name) ? name : undefined;
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** The two files, each read when it is first needed. */
class AccountFiles {
  readonly #host: SpecHost;
  readonly #root: string | undefined;
  readonly #cache: LookupCache;
  readonly #unread = new Map<string, string>();
  #accounts: readonly Account[] | undefined;
  #groups: readonly Group[] | undefined;

  constructor(host: SpecHost, root: string | undefined, cache: LookupCache) {
    this.#host = host;
    this.#root = root;
    this.#cache = cache;
  }

  get isHostView(): boolean {
    return this.#root === '/';
  }

  get where(): string {
    return this.isHostView ? 'of this host' : 'of the root';
  }

  get accounts(): readonly Account[] {
    this.#accounts ??= parseLines(this.#read('passwd'), ([name = '', , uid, gid]) => {
      const ids = { uid: parseId(uid), gid: parseId(gid) };
      if (name === '' || typeof ids.uid !== 'number' || typeof ids.gid !== 'number') return undefined;
      return { name, uid: ids.uid, gid: ids.gid };
    });
    return this.#accounts;
  }

  get groups(): readonly Group[] {
    this.#groups ??= parseLines(this.#read('group'), ([name = '', , gid, members = '']) => {
      const id = parseId(gid);
      if (name === '' || typeof id !== 'number') return undefined;
      return { name, gid: id, members: members.split(',') };
    });
    return this.#groups;
  }

  groupsOf(user: string): number[] {
    return [...new Set(this.groups.filter((group) => group.members.includes(user)).map((group) => group.gid))];
  }

  /** Why a file could not be read, as part of a sentence. */
  unread(name: 'passwd' | 'group'): string {
    const reason = this.#unread.get(name);
    return reason === undefined ? '' : ` (not read: ${reason})`;
  }

  #read(name: 'passwd' | 'group'): string {
    if (this.#root === undefined) return '';
    const place = resolveInRoot(this.#host, this.#root, `/etc/${name}`, this.#cache);
    const refuse = (reason: string): string => {
      this.#unread.set(name, reason);
      return '';
    };
    if (place.kind === 'absent') return refuse('there is none');
    if (place.kind === 'unreachable') return refuse(place.errno ?? 'it cannot be reached');
    if (place.kind !== 'file') return refuse(`it is a ${place.kind}, not a regular file`);
    const file = this.#host.readFile(place.hostPath, ACCOUNT_FILE_BYTES_MAX);
    return 'text' in file ? file.text : refuse(file.because);
  }
}

function parseLines<T>(text: string, parse: (fields: readonly string[]) => T | undefined): T[] {
  const found: T[] = [];
  for (const line of text.split('\n')) {
    const entry = parse(line.split(':'));
    if (entry !== undefined) found.push(entry);
  }
  return found;
}

/** A number of digits alone; `undefined` for anything else, which may be a name. */
function parseId(text: string | undefined): number | 'too-large' | undefined {
  if (text === undefined || !/^\d+$/.test(text)) return undefined;
  return text.length <= 10 && checkId(Number(text)) === undefined ? Number(text) : 'too-large';
}
