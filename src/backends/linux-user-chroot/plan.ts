// A sandbox of linux-user-chroot as a plan of the launcher. Pure.
import { BackendError, FeatureError, type MissingFeature } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { BASE, mount, stageSteps } from '../launcher/room.ts';
import { INIT_INSIDE, type LauncherPlan, type Step } from '../launcher/steps.ts';
import { asCaller, throughTool } from '../launcher/tool.ts';
import { type BindEntry, layoutOf } from '../layout.ts';
import { countOptions, helperArgs, OPTIONS_MAX } from './argv.ts';
import { mechanisms } from './recognized.ts';

export const PROGRAM = 'linux-user-chroot';
const remedyForMissing = 'build it from its sources and install it set-user-ID root: no distribution has it any more';

export function planLinuxUserChroot(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const file = caller.program(PROGRAM);
  if (file === undefined) throw refuse(`there is no ${PROGRAM} on PATH`, remedyForMissing);
  // It would make the command's gid its uid.
  if (caller.uid !== 0 && caller.gid === 0) throw refuse('its caller has gid 0', 'call it with another group');
  const spec = withoutTheRest(asCaller(wanted, caller));
  const binds = layoutOf(spec, caller).entries.filter((entry) => entry.kind === 'bind');
  const room = caller.uid === 0 ? roomOfRoot() : roomOfUser();
  const args = helperArgs(spec, binds, caller.procEntries, room.place);
  const missing = [...impossibleBinds(binds), ...tooMany(countOptions(args))];
  if (caller.uid !== 0) missing.push(...replaceable(spec, binds));
  if (missing.length > 0) throw new FeatureError('linux-user-chroot', missing);
  const plan = throughTool(spec, granted, caller, {
    backend: 'linux-user-chroot',
    mechanisms,
    room: room.steps(),
    argv: [file, ...args, ...INIT_INSIDE],
    setGroups: caller.uid === 0,
    notes: notesOf(spec, caller),
  });
  return caller.uid === 0 ? plan : withoutPrivilege(plan);
}

/** An ordinary user's init has no capability to give up, and may not empty the bounding set, from which nothing comes under PR_SET_NO_NEW_PRIVS. */
function withoutPrivilege(plan: BackendPlan<LauncherPlan>): BackendPlan<LauncherPlan> {
  const steps = plan.detail.steps.filter(({ step }) => step !== 'capabilities');
  return { ...plan, detail: { ...plan.detail, steps } };
}

/** What it cannot do, and a caller did without: then it is not attempted. */
function withoutTheRest(spec: NormalizedSpec): NormalizedSpec {
  if (spec.root.path === undefined) throw withoutHostView();
  return {
    ...spec,
    cwd: spec.cwdGiven || spec.workspace !== undefined ? spec.cwd : '/',
    root: { ...spec.root, writablePaths: [] },
    terminal: undefined,
  };
}

interface Room {
  readonly place: (path: string) => string;
  /** After every `place`. */
  readonly steps: () => [Step, ...Step[]];
}

/** In a mount namespace of root directories can be opened at once, without links, and put where nobody else writes: nobody can exchange them. */
function roomOfRoot(): Room {
  const trees: Step[] = [];
  const mounts: Step[] = [];
  return {
    place: (path) => {
      const place = `${BASE}/${trees.length}`;
      mounts.push(mount('tree', place, ['create', 'recursive', 'nosuid', 'nodev'], String(trees.length)));
      trees.push({ step: 'tree', sourceKind: 'directory', path });
      return place;
    },
    steps: () => [{ step: 'namespaces', namespaces: ['mount'] }, ...trees, ...stageSteps(), ...mounts],
  };
}

/** A set-user-ID program has its power only in the namespaces of the host, and opens each path by itself, as its caller. */
function roomOfUser(): Room {
  return { place: (path) => path, steps: () => [{ step: 'namespaces', namespaces: [] }] };
}

function impossibleBinds(binds: readonly BindEntry[]): MissingFeature[] {
  return binds
    .filter(({ sourceKind }) => sourceKind === 'file' || sourceKind === 'device')
    .map(({ source }) => ({
      feature: 'mount.bind',
      because: `it mounts directories alone, and ${source} is none`,
      remedy: 'mount the directory that it is in, or use backend native',
    }));
}

/** Where the command may write below `base`, it could put a link there, for the next sandbox to follow. */
function replaceable({ root }: NormalizedSpec, binds: readonly BindEntry[]): MissingFeature[] {
  const writable = [
    ...(root.readonly ? [] : [root.path ?? '/']),
    ...binds.filter(({ readonly }) => !readonly).map(({ source }) => source),
  ];
  return [root.path ?? '/', ...binds.map(({ source }) => source)].flatMap((path) => {
    const base = writable.find(
      (candidate) => path !== candidate && path.startsWith(`${candidate.replace(/\/$/, '')}/`),
    );
    if (base === undefined) return [];
    return [
      {
        feature: 'mount.bind',
        because: `it follows links, and the command could put one in the place of ${path}, because it may write to ${base}`,
        remedy: `move it out of ${base}, or use backend native`,
      } as const,
    ];
  });
}

function tooMany(count: number): MissingFeature[] {
  if (count <= OPTIONS_MAX) return [];
  return [
    {
      feature: 'mount.bind',
      because: `it takes at most ${OPTIONS_MAX} options, and this needs ${count}`,
      remedy: 'mount directories above them, or use backend native',
    },
  ];
}

function notesOf({ network }: NormalizedSpec, { uid }: CallerFacts): string[] {
  return [
    ...(network === 'none'
      ? ['the network namespace has a loopback that is down']
      : ["the host's network brings its abstract unix sockets along (unix(7)), whoever listens there"]),
    'what is mounted below a directory that is shown is not shown',
    ...(uid === 0 ? ["the command is uid 0 of this host, without any capability: it owns root's files"] : []),
    ...(uid === 0 ? [] : ["the command keeps the caller's supplementary groups"]),
  ];
}

function refuse(because: string, remedy: string): BackendError {
  return new BackendError('backend linux-user-chroot cannot run here', [{ backend: PROGRAM, because }], remedy);
}

function withoutHostView(): FeatureError {
  return new FeatureError('linux-user-chroot', [
    {
      feature: 'root.host',
      because: 'it enters a directory that is there, and cannot make one that shows parts of this host',
      remedy: "give a directory: root: './rootfs'",
    },
  ]);
}
