// How ids inside stand for ids outside (user_namespaces(7), subuid(5)).
import { ACCOUNT_FILE_BYTES_MAX, checkInteger, ID_MAPPINGS_MAX, ID_MAX } from './checks.ts';
import type { IdRange, SpecHost } from './host.ts';
import { resolveInRoot } from './in-root.ts';
import type { Reporter } from './issues.ts';
import type { IdMapping, NormalizedSpec, SandboxSpec } from './types.ts';

interface Kind {
  readonly key: 'uidMappings' | 'gidMappings';
  readonly id: 'uid' | 'gid';
  readonly file: string;
  /** The id of the command and the one of the caller. */
  readonly inside: number;
  readonly own: number;
  /** What the caller's own user namespace has. */
  readonly ranges: readonly IdRange[];
}

export interface ResolvedIdMappings {
  readonly idMappings: NormalizedSpec['idMappings'];
  /** Groups of the user that were left out, because no mapping has them. */
  readonly user: NormalizedSpec['user'];
}

/** Preconditions: `user` has valid ids, or an issue was reported. */
export function resolveIdMappings(
  spec: Pick<SandboxSpec, 'uidMappings' | 'gidMappings'>,
  user: NormalizedSpec['user'] & { readonly groupsFromFile: boolean },
  host: SpecHost,
  report: Reporter,
  notes: string[],
): ResolvedIdMappings {
  const kinds = {
    uid: { key: 'uidMappings', id: 'uid', file: '/etc/subuid', inside: user.uid, own: host.uid },
    gid: { key: 'gidMappings', id: 'gid', file: '/etc/subgid', inside: user.gid, own: host.gid },
  } as const;
  const uid = resolveKind(
    spec.uidMappings,
    {
      ...kinds.uid,
      get ranges() {
        return host.uidRanges;
      },
    },
    host,
    report,
  );
  const gid = resolveKind(
    spec.gidMappings,
    {
      ...kinds.gid,
      get ranges() {
        return host.gidRanges;
      },
    },
    host,
    report,
  );
  const lacking = user.additionalGids.filter((id) => !covers(gid.mappings, id));
  if (lacking.length > 0 && user.groupsFromFile) {
    notes.push(`groups ${lacking.join(', ')} of ${user.name} are left out: no gid mapping has them`);
  } else if (lacking.length > 0) {
    report(
      ['user', 'additionalGids'],
      `gid ${lacking.join(', ')} is in no mapping; set gidMappings: 'subordinate', or leave it out`,
    );
  }
  return {
    idMappings: {
      uid: uid.mappings,
      gid: gid.mappings,
      privileged: host.mayMapIds,
      needsHelper: uid.needsHelper || gid.needsHelper,
    },
    user: {
      uid: user.uid,
      gid: user.gid,
      additionalGids: user.additionalGids.filter((id) => covers(gid.mappings, id)),
      name: user.name,
    },
  };
}

interface Resolved {
  readonly mappings: readonly IdMapping[];
  readonly needsHelper: boolean;
}

function resolveKind(
  given: readonly IdMapping[] | 'subordinate' | undefined,
  kind: Kind,
  host: SpecHost,
  report: Reporter,
): Resolved {
  const privileged = host.mayMapIds;
  if (given === 'subordinate') {
    return { mappings: subordinate(kind, host, report), needsHelper: !privileged };
  }
  if (given === undefined) {
    const mappings = privileged
      ? kind.ranges.map(({ start, size }) => ({ containerID: start, hostID: start, size }))
      : [{ containerID: kind.inside, hostID: kind.own, size: 1 }];
    requireCovered(
      mappings,
      kind,
      report,
      `${kind.id} ${kind.inside} does not exist in the user namespace of this process; choose one that does, or set ${kind.key}`,
    );
    return { mappings, needsHelper: false };
  }
  const sound = checkMappings(given, kind, report);
  if (sound) {
    requireCovered(
      given,
      kind,
      report,
      `${kind.id} ${kind.inside} is in no mapping of ${kind.key}; add { containerID: ${kind.inside}, hostID: ..., size: 1 }, or choose another user`,
    );
    checkAllowed(given, kind, host, report);
  }
  const direct = given.length === 1 && given[0]?.size === 1 && given[0].hostID === kind.own;
  return { mappings: given, needsHelper: !privileged && !direct };
}

function requireCovered(mappings: readonly IdMapping[], kind: Kind, report: Reporter, message: string): void {
  if (!covers(mappings, kind.inside)) report(['user'], message);
}

function covers(mappings: readonly IdMapping[], id: number): boolean {
  return mappings.some(({ containerID, size }) => id >= containerID && id - containerID < size);
}

/** What the kernel would refuse with no more than EINVAL. */
function checkMappings(mappings: readonly IdMapping[], kind: Kind, report: Reporter): boolean {
  let sound = true;
  const refuse = (path: readonly (string | number)[], message: string): void => {
    sound = false;
    report([kind.key, ...path], message);
  };
  if (mappings.length === 0) refuse([], 'must have at least one mapping; leave it out for the default');
  if (mappings.length > ID_MAPPINGS_MAX)
    refuse([], `must not have more than ${ID_MAPPINGS_MAX} mappings, and has ${mappings.length}`);
  for (const [index, mapping] of mappings.entries()) {
    for (const key of ['containerID', 'hostID'] as const) {
      const problem = checkInteger(mapping[key], 0, ID_MAX);
      if (problem !== undefined) refuse([index, key], problem);
    }
    const problem = checkInteger(mapping.size, 1, ID_MAX + 1);
    if (problem !== undefined) refuse([index, 'size'], problem);
    else if (Math.max(mapping.containerID, mapping.hostID) + mapping.size > ID_MAX + 1) {
      refuse([index], `reaches beyond id ${ID_MAX}, the last one there is`);
    }
  }
  if (!sound) return false;
  for (const key of ['containerID', 'hostID'] as const) {
    const sorted = mappings
      .map((mapping, index) => ({ start: mapping[key], size: mapping.size, index }))
      .sort((a, b) => a.start - b.start);
    for (const [i, range] of sorted.entries()) {
      const next = sorted[i + 1];
      if (next === undefined || range.start + range.size <= next.start) continue;
      const [first, second] = [range.index, next.index].sort((a, b) => a - b);
      refuse([second ?? next.index], `overlaps ${kind.key}[${first}] in ${key}`);
    }
  }
  return sound;
}

