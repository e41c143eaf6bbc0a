// Without namespaces: the command runs in the view of the caller, as the caller, and has what no namespace is needed for. Confined, not isolated. Which
// features those are, what each needs of the host, and the plan. Pure.
import { FeatureError } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import type { Facility, HostFacts } from '../../host/types.ts';
import type { LandlockScope, NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { commandSteps, supervisorSteps } from '../launcher/command.ts';
import { guardStep } from '../launcher/guard.ts';
import { refuseGroups } from '../launcher/privilege.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { appliedBy, type Mechanisms } from '../launcher/tool.ts';
import { worn } from '../launcher/worn.ts';
import type { Need } from './needs.ts';

/** What it takes to confine anything: the guard is a filter, and needs the other. */
export const alwaysConfined: readonly Need[] = ['no_new_privs', 'seccomp.filter'];

const CLOSED = 'Landlock domain, scope of signals';

export const confinedMechanisms: Mechanisms = {
  ...worn,
  user: "the caller's own ids; for root setresuid, setresgid, setgroups",
  'network.host': "the host's network",
  'capabilities.drop': 'empty capability sets, PR_SET_NO_NEW_PRIVS',
  terminal: 'pseudo-terminal of the host',
  descriptors: 'close_range, dup2',
  'lifecycle.killTree': `${CLOSED}: kill of all that is in it`,
  'lifecycle.dieWithParent': `end of file on the channel; ${CLOSED}: kill of all that is in it`,
  'usage.cpu': 'wait4 of the command and what it leaves',
};

export function confinedNeeds(feature: Feature): readonly Need[] {
  switch (feature) {
    case 'seccomp.notify':
      return ['seccomp.notify'];
    case 'landlock.paths':
      return ['landlock.truncate'];
    case 'landlock.tcp':
      return ['landlock.tcp'];
    case 'landlock.scopes':
      return ['landlock.scope'];
    case 'terminal':
      return ['terminal'];
    case 'lifecycle.killTree':
    case 'lifecycle.dieWithParent':
      return ['landlock.scope', 'subreaper'];
    default:
      return [];
  }
}

type Refusal = Extract<Availability, { available: false }>;

/** What no trial tells: a promise against a command that has means of the caller's to break it. */
export function refusedFor(
  feature: Feature,
  { user, cgroups }: Pick<HostFacts, 'user' | 'cgroups'>,
  facilities: readonly Facility[],
): Refusal | undefined {
  const kept = feature === 'lifecycle.killTree' || feature === 'lifecycle.dieWithParent';
  if (!kept && feature !== 'capabilities.drop') return undefined;
  if (user.uid === 0) {
    return {
      available: false,
      because:
        'without a user namespace the command is uid 0 of this host: what that owns, such as settings below /proc/sys and devices, gives back what was taken',
      remedy: 'run it as an ordinary user',
    };
  }
  const divides = facilities.some(({ facility, ok }) => ok && facility.startsWith('cgroup.'));
  const ownsGroup = cgroups.delegated || divides;
  if (!kept || !ownsGroup) return undefined;
  return {
    available: false,
    because:
      "the caller's control group is delegated to it: without a mount namespace the command could freeze or kill the launcher by its files",
    remedy: 'start it where no control group is delegated: a login by ssh, a system service',
  };
}

export function planConfined(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  refuseOtherRoot(wanted);
  refuseOtherUser(wanted, caller);
  const isRoot = caller.uid === 0;
  refuseGroups(wanted, isRoot);
  const spec = withoutTheRest(wanted, granted);
  // Only who knows of this host that it can be kept is granted this: a launch that cannot close the domain fails.
  const closesSignals = granted.has('lifecycle.killTree') || granted.has('lifecycle.dieWithParent');
  const command = closesSignals
    ? commandSteps(withSignalsClosed(spec, granted), new Set([...granted, 'landlock.scopes']), caller, isRoot)
    : commandSteps(spec, granted, caller, isRoot);
  const at = command.findIndex(({ step }) => step === 'seccomp');
  return {
    backend: 'native',
    applied: appliedBy(mechanismsWhere(closesSignals), granted),
    notes: [...spec.notes, ...notesOf(spec, caller, closesSignals)],
    detail: {
      steps: [
        { step: 'namespaces', namespaces: [] },
        ...supervisorSteps(spec, granted),
        { step: 'domain', closesSignals },
        // The guard before any other filter, which need not allow a further one.
        ...(at < 0 ? command : command.slice(0, at)),
        guardStep(caller.architecture),
        ...(at < 0 ? [] : command.slice(at)),
      ],
      env: spec.env,
    },
  };
}

/** What the launcher keeps is kept against the command where that cannot reach it. */
function mechanismsWhere(closesSignals: boolean): Mechanisms {
  if (closesSignals) return confinedMechanisms;
  const reachable = '; a command that wants to can signal the launcher';
  return {
    ...confinedMechanisms,
    'limits.wallMs': `${confinedMechanisms['limits.wallMs']}${reachable}`,
    'limits.outputBytes': `${confinedMechanisms['limits.outputBytes']}${reachable}`,
  };
}

/** In a domain of its own below that of init. */
function withSignalsClosed(spec: NormalizedSpec, granted: ReadonlySet<Feature>): NormalizedSpec {
  const asked = granted.has('landlock.scopes') ? (spec.landlock?.scopes ?? []) : [];
  const scopes: LandlockScope[] = [...new Set<LandlockScope>([...asked, 'signal'])];
  const nothing = { paths: undefined, bindTcp: undefined, connectTcp: undefined, portsFilter: undefined };
  return { ...spec, landlock: { ...(spec.landlock ?? nothing), scopes } };
}

/** A command that is meant for another root must not meet this one, whatever else a caller can do without. */
function refuseOtherRoot({ root }: NormalizedSpec): void {
  if (root.kind === 'host') return;
  throw new FeatureError('native', [
    {
      feature: 'root.path',
      because: `without namespaces the command would not run in ${root.path} but in the root of this host`,
      remedy: 'as root use backend chroot; as an ordinary user, backend proot',
    },
  ]);
}

function refuseOtherUser({ user }: NormalizedSpec, { uid, gid }: CallerFacts): void {
  if (uid === 0 || (user.uid === uid && user.gid === gid)) return;
  throw new FeatureError('native', [
    {
      feature: 'user',
      because: `without a user namespace an ordinary user can run it only as itself, which is uid ${uid}, gid ${gid}`,
      remedy: 'leave user out',
    },
  ]);
}

function withoutTheRest(spec: NormalizedSpec, granted: ReadonlySet<Feature>): NormalizedSpec {
  return {
    ...spec,
    // The home directory that is the default is one of the sandbox's own.
    cwd: spec.cwdGiven ? spec.cwd : '/',
    capabilities: [],
    terminal: granted.has('terminal') ? spec.terminal : undefined,
  };
}

function notesOf(spec: NormalizedSpec, { uid }: CallerFacts, closesSignals: boolean): string[] {
  return [
    'there are no namespaces: the command sees the files, processes and network of this host as its user does, and may do with them what that may, less what is enforced',
    ...(spec.landlock?.paths === undefined ? ['no Landlock rule restricts its paths: landlock.paths does'] : []),
    ...(closesSignals
      ? ['what a service of this host starts because the command asks it to is none of its processes, and stays']
      : [
          'the command may signal the processes of its user, the launcher too, and what it started may outlive it then',
        ]),
    ...(uid === 0 ? ["the command may be uid 0 of this host, without any capability: it owns root's files"] : []),
    ...(uid === 0 ? [] : ["the command keeps the caller's supplementary groups"]),
    'calls that reach into other processes, such as ptrace(2), are refused, whatever seccomp says',
  ];
}
