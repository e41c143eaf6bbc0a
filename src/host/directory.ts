// Directories by descriptor, as openat(2) has them: /proc/self/fd/N/name is looked up in that very directory, and nothing on the way to it can be
// exchanged for a symlink. What lies in them may be hostile, so that no name of more than one component is ever used. Names are bytes, one character each (latin1).
import { randomBytes } from 'node:crypto';
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from 'node:fs';

/** open(2); node:fs has no name for it. */
const O_PATH = 0o10000000;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Beyond it, what is to be removed is moved up first: each level takes a descriptor, and a command can nest as deep as it likes. */
const DEPTH_MAX = 100;

export class Directory implements Disposable {
  readonly descriptor: number;

  private constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /** From a path that the caller vouches for; its last component is not followed. */
  static open(path: string): Directory {
    return new Directory(openSync(path, DIRECTORY));
  }

  /** @throws ENOTDIR or ELOOP where that is no directory. */
  enter(name: string): Directory {
    return new Directory(openSync(this.at(name), DIRECTORY));
  }

  /** Also one that is closed to its owner; its mode is changed then, and stays so. */
  enterClosed(name: string): Directory {
    const closed = openSync(this.at(name), O_PATH | DIRECTORY);
    try {
      chmodSync(`/proc/self/fd/${closed}`, 0o700);
    } finally {
      closeSync(closed);
    }
    return this.enter(name);
  }

  /** For node:fs: one name in this directory. */
  at(name: string): Buffer {
    return Buffer.from(`/proc/self/fd/${this.descriptor}/${name}`, 'latin1');
  }

  names(): string[] {
    const names = readdirSync(`/proc/self/fd/${this.descriptor}`, { encoding: 'buffer' });
    return names.map((name) => name.toString('latin1'));
  }

  /** `undefined` where there is nothing of this name. */
  status(name: string): BigIntStats | undefined {
    try {
      return lstatSync(this.at(name), { bigint: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** With all that it holds; nothing where there is nothing. */
  remove(name: string): void {
    new Removal(this).remove(name);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

class Removal {
  readonly #top: Directory;

  constructor(top: Directory) {
    this.#top = top;
  }

  remove(name: string): void {
    this.#removeIn(this.#top, name, 0);
  }

  #removeIn(parent: Directory, name: string, depth: number): void {
    const status = parent.status(name);
    if (status === undefined) return;
    if (!status.isDirectory()) {
      unlinkSync(parent.at(name));
      return;
    }
    if (depth === DEPTH_MAX) {
      const higher = `.sandboxlib-removed-${randomBytes(8).toString('hex')}`;
      renameSync(parent.at(name), this.#top.at(higher));
      this.#removeIn(this.#top, higher, 0);
      return;
    }
    const open = (status.mode & 0o700n) === 0o700n;
    const directory = open ? parent.enter(name) : parent.enterClosed(name);
    try {
      for (const child of directory.names()) this.#removeIn(directory, child, depth + 1);
    } finally {
      directory.close();
    }
    rmdirSync(parent.at(name));
  }
}
