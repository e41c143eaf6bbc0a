// Words of container engines' own profile files (Docker's seccomp=FILE, podman's /usr/share/containers/seccomp.json), which an engine resolves before
// a runtime sees the rest: which rules count depends on the machine, the kernel and the capabilities of the command.
import { errnoNumber } from './errno.ts';
import { isRecord, type Path, type Report, refuseUnknownKeys, show } from './reading.ts';

/** What an engine's rules may depend on. */
export interface Circumstances {
  readonly architecture: 'x64' | 'arm64';
  /** Those that the command keeps. */
  readonly capabilities?: readonly string[];
  /** Release of the running kernel, as uname(2) has it. Without one a rule that asks for it is refused. */
  readonly kernel?: string;
}

export const engineKeys = {
  profile: ['archMap', 'defaultErrno'],
  rule: ['name', 'errno', 'includes', 'excludes', 'comment'],
} as const;

/** As Go calls them, which engines are written in, and as profiles do. */
const machines = {
  x64: { go: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
} as const;

/** There is no filter for it, so that such programs are killed at their first call: stricter than what an engine would do, and no reason to refuse its file. */
const NOT_SERVED = 'SCMP_ARCH_ARM';

type CheckNames = (value: unknown, path: Path, report: Report) => readonly string[];

/** Of the entry of `archMap` that is for this machine. */
export function architecturesOf(
  profile: Record<string, unknown>,
  { architecture }: Circumstances,
  report: Report,
  check: CheckNames,
): readonly string[] {
  const { archMap, architectures } = profile;
  if (archMap === undefined || archMap === null) return [];
  if (!Array.isArray(archMap)) {
    report(['archMap'], 'must be an array of objects with architecture and subArchitectures');
    return [];
  }
  if (archMap.length > 0 && Array.isArray(architectures) && architectures.length > 0)
    report(['archMap'], 'excludes architectures; write one of them');
  return archMap.flatMap((entry: unknown, i): readonly string[] => {
    const path = ['archMap', i];
    if (!isRecord(entry)) {
      report(path, 'must be an object with architecture and subArchitectures');
      return [];
    }
    refuseUnknownKeys(entry, ['architecture', 'subArchitectures'], path, report);
    const [own] = check([entry['architecture']], [...path, 'architecture'], report);
    const others = check(entry['subArchitectures'], [...path, 'subArchitectures'], report);
    if (own !== machines[architecture].scmp) return [];
    return [own, ...others.filter((name) => name !== NOT_SERVED)];
  });
}

/** `includes` must hold as a whole, and nothing of `excludes` may. */
export function countsHere(rule: Record<string, unknown>, here: Circumstances, path: Path, report: Report): boolean {
  const includes = readCondition(rule['includes'], [...path, 'includes'], here, report);
  const excludes = readCondition(rule['excludes'], [...path, 'excludes'], here, report);
  if (rule['comment'] !== undefined && typeof rule['comment'] !== 'string')
    report([...path, 'comment'], `must be text, not ${show(rule['comment'])}`);
  const { architecture, capabilities = [] } = here;
  const kept = (name: string): boolean => capabilities.includes(name);
  const { go } = machines[architecture];
  if (includes.arches.length > 0 && !includes.arches.includes(go)) return false;
  if (!includes.caps.every(kept) || includes.hasKernel === false) return false;
  return !excludes.arches.includes(go) && !excludes.caps.some(kept) && excludes.hasKernel !== true;
}

interface Condition {
  readonly arches: readonly string[];
  readonly caps: readonly string[];
  /** `undefined`: it does not ask. */
  readonly hasKernel: boolean | undefined;
}

function readCondition(value: unknown, path: Path, here: Circumstances, report: Report): Condition {
  if (value !== undefined && value !== null && !isRecord(value)) report(path, 'must be an object');
  const condition = isRecord(value) ? value : {};
  refuseUnknownKeys(condition, ['arches', 'caps', 'minKernel'], path, report);
  const list = (key: 'arches' | 'caps'): readonly string[] => {
    const names = condition[key] ?? [];
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
    report([...path, key], 'must be an array of names');
    return [];
  };
  const { minKernel } = condition;
  const asks = minKernel !== undefined && minKernel !== null && minKernel !== '';
  return {
    arches: list('arches'),
    caps: list('caps'),
    hasKernel: asks ? hasKernel(minKernel, here.kernel, [...path, 'minKernel'], report) : undefined,
  };
}

/** Engines compare the first two numbers of a release. */
function hasKernel(wanted: unknown, kernel: string | undefined, path: Path, report: Report): boolean {
  const least = typeof wanted === 'string' ? /^(\d+)\.(\d+)$/.exec(wanted) : null;
  if (least === null) {
    report(path, `must be a release such as '4.8', not ${show(wanted)}`);
    return false;
  }
  const own = /^(\d+)\.(\d+)/.exec(kernel ?? '');
  if (own === null) {
    report(path, 'the release of this kernel is not known');
    return false;
  }
  const [major, minor] = [Number(own[1]) - Number(least[1]), Number(own[2]) - Number(least[2])];
  return major > 0 || (major === 0 && minor >= 0);
}

/** podman's errno by name, or a number as text. */
export function errnoOf(value: unknown, path: Path, report: Report): number | undefined {
  if (value === undefined || value === '') return undefined;
  const named = typeof value === 'string' ? errnoNumber(value) : undefined;
  if (named !== undefined) return named;
  if (typeof value === 'string' && /^\d{1,4}$/.test(value)) return Number(value);
  report(path, `must be the name of an error such as 'EPERM', not ${show(value)}`);
  return undefined;
}
