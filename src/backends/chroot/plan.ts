// A directory as the root by chroot(2), and nothing else of its own. Pure.
import { BackendError, FeatureError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { cgroupSteps } from '../launcher/cgroups.ts';
import { commandSteps, supervisorSteps } from '../launcher/command.ts';
import { guardStep } from '../launcher/guard.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { appliedBy } from '../launcher/tool.ts';
import type { PlainDetail } from '../plain/process.ts';
import { byLauncher, byProgram } from './recognized.ts';

export function planByLauncher(
  wanted: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const source = directoryOf(wanted, caller);
  const spec = withoutTheRest(wanted);
  const command = commandSteps(spec, granted, caller, true);
  return {
    backend: 'chroot',
    applied: appliedBy(byLauncher, granted),
    notes: [
      ...spec.notes,
      'the command sees the processes of the host by their numbers, and may signal those of its user',
      'the root holds as long as nobody outside moves a directory of it out of it while the command runs (chroot(2))',
      ...(spec.seccomp === 'unconfined'
        ? [`calls that reach into other processes stay refused: without that ${source} could be left`]
        : []),
    ],
    detail: {
      steps: [
        { step: 'namespaces', namespaces: [] },
        ...supervisorSteps(spec, granted),
        ...cgroupSteps({ backend: 'chroot', mechanisms: byLauncher }, spec, granted, caller),
        { step: 'root', kind: 'chroot', readonly: false, source, options: '', skeleton: [] },
        { step: 'pivot' },
        ...command.filter(({ step }) => step !== 'seccomp'),
        // Before the other one, which need not allow a further filter.
        guardStep(caller.architecture),
        ...command.filter(({ step }) => step === 'seccomp'),
      ],
      env: spec.env,
    },
  };
}

export function planByProgram(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  program: string,
): BackendPlan<PlainDetail> {
  const root = directoryOf(spec, caller);
  return {
    backend: 'chroot',
    applied: appliedBy(byProgram, granted),
    notes: [
      ...spec.notes,
      `the command is root, and can leave ${root}: chroot(8) shows it another root, and holds it nowhere`,
    ],
    detail: {
      env: spec.env,
      cwd: undefined,
      wallMs: granted.has('limits.wallMs') ? spec.limits.wallMs : undefined,
      into: { program, root },
    },
  };
}

function directoryOf({ root }: NormalizedSpec, caller: Pick<CallerFacts, 'uid'>): string {
  if (caller.uid !== 0) throw notRoot();
  if (root.path !== undefined) return root.path;
  throw new FeatureError('chroot', [
    {
      feature: 'root.host',
      because: 'chroot(2) enters a directory that is there, and cannot make one that shows parts of this host',
      remedy: "give a directory: root: './rootfs'",
    },
  ]);
}

export function notRoot(): BackendError {
  const because = 'chroot(2) needs root';
  return new BackendError('backend chroot cannot run here', [{ backend: 'chroot', because }], rootRemedy);
}

export const rootRemedy = 'run it as root, or use a backend that makes a user namespace';

/** What a caller who can do without it asked for, and what is not made here: the command then has less, and starts where it can. */
function withoutTheRest(spec: NormalizedSpec): NormalizedSpec {
  return { ...spec, cwd: spec.cwdGiven ? spec.cwd : '/', capabilities: [], terminal: undefined };
}
