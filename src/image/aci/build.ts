// An App Container image of a directory and a manifest. The same content gives the same archive, and so the same image ID.
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { BuildCompression } from '../../archive/compressions.ts';
import { padding, tarEnd, tarHeader } from '../../archive/tar-writer.ts';
import { ImageError, type SpecIssue } from '../../errors/errors.ts';
import { readDocumentFile } from '../document-file.ts';
import { gathered } from '../gathered.ts';
import { compressTo, requireCompressor } from './compress.ts';
import { type AciManifest, parseAciManifest } from './manifest.ts';
import { Tree } from './tree.ts';

export interface BuildOptions {
  /** `bzip2` and `xz` by the programs of those names. @defaultValue `'gzip'` */
  readonly compression?: BuildCompression;
  /** Of every file in the image. @defaultValue each has its own */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /**
   * Files that changed later than this, in seconds since 1970, are given this time: SOURCE_DATE_EPOCH of reproducible-builds.org.
   *
   * @defaultValue each has its own, to the nanosecond
   */
  readonly sourceDateEpoch?: number;
  /** Replace `file` where it exists. @defaultValue false: that is an error */
  readonly overwrite?: boolean;
  /** Ends it; nothing of it is left. */
  readonly signal?: AbortSignal;
}

export interface BuildReport {
  readonly file: string;
  readonly name: string;
  /** `sha512-` and the hash of the uncompressed archive. */
  readonly imageId: string;
  readonly compression: BuildCompression;
  readonly compressedBytes: number;
  /** Of the uncompressed archive. */
  readonly bytes: number;
  /** The manifest and the rootfs are among them. */
  readonly entries: number;
  readonly leftOut: {
    readonly sockets: number;
    /** Node cannot read them, nor tell whether there are any: security.capability, user.* and access lists are never in the image. */
    readonly xattrs: 'not-read';
    /** At most 100 paths. */
    readonly first: readonly string[];
  };
  /** What the manifest has and nobody knows. */
  readonly notes: readonly SpecIssue[];
}

const SHOWN_MAX = 100;
const MANIFEST = { type: 'file', path: 'manifest', mode: 0o644, uid: 0, gid: 0, mtime: 0 } as const;

/**
 * Makes `file`, which must end in `.aci`, of `directory` as the rootfs and the image manifest in `manifest`, which is taken as it is, byte by byte.
 *
 * It is written beside `file` and gets that name when it is whole. Of each file its name, content, owner, mode and time count; nothing is followed out of the
 * directory. Holes are written out as zeros.
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID` where the manifest is not valid, `SBX_IMAGE_BUILD` for anything else.
 */
export async function buildImage(
  directory: string,
  manifest: string,
  file: string,
  options: BuildOptions = {},
): Promise<BuildReport> {
  const { compression = 'gzip' } = options;
  const target = resolve(file);
  const prepared = prepare(directory, manifest, target, options);
  const temporary = join(dirname(target), `.${basename(target).slice(0, 200)}.${randomBytes(6).toString('hex')}`);
  const descriptor = create(temporary, target);
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    const tree = new Tree(
      prepared.directory,
      'rootfs',
      { dev, ino },
      { owner: options.owner, mtimeMax: options.sourceDateEpoch },
    );
    const archive = new Archive(prepared.document, tree);
    const sink = new Sink(descriptor);
    await compressTo(compression, Readable.from(gathered(archive.pieces())), sink, options.signal).catch((error) => {
      throw explained(error, target);
    });
    fsyncSync(descriptor);
    // A signal that came with the last bytes counts too.
    options.signal?.throwIfAborted();
    publish(temporary, target, options.overwrite ?? false);
    return {
      file: target,
      name: prepared.manifest.name,
      imageId: archive.imageId(),
      compression,
      compressedBytes: sink.bytes,
      bytes: archive.bytes,
      entries: tree.entries + 1,
      leftOut: { sockets: tree.sockets.length, xattrs: 'not-read', first: tree.sockets.slice(0, SHOWN_MAX) },
      notes: prepared.manifest.notes,
    };
  } finally {
    closeSync(descriptor);
    remove(temporary);
  }
}

interface Prepared {
  readonly directory: string;
  readonly document: Uint8Array;
  readonly manifest: AciManifest;
}

/** Everything that can be wrong before a byte is written, all of it at once. */
function prepare(directory: string, manifestFile: string, target: string, options: BuildOptions): Prepared {
  const problems: string[] = [];
  if (!target.endsWith('.aci')) problems.push(`${target}: the name of an App Container image ends in .aci`);
  problems.push(...whyNoTarget(target, options.overwrite ?? false));
  const problem = whyNoDirectory(directory);
  if (problem !== undefined) problems.push(problem);
  for (const attempt of [() => requireCompressor(options.compression ?? 'gzip'), () => checkNumbers(options)]) {
    try {
      attempt();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problems.push(error.message);
    }
  }
  const issues: SpecIssue[] = problems.map((message) => ({ path: [], message }));
  try {
    const document = readDocumentFile(manifestFile);
    const manifest = parseAciManifest(document);
    if (issues.length === 0) return { directory: realpathSync(directory), document, manifest };
  } catch (error) {
    if (!(error instanceof ImageError) || issues.length === 0) throw error;
    if (error.issues.length === 0) issues.push({ path: [], message: error.message });
    for (const { path, message } of error.issues) issues.push({ path: ['manifest', ...path], message });
  }
  throw new ImageError('SBX_IMAGE_BUILD', 'the image cannot be built', { issues });
}

