// What the translations have in common: what lies where, and how it is said that a tool leaves something out. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
import { type Layout, type LayoutEntry, layoutOf } from '../../backends/layout.ts';
import { withoutMissingOverlays } from '../../features/overlays.ts';
import { orderedNames } from '../../seccomp/libseccomp.ts';
import { isWithin } from '../../spec/paths.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { Equivalent } from '../types.ts';

/** Of the current directory: the root that a tool wants to have where the sandbox's own is made from nothing. */
export const ROOTFS = 'rootfs';

/** Less the tool's own name. */
export type Translation = Omit<Equivalent, 'tool'>;
type LimitName = keyof NormalizedSpec['limits'];

/** In a shell, read back as one word. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function placeOf(entry: LayoutEntry): string {
  return 'destination' in entry ? entry.destination : entry.path;
}

/** Where the root is, and what must be done first where there is none: the same links, files and mount points, and
 * what the tool itself needs to mount on, in a directory of their own. */
export function rootOf(
  spec: NormalizedSpec,
  caller: CallerFacts,
  needed: readonly string[] = [],
): { path: string; before: string[]; layout: Layout } {
  const layout = layoutOf(spec, caller);
  return layout.root === undefined
    ? { path: ROOTFS, before: skeleton(layout.entries, needed), layout }
    : { path: layout.root, before: [], layout };
}

function skeleton(entries: readonly LayoutEntry[], needed: readonly string[]): string[] {
  const directories = new Set(['/', ...needed]);
  const withMode: string[] = [];
  const empty: string[] = [];
  const files: string[] = [];
  const links: string[] = [];
  const mounted: string[] = [];
  const here = (path: string): string => quote(path === '/' ? ROOTFS : `${ROOTFS}${path}`);
  for (const entry of entries) {
    const path = placeOf(entry);
    if (mounted.some((above) => isWithin(path, above))) continue;
    directories.add(parentOf(path));
    if (entry.kind === 'symlink') links.push(`ln -sfn ${quote(entry.target)} ${here(path)}`);
    else if (entry.kind === 'file') files.push(`printf '%s\\n' ${linesOf(entry.text)} > ${here(path)}`);
    else if (entry.kind === 'bind' && ['file', 'device'].includes(entry.sourceKind)) empty.push(here(path));
    else if (entry.kind === 'tmpfs') withMode.push(`install -d -m ${octal(entry.mode)} ${here(path)}`);
    else directories.add(path);
    if (entry.kind !== 'symlink' && entry.kind !== 'file') mounted.push(path);
  }
  // install(1) makes what is above, too, for everybody to enter.
  return [
    `install -d ${[...directories].map(here).join(' ')}`,
    ...withMode,
    ...links,
    ...(empty.length === 0 ? [] : [`touch ${empty.join(' ')}`]),
    ...files,
  ];
}

export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

