// The layers of an image as one tree of files, for who cannot mount them: what overlayfs would show (overlayfs.rst), copied. Without extended attributes,
// which node:fs does not know, and without FIFOs, which it cannot make.
import {
  chmodSync,
  constants,
  copyFileSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  type Stats,
  symlinkSync,
} from 'node:fs';
import { ImageError } from '../errors/errors.ts';
import type { RootLayer } from '../spec/layered-root.ts';

/** A directory of a layer, as bytes, one character each (latin1): names may be any. */
interface Shown {
  readonly path: string;
  /** Absolute inside of the layer. */
  readonly opaque: ReadonlySet<string>;
}

/**
 * Makes `target`, which must be absent, of `layers`, the uppermost first. Files share their content with the layers where the file system can (FICLONE).
 * Returns what could not be kept, by kind. Where files do not keep their owners all are the caller's.
 *
 * @throws {ImageError} `SBX_IMAGE_STORE` where a file cannot be read or written. What was made until then stays.
 */
export function mergeLayers(
  layers: readonly RootLayer[],
  target: string,
  { keepsOwners }: { readonly keepsOwners: boolean },
): ReadonlyMap<string, number> {
  const merge = new Merge(keepsOwners);
  const tops = layers.map(({ directory, opaque }) => ({ path: raw(directory), opaque: new Set(opaque.map(raw)) }));
  try {
    merge.directory(tops, '', raw(target));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new ImageError('SBX_IMAGE_STORE', `the image cannot be copied: ${message}`, {}, { cause });
  }
  return merge.leftOut;
}

class Merge {
  readonly leftOut = new Map<string, number>();
  /** Where files with several names are, by layer and inode. */
  readonly #links = new Map<string, string>();
  readonly #keepsOwners: boolean;

  constructor(keepsOwners: boolean) {
    this.#keepsOwners = keepsOwners;
  }

  /** `shown`: the directories that show something at `inside`, the uppermost first. It decides what the merged one is like. */
  directory(shown: readonly Shown[], inside: string, target: string): void {
    const [top] = shown;
    if (top === undefined) return;
    mkdirSync(bytes(target), { mode: 0o700 });
    const seen = new Set<string>();
    for (const [index, { path }] of shown.entries()) {
      for (const entry of readdirSync(bytes(path), { encoding: 'latin1' })) {
        if (seen.has(entry)) continue;
        seen.add(entry);
        this.#entry(shown.slice(index), `${inside}/${entry}`, entry, `${target}/${entry}`);
      }
    }
    this.#attributes(target, lstatSync(bytes(top.path)));
  }

  #entry([top, ...below]: readonly Shown[], inside: string, name: string, target: string): void {
    if (top === undefined) return;
    const path = `${top.path}/${name}`;
    const status = lstatSync(bytes(path));
    if (status.isDirectory()) this.directory(merged([top, ...below], inside, name), inside, target);
    else if (status.isFile()) this.#file(path, status, target);
    else if (status.isSymbolicLink()) {
      symlinkSync(readlinkSync(bytes(path), 'buffer'), bytes(target));
      this.#attributes(target, status);
      // A layer has no devices but whiteouts.
    } else if (!status.isCharacterDevice()) this.leftOut.set('FIFO', (this.leftOut.get('FIFO') ?? 0) + 1);
  }

  #file(path: string, status: Stats, target: string): void {
    const key = `${status.dev}:${status.ino}`;
    const known = status.nlink > 1 ? this.#links.get(key) : undefined;
    if (known !== undefined) {
      linkSync(bytes(known), bytes(target));
      return;
    }
    copyFileSync(bytes(path), bytes(target), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    if (status.nlink > 1) this.#links.set(key, target);
    this.#attributes(target, status);
  }

  /** The mode after the owner, whose change may take bits of it away; the times last. */
  #attributes(target: string, status: Stats): void {
    const path = bytes(target);
    if (this.#keepsOwners) lchownSync(path, status.uid, status.gid);
    if (!status.isSymbolicLink()) chmodSync(path, status.mode & 0o7777);
    lutimesSync(path, status.atimeMs / 1000, status.mtimeMs / 1000);
  }
}

/** Of the layers that have `inside`, those that show something of it: down to the first that hides what is below. */
function merged(shown: readonly Shown[], inside: string, name: string): Shown[] {
  const found: Shown[] = [];
  for (const { path, opaque } of shown) {
    const status = lstatSync(bytes(`${path}/${name}`), { throwIfNoEntry: false });
    if (status === undefined) continue;
    if (!status.isDirectory()) break;
    found.push({ path: `${path}/${name}`, opaque });
    if (opaque.has(inside)) break;
  }
  return found;
}

function raw(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function bytes(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}
