// What a test file may not leave behind: processes, mounts, cgroups, descriptors of the test process. Test files run side by side, also with other work
// on the machine, so a process counts only where its making can be laid at the door of this one.
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface Inventory {
  readonly processes: ReadonlySet<string>;
  readonly mounts: readonly string[];
  readonly cgroups: ReadonlySet<string>;
  readonly descriptors: ReadonlyMap<string, string>;
}

const markName = 'SANDBOXLIB_TEST_MARK';
const pollMs = 50;
const patienceMs = 10_000;

/** Marks the environment of this process, by which children are known as its own even when their parent is gone. */
export function markProcess(): void {
  process.env[markName] ??= randomUUID();
}

export function takeInventory(): Inventory {
  return {
    processes: new Set(processes().map(identity)),
    mounts: mounts(),
    cgroups: new Set(cgroups()),
    descriptors: descriptors(),
  };
}

/** What is there now that was not, one line each. Empty when nothing is left. */
export function leftoversSince(before: Inventory): string[] {
  return [
    ...processes()
      .filter((entry) => !before.processes.has(identity(entry)))
      .map((entry) => `process ${entry.pid} (${entry.comm}), state ${entry.state}, parent ${entry.parent}`),
    ...surplus(mounts(), before.mounts).map((mount) => `mount ${mount}`),
    ...cgroups()
      .filter((path) => !before.cgroups.has(path))
      .map((path) => `cgroup ${path}`),
    ...[...descriptors()]
      .filter(([number, target]) => before.descriptors.get(number) !== target)
      .map(([number, target]) => `descriptor ${number} -> ${target}`),
  ];
}

/** As `leftoversSince`, with time to end for what is ending. */
export async function waitForNothingLeft(before: Inventory): Promise<string[]> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const left = leftoversSince(before);
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(pollMs);
  }
}

interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly comm: string;
  readonly state: string;
  readonly startTime: string;
}

/** Descendants of this process, and orphans that carry its mark or live in a pid namespace made since. */
function processes(): ProcessEntry[] {
  const all = allProcesses();
  const byPid = new Map(all.map((entry) => [entry.pid, entry]));
  return all.filter((entry) => {
    if (entry.pid === process.pid || isGone(entry)) return false;
    const ancestors = ancestry(entry, byPid);
    if (ancestors.includes(process.pid)) return true;
    return isMarked(entry.pid) || isOrphanedSandbox(entry, ancestors, byPid);
  });
}

/** Commands in a sandbox carry no mark, for their environment is clean. Sandboxes of other test files hang below those. */
function isOrphanedSandbox(
  entry: ProcessEntry,
  ancestors: readonly number[],
  byPid: ReadonlyMap<number, ProcessEntry>,
): boolean {
  if (ancestors.at(-1) !== 1) return false;
  const top = byPid.get(ancestors.at(-2) ?? entry.pid);
  if (top === undefined || top.pid === 1) return false;
  return top.comm === 'launcher' || !isInOurPidNamespace(top.pid);
}

function isInOurPidNamespace(pid: number): boolean {
  const namespace = targetOf(`/proc/${pid}/ns/pid`);
  return namespace === undefined || namespace === targetOf('/proc/self/ns/pid');
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

/** Pid numbers are used again; together with the start time they name a process. */
function identity(entry: ProcessEntry): string {
  return `${entry.pid}@${entry.startTime}`;
}

function isMarked(pid: number): boolean {
  const mark = process.env[markName];
  if (mark === undefined) return false;
  return (readIfThere(`/proc/${pid}/environ`) ?? '').includes(`${markName}=${mark}`);
}

function allProcesses(): ProcessEntry[] {
  return readdirSync('/proc')
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

function mounts(): string[] {
  // Without the mount ids: they are used again. Mount point, file system and source say what it is.
  return (readIfThere('/proc/self/mountinfo') ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').slice(2).join(' '));
}

/** Directories that this library makes carry its name. */
function cgroups(root = '/sys/fs/cgroup', depth = 4): string[] {
  if (depth === 0 || !existsSync(root)) return [];
  const directories = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return directories.flatMap((entry) => {
    const path = join(root, entry.name);
    return [...(entry.name.startsWith('sandboxlib') ? [path] : []), ...cgroups(path, depth - 1)];
  });
}

/** Without those that Node makes for itself when it first needs them. */
function descriptors(): Map<string, string> {
  const found = new Map<string, string>();
  for (const number of readdirSync('/proc/self/fd')) {
    const target = targetOf(`/proc/self/fd/${number}`);
    if (target === undefined || /^anon_inode:\[(eventpoll|eventfd|io_uring|signalfd|timerfd)\]$/.test(target)) continue;
    if (target === `/proc/${process.pid}/fd`) continue;
    found.set(number, target);
  }
  return found;
}

function surplus(now: readonly string[], before: readonly string[]): string[] {
  const rest = new Map<string, number>();
  for (const line of before) rest.set(line, (rest.get(line) ?? 0) + 1);
  return now.filter((line) => {
    const count = rest.get(line) ?? 0;
    rest.set(line, count - 1);
    return count <= 0;
  });
}

/** Undefined when the process or file is gone by now, or belongs to somebody else. */
function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
