// Which processes of the machine are this test file's: its descendants, and orphans whose making can be laid at its door.
import { markName, namesIn, readIfThere, targetOf } from './leftover-reading.ts';

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly comm: string;
  readonly state: string;
  /** Pid numbers are used again; together with this they name a process. */
  readonly startTime: string;
}

/** Descendants of this process, orphans that carry its mark, and orphans in a namespace that was made since `namespacesBefore`. */
export function ourProcesses(namespacesBefore: ReadonlySet<string>): ProcessEntry[] {
  const all = allProcesses();
  const byPid = new Map(all.map((entry) => [entry.pid, entry]));
  const self = byPid.get(process.pid);
  const above = new Set(self === undefined ? [] : ancestry(self, byPid).filter((pid) => pid !== 1));
  return all.filter((entry) => {
    if (entry.pid === process.pid || isGone(entry)) return false;
    const ancestors = ancestry(entry, byPid);
    if (ancestors.includes(process.pid)) return true;
    const mark = [entry.pid, ...ancestors].map(markOf).find((found) => found !== undefined);
    if (mark !== undefined) return mark === process.env[markName];
    // Below the runner of the tests, and not below this process: another file's.
    if (ancestors.some((pid) => above.has(pid))) return false;
    return isOrphanedSandbox(entry, ancestors, byPid, namespacesBefore);
  });
}

/**
 * Commands in a sandbox carry no mark, for their environment is clean. Sandboxes of other test files hang below those; an orphan of another file cannot be
 * told from one of ours, but none lasts. Services of the machine hang below pid 1 too, with namespaces of their own, but in other cgroups.
 */
function isOrphanedSandbox(
  entry: ProcessEntry,
  ancestors: readonly number[],
  byPid: ReadonlyMap<number, ProcessEntry>,
  namespacesBefore: ReadonlySet<string>,
): boolean {
  if (entry.pid === 1 || ancestors.at(-1) !== 1) return false;
  const top = byPid.get(ancestors.at(-2) ?? entry.pid);
  if (top === undefined || top.pid === 1) return false;
  if (top.comm === 'launcher' || !isInOurPidNamespace(top.pid)) return true;
  return isInOurCgroup(entry.pid) && namespacesOfProcess(entry.pid).some((name) => !namespacesBefore.has(name));
}

function isInOurPidNamespace(pid: number): boolean {
  const namespace = targetOf(`/proc/${pid}/ns/pid`);
  return namespace === undefined || namespace === targetOf('/proc/self/ns/pid');
}

function isInOurCgroup(pid: number): boolean {
  return readIfThere(`/proc/${pid}/cgroup`) === readIfThere('/proc/self/cgroup');
}

/** `net:[4026531840]` and so on, with those that its children are to get. */
function namespacesOfProcess(pid: number): string[] {
  return namespacesIn(`/proc/${pid}/ns`);
}

/** Each thread may have its own. */
export function namespacesOfThisProcess(): string[] {
  return [...new Set(namesIn('/proc/self/task').flatMap((thread) => namespacesIn(`/proc/self/task/${thread}/ns`)))];
}

function namespacesIn(directory: string): string[] {
  return namesIn(directory)
    .map((name) => targetOf(`${directory}/${name}`))
    .filter((target) => target !== undefined);
}

/** Of every process that lets itself be asked. */
export function namespacesInUse(): ReadonlySet<string> {
  return new Set(allProcesses().flatMap(({ pid }) => namespacesOfProcess(pid)));
}

/** A zombie whose parent is pid 1, or not to be seen from here, is gone: reaping is not ours. */
function isGone(entry: ProcessEntry): boolean {
  return entry.state === 'Z' && entry.parent <= 1;
}

function ancestry(entry: ProcessEntry, byPid: ReadonlyMap<number, ProcessEntry>): number[] {
  const ancestors: number[] = [];
  for (let at = byPid.get(entry.parent); at !== undefined && !ancestors.includes(at.pid); at = byPid.get(at.parent))
    ancestors.push(at.pid);
  return ancestors;
}

function markOf(pid: number): string | undefined {
  const environment = (readIfThere(`/proc/${pid}/environ`) ?? '').split('\0');
  return environment.find((entry) => entry.startsWith(`${markName}=`))?.slice(markName.length + 1);
}

function allProcesses(): ProcessEntry[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => parseStat(readIfThere(`/proc/${name}/stat`)))
    .filter((entry) => entry !== undefined);
}

/** proc_pid_stat(5): `pid (comm) state ppid ...`; comm may hold blanks and parentheses. Field 22 is the start time. */
function parseStat(text: string | undefined): ProcessEntry | undefined {
  if (text === undefined || text === '') return undefined;
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ');
  return {
    pid: Number(text.slice(0, open - 1)),
    comm: text.slice(open + 1, close),
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    startTime: fields[19] ?? '',
  };
}
