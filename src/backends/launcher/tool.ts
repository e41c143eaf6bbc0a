// A sandbox that another program makes, as a plan of the launcher. Pure.
import { constants } from 'node:os';
import type { Feature } from '../../features/feature.ts';
import { features } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { AppliedFeature, BackendName, BackendPlan, CallerFacts } from '../backend.ts';
import type { BindEntry } from '../layout.ts';
import { cgroupSteps } from './cgroups.ts';
import { commandSteps, supervisorSteps } from './command.ts';
import { mechanismBeside } from './overlay-mechanisms.ts';
import { samplingSteps } from './sampling.ts';
import { type LauncherPlan, type Step, toolDescriptors } from './steps.ts';

export type Mechanisms = Readonly<Partial<Record<Feature, string>>>;

export interface ToolPlan {
  readonly backend: BackendName;
  /** By which mechanism each feature is kept that this backend knows. */
  readonly mechanisms: Mechanisms;
  /** Of the room that the tool runs in, up to the sources; the first is `namespaces`. */
  readonly room: readonly [Step, ...Step[]];
  /** The tool's own command line, its first word an absolute path, its last ones `INIT_INSIDE` in the words of the tool. */
  readonly argv: readonly string[];
  /**
   * The signal by which the tool is ended at once, where it leaves something on the host when it is killed; 0: none, it ends by itself when init does.
   *
   * @defaultValue SIGKILL
   */
  readonly endSignal?: number;
  /** Whether the tool traces what runs in it, by ptrace(2). */
  readonly traces?: boolean;
  /** All that the tool gets to see of an environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether init inside may call setgroups(2). */
  readonly setGroups?: boolean;
  /** Whether init inside may have a cgroup namespace, and so be put into control groups by the launcher: it takes CAP_SYS_ADMIN. */
  readonly groups?: boolean;
  /** Performed inside, before the command. */
  readonly inside?: readonly Step[];
  readonly notes: readonly string[];
}

export function throughTool(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
  tool: ToolPlan,
): BackendPlan<LauncherPlan> {
  const [namespaces, ...room] = tool.room;
  return {
    backend: tool.backend,
    applied: appliedBy(tool.mechanisms, granted),
    notes: [...spec.notes, ...tool.notes],
    detail: {
      steps: [
        namespaces,
        ...room.filter(({ step }) => step === 'map-ids'),
        ...supervisorSteps(spec, granted),
        ...(tool.groups === true ? cgroupSteps(tool, spec, granted, caller) : []),
        ...samplingSteps(spec, granted),
        ...room.filter(({ step }) => step !== 'map-ids'),
        {
          step: 'tool',
          endSignal: tool.endSignal ?? constants.signals.SIGKILL,
          traces: tool.traces ?? false,
          argv: tool.argv,
          env: tool.env ?? {},
        },
        ...(tool.inside ?? []),
        ...commandSteps(spec, granted, caller, tool.setGroups ?? false),
      ],
      env: spec.env,
    },
  };
}

/** For a tool that makes no user namespace, and leaves no privilege to become somebody else: `user` and capabilities are the caller's, or nobody's. */
export function asCaller(spec: NormalizedSpec, { uid, gid }: Pick<CallerFacts, 'uid' | 'gid'>): NormalizedSpec {
  const { user, cwd, cwdGiven } = spec;
  const other = user.uid !== uid || user.gid !== gid;
  return {
    ...spec,
    user: { ...user, uid, gid, additionalGids: [] },
    // The default is the home directory of a user who is not the one it will be.
    cwd: other && !cwdGiven ? '/' : cwd,
    capabilities: [],
  };
}

export function appliedBy(mechanisms: Mechanisms, granted: ReadonlySet<Feature>): AppliedFeature[] {
  return features.flatMap((feature) => {
    const mechanism = mechanisms[feature];
    return granted.has(feature) && mechanism !== undefined
      ? [{ feature, mechanism: mechanismBeside(feature, mechanism, granted) }]
      : [];
  });
}

/** The sources of binds as descriptors of the tool: opened by the launcher, which follows no link that was not there when the spec was checked. */
export class Sources {
  readonly steps: Step[] = [];

  /** The number that the tool finds a text as, in a file that is nowhere. */
  addText(text: string): number {
    const number = this.#next();
    this.steps.push({ step: 'content', number, content: Buffer.from(text).toString('base64') });
    return number;
  }

  #next(): number {
    return toolDescriptors.firstSource + this.steps.length;
  }

  /** The number that the tool finds `entry`'s source as. */
  add({ source, sourceKind }: Pick<BindEntry, 'source' | 'sourceKind'>): number {
    const number = this.#next();
    const kind = sourceKind === 'directory' ? 'directory' : sourceKind === 'any' ? 'any' : 'file';
    this.steps.push({ step: 'source', number, sourceKind: kind, path: source });
    return number;
  }
}
