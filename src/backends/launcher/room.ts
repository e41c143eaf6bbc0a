// The room that the launcher makes around a tool: a user and a mount namespace in which nothing that the tool writes is on a disk of the host or in its
// control groups, and in which the sources of binds lie ready. Pure.
import { InternalError, type MissingFeature } from '../../errors/errors.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { BackendName, CallerFacts } from '../backend.ts';
import { isMapped } from '../layout.ts';
import type { MountFlag, PlanIdMapping, Step } from './steps.ts';

/** Covered by a tmpfs of the room: nothing of the host's is to be seen there, and nothing written there outlives the run. */
const STAGE = '/run';
/** What is ours in there. */
export const BASE: string = `${STAGE}/sandboxlib`;
/** Where crun has a file for a moment, and podman locks that all containers of a user would have in common: one that is killed would leave them. */
const scratch = ['/tmp', '/dev/shm'];
const CGROUPS = '/sys/fs/cgroup';
/** user_namespaces(7): the last one of 32 bits stands for no id. */
const ALL_IDS = 2 ** 32 - 1;

/** Whose ids the room has: uid 0 of it is who starts the tool. */
export interface RoomIds {
  readonly uid: readonly IdMapping[];
  readonly gid: readonly IdMapping[];
  readonly denySetgroups: boolean;
  /** Its one id gets the command's own numbers in one more user namespace. */
  readonly renamed: boolean;
}

/** An ordinary user can map one id by itself. Tools that are made for root, or think of themselves as its helper, work only where that is 0. */
export function roomIds(spec: NormalizedSpec, caller: CallerFacts): RoomIds {
  const { uid, gid, privileged } = spec.idMappings;
  if (privileged) return { uid: uid.flatMap(apart), gid: gid.flatMap(apart), denySetgroups: false, renamed: false };
  return {
    uid: [{ containerID: 0, hostID: caller.uid, size: 1 }],
    gid: [{ containerID: 0, hostID: caller.gid, size: 1 }],
    denySetgroups: true,
    renamed: spec.user.uid !== 0 || spec.user.gid !== 0,
  };
}

/** All ids in one range are how crun and podman know that they are in no user namespace, and they would make devices then. */
function apart(mapping: IdMapping): IdMapping[] {
  const { containerID, hostID, size } = mapping;
  if (size < ALL_IDS) return [mapping];
  return [
    { containerID, hostID, size: 1 },
    { containerID: containerID + 1, hostID: hostID + 1, size: size - 1 },
  ];
}

/** What no room has. */
export function missingInRoom(backend: BackendName, spec: NormalizedSpec, ids: RoomIds): MissingFeature[] {
  const missing: MissingFeature[] = [];
  if (spec.idMappings.needsHelper) missing.push(rangesOfOrdinaryUser(backend));
  if (!isMapped(0, ids.uid) || !isMapped(0, ids.gid)) {
    missing.push({
      feature: 'idMappings',
      because: `backend ${backend} works only where uid 0 and gid 0 are mapped`,
      remedy: 'map containerID 0 too, or use backend native',
    });
  }
  return missing;
}

export function rangesOfOrdinaryUser(backend: BackendName): MissingFeature & { readonly remedy: string } {
  return {
    feature: 'idMappings.ranges',
    because: `not served by backend ${backend} for an ordinary user`,
    remedy: 'use backend native, or become root',
  };
}

export function namespaceSteps(ids: RoomIds): [Step, ...Step[]] {
  return [
    { step: 'namespaces', namespaces: ['user', 'mount', 'cgroup'] },
    mapIds('uid', ids.uid, false),
    mapIds('gid', ids.gid, ids.denySetgroups),
  ];
}

/** Inside, as the last step: an id that was 0 for the tool is the command's user from here on. */
export function renamingSteps({ user }: NormalizedSpec, { renamed }: RoomIds): Step[] {
  return renamed ? [{ step: 'user-namespace', uid: user.uid, gid: user.gid }] : [];
}

export function mapsHostRoot({ idMappings }: NormalizedSpec, caller: CallerFacts): boolean {
  return caller.uid === 0 && idMappings.uid.some(({ hostID }) => hostID === 0);
}

/** A place of the room's own. What the host has there is not to be reached any more: trees come before. */
export function stageSteps(): Step[] {
  return [
    { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] },
    mount('tmpfs', STAGE, ['nosuid', 'nodev'], '', 'size=16m,mode=0755'),
  ];
}

/** That, and all else that a runtime of containers would write to. */
export function coverSteps(caller: CallerFacts): Step[] {
  return [
    ...stageSteps(),
    ...cgroupSteps(caller),
    ...scratch.map((path) => mount('tmpfs', path, ['nosuid', 'nodev', 'ifExists'], '', 'size=1m,mode=1777')),
  ];
}

/**
 * Read-only, so that a tool makes no group: one that is killed would leave it. Crun refuses hosts with trees of both versions; without what is
 * mounted of the second it takes them for hosts of the first.
 */
function cgroupSteps({ cgroups }: CallerFacts): Step[] {
  if (cgroups.version === 'none') return [];
  const readonly = mount('bind', CGROUPS, ['recursive', 'readonly', 'ifExists'], CGROUPS);
  if (cgroups.version !== 'hybrid') return [readonly];
  if (cgroups.mountPoint === undefined) throw new InternalError('control groups of both versions, one of them nowhere');
  return [readonly, mount('tmpfs', cgroups.mountPoint, ['nosuid', 'nodev', 'noexec', 'readonly'], '', 'size=4k')];
}

function mapIds(kind: 'uid' | 'gid', mappings: readonly IdMapping[], denySetgroups: boolean): Step {
  const planned = mappings.map(
    ({ containerID, hostID, size }): PlanIdMapping => ({ inside: containerID, outside: hostID, size }),
  );
  return { step: 'map-ids', kind, denySetgroups, mappings: planned, helper: undefined };
}

export function mount(
  kind: 'bind' | 'tmpfs' | 'tree',
  destination: string,
  flags: readonly MountFlag[],
  source: string,
  options = '',
): Step {
  return { step: 'mount', kind, flags, sourceKind: 'any', source, destination, options };
}

export function textFile(path: string, text: string): Step {
  return { step: 'file', mode: 0o644, path, content: Buffer.from(text).toString('base64') };
}

/** What a person should know of a command in such a room. */
export function roomNotes({ idMappings, user, network }: NormalizedSpec): string[] {
  const notes: string[] = [];
  if (!idMappings.privileged) {
    notes.push(
      `only uid ${user.uid} and gid ${user.gid} are mapped: files of other ids belong to 65534 inside`,
      "the command keeps the caller's supplementary groups, which an ordinary user cannot give up in a user namespace",
    );
  }
  if (network === 'host') {
    notes.push("the host's network brings its abstract unix sockets along (unix(7)), whoever listens there");
  }
  return notes;
}
