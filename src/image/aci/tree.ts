// A directory as entries of an archive, the same bytes for the same tree: each directory before what is in it, and that by its names as bytes. It is
// read by descriptor: nothing in it leads out of it, whatever is exchanged meanwhile.
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { padding, type TarEntry, tarHeader } from '../../archive/tar-writer.ts';
import { ImageError, isSandboxError } from '../../errors/errors.ts';
import { Directory } from '../../host/directory.ts';
import { shown } from '../archive/bytes.ts';
import { defaultArchiveLimits } from '../archive/limits.ts';

export interface TreeOptions {
  /** Of every entry. By default each has its own. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** What is later becomes this, in seconds. */
  readonly mtimeMax?: number | undefined;
}

/** An inode, by the two numbers that name it. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

const CHUNK = 1 << 18;
/** What a reader would refuse is not written. */
const { depth: DEPTH_MAX, nameBytes: NAME_MAX } = defaultArchiveLimits;

interface Level {
  readonly directory: Directory;
  /** In the archive, one character for each byte. */
  readonly name: string;
  readonly rest: Iterator<string>;
}

/** The first name of an inode that has several, and how many are still to come. */
interface Linked {
  readonly name: string;
  left: number;
}

export class Tree {
  readonly #path: string;
  readonly #top: string;
  readonly #options: TreeOptions;
  readonly #output: FileIdentity;
  /** Only of those of which a name is still to come. */
  readonly #linked = new Map<string, Linked>();
  entries = 0;
  /** Of content. */
  bytes = 0;
  /** Paths in the directory. */
  readonly sockets: string[] = [];

  /** `path` leads to the directory without a symlink; `top` is its name in the archive; `output` where the archive goes. */
  constructor(path: string, top: string, output: FileIdentity, options: TreeOptions) {
    this.#path = path;
    this.#top = top;
    this.#output = output;
    this.#options = options;
  }

