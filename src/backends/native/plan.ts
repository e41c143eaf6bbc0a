// What the launcher is to do for a spec. Pure: the same spec, features and caller give the same steps.
import { FeatureError, InternalError, SpecError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import { defaultFilter } from '../../seccomp/default-filter.ts';
import { type CapabilityName, isCapabilityName } from '../../spec/capabilities.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { appliedFeatures } from './applied.ts';
import {
  type Emulation,
  emulationNotes,
  emulationOf,
  type FormatStep,
  formatStep,
  hiddenFormats,
  refuseHostTable,
} from './binfmt.ts';
import { filesystemSteps } from './filesystem.ts';
import type { NamespaceName, PlanIdMapping, Step } from './steps.ts';

export interface NativePlan {
  /** Everything but `termination`, `descriptor` and `exec`, which belong to the single call. */
  readonly steps: readonly Step[];
  readonly env: Readonly<Record<string, string>>;
}

// setrlimit(2)
const RLIMIT = { cpuMs: 0, fileBytes: 1, stackBytes: 3, coreBytes: 4, openFiles: 7 } as const;
/** What programs that use select(2) can bear; Node raises its own soft limit, which is no one else's business. */
const OPEN_FILES_SOFT = 1024;

export function planNative(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<NativePlan> {
  const spec = granted.has('idMappings.ranges') ? wanted : withoutRanges(wanted, caller);
  refuseHostPrivilege(spec, caller);
  refuseGroups(spec);
  const filter = spec.seccomp === 'default' && granted.has('seccomp.default');
  const { architecture } = spec;
  const emulation =
    architecture !== undefined && granted.has('architecture') ? emulationOf(architecture, caller) : undefined;
  const formats = tableOf(emulation, spec, caller);
  const steps: Step[] = [
    { step: 'namespaces', namespaces: namespacesOf(spec, granted) },
    ...idMapSteps(spec, caller, formats?.around === true),
    ...supervisorSteps(spec, granted),
    ...(granted.has('hostname') && granted.has('namespace.uts')
      ? [{ step: 'hostname', hostname: spec.hostname } as const]
      : []),
    ...(spec.network === 'none' && granted.has('network.none') ? [{ step: 'loopback' } as const] : []),
    ...filesystemSteps(spec, caller, forbidsNesting(spec, caller, filter)),
    // Last, for it covers the interpreter where it lies on the host, and no bind is to show that.
    ...(formats === undefined ? [] : [formats]),
    { step: 'pivot' },
    ...rlimitSteps(spec, granted),
    { step: 'umask', umask: spec.umask },
    {
      step: 'user',
      uid: spec.user.uid,
      gid: spec.user.gid,
      setgroups: maySetGroups(spec),
      additionalGids: maySetGroups(spec) ? spec.user.additionalGids : [],
    },
    { step: 'capabilities', keep: spec.capabilities.map(knownCapability) },
    { step: 'cwd', path: spec.cwd },
    ...(filter
      ? [
          {
            step: 'seccomp',
            filter: base64Of(defaultFilter({ architecture: caller.architecture, capabilities: spec.capabilities })),
          } as const,
        ]
      : []),
  ];
  return {
    backend: 'native',
    applied: appliedFeatures(spec, granted, emulation),
    notes: [...notesOf(spec, caller), ...(emulation === undefined ? [] : emulationNotes(emulation))],
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

function supervisorSteps(spec: NormalizedSpec, granted: ReadonlySet<Feature>): Step[] {
  const { wallMs, outputBytes } = spec.limits;
  const steps: Step[] = [];
  if (wallMs !== undefined && granted.has('limits.wallMs')) steps.push({ step: 'limit-wall', milliseconds: wallMs });
  if (outputBytes !== undefined && granted.has('limits.outputBytes'))
    steps.push({ step: 'limit-output', bytes: outputBytes });
  if (spec.terminal !== undefined) {
    const size = spec.terminal === true ? { columns: 0, rows: 0 } : spec.terminal;
    steps.push({ step: 'terminal', columns: size.columns, rows: size.rows });
  }
  return steps;
}

function rlimitSteps({ limits }: NormalizedSpec, granted: ReadonlySet<Feature>): Step[] {
  const steps: Step[] = [];
  const bound = (resource: number, soft: number | undefined, hard: number | undefined): void => {
    steps.push({ step: 'rlimit', resource, soft, hard });
  };
  if (limits.cpuMs !== undefined && granted.has('limits.cpuMs')) {
    // The kernel counts whole seconds; at the soft limit SIGXCPU, at the hard one SIGKILL.
    const seconds = Math.ceil(limits.cpuMs / 1000);
    bound(RLIMIT.cpuMs, seconds, seconds + 1);
  }
  if (limits.fileBytes !== undefined && granted.has('limits.fileBytes'))
    bound(RLIMIT.fileBytes, limits.fileBytes, limits.fileBytes);
  if (limits.stackBytes !== undefined && granted.has('limits.stackBytes'))
    bound(RLIMIT.stackBytes, limits.stackBytes, limits.stackBytes);
  if (granted.has('limits.coreBytes')) bound(RLIMIT.coreBytes, limits.coreBytes, limits.coreBytes);
  if (limits.openFiles !== undefined && granted.has('limits.openFiles'))
    bound(RLIMIT.openFiles, limits.openFiles, limits.openFiles);
  else bound(RLIMIT.openFiles, OPEN_FILES_SOFT, undefined);
  return steps;
}

function knownCapability(name: string): CapabilityName {
  if (!isCapabilityName(name)) throw new InternalError(`no capability ${name}`);
  return name;
}

const encoded = new WeakMap<Uint8Array, string>();

/** The default filters are few and shared: each is written as text once. */
function base64Of(filter: Uint8Array): string {
  const known = encoded.get(filter);
  if (known !== undefined) return known;
  const text = Buffer.from(filter.buffer, filter.byteOffset, filter.byteLength).toString('base64');
  encoded.set(filter, text);
  return text;
}

/**
 * Without the filter the command may make user namespaces, but not with uid 0 of the host among its ids: with a user and a cgroup namespace of
 * its own it could mount the host's control groups, whose files ask for the uid alone.
 */
function forbidsNesting(spec: NormalizedSpec, caller: CallerFacts, filter: boolean): boolean {
  return (filter || mapsHostRoot(spec, caller)) && !spec.capabilities.includes('CAP_SYS_ADMIN');
}

function mapsHostRoot(spec: NormalizedSpec, caller: CallerFacts): boolean {
  return caller.uid === 0 && spec.idMappings.uid.some(({ hostID }) => hostID === 0);
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
