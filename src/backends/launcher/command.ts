// What the command wears, and what the supervisor watches: the same in every sandbox of the launcher, whoever makes the namespaces and mounts. Pure.
import { InternalError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import { defaultFilter } from '../../seccomp/default-filter.ts';
import { type CapabilityName, isCapabilityName } from '../../spec/capabilities.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import { landlockSteps } from './landlock.ts';
import type { Step } from './steps.ts';

// setrlimit(2)
const RLIMIT = { processCpuMs: 0, fileBytes: 1, stackBytes: 3, coreBytes: 4, processes: 6, openFiles: 7 } as const;
/** What programs that use select(2) can bear; Node raises its own soft limit, which is no one else's business. */
const OPEN_FILES_SOFT = 1024;

/** Whether a filter keeps the command from making namespaces. Of a profile of the caller's own nobody knows what it lets through. */
export function closesNamespaces({ seccomp }: NormalizedSpec, granted: ReadonlySet<Feature>): boolean {
  if (seccomp === 'default') return granted.has('seccomp.default');
  return seccomp !== 'unconfined' && seccomp.kind === 'strict' && granted.has('seccomp.strict');
}

/** `setGroups`: whether the process may call setgroups(2), and so gives up the caller's supplementary groups. */
export function commandSteps(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: Pick<CallerFacts, 'architecture'>,
  setGroups: boolean,
): Step[] {
  const { uid, gid, additionalGids } = spec.user;
  return [
    ...rlimitSteps(spec, granted),
    { step: 'umask', umask: spec.umask },
    { step: 'user', uid, gid, setgroups: setGroups, additionalGids: setGroups ? additionalGids : [] },
    { step: 'capabilities', keep: spec.capabilities.map(knownCapability) },
    { step: 'cwd', path: spec.cwd },
    ...landlockSteps(spec, granted),
    ...filterSteps(spec, granted, caller),
  ];
}

function filterSteps(
  { seccomp, onSyscall, capabilities }: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  { architecture }: Pick<CallerFacts, 'architecture'>,
): Step[] {
  if (onSyscall !== undefined && granted.has('seccomp.notify')) {
    const { filter, deniesKeyrings, pass } = onSyscall;
    return [{ step: 'seccomp', filter, deniesKeyrings, tells: typeof seccomp === 'object', asks: true, pass }];
  }
  if (seccomp === 'default') {
    if (!granted.has('seccomp.default')) return [];
    const filter = base64Of(defaultFilter({ architecture, capabilities }));
    return [{ step: 'seccomp', filter, deniesKeyrings: true, tells: false, asks: false, pass: [] }];
  }
  if (seccomp === 'unconfined' || !granted.has(`seccomp.${seccomp.kind}`)) return [];
  const { filter, deniesKeyrings, pass } = seccomp;
  return [{ step: 'seccomp', filter, deniesKeyrings, tells: true, asks: false, pass }];
}

export function supervisorSteps(spec: NormalizedSpec, granted: ReadonlySet<Feature>): Step[] {
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
  if (limits.processCpuMs !== undefined && granted.has('limits.processCpuMs')) {
    // The kernel counts whole seconds; at the soft limit SIGXCPU, at the hard one SIGKILL.
    const seconds = Math.ceil(limits.processCpuMs / 1000);
    bound(RLIMIT.processCpuMs, seconds, seconds + 1);
  } else if (limits.cpuMs !== undefined && granted.has('limits.cpuMs.approximate')) {
    // For a process alone, should the launcher be kept from looking.
    const seconds = Math.ceil(limits.cpuMs / 1000) + 1;
    bound(RLIMIT.processCpuMs, seconds, seconds);
  }
  if (limits.pids !== undefined && granted.has('limits.pids.approximate')) {
    // Of the same uid in the same user namespace is init too; and one more may be there, for it is by that one that the launcher sees the bound met.
    const processes = limits.pids + 2;
    bound(RLIMIT.processes, processes, processes);
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
