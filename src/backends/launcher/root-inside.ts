// A sandbox of which a tool makes the namespaces and no more: what the tool shows as its root is only where init finds the sources, and init makes the
// root of the command from them, as it does where there is no tool, and leaves the tool's behind. Pure.
import type { NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import { filesystemSteps } from './filesystem.ts';
import { BASE, mount, type RoomIds, renamingSteps } from './room.ts';
import type { Step } from './steps.ts';

/** What the tool is to take for its root. */
export const TOOL_ROOT: string = `${BASE}/root`;
const SOURCES = '/sources';

export interface RootInside {
  /** In the room, before anything of the host is covered. */
  readonly trees: readonly Step[];
  /** In the room, after that. */
  readonly mounts: readonly Step[];
  /** Inside. */
  readonly steps: readonly Step[];
}

export function rootInside(
  spec: NormalizedSpec,
  caller: CallerFacts,
  ids: RoomIds,
  limitNamespaces: boolean,
): RootInside {
  const trees: Step[] = [];
  const mounts: Step[] = [mount('tmpfs', TOOL_ROOT, ['create', 'nosuid', 'nodev'], '', 'size=1m,mode=0755')];
  /** Where init finds `path`. */
  const shown = (path: string, sourceKind: 'any' | 'directory' | 'file'): string => {
    const place = `${SOURCES}/${trees.length}`;
    mounts.push(mount('tree', `${TOOL_ROOT}${place}`, ['create', 'recursive'], String(trees.length)));
    trees.push({ step: 'tree', sourceKind, path });
    return place;
  };
  const steps = filesystemSteps(ofRoom(spec, ids), caller, limitNamespaces).map((step): Step => {
    if (step.step === 'root' && step.kind !== 'tmpfs') return { ...step, source: shown(step.source, 'directory') };
    if (step.step === 'sysctl' && ids.renamed && limitNamespaces) return { ...step, value: '1' };
    if (step.step !== 'mount' || step.kind !== 'bind') return step;
    if (step.flags.includes('sourceInRoot') || step.flags.includes('sourceOfRoot')) return step;
    return { ...step, source: shown(step.source, step.sourceKind) };
  });
  return {
    trees,
    mounts,
    steps: [
      { step: 'hostname', hostname: spec.hostname },
      ...(spec.network === 'none' ? [{ step: 'loopback' } as const] : []),
      ...steps,
      { step: 'pivot' },
      ...renamingSteps(spec, ids),
    ],
  };
}

/** As the room sees it: while init works there, what becomes the command's user is 0. */
function ofRoom(spec: NormalizedSpec, { uid, gid, renamed }: RoomIds): NormalizedSpec {
  return {
    ...spec,
    user: renamed ? { ...spec.user, uid: 0, gid: 0 } : spec.user,
    idMappings: { ...spec.idMappings, uid, gid },
  };
}
