// An OCI runtime's sandbox as a plan of the launcher. Pure.
import { FeatureError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { CapabilityName } from '../../spec/capabilities.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { refuseGroups } from '../launcher/privilege.ts';
import { missingInRoom, type RoomIds, renamingSteps, roomIds, roomNotes, withoutRanges } from '../launcher/room.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { throughTool } from '../launcher/tool.ts';
import { layoutOf } from '../layout.ts';
import { ociConfig } from './config.ts';
import { mechanismsOf, type RuntimeName } from './recognized.ts';
import { BUNDLE, missingMountPoints, ROOT, roomSteps, STATE, Trees } from './room.ts';

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
    notes: roomNotes(spec),
  });
}

/** Control groups are out of the runtime's reach (room.ts), and it is told not to want any. */
const globalOptions: Readonly<Record<RuntimeName, readonly string[]>> = {
  crun: ['--cgroup-manager=disabled'],
  runc: ['--rootless=true'],
  runsc: ['--ignore-cgroups'],
  'kata-runtime': [],
};

/** A session keyring of the runtime's making has a name, by which sandboxes of one user would share it; init makes one without. */
const runOptions: readonly string[] = ['--bundle', BUNDLE, '--preserve-fds', '2', '--no-new-keyring'];

/** In a namespace of its own init has every capability, but it takes one to name uid 0 of the room there (user_namespaces(7)). */
function capabilitiesOfInit(spec: NormalizedSpec, { renamed }: RoomIds): CapabilityName[] {
  if (renamed) return ['CAP_SETFCAP'];
  // The terminal's owner is to be the command's user.
  const chown: CapabilityName[] = spec.terminal === undefined ? [] : ['CAP_CHOWN'];
  return [...chown, 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID', 'CAP_SETPCAP'];
}

function refuse(spec: NormalizedSpec, ids: RoomIds): void {
  refuseGroups(spec, spec.idMappings.privileged);
  const missing = missingInRoom('oci', spec, ids);
  for (const { destination, type } of spec.mounts) {
    if (type === 'dev' ? destination === '/dev' : destination !== '/dev') continue;
    missing.push({
      feature: `mount.${type}`,
      because: `an OCI runtime makes devices in /dev and nowhere else, after all mounts (${destination})`,
      remedy: 'use backend native',
    });
  }
  if (missing.length > 0) throw new FeatureError('oci', missing);
}
