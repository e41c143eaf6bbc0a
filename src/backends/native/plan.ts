// What the launcher is to do for a spec. Pure: the same spec, features and caller give the same steps.
import type { Feature } from '../../features/feature.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { cgroupSteps } from '../launcher/cgroups.ts';
import { commandSteps, supervisorSteps } from '../launcher/command.ts';
import { filesystemSteps } from '../launcher/filesystem.ts';
import { forbidsNesting, refuseGroups, refuseHostPrivilege, withoutRanges } from '../launcher/privilege.ts';
import { samplingSteps } from '../launcher/sampling.ts';
import type { LauncherPlan, NamespaceName, PlanIdMapping, Step } from '../launcher/steps.ts';
import { appliedFeatures, mechanisms } from './applied.ts';
import {
  type Emulation,
  emulationNotes,
  emulationOf,
  type FormatStep,
  formatStep,
  hiddenFormats,
  refuseHostTable,
} from './binfmt.ts';
import { planConfined } from './confined.ts';

export function planNative(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  // Every spec requires it, and it is missing only where a probe found that nothing of a namespace is to be had, and the caller can do without.
  if (!granted.has('namespace.pid')) return planConfined(wanted, granted, caller);
  const spec = granted.has('idMappings.ranges') ? wanted : withoutRangesNoted(wanted, caller);
  const hostRoot = mapsHostRoot(spec, caller);
  refuseHostPrivilege('native', spec, hostRoot);
  refuseGroups(spec, maySetGroups(spec));
  const { architecture } = spec;
  const emulation =
    architecture !== undefined && granted.has('architecture') ? emulationOf(architecture, caller) : undefined;
  const formats = tableOf(emulation, spec, caller);
  const steps: Step[] = [
    { step: 'namespaces', namespaces: namespacesOf(spec, granted) },
    ...idMapSteps(spec, caller, formats?.around === true),
    ...supervisorSteps(spec, granted),
    ...cgroupSteps({ backend: 'native', mechanisms }, spec, granted, caller),
    ...samplingSteps(spec, granted),
    ...(granted.has('hostname') && granted.has('namespace.uts')
      ? [{ step: 'hostname', hostname: spec.hostname } as const]
      : []),
    ...(spec.network === 'none' && granted.has('network.none') ? [{ step: 'loopback' } as const] : []),
    ...filesystemSteps(spec, granted, caller, forbidsNesting(spec, granted, hostRoot)),
    // Last, for it covers the interpreter where it lies on the host, and no bind is to show that.
    ...(formats === undefined ? [] : [formats]),
    { step: 'pivot' },
    ...commandSteps(spec, granted, caller, maySetGroups(spec)),
  ];
  return {
    backend: 'native',
    applied: appliedFeatures(spec, granted, emulation),
    notes: [...notesOf(spec, caller), ...(emulation === undefined ? [] : emulationNotes(emulation))],
    detail: { steps, env: spec.env },
  };
}

function withoutRangesNoted(wanted: NormalizedSpec, caller: CallerFacts): NormalizedSpec {
  const spec = withoutRanges(wanted, caller);
  if (spec === wanted) return spec;
  const { uid, gid } = spec.user;
  return {
    ...spec,
    notes: [...spec.notes, `only uid ${uid} and gid ${gid} are mapped, because ranges are not available`],
  };
}

/** Only these may be left out where the caller allows it; without the others nothing of a native sandbox holds. */
function namespacesOf(spec: NormalizedSpec, granted: ReadonlySet<Feature>): NamespaceName[] {
  const names: NamespaceName[] = ['user', 'mount', 'pid'];
  if (granted.has('namespace.ipc')) names.push('ipc');
  if (granted.has('namespace.uts')) names.push('uts');
  if (granted.has('namespace.cgroup')) names.push('cgroup');
  if (spec.network === 'none' && granted.has('network.none')) names.push('network');
  return names;
}

function tableOf(emulation: Emulation | undefined, spec: NormalizedSpec, caller: CallerFacts): FormatStep | undefined {
  const isHostRoot = mapsHostRoot(spec, caller);
  if (emulation !== undefined && isHostRoot) refuseHostTable(emulation);
  const own = emulation === undefined ? undefined : formatStep(emulation, spec, caller);
  return own ?? (isHostRoot && caller.hasFormats ? hiddenFormats : undefined);
}

/** `around`: the caller's one id is 0 in the user namespace that the sandbox's is made in. */
function idMapSteps(spec: NormalizedSpec, caller: CallerFacts, around: boolean): Step[] {
  const { uid, gid, needsHelper } = spec.idMappings;
  const planMapping = ({ containerID, hostID, size }: IdMapping): PlanIdMapping => ({
    inside: containerID,
    outside: around ? 0 : hostID,
    size,
  });
  return [
    {
      step: 'map-ids',
      kind: 'uid',
      denySetgroups: false,
      mappings: uid.map(planMapping),
      helper: needsHelper ? caller.newuidmap : undefined,
    },
    {
      step: 'map-ids',
      kind: 'gid',
      denySetgroups: !maySetGroups(spec),
      mappings: gid.map(planMapping),
      helper: needsHelper ? caller.newgidmap : undefined,
    },
  ];
}

/** user_namespaces(7): an ordinary user who writes a gid map alone must give up setgroups(2) first. */
function maySetGroups(spec: NormalizedSpec): boolean {
  return spec.idMappings.privileged || spec.idMappings.needsHelper;
}

function mapsHostRoot(spec: NormalizedSpec, caller: CallerFacts): boolean {
  return caller.uid === 0 && spec.idMappings.uid.some(({ hostID }) => hostID === 0);
}

function notesOf(spec: NormalizedSpec, caller: CallerFacts): string[] {
  const notes = [...spec.notes];
  if (spec.user.uid === 0 && mapsHostRoot(spec, caller)) {
    notes.push(
      "the command is uid 0 of this host, without any capability: it owns root's files, where the sandbox shows them",
    );
  }
  if (!maySetGroups(spec)) {
    notes.push(
      "the command keeps the caller's supplementary groups, which an ordinary user cannot give up in a user namespace",
    );
  }
  if (spec.capabilities.includes('CAP_SYS_ADMIN')) {
    notes.push(
      'with CAP_SYS_ADMIN the command may mount what is mounted read-only here writable again; permissions of the files still hold',
    );
  }
  if (spec.network === 'host') {
    notes.push("the host's network brings its abstract unix sockets along (unix(7)), whoever listens there");
  }
  if (spec.root.kind === 'directory' && !spec.root.readonly && spec.root.missingMountPoints.length > 0) {
    const paths = spec.root.missingMountPoints.map(({ path }) => path).join(', ');
    notes.push(`mount points that the writable root lacks are made in it and stay: ${paths}`);
  }
  return notes;
}
