// How normalization sees the host: through this interface, so that it is a pure function of what it is given, and tests can show it any host.
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { type CapabilityName, capabilities } from './capabilities.ts';
import { parseMountinfo } from './mountinfo.ts';
import { isWithin } from './paths.ts';

export type FileKind = 'directory' | 'file' | 'symlink' | 'FIFO' | 'socket' | 'character device' | 'block device';

/** What is at a path; where nothing can be seen: why, as the kernel names it (`ENOENT`, `EACCES`, `ELOOP`, ...). */
export type Found = { readonly kind: FileKind } | { readonly kind: 'nothing'; readonly errno: string };

export type FileText = { readonly text: string } | { readonly because: string };

/** `size` ids from `start` on. */
export interface IdRange {
  readonly start: number;
  readonly size: number;
}

export interface SpecHost {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly gid: number;
  /** Login name of the caller; `undefined` when it has none. */
  readonly username: string | undefined;
  /** Home directory of the caller. */
  readonly home: string | undefined;
  /** Ids of the caller's own user namespace, as in /proc/self/uid_map and gid_map. */
  /** Root with CAP_SETUID and CAP_SETGID: a container may have taken them from it, and then it has one id like anybody else. */
  readonly mayMapIds: boolean;
  readonly uidRanges: readonly IdRange[];
  readonly gidRanges: readonly IdRange[];
  /** Follows symlinks. */
  stat(path: string): Found;
  lstat(path: string): Found;
  /** `undefined` when it cannot be read. */
  readlink(path: string): string | undefined;
  /** `undefined` when it cannot be resolved: `stat` tells why. */
  realpath(path: string): string | undefined;
  /**
   * The text of a regular file of at most `maxBytes` bytes, at a path without symlinks. Anything else is refused, and none of it waits or
   * has an effect: the file may belong to somebody hostile.
   */
  readFile(path: string, maxBytes: number): FileText;
  /** Where other file systems are mounted below a directory, which is named without symlinks. */
  mountsBelow(path: string): readonly string[];
}

/** This process on this host. Each fact is read when it is first asked for; one object may serve a process for good. */
export function nodeSpecHost(): SpecHost {
  return new NodeSpecHost();
}

class NodeSpecHost implements SpecHost {
  #account:
    | { readonly uid: number; readonly username: string | undefined; readonly home: string | undefined }
    | undefined;
  #mayMapIds: boolean | undefined;
  #uidRanges: readonly IdRange[] | undefined;
  #gidRanges: readonly IdRange[] | undefined;

  get cwd(): string {
    // Deleted under this process: absolute paths do without it, and a relative one is not found below this.
    return orNothing(() => process.cwd()) ?? '/(the current directory, which was deleted)';
  }

  get env(): NodeJS.ProcessEnv {
    return process.env;
  }

  get uid(): number {
    return process.getuid?.() ?? 0;
  }

  get gid(): number {
    return process.getgid?.() ?? 0;
  }

  get username(): string | undefined {
    return this.#ownAccount.username;
  }

  get home(): string | undefined {
    return process.env['HOME'] || this.#ownAccount.home;
  }

  get #ownAccount(): { readonly username: string | undefined; readonly home: string | undefined } {
    const { uid } = this;
    if (this.#account?.uid !== uid) this.#account = { uid, ...readAccount() };
    return this.#account;
  }

  get mayMapIds(): boolean {
    this.#mayMapIds ??= this.uid === 0 && hasCapabilities(['CAP_SETUID', 'CAP_SETGID']);
    return this.#mayMapIds;
  }

  get uidRanges(): readonly IdRange[] {
    this.#uidRanges ??= readRanges('/proc/self/uid_map');
    return this.#uidRanges;
  }

  get gidRanges(): readonly IdRange[] {
    this.#gidRanges ??= readRanges('/proc/self/gid_map');
    return this.#gidRanges;
  }

  stat(path: string): Found {
    return look(() => statSync(path, { throwIfNoEntry: false }));
  }

  lstat(path: string): Found {
    return look(() => lstatSync(path, { throwIfNoEntry: false }));
  }

  readlink(path: string): string | undefined {
    return orNothing(() => readlinkSync(path));
  }

