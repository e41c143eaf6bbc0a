// What a test file may not leave behind. Test files run side by side, also with other work on the machine, so a thing counts only where it can be laid at
// the door of this file: by descent, by a mark in the environment, by the directory or the name that only this file uses, or because nobody
// else is there to have made it. Where that is impossible the comment of its kind says so; what others make in passing is then gone
// within the time that `waitForNothingLeft` allows.
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { namespacesInUse, namespacesOfThisProcess, ourProcesses } from './leftover-processes.ts';
import { isListenedOn, markName, readIfThere, targetOf } from './leftover-reading.ts';

export interface Inventory {
  /** What was there, each by what tells it from any other. */
  readonly things: ReadonlySet<string>;
  /** Those that any process of the machine lived in. */
  readonly namespaces: ReadonlySet<string>;
  /** The directory for temporary files at that time. */
  readonly temporary: string;
}

const pollMs = 50;
const patienceMs = 10_000;

/** The system's, whatever this file is given as its own later. */
const systemTmpdir = tmpdir();

/** Marks the environment of this process, by which children are known as its own even when their parent is gone. */
export function markProcess(): void {
  process.env[markName] ??= randomUUID();
}

export function takeInventory(): Inventory {
  const around = { namespaces: namespacesInUse(), temporary: tmpdir() };
  return { ...around, things: new Set(things(around).keys()) };
}

/** What is there now that was not, one line each. Empty when nothing is left. */
export function leftoversSince(before: Inventory): string[] {
  return [...things(before)].filter(([identity]) => !before.things.has(identity)).map(([, words]) => words);
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

/** From what tells a thing from any other to the words for it. */
type Things = Map<string, string>;

function things({ namespaces, temporary }: Omit<Inventory, 'things'>): Things {
  return new Map([
    ...ourProcesses(namespaces).map(
      (entry) =>
        [
          `process ${entry.pid}@${entry.startTime}`,
          `process ${entry.pid} (${entry.comm}), state ${entry.state}, parent ${entry.parent}`,
        ] as const,
    ),
    ...named('namespace of this process', namespacesOfThisProcess()),
    ...named('mount', numbered(mounts())),
    ...named('cgroup', cgroups()),
    ...descriptors(),
    ...named('unix socket', boundSockets(temporary)),
    ...named('file', systemFiles()),
    ...sysvObjects(),
    ...named('keyring', keyrings()),
  ]);
}

function named(kind: string, names: readonly string[]): [string, string][] {
  return names.map((name) => [`${kind} ${name}`, `${kind} ${name}`]);
}

/** A second line of the same words is another thing. */
function numbered(lines: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return lines.map((line) => {
    const count = (seen.get(line) ?? 0) + 1;
    seen.set(line, count);
    return count === 1 ? line : `${line} (${count})`;
  });
}

/**
 * The table is that of everybody in this mount namespace, and does not say who mounted: tests mount in namespaces of their own, so that one that
 * appears here is too many, whoever made it. A namespace that is kept by a bind mount shows as one of nsfs.
 */
export function mounts(pid: number | 'self' = 'self'): string[] {
  // Without the mount ids: they are used again. Mount point, file system and source say what it is.
  return (readIfThere(`/proc/${pid}/mountinfo`) ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').slice(2).join(' '));
}

/** Directories that this library makes carry its name; where they end in the number of a process, that process made them. */
export function cgroups(root = '/sys/fs/cgroup', depth = 4): string[] {
  if (depth === 0 || !existsSync(root)) return [];
  const directories = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return directories.flatMap((entry) => {
    const path = join(root, entry.name);
    const maker = /-(\d+)$/.exec(entry.name)?.[1] ?? '';
    const counts = entry.name.startsWith('sandboxlib') && !isOfSomebodyElse(maker);
    return [...(counts ? [path] : []), ...cgroups(path, depth - 1)];
  });
}

/** Of this process, without those that Node makes for itself when it first needs them. */
function descriptors(): [string, string][] {
  const found: [string, string][] = [];
  const sockets = new Map<string, string>();
  for (const number of readdirSync('/proc/self/fd')) {
    const target = targetOf(`/proc/self/fd/${number}`);
    if (target === undefined || /^anon_inode:\[(eventpoll|eventfd|io_uring|signalfd|timerfd)\]$/.test(target)) continue;
    if (target === `/proc/${process.pid}/fd`) continue;
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && sockets.size === 0) for (const socket of socketTable()) sockets.set(...socket);
    const words = inode === undefined ? undefined : sockets.get(inode);
    const identity = `descriptor ${number} -> ${target}`;
    found.push([identity, words === undefined ? identity : `${identity}, ${words}`]);
  }
  return found;
}

const TCP_LISTEN = '0A';
const UNIX_LISTENING = '00010000'; // __SO_ACCEPTCON

/** From the inode to the words. Addresses are as the kernel writes them: hexadecimal, in the byte order of the machine. */
function socketTable(): [string, string][] {
  return [
    ...['tcp', 'tcp6', 'udp', 'udp6'].flatMap((protocol) =>
      table(`/proc/net/${protocol}`).map(([, local = '', , state, , , , , , inode = '']): [string, string] => [
        inode,
        `${state === TCP_LISTEN ? 'listening on ' : ''}${protocol} ${local}`,
      ]),
    ),
    ...table('/proc/net/unix').map(([, , , flags, , , inode = '', path = '']): [string, string] => [
      inode,
      `${flags === UNIX_LISTENING ? 'listening on ' : ''}unix ${path}`,
    ]),
  ];
}

/** Fields of every line but the first. */
function table(file: string): string[][] {
  return (readIfThere(file) ?? '')
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/));
}

