// A sandbox of which a tool, in a room, makes the namespaces and no more: what the tool shows as its root is only where init finds the sources, and init
// makes the root of the command from them, as it does where there is no tool, and leaves the tool's behind. Pure.
import { FeatureError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { filesystemSteps } from './filesystem.ts';
import { forbidsNesting, refuseGroups, refuseHostPrivilege, withoutRanges } from './privilege.ts';
import {
  BASE,
  coverSteps,
  mapsHostRoot,
  missingInRoom,
  mount,
  namespaceSteps,
  type RoomIds,
  renamingSteps,
  roomIds,
  roomNotes,
} from './room.ts';
import { type Place, withPlaces } from './sources.ts';
import type { LauncherPlan, Step } from './steps.ts';
import { type ToolPlan, throughTool } from './tool.ts';

/** What the tool is to take for its root. */
export const TOOL_ROOT: string = `${BASE}/root`;
const SOURCES = '/sources';

export interface RoomTool extends Pick<ToolPlan, 'backend' | 'mechanisms' | 'argv' | 'endSignal'> {
  /** What the tool is to find open, wherever on the host it is: before anything there is covered. */
  readonly sources?: readonly Step[];
  /** What the tool needs to find in its room. */
  readonly room: readonly Step[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * @throws {FeatureError | SpecError} for what nobody can have in a room.
 */
export function throughRoom(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  tool: RoomTool,
): BackendPlan<LauncherPlan> {
  const spec = granted.has('idMappings.ranges') ? wanted : withoutRanges(wanted, caller);
  const ids = roomIds(spec, caller);
  const hostRoot = mapsHostRoot(spec, caller);
  refuseHostPrivilege(tool.backend, spec, hostRoot);
  refuseGroups(spec, spec.idMappings.privileged);
  const missing = missingInRoom(tool.backend, spec, ids);
  if (missing.length > 0) throw new FeatureError(tool.backend, missing);
  const root = rootInside(spec, granted, caller, ids, forbidsNesting(spec, granted, hostRoot));
  return throughTool(spec, granted, caller, {
    ...tool,
    room: [
      ...namespaceSteps(ids),
      ...(tool.sources ?? []),
      ...root.trees,
      ...coverSteps(caller),
      ...root.mounts,
      ...tool.room,
    ],
    setGroups: spec.idMappings.privileged,
    groups: true,
    inside: root.steps,
    notes: roomNotes(spec),
  });
}

interface RootInside {
  /** In the room, before anything of the host is covered: a source may lie below what is. */
  readonly trees: readonly Step[];
  /** In the room, after that. */
  readonly mounts: readonly Step[];
  /** Inside. */
  readonly steps: readonly Step[];
}

function rootInside(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  ids: RoomIds,
  limitNamespaces: boolean,
): RootInside {
  const trees: Step[] = [];
  const mounts: Step[] = [];
  /** Where init finds `path`. */
  const shown: Place = (path, sourceKind) => {
    const place = `${SOURCES}/${trees.length}`;
    mounts.push(mount('tree', `${TOOL_ROOT}${place}`, ['create', 'recursive'], String(trees.length)));
    trees.push({ step: 'tree', sourceKind, path });
    return place;
  };
  const steps = filesystemSteps(ofRoom(spec, ids), granted, caller, limitNamespaces).map((step): Step => {
    // The user namespace that gives the command its ids counts as one of the room's (user_namespaces(7)).
    if (step.step === 'sysctl' && ids.renamed && limitNamespaces) return { ...step, value: '1' };
    return withPlaces(step, shown);
  });
  return {
    trees,
    mounts: [
      mount('tmpfs', TOOL_ROOT, ['create', 'nosuid', 'nodev'], '', toolRootOptions(trees.length)),
      // Where crun makes devices, and fails without.
      { step: 'mkdir', mode: 0o755, path: `${TOOL_ROOT}/dev` },
      ...mounts,
    ],
    steps: [
      { step: 'hostname', hostname: spec.hostname },
      ...(spec.network === 'none' ? [{ step: 'loopback' } as const] : []),
      ...steps,
      { step: 'pivot' },
      ...renamingSteps(spec, ids),
    ],
  };
}

/** Mount points of the sources, and what the tool thinks that a root must have. */
function toolRootOptions(sources: number): string {
  return `size=1m,nr_inodes=${256 + sources},mode=0755`;
}

/** As the room sees it: while init works there, what becomes the command's user is 0. */
function ofRoom(spec: NormalizedSpec, { uid, gid, renamed }: RoomIds): NormalizedSpec {
  return {
    ...spec,
    user: renamed ? { ...spec.user, uid: 0, gid: 0 } : spec.user,
    idMappings: { ...spec.idMappings, uid, gid },
  };
}
