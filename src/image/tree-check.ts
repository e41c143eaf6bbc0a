// Whether the entries of one archive can become one tree: what unpacking would meet on the file system, found without it.
import { shown } from './archive/bytes.ts';
import type { EntryKind, TarEntry } from './archive/tar.ts';

const words: Readonly<Record<EntryKind, string>> = {
  directory: 'a directory',
  file: 'a file',
  symlink: 'a symlink',
  link: 'a hard link',
  fifo: 'a FIFO',
  character: 'a device',
  block: 'a device',
};

export class TreeCheck {
  readonly #kinds = new Map<string, EntryKind>();

  /** Why not, or nothing. */
  entry({ name, kind, target }: Pick<TarEntry, 'name' | 'kind' | 'target'>): string | undefined {
    const problem = this.#above(name) ?? (kind === 'link' ? this.#target(target) : undefined);
    this.#kinds.set(name, kind);
    return problem === undefined ? undefined : `'${shown(name)}' ${problem}`;
  }

  #above(name: string): string | undefined {
    for (let slash = name.lastIndexOf('/'); slash > 0; slash = name.lastIndexOf('/', slash - 1)) {
      const above = name.slice(0, slash);
      const kind = this.#kinds.get(above);
      if (kind !== undefined && kind !== 'directory') return `lies below '${shown(above)}', which is ${words[kind]}`;
    }
    return undefined;
  }

  #target(target: string): string | undefined {
    const kind = this.#kinds.get(target);
    if (kind === undefined) return `is a hard link to '${shown(target)}', which does not come before it`;
    return kind === 'directory' ? `is a hard link to '${shown(target)}', which is a directory` : undefined;
  }
}