/**
 * With a path in this file's own directory, also where the name is removed already. An abstract name, and a socket without any, lasts only as long as
 * somebody holds it: then that descriptor or process is what is left.
 */
function boundSockets(own: string): string[] {
  return table('/proc/net/unix')
    .filter(([, , , , , , , path]) => path?.startsWith(`${own}/`) === true)
    .map(([, , , , , , inode, path]) => `${path} [${inode}]`);
}

/**
 * What carries the library's name where nobody has business: each test file has a temporary directory of its own, and the sandboxes have private ones.
 * Who made it, it does not say; those directories themselves are looked after by set-up, each by its own file.
 */
function systemFiles(): string[] {
  return [...new Set([systemTmpdir, '/tmp', '/var/tmp', '/dev/shm', '/dev/mqueue'])].flatMap((directory) =>
    (existsSync(directory) ? readdirSync(directory) : [])
      .filter((name) => name.includes('sandboxlib') && !name.startsWith('sandboxlib-test-') && !isListenedOn(name))
      .map((name) => join(directory, name)),
  );
}

/**
 * Shared memory, semaphores and queues of this ipc namespace that belong to the user of this process. Only of shared memory the maker is known, and only
 * by its number: where that process lives and is none of ours, it is somebody else's.
 */
function sysvObjects(): [string, string][] {
  const uid = String(process.getuid?.());
  return ['shm', 'sem', 'msg'].flatMap((kind) => {
    const [head = '', ...lines] = (readIfThere(`/proc/sysvipc/${kind}`) ?? '').split('\n');
    const columns = head.trim().split(/\s+/);
    const at = (fields: readonly string[], name: string) => fields[columns.indexOf(name)] ?? '';
    return lines
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields.length > 1 && at(fields, 'cuid') === uid && !isOfSomebodyElse(at(fields, 'cpid')))
      .map((fields): [string, string] => {
        const [key = '', id = ''] = fields;
        return [`sysv ${kind} ${id} ${at(fields, 'ctime')}`, `SysV ${kind} ${id}, key ${key}`];
      });
  });
}

/** Made by a process that is still there: then what it makes is no leftover yet, or the process is one itself. */
function isOfSomebodyElse(maker: string): boolean {
  return maker !== '' && maker !== String(process.pid) && existsSync(`/proc/${maker}`);
}

/**
 * By name. The kernel's own words for those without one (`_ses`) do not tell one run's from another's, and they are collected some time after their last
 * process has ended.
 */
function keyrings(): string[] {
  return (readIfThere('/proc/keys') ?? '')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , , , , type, name]) => type === 'keyring' && name?.includes('sandboxlib') === true)
    .map(([id, , , , , , , , name]) => `${id} ${name}`);
}