/** Whether the caller may map these ids at all: the kernel and newuidmap(1) only say EPERM. */
function checkAllowed(mappings: readonly IdMapping[], kind: Kind, host: SpecHost, report: Reporter): void {
  const privileged = host.mayMapIds;
  let allowed: readonly IdRange[] | undefined;
  for (const [index, { hostID, size }] of mappings.entries()) {
    if (!privileged && hostID === kind.own && size === 1) continue;
    allowed ??= privileged ? kind.ranges : readSubordinate(kind, host).ranges;
    if (allowed.some((range) => hostID >= range.start && hostID + size <= range.start + range.size)) continue;
    const ids = size === 1 ? `${kind.id} ${hostID}` : `${kind.id}s ${hostID} to ${hostID + size - 1}`;
    const message = privileged
      ? `${ids} cannot be mapped: there is no such id in the user namespace of this process (/proc/self/${kind.id}_map)`
      : `${ids} ${size === 1 ? 'belongs' : 'belong'} to somebody else: not in a range of ${callerName(host)} in ${kind.file}; ${remedy(host)}`;
    report([kind.key, index], message);
  }
}

/** The user's id is the caller; every other id from 0 on comes from the caller's ranges, in the order of the file. */
function subordinate(kind: Kind, host: SpecHost, report: Reporter): readonly IdMapping[] {
  const { ranges, because } = readSubordinate(kind, host);
  const own: IdMapping = { containerID: kind.inside, hostID: kind.own, size: 1 };
  if (ranges.length === 0) {
    const reason = because === undefined ? '' : ` (not read: ${because})`;
    report([kind.key], `${kind.file} has no range for ${callerName(host)}${reason}; ${remedy(host)}`);
    return [own];
  }
  const clash = overlap([...ranges, { start: kind.own, size: 1 }]);
  if (clash !== undefined) {
    report(
      [kind.key],
      `the ranges of ${callerName(host)} in ${kind.file} overlap at ${kind.id} ${clash}; give it ranges of its own there`,
    );
    return [own];
  }
  const mappings: IdMapping[] = [];
  let next = 0;
  for (const range of ranges) {
    let { start, size } = range;
    while (size > 0 && next <= ID_MAX) {
      if (next === kind.inside) next += 1;
      const room = next < kind.inside ? kind.inside - next : ID_MAX + 1 - next;
      const count = Math.min(size, room);
      if (count > 0) mappings.push({ containerID: next, hostID: start, size: count });
      next += count;
      start += count;
      size -= count;
    }
  }
  mappings.push(own);
  mappings.sort((a, b) => a.containerID - b.containerID);
  if (mappings.length > ID_MAPPINGS_MAX) {
    report(
      [kind.key],
      `${kind.file} has too many ranges for ${callerName(host)}: they make ${mappings.length} mappings, and the kernel takes ${ID_MAPPINGS_MAX}`,
    );
  }
  return mappings;
}

function overlap(ranges: readonly IdRange[]): number | undefined {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  for (const [i, range] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next !== undefined && range.start + range.size > next.start) return next.start;
  }
  return undefined;
}

function readSubordinate(
  kind: Kind,
  host: SpecHost,
): { readonly ranges: readonly IdRange[]; readonly because?: string } {
  const place = resolveInRoot(host, '/', kind.file);
  if (place.kind === 'absent') return { ranges: [], because: 'there is no such file' };
  const file = host.readFile(place.hostPath, ACCOUNT_FILE_BYTES_MAX);
  if (!('text' in file)) return { ranges: [], because: file.because };
  const ranges: IdRange[] = [];
  for (const line of file.text.split('\n')) {
    const match = /^([^:]+):(\d{1,10}):(\d{1,10})\s*$/.exec(line);
    if (match === null || (match[1] !== host.username && match[1] !== String(host.uid))) continue;
    const start = Number(match[2]);
    const size = Math.min(Number(match[3]), ID_MAX + 1 - start);
    if (size > 0) ranges.push({ start, size });
  }
  return { ranges };
}

function callerName(host: SpecHost): string {
  return host.username ?? `uid ${host.uid}`;
}

function remedy(host: SpecHost): string {
  // usermod(8) knows names only.
  if (host.username === undefined) {
    return `as root: add the line ${host.uid}:100000:65536 to /etc/subuid and to /etc/subgid`;
  }
  return `as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${host.username}`;
}

/** What an id of this host is called inside; `undefined` where it has no name there. */
export function idInside(mappings: readonly IdMapping[], id: number): number | undefined {
  const mapping = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return mapping === undefined ? undefined : mapping.containerID + id - mapping.hostID;
}

/** What an id inside is called on this host; `undefined` where no mapping has it. */
export function idOutside(mappings: readonly IdMapping[], id: number): number | undefined {
  const mapping = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return mapping === undefined ? undefined : mapping.hostID + id - mapping.containerID;
}