  /** @throws {ImageError} `SBX_IMAGE_BUILD` */
  *pieces(): Generator<Uint8Array, void, undefined> {
    // One after another and not one in another: a tree may be deeper than the stack.
    const levels: Level[] = [];
    try {
      yield* this.#enter(levels, () => Directory.open(this.#path), this.#top);
      for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
        const next = level.rest.next();
        if (next.done === true) levels.pop()?.directory.close();
        else yield* this.#entry(levels, level, next.value);
      }
    } finally {
      for (const { directory } of levels) directory.close();
    }
  }

  *#enter(levels: Level[], open: () => Directory, name: string): Generator<Uint8Array, void, undefined> {
    const level = this.#attempt(name, () => {
      const directory = open();
      try {
        const names = directory.names().sort();
        return { directory, name, rest: names.values(), status: fstatSync(directory.descriptor, { bigint: true }) };
      } catch (error) {
        directory.close();
        throw error;
      }
    });
    levels.push(level);
    if (levels.length > DEPTH_MAX) throw this.#refuse(name, `it is more than ${DEPTH_MAX} directories deep`);
    yield this.#header({ type: 'directory', path: name }, level.status);
  }

  *#entry(levels: Level[], { directory, name: above }: Level, last: string): Generator<Uint8Array, void, undefined> {
    const name = `${above}/${last}`;
    if (name.length > NAME_MAX) throw this.#refuse(name, `its path has more than the ${NAME_MAX} bytes that are read`);
    const status = this.#attempt(name, () => directory.status(last));
    if (status === undefined) throw this.#changed(name);
    if (status.isDirectory()) return yield* this.#enter(levels, () => directory.enter(last), name);
    if (status.dev === this.#output.dev && status.ino === this.#output.ino)
      throw this.#refuse(name, 'the image would be part of itself', 'write it somewhere else');
    if (status.isSocket()) {
      this.sockets.push(this.#inside(name));
      return;
    }
    const first = this.#firstName(status, name);
    if (first !== undefined) yield this.#header({ type: 'link', path: name, target: first }, status);
    else if (status.isFile()) yield* this.#file(directory, last, name, status);
    else yield this.#special(directory, last, name, status);
  }

  /** Where this inode was before; `undefined` for the first time. */
  #firstName({ dev, ino, nlink }: BigIntStats, name: string): string | undefined {
    if (nlink < 2n) return undefined;
    const key = `${dev}:${ino}`;
    const known = this.#linked.get(key);
    if (known === undefined) {
      this.#linked.set(key, { name, left: Number(nlink) - 1 });
      return undefined;
    }
    known.left -= 1;
    if (known.left === 0) this.#linked.delete(key);
    return known.name;
  }

  #special(directory: Directory, last: string, path: string, status: BigIntStats): Uint8Array {
    if (status.isFIFO()) return this.#header({ type: 'fifo', path }, status);
    if (status.isSymbolicLink()) {
      const target = this.#attempt(path, () => readlinkSync(directory.at(last), { encoding: 'buffer' }));
      return this.#header({ type: 'symlink', path, target: target.toString('latin1') }, status);
    }
    const type = status.isBlockDevice() ? 'block' : 'character';
    return this.#header({ type, path, ...deviceOf(status.rdev) }, status);
  }

  *#file(directory: Directory, last: string, path: string, found: BigIntStats): Generator<Uint8Array, void, undefined> {
    // Should it have become a FIFO: nobody waits for it.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const descriptor = this.#attempt(path, () => openSync(directory.at(last), flags));
    try {
      const status = fstatSync(descriptor, { bigint: true });
      if (status.ino !== found.ino || status.dev !== found.dev || !status.isFile()) throw this.#changed(path);
      const size = Number(status.size);
      yield this.#header({ type: 'file', path, size }, status);
      for (let left = size; left > 0; ) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, left));
        const length = this.#attempt(path, () => readSync(descriptor, chunk));
        if (length === 0) throw this.#changed(path);
        yield chunk.subarray(0, length);
        left -= length;
      }
      yield padding(size);
      this.bytes += size;
      const after = fstatSync(descriptor, { bigint: true });
      if (after.size !== status.size || after.ctimeNs !== status.ctimeNs) throw this.#changed(path);
    } finally {
      closeSync(descriptor);
    }
  }

  #header(entry: Pick<TarEntry, 'type' | 'path' | 'size' | 'target' | 'major' | 'minor'>, status: BigIntStats): Buffer {
    this.entries += 1;
    const { owner = { uid: Number(status.uid), gid: Number(status.gid) } } = this.#options;
    return tarHeader({ ...entry, ...owner, ...this.#time(status), mode: Number(status.mode) & 0o7777 });
  }

  #time({ mtimeNs }: BigIntStats): Pick<TarEntry, 'mtime' | 'nanoseconds'> {
    const { mtimeMax } = this.#options;
    const nanoseconds = Number(((mtimeNs % SECOND) + SECOND) % SECOND);
    const mtime = Number((mtimeNs - BigInt(nanoseconds)) / SECOND);
    return mtimeMax !== undefined && mtime >= mtimeMax ? { mtime: mtimeMax } : { mtime, nanoseconds };
  }

  #attempt<T>(name: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (isSandboxError(error) || !(error instanceof Error) || !('syscall' in error)) throw error;
      const { code = '', syscall } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') throw this.#changed(name);
      const [what, remedy] = reasons[code] ?? ['it cannot be read'];
      throw this.#refuse(name, `${what} (${code} from ${syscall}(2))`, remedy, error);
    }
  }

  #changed(name: string): ImageError {
    return this.#refuse(name, 'it changed while it was read', 'build from a directory that nobody writes to');
  }

  #refuse(name: string, what: string, remedy?: string, cause?: unknown): ImageError {
    const { code: errno, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
    const path = `${this.#path}${this.#inside(name)}`;
    return new ImageError('SBX_IMAGE_BUILD', `cannot pack ${path}: ${what}`, { errno, syscall }, { remedy, cause });
  }

  /** For a person. */
  #inside(name: string): string {
    return shown(name.slice(this.#top.length));
  }
}

const SECOND = 1_000_000_000n;

const reasons: Readonly<Record<string, readonly [what: string, remedy?: string]>> = {
  EACCES: ['it may not be read', 'build as somebody who may'],
  EPERM: ['it may not be read', 'build as somebody who may'],
  EMFILE: ['too many files are open', 'raise the limit of open files'],
};

/** makedev(3) of glibc: 12 bits of the minor number around the 12 of the major one, and what came later above. */
function deviceOf(rdev: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xfff_fff00n)),
  };
}