function whyNoTarget(target: string, overwrite: boolean): string[] {
  const above = whyNoDirectory(dirname(target));
  if (above !== undefined) return [above];
  const found = statSync(target, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) return [`${target}: it is a directory`];
  if (found === undefined || overwrite) return [];
  return [`${target}: it exists already; remove it, or overwrite it (--force)`];
}

function whyNoDirectory(path: string): string | undefined {
  try {
    return statSync(path).isDirectory() ? undefined : `${path}: it is no directory`;
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    return `${path}: it ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code} from ${syscall}(2))`}`;
  }
}

const ID_MAX = 4_294_967_294;

function checkNumbers({ owner, sourceDateEpoch }: BuildOptions): void {
  const refuse = (message: string): never => {
    throw new ImageError('SBX_IMAGE_BUILD', message);
  };
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id <= ID_MAX;
  if (owner !== undefined && !(isId(owner.uid) && isId(owner.gid)))
    refuse(`the owner must be two ids up to ${ID_MAX}, not ${owner.uid}:${owner.gid}`);
  if (sourceDateEpoch !== undefined && !(Number.isSafeInteger(sourceDateEpoch) && sourceDateEpoch >= 0))
    refuse(`SOURCE_DATE_EPOCH must be seconds since 1970, not ${sourceDateEpoch}`);
}

/** What is written, and its hash. */
class Archive {
  readonly #hash = createHash('sha512');
  readonly #manifest: Uint8Array;
  readonly #tree: Tree;
  bytes = 0;

  constructor(manifest: Uint8Array, tree: Tree) {
    this.#manifest = manifest;
    this.#tree = tree;
  }

  *pieces(): Generator<Uint8Array, void, undefined> {
    for (const piece of this.#all()) {
      this.#hash.update(piece);
      this.bytes += piece.length;
      yield piece;
    }
  }

  /** The manifest first: who wants it alone need not read on. Of no time of its own: only what it says counts. */
  *#all(): Generator<Uint8Array, void, undefined> {
    const size = this.#manifest.length;
    yield tarHeader({ ...MANIFEST, size });
    yield this.#manifest;
    yield padding(size);
    yield* this.#tree.pieces();
    yield tarEnd();
  }

  imageId(): string {
    return `sha512-${this.#hash.digest('hex')}`;
  }
}

/** A stream of node:fs closes its descriptor when it fails, whatever it is told, and may be writing still. */
class Sink extends Writable {
  readonly #descriptor: number;
  bytes = 0;

  constructor(descriptor: number) {
    super();
    this.#descriptor = descriptor;
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    try {
      for (let rest = chunk; rest.length > 0; ) {
        const length = writeSync(this.#descriptor, rest);
        this.bytes += length;
        rest = rest.subarray(length);
      }
    } catch (error) {
      done(error as Error);
      return;
    }
    // Reading does not wait for anything either: signals and timers need their turn.
    setImmediate(done);
  }
}

function create(temporary: string, target: string): number {
  try {
    return openSync(temporary, 'wx', 0o666);
  } catch (error) {
    throw explained(error, target);
  }
}

function explained(error: unknown, target: string): unknown {
  if (error instanceof ImageError || !(error instanceof Error) || !('syscall' in error)) return error;
  const { code: errno, syscall } = error as NodeJS.ErrnoException;
  const isFull = errno === 'ENOSPC' || errno === 'EDQUOT';
  const what = isFull ? 'there is no room left' : 'it cannot be written';
  return new ImageError(
    'SBX_IMAGE_BUILD',
    `${target}: ${what} (${errno} from ${syscall}(2))`,
    { errno, syscall },
    { remedy: isFull ? 'write it where there is more room' : undefined, cause: error },
  );
}

/** What came there meanwhile is not replaced either. */
function publish(temporary: string, target: string, overwrite: boolean): void {
  try {
    if (overwrite || !mayLink(temporary, target)) renameSync(temporary, target);
  } catch (error) {
    throw explained(error, target);
  }
}

/** link(2) refuses where something is, which rename(2) does not. Returns whether the file system has hard links. */
function mayLink(temporary: string, target: string): boolean {
  try {
    linkSync(temporary, target);
    return true;
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EMLINK'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  if (existsSync(target)) throw Object.assign(new Error('it exists'), { code: 'EEXIST', syscall: 'link' });
  return false;
}

function remove(temporary: string): void {
  try {
    unlinkSync(temporary);
  } catch (error) {
    // It was renamed.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