/** As words; the last line ends like the others. */
function linesOf(text: string): string {
  return text.trimEnd().split('\n').map(quote).join(' ');
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

/** A mount point that is missing in somebody's directory would be made there, and stay. */
export function withoutMountPoints(tool: string, { root }: NormalizedSpec): Translation | undefined {
  if (root.kind === 'host' || root.missingMountPoints.length === 0) return undefined;
  const paths = root.missingMountPoints.map(({ path }) => path).join(', ');
  return {
    before: [],
    argv: undefined,
    lacks: [`a root that lacks mount points (${paths}): ${tool} would have to make them in it`],
  };
}

// What is left out. Each gives no sentence, or some.

export function limitsBeyond(spec: NormalizedSpec, given: readonly LimitName[]): string[] {
  const left = Object.entries(spec.limits).filter(
    ([name, bound]) => bound !== undefined && !given.includes(name as LimitName),
  );
  return left.length === 0 ? [] : [`limits: ${left.map(([name, bound]) => `${name} ${bound}`).join(', ')}`];
}

/** Rlimits: the name in setrlimit(2) without its RLIMIT_, soft and hard. */
export function rlimitsOf({ limits }: NormalizedSpec): { name: string; soft: number; hard: number }[] {
  const { processCpuMs, fileBytes, stackBytes, coreBytes, openFiles } = limits;
  const found: { name: string; soft: number; hard: number }[] = [];
  const bound = (name: string, soft: number | undefined, more = 0): void => {
    if (soft !== undefined) found.push({ name, soft, hard: soft + more });
  };
  // The kernel counts whole seconds: SIGXCPU at the first, SIGKILL at the other.
  bound('CPU', processCpuMs === undefined ? undefined : Math.ceil(processCpuMs / 1000), 1);
  bound('FSIZE', fileBytes);
  bound('STACK', stackBytes);
  bound('CORE', coreBytes);
  bound('NOFILE', openFiles);
  return found;
}

/** Of a container as a whole, by its control group. */
export const groupNames: readonly LimitName[] = ['memoryBytes', 'pids', 'cpus'];

export const rlimitNames: readonly LimitName[] = ['processCpuMs', 'fileBytes', 'stackBytes', 'coreBytes', 'openFiles'];

export function umaskBeyond({ umask }: NormalizedSpec, own: number | undefined): string[] {
  if (umask === own) return [];
  return [`umask ${octal(umask)}: ${own === undefined ? 'it is inherited' : `it is ${octal(own)}`}`];
}

export function architectureBeyond({ architecture }: NormalizedSpec, caller: CallerFacts): string[] {
  if (architecture === undefined || architecture === caller.architecture) return [];
  return [`programs for ${architecture}: only the host could register their format`];
}

export function idRangesBeyond({ idMappings }: NormalizedSpec): string[] {
  const ids = [...idMappings.uid, ...idMappings.gid];
  if (!idMappings.needsHelper && ids.every(({ size }) => size === 1)) return [];
  return ['id mappings of more than one id: files of other ids belong to 65534 there'];
}

export function ambientBeyond({ capabilities }: NormalizedSpec): string[] {
  return capabilities.length === 0 ? [] : ['capabilities beyond an execve by anybody but root'];
}

/** For tools that bind from the root itself, which is read-only by then. */
export function writableBeyond({ root }: NormalizedSpec): string[] {
  if (root.kind === 'host') return [];
  return root.writablePaths.map((path) => `${path} writable in a read-only root: it is read-only too`);
}

export function modesBeyond(layout: Layout): string[] {
  return layout.root === undefined ? [] : ['the mode of a tmpfs: runc gives it that of the directory under it'];
}

/** For tools that make a /dev and a proc of their own in one place each. */
export function elsewhere(layout: Layout, kinds: readonly ('proc' | 'dev')[]): string[] {
  return layout.entries.flatMap((entry) => {
    const [kind, path] = [entry.kind, placeOf(entry)];
    const other = (kind === 'proc' || kind === 'dev') && kinds.includes(kind) && path !== `/${kind}`;
    return other ? [`${path}: ${kind === 'dev' ? 'devices' : 'a proc'} can be had at /${kind} alone`] : [];
  });
}

/** For tools that make mounts in the order of their destinations, whatever the order in which they are told. */
export function coveredLater(layout: Layout): string[] {
  const places = layout.entries.map(placeOf);
  return places.flatMap((path, index) => {
    const covered = places.slice(0, index).find((earlier) => isWithin(earlier, path));
    return covered === undefined ? [] : [`${path} over ${covered}: mounts are made from the top down`];
  });
}

export const ofTheOutcome = 'the outcome: which limit was met, what was used';
export const ofTheProc = 'what is masked and read-only in /proc: it has a list of its own';

/** What a profile of the spec's own means here and not in a runtime that is built on libseccomp. */
export function filterBeyond({ seccomp }: NormalizedSpec): string[] {
  if (typeof seccomp !== 'object') return [];
  const names = orderedNames(seccomp.profile);
  return [
    ...(names.length === 0 ? [] : [`the order of the rules for ${names.join(', ')}: libseccomp has none`]),
    // runc and crun execute the command under the filter.
    ...(seccomp.kind === 'strict' ? ['a command that starts: strict forbids the execve(2) of the runtime'] : []),
  ];
}

/** The runtimes that do take SCMP_ACT_NOTIFY hand the questions to an agent that is not ours. */
export function onSyscallBeyond({ onSyscall }: NormalizedSpec): string[] {
  return onSyscall === undefined ? [] : ['the rules of onSyscall: it has no word for them'];
}

/** Most tools have a word for an overlay, but each for another layer than the spec means, or only with a directory that somebody has to remove. */
export function withoutViews(spec: NormalizedSpec): {
  readonly spec: NormalizedSpec;
  readonly lacks: readonly string[];
} {
  const shown = withoutMissingOverlays(spec, new Set());
  return { spec: shown, lacks: shown.notes.slice(spec.notes.length) };
}

/** Some have one, with all the devices in it. */
export function sysfsBeyond({ mounts }: NormalizedSpec): string[] {
  return mounts
    .filter(({ type }) => type === 'sysfs')
    .map(({ destination }) => `the sysfs at ${destination}: it has none that leaves out the devices of this host`);
}

/** None of the tools has it in the releases that we know. */
export function landlockBeyond({ landlock }: NormalizedSpec): string[] {
  return landlock === undefined ? [] : ['what Landlock takes away: it has no word for that'];
}

/** In JSON a number may have any length. */
export function jsonOf(value: unknown, indent?: number): string {
  const text = JSON.stringify(
    value,
    (_key, member) => (typeof member === 'bigint' ? `${BIG}${member}` : member),
    indent,
  );
  return text.replaceAll(new RegExp(`"${BIG}(\\d+)"`, 'g'), '$1');
}

/** No text of ours has such a character. */
const BIG = '\uE000';
