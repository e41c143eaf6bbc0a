// What the launcher is to do for a spec. Pure: the same spec, features and caller give the same steps.
import { FeatureError, SpecError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { commandSteps, hasFilter, supervisorSteps } from '../launcher/command.ts';
import { forbidsNesting, mapsHostRoot } from '../launcher/nesting.ts';
import type { LauncherPlan, NamespaceName, Step } from '../launcher/steps.ts';
import { appliedFeatures } from './applied.ts';
import { filesystemSteps } from './filesystem.ts';

export function planNative(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const spec = granted.has('idMappings.ranges') ? wanted : withoutRanges(wanted, caller);
  refuseHostPrivilege(spec, caller);
  refuseGroups(spec);
  const steps: Step[] = [
    { step: 'namespaces', namespaces: namespacesOf(spec, granted) },
    ...idMapSteps(spec, caller),
    ...supervisorSteps(spec, granted),
    ...(granted.has('hostname') && granted.has('namespace.uts')
      ? [{ step: 'hostname', hostname: spec.hostname } as const]
      : []),
    ...(spec.network === 'none' && granted.has('network.none') ? [{ step: 'loopback' } as const] : []),
    ...filesystemSteps(spec, caller, forbidsNesting(spec, caller, hasFilter(spec, granted))),
    ...commandSteps(spec, granted, caller, maySetGroups(spec)),
  ];
  return {
    backend: 'native',
    applied: appliedFeatures(spec, granted),
    notes: notesOf(spec, caller),
    detail: { steps, env: spec.env },
  };
}

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
    notes: [...spec.notes, `only uid ${user.uid} and gid ${user.gid} are mapped, because ranges are not available`],
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

function idMapSteps(spec: NormalizedSpec, caller: CallerFacts): Step[] {
  const { uid, gid, needsHelper } = spec.idMappings;
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

function planMapping({ containerID, hostID, size }: IdMapping): { inside: number; outside: number; size: number } {
  return { inside: containerID, outside: hostID, size };
}

/** user_namespaces(7): an ordinary user who writes a gid map alone must give up setgroups(2) first. */
function maySetGroups(spec: NormalizedSpec): boolean {
  return spec.idMappings.privileged || spec.idMappings.needsHelper;
}

/**
 * A command that is uid 0 of the host itself and could unmount what covers /proc/sys would set kernel parameters of the host: those ask
 * for the uid, not for a capability.
 */
function refuseHostPrivilege(spec: NormalizedSpec, caller: CallerFacts): void {
  if (!mapsHostRoot(spec, caller) || !spec.capabilities.includes('CAP_SYS_ADMIN')) return;
  throw new FeatureError('native', [
    {
      feature: 'capabilities.keep',
      because:
        'CAP_SYS_ADMIN together with uid 0 of this host would let the command change kernel settings of the host',
      remedy:
        'run it as an ordinary user, or map other ids: uidMappings [{ containerID: 0, hostID: 100000, size: 65536 }], gidMappings alike',
    },
  ]);
}

function refuseGroups(spec: NormalizedSpec): void {
  if (spec.user.additionalGids.length === 0 || maySetGroups(spec)) return;
  throw new SpecError([
    {
      path: ['user', 'additionalGids'],
      message:
        "an ordinary user can set groups only with a range of ids; add uidMappings: 'subordinate' and gidMappings: 'subordinate'",
    },
  ]);
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
