// A sandbox of linux-user-chroot as a plan of the launcher. Pure.
import { BackendError, FeatureError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { INIT_INSIDE, type LauncherPlan, type Step } from '../launcher/steps.ts';
import { Sources, throughTool } from '../launcher/tool.ts';
import { type BindEntry, layoutOf } from '../layout.ts';
import { countMounts, MOUNTS_MAX, mountArgs } from './argv.ts';
import { mechanisms } from './recognized.ts';

export const PROGRAM = 'linux-user-chroot';

export function planLinuxUserChroot(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const file = caller.program(PROGRAM);
  if (file === undefined) throw missingProgram();
  const { path, readonly } = wanted.root;
  if (path === undefined) throw withoutHostView();
  const spec = withoutTheRest(wanted, caller);
  const sources = new Sources();
  const mounts = mountArgs({ path, readonly }, bindsOf(spec, caller), caller.procEntries, (entry) => {
    return `/proc/self/fd/${sources.add(entry)}`;
  });
  if (countMounts(mounts) > MOUNTS_MAX) throw tooManyMounts(countMounts(mounts));
  const plan = throughTool(spec, granted, caller, {
    backend: 'linux-user-chroot',
    mechanisms,
    room: [{ step: 'namespaces', namespaces: [] }, { step: 'inspect', path }, ...sources.steps],
    argv: [
      file,
      ...['--unshare-ipc', '--unshare-pid'],
      ...(spec.network === 'none' ? ['--unshare-net'] : []),
      ...mounts,
      ...['--chdir', '/', path],
      ...INIT_INSIDE,
    ],
    setGroups: caller.uid === 0,
    notes: notesOf(spec, caller),
  });
  return caller.uid === 0 ? plan : { ...plan, detail: { ...plan.detail, steps: plan.detail.steps.filter(isWorn) } };
}

/**
 * An ordinary user's init has no capability inside, and so none to drop; nor may it take the bounding set away, which nothing can be gained from once
 * PR_SET_NO_NEW_PRIVS is set.
 */
function isWorn({ step }: Step): boolean {
  return step !== 'capabilities';
}

/** What it cannot do, and a caller did without: then it is not attempted, and the command is the caller. */
function withoutTheRest(spec: NormalizedSpec, { uid, gid }: CallerFacts): NormalizedSpec {
  const { workspace, user } = spec;
  return {
    ...spec,
    cwd: spec.cwdGiven && workspace === undefined ? spec.cwd : '/',
    user: { ...user, uid, gid, additionalGids: [] },
    root: { ...spec.root, writablePaths: [] },
    mounts: spec.mounts.filter(({ type, destination }) => type === 'bind' && destination !== workspace?.path),
    capabilities: [],
    terminal: undefined,
  };
}

function bindsOf(spec: NormalizedSpec, caller: CallerFacts): BindEntry[] {
  return layoutOf(spec, caller).entries.filter((entry) => entry.kind === 'bind');
}

function notesOf({ network }: NormalizedSpec, { uid }: CallerFacts): string[] {
  return [
    ...(network === 'none'
      ? ['the network namespace has a loopback that is down: nothing inside may bring it up']
      : ["the host's network brings its abstract unix sockets along (unix(7)), whoever listens there"]),
    ...(uid === 0 ? [] : ["the command keeps the caller's supplementary groups"]),
  ];
}

export function missingProgram(): BackendError {
  const because = `there is no ${PROGRAM} on PATH`;
  return new BackendError(
    'backend linux-user-chroot cannot run here',
    [{ backend: PROGRAM, because }],
    remedyForMissing,
  );
}

export const remedyForMissing =
  'build it from its sources and install it set-user-ID root: no distribution has it any more';

function withoutHostView(): FeatureError {
  return new FeatureError('linux-user-chroot', [
    {
      feature: 'root.host',
      because: 'it enters a directory that is there, and cannot make one that shows parts of this host',
      remedy: "give a directory: root: './rootfs'",
    },
  ]);
}

function tooManyMounts(count: number): FeatureError {
  return new FeatureError('linux-user-chroot', [
    {
      feature: 'mount.bind',
      because: `it makes at most ${MOUNTS_MAX} mounts, and this takes ${count}`,
      remedy: 'mount directories above them, or use backend native',
    },
  ]);
}
