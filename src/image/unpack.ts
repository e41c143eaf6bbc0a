// Archives to files. Reading them is done here, writing in a sandbox of our own, of which the launcher is the command: it sees the directory and nothing
// else, whatever an archive makes it do.
import { constants } from 'node:fs';
import { mkdir, readdir, realpath, rmdir, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { ImageError } from '../errors/errors.ts';
import { shown } from './archive/bytes.ts';
import { about } from './archive/failure.ts';
import { type ArchiveLimits, defaultArchiveLimits } from './archive/limits.ts';
import { type ArchiveFacts, openArchive } from './archive/open.ts';
import type { TarEntry } from './archive/tar.ts';
import { readArchiveFile } from './archive-file.ts';
import { type LayerOptions, Layers, OPAQUE_XATTR, type Whiteouts } from './layers.ts';
import { attributesRecord, emptyRecord, endRecord, header } from './records.ts';
import { type LeftOut, type Told, UnpackSandbox } from './unpack-sandbox.ts';

export interface UnpackOptions {
  /** What is not named has its default. */
  readonly limits?: Partial<ArchiveLimits>;
  /** @defaultValue `'keep'` for one archive, `'apply'` for several */
  readonly whiteouts?: Whiteouts;
  /** Whether one archive may have a name twice; where it may, the later entry counts. @defaultValue `'last'` */
  readonly duplicates?: 'refuse' | 'last';
  /** Bits set-user-ID and set-group-ID of files. They are dropped in any case where the owner cannot be kept. @defaultValue `'keep'` */
  readonly setid?: 'keep' | 'drop';
  /** Ends it; what was unpacked is removed. */
  readonly signal?: AbortSignal;
}

export interface UnpackReport {
  readonly directory: string;
  /** In their order. */
  readonly archives: readonly ArchiveFacts[];
  /** That were written; of files that were replaced too. */
  readonly entries: number;
  /** Of content, without holes. */
  readonly bytes: number;
  /** What the archives have and the tree does not. */
  readonly leftOut: {
    readonly owners: number;
    readonly devices: number;
    readonly xattrs: number;
    readonly modes: number;
    /** Access lists, flags, and what aufs kept: nothing here writes them. */
    readonly others: number;
    /** At most 100. */
    readonly first: readonly LeftOut[];
  };
  /** Which ids the owners of files could have. */
  readonly owners: string;
}

const TOLD_MAX = 100;

/**
 * Unpacks `archive`, or several as layers of one tree, from the lowest on, into `directory`, which must be absent or empty.
 *
 * Where it fails, nothing of it is left.
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID`, `SBX_IMAGE_UNSUPPORTED`, `SBX_IMAGE_LIMIT` or `SBX_IMAGE_UNPACK`
 * @throws {LaunchError} when the sandbox for it could not be set up.
 */
export async function unpack(
  archive: string | readonly string[],
  directory: string,
  options: UnpackOptions = {},
): Promise<UnpackReport> {
  const archives = typeof archive === 'string' ? [archive] : archive;
  const sources = archives.map((name): ArchiveSource => ({ name, content: readArchiveFile(name) }));
  const { layer: _layer, ...report } = await unpackSources(sources, directory, options, undefined);
  return report;
}

export interface ArchiveSource {
  /** As messages call it. */
  readonly name: string;
  readonly content: AsyncIterable<Uint8Array>;
  /** Which entries are written, and as what. */
  readonly select?: (entries: AsyncIterable<TarEntry>) => AsyncIterable<TarEntry>;
}

export interface LayerReport extends UnpackReport {
  readonly layer: {
    /** Directories, named from the top, that hide what layers below have in them. */
    readonly opaque: readonly string[];
    readonly hides: boolean;
    /** Directories that the archive has no entry for. */
    readonly implied: readonly string[];
    /** Of directories. */
    readonly xattrs: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;
  };
}

export async function unpackSources(
  sources: readonly ArchiveSource[],
  directory: string,
  options: UnpackOptions,
  asLayer: LayerOptions['asLayer'],
): Promise<LayerReport> {
  const target = await prepareTarget(directory);
  let sandbox: UnpackSandbox | undefined;
  try {
    sandbox = await UnpackSandbox.over(target.path);
    return await unpackInto(sandbox, sources, target.path, options, asLayer);
  } catch (error) {
    await removeAll(sandbox, target, error);
    throw error;
  }
}

async function unpackInto(
  sandbox: UnpackSandbox,
  sources: readonly ArchiveSource[],
  directory: string,
  options: UnpackOptions,
  asLayer: LayerOptions['asLayer'],
): Promise<LayerReport> {
  const lost: LeftOut[] = [];
  let others = 0;
  const layers = new Layers({
    whiteouts: options.whiteouts ?? (sources.length > 1 ? 'apply' : 'keep'),
    duplicates: options.duplicates ?? 'last',
    setid: options.setid ?? 'keep',
    asLayer,
    onLost: (what, name, because) => {
      others += 1;
      if (lost.length < TOLD_MAX) lost.push({ what, path: shown(name), because });
    },
  });
  const reading = new Reading(sources, layers, { ...defaultArchiveLimits, ...options.limits });
  const told = await sandbox.write(reading.records(), options.signal);
  if (told.kind === 'failed') throw reading.explain(told, directory);
  const opaque = layers.opaqueDirectories();
  if (asLayer !== undefined) refuseWithoutMarks(told, opaque, directory);
  const { owners, devices, xattrs, modes } = told;
  return {
    directory,
    archives: reading.facts,
    entries: told.entries,
    bytes: told.bytes,
    leftOut: { owners, devices, xattrs, modes, others, first: [...told.leftOut, ...lost].slice(0, TOLD_MAX) },
    owners: sandbox.owners,
    layer: {
      opaque,
      hides: layers.hides,
      implied: asLayer !== undefined ? layers.impliedDirectories(sources.at(-1)?.name ?? directory) : [],
      xattrs: new Map(layers.directoryXattrs()),
    },
  };
}

/** Without its marks a layer would show what it hides. It has no other devices. */
function refuseWithoutMarks(
  { devices, xattrs, leftOut }: Extract<Told, { kind: 'unpacked' }>,
  opaque: readonly string[],
  directory: string,
): void {
  // Of many that were left out only the first are told.
  const mayLack = leftOut.some(({ what }) => what === OPAQUE_XATTR) || xattrs > leftOut.length;
  if (devices === 0 && !(opaque.length > 0 && mayLack)) return;
  const what = devices > 0 ? 'whiteouts (device nodes 0:0, Linux 5.8)' : 'extended attributes of users';
  throw new ImageError(
    'SBX_IMAGE_UNPACK',
    `the layers of the image need ${what}, which the file system of ${directory} does not take`,
    {},
    { remedy: 'set XDG_CACHE_HOME to a directory of another file system' },
  );
}

/** The stream for the launcher, and what is known of the archives it is made from. */
class Reading {
  readonly facts: ArchiveFacts[] = [];
  readonly #sources: readonly ArchiveSource[];
  readonly #layers: Layers;
  readonly #limits: ArchiveLimits;
  #present = '';

  constructor(sources: readonly ArchiveSource[], layers: Layers, limits: ArchiveLimits) {
    this.#sources = sources;
    this.#layers = layers;
    this.#limits = limits;
  }

  async *records(): AsyncGenerator<Uint8Array, void, undefined> {
    yield header();
    for (const { name, content, select } of this.#sources) {
      this.#present = name;
      const opened = await openArchive(content, name, this.#limits);
      yield* this.#layers.archive(select === undefined ? opened.entries : select(opened.entries), name);
      this.facts.push(opened.facts());
    }
    yield* this.#layers.end();
  }

  /** The launcher is some records behind, so that it names the path and not the entry. */
  explain({ syscall, errno, path, detail }: Extract<Told, { kind: 'failed' }>, directory: string): ImageError {
    const place = path === undefined ? directory : `'${shown(path)}'`;
    const what = errno === undefined ? (detail ?? 'it failed') : (reasons[errno] ?? 'it could not be written');
    const call = errno === undefined ? '' : ` (${errno} from ${syscall}(2))`;
    return new ImageError(
      'SBX_IMAGE_UNPACK',
      `${about({ archive: this.#present })}: cannot write ${place}: ${what}${call}`,
      { archive: this.#present, syscall, errno },
      { remedy: errno === undefined ? undefined : remedies[errno] },
    );
  }
}

const reasons: Readonly<Record<string, string>> = {
  ELOOP: 'the way to it leads through a symlink of the archive',
  ENOTDIR: 'what is above it is no directory',
  EISDIR: 'a directory is there already, and it is none',
  ENOENT: 'it is a hard link to what the archive has not had yet',
  EXDEV: 'the way to it leads out of the directory',
  EPERM: 'the kernel refuses it',
  ENOSPC: 'there is no room left',
  EDQUOT: 'the quota is used up',
  EFBIG: 'it is larger than the file system takes',
  ENAMETOOLONG: 'its name is longer than the file system takes',
};

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'unpack it where there is more room',
  EDQUOT: 'unpack it where there is more room',
};

interface Target {
  readonly path: string;
  /** Ours, to be removed again. */
  readonly made: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

async function prepareTarget(directory: string): Promise<Target> {
  const path = resolve(directory);
  const refuse = (what: string, remedy: string, cause?: unknown): ImageError =>
    new ImageError('SBX_IMAGE_UNPACK', `cannot unpack into ${path}: ${what}`, {}, { remedy, cause });
  try {
    await mkdir(path, { mode: 0o700 });
    const { uid, gid } = await stat(path);
    return { path: await realpath(path), made: true, mode: 0o700, uid, gid };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw refuse(`there is no directory to make ${basename(path)} in`, 'make that first', error);
    if (code !== 'EEXIST') throw refuse(`it cannot be made (${code})`, 'choose another directory', error);
  }
  const found = await stat(path);
  if (!found.isDirectory()) throw refuse('it is no directory', 'choose another one');
  if ((await readdir(path)).length > 0) throw refuse('it is not empty', 'choose another one, or empty it');
  const mode = found.mode & ~constants.S_IFMT;
  return { path: await realpath(path), made: false, mode, uid: found.uid, gid: found.gid };
}

/** Removes all of a directory, and the directory: what is in it may belong to ids that only the sandbox has, and its modes may keep its owner out. */
export async function removeUnpacked(directory: string): Promise<void> {
  const { uid, gid } = await stat(directory);
  const target: Target = { path: directory, made: true, mode: 0o700, uid, gid };
  const sandbox = await UnpackSandbox.over(directory);
  const told = await sandbox.write(removal(target, sandbox), undefined);
  if (told.kind === 'failed') {
    const { path = '', errno, syscall } = told;
    throw new ImageError(
      'SBX_IMAGE_UNPACK',
      `cannot remove '${shown(path)}' of ${directory} (${errno} from ${syscall}(2))`,
      {
        syscall,
        errno,
      },
    );
  }
  await rmdir(directory);
}

async function removeAll(sandbox: UnpackSandbox | undefined, target: Target, failure: unknown): Promise<void> {
  try {
    if (sandbox !== undefined) await sandbox.write(removal(target, sandbox), undefined);
    if (target.made) await rmdir(target.path);
  } catch (error) {
    // What failed first says more; but who reads it must know of this.
    if (failure instanceof Error) {
      failure.message += `; and what was unpacked could not be removed from ${target.path}: ${(error as Error).message}`;
    }
  }
}

async function* removal(
  { mode, uid, gid }: Target,
  sandbox: UnpackSandbox,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header();
  yield emptyRecord('', []);
  const now = Date.now();
  const time = { seconds: Math.floor(now / 1000), nanoseconds: 0 };
  yield attributesRecord('', { mode, ...sandbox.idsInside(uid, gid), ...time, xattrs: new Map() });
  yield endRecord();
}
