// proot, with our init inside: a view of another root for programs that mean no harm, and programs of other architectures, where nothing of the
// kernel's can be had. proot traces every process (ptrace(2)) and rewrites the paths of its system calls. It knows no call that is younger than
// itself, and another thread can change a path after proot has looked at it, so that nothing of files is promised.

import { constants } from 'node:os';
import { BackendError, FeatureError } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import { callerFacts } from '../../host/facts.ts';
import { absentCalls } from '../../seccomp/absent-calls.ts';
import { type Architecture, architectures } from '../../spec/architectures.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { Backend, BackendPlan, CallerFacts } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import { INIT_INSIDE, type LauncherPlan, type Step } from '../launcher/steps.ts';
import { asCaller, throughTool } from '../launcher/tool.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { prootArgs } from './argv.ts';
import { mechanisms, recognized, views } from './recognized.ts';

/** Calls with paths that proot 5.1 does not know, and so would pass to the host as they are. Programs have older ones to fall back on. */
const unknownToProot = ['statx', 'openat2', 'faccessat2', 'fchmodat2', 'renameat2', 'execveat', 'name_to_handle_at'];
/** Its own filter, which would spare some stops, fails on kernels since 4.8. The rest keeps what it makes out of the root that it shows. */
const environment = { PROOT_NO_SECCOMP: '1', PROOT_DONT_POLLUTE_ROOTFS: '1' };

export const proot: Backend<LauncherPlan> = {
  name: 'proot',
  recognized,

  async probe() {
    const report = await probeByTrial(proot, mechanisms, { program: 'proot', remedy: 'install proot' });
    if (!report.usable.available) return report;
    const answers = foreignArchitectures(callerFacts());
    const found = [...answers.values()].find(({ available }) => available);
    return {
      ...report,
      architectures: answers,
      features: new Map([
        ...report.features,
        ['architecture', found ?? noEmulation('programs of any other architecture')],
      ]),
    };
  },

  plan(wanted, granted, caller) {
    const program = caller.program('proot');
    if (program === undefined) throw missingProot();
    const spec = asSeen(asCaller(wanted, caller));
    // What is set without a promise is set all the same.
    const plan = throughTool(spec, new Set([...granted, ...views.keys()]), caller, {
      backend: 'proot',
      mechanisms,
      room: [{ step: 'namespaces', namespaces: [] }],
      // Killed, it would leave its loader in /tmp, and what it traces running.
      endSignal: constants.signals.SIGQUIT,
      traces: true,
      argv: [program, ...prootArgs(spec, interpreterFor(spec, granted, caller)), ...INIT_INSIDE],
      env: environment,
      notes: notesOf(spec),
    });
    return withoutPrivilege(spec.root.kind === 'directory' ? withFallbacks(plan, caller) : plan, caller);
  },

  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

function foreignArchitectures({ architecture, emulation }: CallerFacts): Map<Architecture, Availability> {
  const answer = (name: Architecture): Availability => {
    const interpreter = emulation.interpreters[name];
    return interpreter === undefined
      ? noEmulation(name)
      : { available: true, mechanism: `${interpreter}, started by proot` };
  };
  return new Map(architectures.filter((name) => name !== architecture).map((name) => [name, answer(name)]));
}

function noEmulation(what: string): Availability & { readonly available: false } {
  const because = `there is no static QEMU for ${what} in /usr/bin or /usr/local/bin`;
  return { available: false, because, remedy: 'install qemu-user-static' };
}

/** No directory is made for it: whoever names none starts at the top. */
function asSeen(spec: NormalizedSpec): NormalizedSpec {
  return spec.cwdGiven ? spec : { ...spec, cwd: '/' };
}

function interpreterFor(
  { architecture }: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  { emulation }: CallerFacts,
): string | undefined {
  if (architecture === undefined || !granted.has('architecture')) return undefined;
  const interpreter = emulation.interpreters[architecture];
  if (interpreter !== undefined) return interpreter;
  throw new FeatureError('proot', [{ feature: 'architecture', ...noEmulation(architecture) }]);
}

/** So that ls, stat and Node find the files of the root, and not those that the host has at the same paths. */
function withFallbacks(plan: BackendPlan<LauncherPlan>, { architecture }: CallerFacts): BackendPlan<LauncherPlan> {
  const filter = Buffer.from(absentCalls(unknownToProot, architecture)).toString('base64');
  return withSteps(plan, [
    ...plan.detail.steps,
    { step: 'seccomp', filter, deniesKeyrings: false, tells: false, asks: false, pass: [] },
  ]);
}

/** An ordinary user has no capability, and no right to empty the bounding set, from which nothing comes without set-user-ID programs. */
function withoutPrivilege(plan: BackendPlan<LauncherPlan>, { uid }: CallerFacts): BackendPlan<LauncherPlan> {
  if (uid === 0) return plan;
  return withSteps(
    plan,
    plan.detail.steps.filter(({ step }) => step !== 'capabilities'),
  );
}

function withSteps(plan: BackendPlan<LauncherPlan>, steps: readonly Step[]): BackendPlan<LauncherPlan> {
  return { ...plan, detail: { ...plan.detail, steps } };
}

function notesOf({ root, mounts }: NormalizedSpec): string[] {
  const shown = [
    ...(root.kind === 'directory' ? [`${root.path} as the root`] : []),
    ...mounts.filter(({ type }) => type === 'bind').map(({ destination }) => destination),
  ];
  const files = root.kind === 'directory' ? 'that root' : "this host's files";
  return [
    `the command may do with ${files} what the caller may, and write wherever the caller may write`,
    ...(shown.length === 0 ? [] : [`a view and no boundary: ${shown.join(', ')}`]),
  ];
}

function missingProot(): BackendError {
  return new BackendError(
    'backend proot cannot run here',
    [{ backend: 'proot', because: 'there is no proot on PATH' }],
    'install proot',
  );
}
