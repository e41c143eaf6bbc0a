// Who the caller is in its user namespace, and which other ids it may hand out (user_namespaces(7), subuid(5)).
import type { HostFiles } from './files.ts';
import type { HelperFacts, IdMapLine, IdRange, UserFacts } from './types.ts';

export function readUser(files: HostFiles, ids: { readonly uid: number; readonly gid: number }): UserFacts {
  const uidMap = parseIdMap(files.readFile('/proc/self/uid_map'));
  const gidMap = parseIdMap(files.readFile('/proc/self/gid_map'));
  const name = findLogin(files.readFile('/etc/passwd'), ids.uid);
  const subuid = files.readFile('/etc/subuid');
  const subgid = files.readFile('/etc/subgid');
  return {
    uid: ids.uid,
    gid: ids.gid,
    name,
    uidMap,
    gidMap,
    mapsEveryId: uidMap.length === 1 && isIdentity(uidMap[0]) && gidMap.length === 1 && isIdentity(gidMap[0]),
    subuid: parseSubordinate(subuid, name, ids.uid),
    subgid: parseSubordinate(subgid, name, ids.uid),
    freeSubordinateStart: findFreeStart([...parseOwned(subuid), ...parseOwned(subgid)]),
    newuidmap: findHelper(files, 'newuidmap'),
    newgidmap: findHelper(files, 'newgidmap'),
  };
}

/** Lines of /proc/PID/uid_map: three numbers each, with any number of blanks between. */
export function parseIdMap(text: string | undefined): IdMapLine[] {
  const lines: IdMapLine[] = [];
  for (const line of (text ?? '').split('\n')) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(line);
    if (match !== null) lines.push({ inside: Number(match[1]), outside: Number(match[2]), size: Number(match[3]) });
  }
  return lines;
}

/** The ranges of the caller, in the order of the file. */
export function parseSubordinate(text: string | undefined, name: string | undefined, uid: number): IdRange[] {
  return parseOwned(text)
    .filter(({ owner }) => owner === name || owner === String(uid))
    .map(({ start, size }) => ({ start, size }));
}

interface OwnedRange extends IdRange {
  readonly owner: string;
}

/** Lines `OWNER:START:COUNT`, where the owner is a login name or a number. */
function parseOwned(text: string | undefined): OwnedRange[] {
  const ranges: OwnedRange[] = [];
  for (const line of (text ?? '').split('\n')) {
    const match = /^([^:]+):(\d+):(\d+)\s*$/.exec(line);
    if (match?.[1] === undefined || Number(match[3]) === 0) continue;
    ranges.push({ owner: match[1], start: Number(match[2]), size: Number(match[3]) });
  }
  return ranges;
}

/** useradd(8) starts at 100000 too. */
function findFreeStart(taken: readonly IdRange[]): number {
  return Math.max(100000, ...taken.map(({ start, size }) => start + size));
}

// Not PATH: a helper is of use only where it is set-user-ID root, and that is in these places. The first is of NixOS.
const helperDirectories = ['/run/wrappers/bin', '/usr/bin', '/bin', '/usr/local/bin'];

export function findHelper(files: HostFiles, name: 'newuidmap' | 'newgidmap'): HelperFacts | undefined {
  for (const directory of helperDirectories) {
    const path = `${directory}/${name}`;
    const facts = files.stat(path);
    if (facts?.kind !== 'file' || (facts.mode & 0o111) === 0) continue;
    return { path, setuidRoot: (facts.mode & 0o4000) !== 0 && facts.uid === 0 };
  }
  return undefined;
}

/** The initial user namespace maps 4294967295 ids; the last one of 32 bits stands for "no id". */
function isIdentity(line: IdMapLine | undefined): boolean {
  return line !== undefined && line.inside === 0 && line.outside === 0 && line.size === 4294967295;
}

function findLogin(passwd: string | undefined, uid: number): string | undefined {
  for (const line of (passwd ?? '').split('\n')) {
    const [name, , id] = line.split(':');
    if (name !== undefined && name !== '' && id === String(uid)) return name;
  }
  return undefined;
}