  realpath(path: string): string | undefined {
    return orNothing(() => realpathSync.native(path));
  }

  readFile(path: string, maxBytes: number): FileText {
    return orErrno(
      () => readRegularFile(path, maxBytes),
      (errno) => ({ because: errno }),
    );
  }

  mountsBelow(path: string): readonly string[] {
    const points = parseMountinfo(orNothing(() => readFileSync('/proc/self/mountinfo', 'utf8'))).map(
      ({ mountPoint }) => mountPoint,
    );
    return [...new Set(points)].filter((point) => point !== path && isWithin(point, path));
  }
}

/** Effective ones of this process, proc_pid_status(5). */
function hasCapabilities(names: readonly CapabilityName[]): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(
    orNothing(() => readFileSync('/proc/self/status', 'utf8')) ?? '',
  )?.[1];
  if (effective === undefined) return false;
  return names.every((name) => ((BigInt(`0x${effective}`) >> BigInt(capabilities[name])) & 1n) === 1n);
}

function readRegularFile(path: string, maxBytes: number): FileText {
  // O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: a terminal would become ours. Looked at first all the same: to open a device
  // can have an effect.
  const before = lstatSync(path);
  if (!before.isFile()) return { because: `it is a ${kindOf(before)}, not a regular file` };
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return { because: `it is a ${kindOf(stats)}, not a regular file` };
    // Somebody may have put a symlink in the place of a directory above it meanwhile.
    const opened = orNothing(() => readlinkSync(`/proc/self/fd/${fd}`));
    if (opened !== undefined && opened !== path) return { because: 'it was moved while it was read' };
    if (stats.size > maxBytes) return { because: `it is larger than ${maxBytes} bytes` };
    const buffer = Buffer.alloc(stats.size);
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(fd, buffer, length, buffer.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return { text: buffer.toString('utf8', 0, length) };
  } finally {
    closeSync(fd);
  }
}

function look(read: () => Stats | undefined): Found {
  return orErrno<Found>(
    () => {
      const stats = read();
      return stats === undefined ? absent : { kind: kindOf(stats) };
    },
    (errno) => ({ kind: 'nothing', errno }),
  );
}

const absent: Found = { kind: 'nothing', errno: 'ENOENT' };

function kindOf(stats: Stats): FileKind {
  if (stats.isDirectory()) return 'directory';
  if (stats.isFile()) return 'file';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'FIFO';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'block device' : 'character device';
}

/** Through the name service, not /etc/passwd: accounts of a directory service have names too. */
function readAccount(): { readonly username: string | undefined; readonly home: string | undefined } {
  return orErrno<{ username: string | undefined; home: string | undefined }>(
    () => {
      const account = userInfo();
      return { username: account.username, home: account.homedir };
    },
    () => ({ username: undefined, home: undefined }),
  );
}

function readRanges(path: string): readonly IdRange[] {
  const file = orErrno<FileText>(
    () => readKernelFile(path),
    (errno) => ({ because: errno }),
  );
  // No such file: no user namespaces in this kernel, so every id is there.
  if (!('text' in file)) return [{ start: 0, size: 4_294_967_295 }];
  const ranges: IdRange[] = [];
  for (const line of file.text.split('\n')) {
    const match = /^\s*(\d+)\s+\d+\s+(\d+)\s*$/.exec(line);
    if (match !== null) ranges.push({ start: Number(match[1]), size: Number(match[2]) });
  }
  return ranges;
}

/** One for all reads, which are over before another begins: what is not on the heap makes the collector run the sooner. */
let kernelFileBuffer: Buffer | undefined;

/** A file of proc says that its size is 0. */
function readKernelFile(path: string): FileText {
  kernelFileBuffer ??= Buffer.allocUnsafe(32_768);
  const buffer = kernelFileBuffer;
  const fd = openSync(path, constants.O_RDONLY);
  try {
    return { text: buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0)) };
  } finally {
    closeSync(fd);
  }
}

function orNothing<T>(read: () => T): T | undefined {
  return orErrno<T | undefined>(read, () => undefined);
}

/** An error of the system is an answer here; anything else is a defect and goes on. */
function orErrno<T>(read: () => T, otherwise: (errno: string) => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string') {
      return otherwise(error.code);
    }
    throw error;
  }
}
