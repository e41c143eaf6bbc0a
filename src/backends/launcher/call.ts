// The steps of one call: the plan's, and what belongs to this command.
import { constants } from 'node:os';
import { InternalError } from '../../errors/errors.ts';
import { defaultFilter } from '../../seccomp/default-filter.ts';
import type { LaunchRequest } from '../backend.ts';
import type { LauncherPlan, Step } from './steps.ts';

type Call = Pick<LaunchRequest, 'command' | 'killSignal' | 'gracePeriodMs'> &
  Partial<Pick<LaunchRequest, 'stdio' | 'collect'>>;

/** Order matters, see `native/README.md`. */
export function callSteps(
  plan: LauncherPlan,
  request: Call,
  descriptors: readonly { readonly from: number; readonly to: number }[],
): Step[] {
  const { before, after } = partsOf(plan);
  return [...before, ...stepsOfCall(request, descriptors), ...after, execStep(plan, request.command)];
}

const parts = new WeakMap<LauncherPlan, PlanParts>();

/** Of a plan: what comes before the steps of a call, and what comes between them and the exec. */
export interface PlanParts {
  readonly before: readonly Step[];
  readonly after: readonly Step[];
}

export function partsOf(plan: LauncherPlan): PlanParts {
  const known = parts.get(plan);
  if (known !== undefined) return known;
  const [namespaces, ...rest] = plan.steps;
  if (namespaces === undefined) throw new InternalError('a plan without steps');
  const split = rest.findIndex(({ step }) => !supervisorSteps.has(step));
  const made = { before: [namespaces, ...rest.slice(0, split)], after: rest.slice(split) };
  parts.set(plan, made);
  return made;
}

export function stepsOfCall(
  request: Call,
  descriptors: readonly { readonly from: number; readonly to: number }[],
): Step[] {
  return [
    {
      step: 'termination',
      signal: constants.signals[request.killSignal],
      gracePeriodMs: Math.ceil(request.gracePeriodMs),
    },
    ...descriptors.map(({ from, to }): Step => ({ step: 'descriptor', from, to })),
    ...pipeSteps(request),
    ...(request.collect === undefined ? [] : [{ step: 'collect', input: request.collect.input } as const]),
  ];
}

/** What stands for the steps of a call in a sandbox that is prepared for one: its output is collected, and its input comes with the call. */
export function stepsOfPreparation(plan: LauncherPlan): readonly Step[] {
  const filters = plan.steps.filter((step) => step.step === 'seccomp');
  const allowsWaiting = filters.length === 1 && filters[0]?.filter === plainFilter();
  return [
    { step: 'pipes', streams: [1, 2] },
    { step: 'collect', input: undefined, waits: allowsWaiting ? 'behind the filter' : 'before the filter' },
  ];
}

let plain: string | undefined;

/** The default filter of a command without capabilities: of this one we know what it allows. */
function plainFilter(): string {
  const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
  plain ??= Buffer.from(defaultFilter({ architecture, capabilities: [] })).toString('base64');
  return plain;
}

export function isPreparedFor({ stdio, collect, captures }: LaunchRequest): boolean {
  const [stdin, stdout, stderr] = stdio;
  // Input comes with the call.
  const hasStdin = stdin === 'ignore' || (stdin === 'pipe' && collect?.input !== undefined);
  const collects = hasStdin && stdout === 'pipe' && stderr === 'pipe' && collect !== undefined;
  return collects && captures === undefined;
}

export function execStep(plan: LauncherPlan, command: readonly string[]): Step {
  return { step: 'exec', argv: command, env: plan.env };
}

/**
 * What Node makes for `'pipe'` are sockets: a command that opens `/dev/stdout` or `/dev/stdin` again, as scripts do, would get ENXIO, and where the
 * reader leaves early ECONNRESET instead of SIGPIPE.
 */
function pipeSteps({ stdio = [] }: Call): Step[] {
  const streams = ([0, 1, 2] as const).filter((fd) => stdio[fd] === 'pipe');
  return streams.length === 0 ? [] : [{ step: 'pipes', streams }];
}

const supervisorSteps: ReadonlySet<string> = new Set([
  'map-ids',
  'limit-wall',
  'limit-output',
  'terminal',
  'cgroup',
  'limit-cpu',
  'sampling',
  'hold',
  'join',
]);
