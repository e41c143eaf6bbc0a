// An OCI runtime's sandbox as a plan of the launcher. Pure.
import { FeatureError, type MissingFeature } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { CapabilityName } from '../../spec/capabilities.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import type { LauncherPlan, Step } from '../launcher/steps.ts';
import { throughTool } from '../launcher/tool.ts';
import { isMapped, layoutOf } from '../layout.ts';
import { ociConfig } from './config.ts';
import { mechanismsOf, type RuntimeName } from './recognized.ts';
import { BUNDLE, missingMountPoints, ROOT, type RoomIds, roomSteps, STATE, Trees } from './room.ts';

export interface Runtime {
  readonly name: RuntimeName;
  /** Absolute path of its program. */
  readonly file: string;
}

export function planOci(
  runtime: Runtime,
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const spec = granted.has('idMappings.ranges') ? wanted : withoutRanges(wanted, caller);
  const ids = roomIds(spec, caller);
  refuse(spec, ids);
  const layout = layoutOf(spec, caller);
  const trees = new Trees();
  if (layout.root !== undefined) trees.addRoot(layout.root, layout.readonly, missingMountPoints(spec).length > 0);
  const config = ociConfig(spec, layout, {
    root: ROOT,
    source: (entry) => trees.add(entry),
    owner: ids.renamed ? { uid: 0, gid: 0 } : spec.user,
    gids: ids.gid,
    capabilities: capabilitiesOfInit(spec, ids),
  });
  return throughTool(spec, granted, caller, {
    backend: 'oci',
    mechanisms: mechanismsOf(runtime.name),
    room: roomSteps(spec, granted, caller, { ids, layout, trees, config }),
    argv: [runtime.file, ...globalOptions[runtime.name], '--root', STATE, 'run', ...runOptions, 'sandbox'],
    setGroups: spec.idMappings.privileged,
    inside: renamingSteps(spec, ids),
    notes: notesOf(spec),
  });
}

/** user_namespaces(7): the last one of 32 bits stands for no id. */
const ALL_IDS = 2 ** 32 - 1;

/** Control groups are out of the runtime's reach (room.ts), and it is told not to want any. */
const globalOptions: Readonly<Record<RuntimeName, readonly string[]>> = {
  crun: ['--cgroup-manager=disabled'],
  runc: ['--rootless=true'],
  runsc: ['--ignore-cgroups'],
  'kata-runtime': [],
};

/** A session keyring of the runtime's making has a name, by which sandboxes of one user would share it; init makes one without. */
const runOptions: readonly string[] = ['--bundle', BUNDLE, '--preserve-fds', '2', '--no-new-keyring'];

/** What an ordinary user can map by itself: one id, its own. */
function withoutRanges(spec: NormalizedSpec, caller: CallerFacts): NormalizedSpec {
  if (!spec.idMappings.needsHelper) return spec;
  const { user } = spec;
  return {
    ...spec,
    user: { ...user, additionalGids: [] },
    idMappings: {
      uid: [{ containerID: user.uid, hostID: caller.uid, size: 1 }],
      gid: [{ containerID: user.gid, hostID: caller.gid, size: 1 }],
      privileged: false,
      needsHelper: false,
    },
  };
}

function roomIds(spec: NormalizedSpec, caller: CallerFacts): RoomIds {
  const { uid, gid, privileged } = spec.idMappings;
  if (privileged) return { uid: uid.flatMap(apart), gid: gid.flatMap(apart), denySetgroups: false, renamed: false };
  return {
    uid: [{ containerID: 0, hostID: caller.uid, size: 1 }],
    gid: [{ containerID: 0, hostID: caller.gid, size: 1 }],
    denySetgroups: true,
    renamed: spec.user.uid !== 0 || spec.user.gid !== 0,
  };
}

/** All ids in one range are how crun knows that it is in no user namespace, and it would make devices then. */
function apart(mapping: IdMapping): IdMapping[] {
  const { containerID, hostID, size } = mapping;
  if (size < ALL_IDS) return [mapping];
  return [
    { containerID, hostID, size: 1 },
    { containerID: containerID + 1, hostID: hostID + 1, size: size - 1 },
  ];
}

function renamingSteps({ user }: NormalizedSpec, { renamed }: RoomIds): Step[] {
  return renamed ? [{ step: 'user-namespace', uid: user.uid, gid: user.gid }] : [];
}

/** In a namespace of its own init has every capability, but it takes one to name uid 0 of the room there (user_namespaces(7)). */
function capabilitiesOfInit(spec: NormalizedSpec, { renamed }: RoomIds): CapabilityName[] {
  if (renamed) return ['CAP_SETFCAP'];
  // The terminal's owner is to be the command's user.
  const chown: CapabilityName[] = spec.terminal === undefined ? [] : ['CAP_CHOWN'];
  return [...chown, 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID', 'CAP_SETPCAP'];
}

function refuse(spec: NormalizedSpec, ids: RoomIds): void {
  const missing: MissingFeature[] = [];
  if (spec.idMappings.needsHelper) missing.push(rangesOfOrdinaryUser);
  if (!isMapped(0, ids.uid) || !isMapped(0, ids.gid)) {
    missing.push({
      feature: 'idMappings',
      because: 'an OCI runtime works only where uid 0 and gid 0 are mapped',
      remedy: 'map containerID 0 too, or use backend native',
    });
  }
  for (const { destination, type } of spec.mounts) {
    if (type === 'dev' ? destination === '/dev' : destination !== '/dev') continue;
    missing.push({
      feature: type === 'dev' ? 'mount.dev' : `mount.${type}`,
      because: `an OCI runtime makes devices in /dev and nowhere else, after all mounts (${destination})`,
      remedy: 'use backend native',
    });
  }
  if (missing.length > 0) throw new FeatureError('oci', missing);
}

export const rangesOfOrdinaryUser: MissingFeature = {
  feature: 'idMappings.ranges',
  because: 'not served by backend oci for an ordinary user',
  remedy: 'use backend native, or become root',
};

function notesOf({ idMappings, user, network }: NormalizedSpec): string[] {
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
