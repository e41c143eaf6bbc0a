// Bounds on a sandbox as a whole: control groups that the launcher makes around it (cgroups(7)), whoever makes the rest. Pure.
import { FeatureError, type MissingFeature } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import { standInsFor, withStandIn } from '../../features/stand-ins.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendName, CallerFacts, CgroupController, CgroupParent } from '../backend.ts';
import type { CgroupContent, Step } from './steps.ts';
import type { Mechanisms } from './tool.ts';

/** Of a processor quota, in microseconds: the kernel's own default. */
const PERIOD_US = 100_000;

/** Of each sandbox's own: init, which is there from before the command to its end. */
const OWN_PROCESSES = 1;

/** For a backend where the launcher puts init into control groups, and nothing moves it away. */
export const groupMechanisms: Mechanisms = {
  'limits.cpuMs': 'processor time of a control group',
  'limits.cpus': 'processor quota of a control group',
  'limits.memoryBytes': 'memory of a control group, without swap',
  'limits.pids': 'processes of a control group',
};

type CgroupStep = Extract<Step, { step: 'cgroup' }>;
type File = CgroupStep['files'][number];

interface Bound {
  readonly feature: Feature;
  readonly controller: CgroupController;
  readonly content: CgroupContent | undefined;
  files(parent: CgroupParent): readonly File[];
}

export function cgroupSteps(
  { backend, mechanisms }: { readonly backend: BackendName; readonly mechanisms: Mechanisms },
  { limits, capabilities }: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: Pick<CallerFacts, 'cgroups'>,
): Step[] {
  const bounds = boundsOf(limits).filter(({ feature }) => granted.has(feature));
  if (bounds.length === 0) return [];
  // Read only here: most sandboxes have no such bound.
  const { cgroups } = caller;
  const missing = bounds.filter(({ controller }) => cgroups.parents[controller] === undefined);
  if (missing.length > 0) {
    const standIns = standInsFor({ capabilities });
    const known = (standIn: Feature | undefined) =>
      standIn === undefined || mechanisms[standIn] === undefined ? undefined : standIn;
    throw new FeatureError(
      backend,
      missing.map((bound) => withStandIn(noTree(bound), known(standIns.get(bound.feature)))),
    );
  }
  const unified = bounds.filter(({ controller }) => cgroups.parents[controller]?.unified === true);
  // Only v2 is mounted in a user namespace (cgroup_namespaces(7)).
  if (unified.length > 0 && capabilities.includes('CAP_SYS_ADMIN'))
    throw new FeatureError(backend, unified.map(canBeLifted));
  const groups = new Map<string, CgroupStep>();
  for (const { controller, content, files } of bounds) {
    const parent = cgroups.parents[controller] as CgroupParent;
    const group = groups.get(parent.directory);
    groups.set(parent.directory, {
      step: 'cgroup',
      holds: [...(group?.holds ?? []), ...(content === undefined ? [] : [content])],
      unified: parent.unified,
      vacate: parent.occupied,
      own: OWN_PROCESSES,
      parent: parent.directory,
      files: [...(group?.files ?? []), ...files(parent)],
    });
  }
  const { cpuMs } = limits;
  const counted = cpuMs !== undefined && granted.has('limits.cpuMs');
  return [...groups.values(), ...(counted ? [{ step: 'limit-cpu', milliseconds: cpuMs } as const] : [])];
}

function boundsOf({ memoryBytes, pids, cpus, cpuMs }: NormalizedSpec['limits']): Bound[] {
  const bounds: Bound[] = [];
  if (memoryBytes !== undefined) {
    const files = ({ unified }: CgroupParent) => memoryFiles(memoryBytes, unified);
    bounds.push({ feature: 'limits.memoryBytes', controller: 'memory', content: 'memory', files });
  }
  if (pids !== undefined) {
    const files = () => [file('pids.max', pids + OWN_PROCESSES)];
    bounds.push({ feature: 'limits.pids', controller: 'pids', content: 'pids', files });
  }
  if (cpus !== undefined) {
    const files = ({ unified }: CgroupParent) => quotaFiles(Math.ceil(cpus * PERIOD_US), unified);
    bounds.push({ feature: 'limits.cpus', controller: 'cpu', content: undefined, files });
  }
  if (cpuMs !== undefined)
    bounds.push({ feature: 'limits.cpuMs', controller: 'cpuacct', content: 'processor-time', files: () => [] });
  return bounds;
}

/** No swap, or the bound would be one on what is in memory at the moment. Files for swap are missing where the kernel does not account for it. */
function memoryFiles(bytes: number, unified: boolean): File[] {
  if (unified) return [file('memory.max', bytes), optional('memory.swap.max', 0), optional('memory.oom.group', 1)];
  return [
    file('memory.limit_in_bytes', bytes),
    optional('memory.memsw.limit_in_bytes', bytes),
    optional('memory.swappiness', 0),
  ];
}

function quotaFiles(quotaUs: number, unified: boolean): File[] {
  if (unified) return [file('cpu.max', `${quotaUs} ${PERIOD_US}`)];
  return [file('cpu.cfs_period_us', PERIOD_US), file('cpu.cfs_quota_us', quotaUs)];
}

function file(name: string, value: number | string): File {
  return { name, value: String(value), optional: false };
}

function optional(name: string, value: number): File {
  return { name, value: String(value), optional: true };
}

function noTree({ feature, controller }: Bound): MissingFeature {
  return {
    feature,
    because: `no tree of control groups with the controller ${controller} is there for this process to divide`,
    remedy: noTreeRemedy,
  };
}

export const noTreeRemedy =
  'run it as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes; in a container mount /sys/fs/cgroup writable';

function canBeLifted({ feature }: Bound): MissingFeature {
  return {
    feature,
    because: 'with CAP_SYS_ADMIN the command could mount its control group and lift the bound',
    remedy: 'do not keep CAP_SYS_ADMIN',
  };
}
