// What references stand for: which layers, and which document says how they are run. A reference to a file counts as long as that is the very file.
import { readdirSync, readFileSync, renameSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashOf, parseOwn, workName } from './place.ts';

export type RecordedKind = 'aci' | 'oci' | 'tar';

/** A file as it was when it was read: one that was written to since has another of these (stat(2)). */
export interface FileIdentity {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}

/** An archive of App Container as it was read. */
export interface RecordedArchive {
  /** Of its image. */
  readonly id: string;
  readonly name: string;
  /** Without symlinks. */
  readonly path: string;
  /** `sha256:` of its bytes, compressed as they were. */
  readonly digest: string;
}

export interface ImageRecord {
  readonly version: 1;
  /** As a person would write it. */
  readonly reference: string;
  readonly kind: RecordedKind;
  /** Of the manifest of OCI, `sha256:...`; the image ID of App Container, `sha512-...`; of a tar archive the hash of what it is uncompressed. */
  readonly id: string;
  /** The uppermost first. */
  readonly layers: readonly string[];
  /** A layer that comes above them, and is none of the image's own: directories that some of them only imply, as lower ones have them. */
  readonly directories?: string | undefined;
  /** Of App Container: the image's own, and those of the images that it depends on. */
  readonly archives?: readonly RecordedArchive[];
  /** The image manifest of App Container, the configuration of OCI. Nothing for a tar archive. */
  readonly document: string | undefined;
  /** Where it was read from, unless that was a registry. */
  readonly file: FileIdentity | undefined;
  readonly createdMs: number;
}

export function identify(path: string, { dev, ino, size, mtimeMs, ctimeMs }: Stats = statSync(path)): FileIdentity {
  return { path, dev, ino, size, mtimeMs, ctimeMs };
}

export class RecordStore {
  readonly #directory: string;
  readonly #work: string;

  constructor(store: string) {
    this.#directory = join(store, 'images');
    this.#work = join(store, 'work');
  }

  /** `undefined` where nothing is known of the reference, or the file that it names is another one by now. */
  find(reference: string): ImageRecord | undefined {
    const record = this.#read(this.#fileOf(reference));
    if (record?.file === undefined) return record;
    const now = statSync(record.file.path, { throwIfNoEntry: false });
    return now !== undefined && isSame(record.file, identify(record.file.path, now)) ? record : undefined;
  }

  put(record: ImageRecord): void {
    // Whole or not at all, whenever this process is killed.
    const beside = join(this.#work, `${workName()}.json`);
    writeFileSync(beside, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    renameSync(beside, this.#fileOf(record.reference));
  }

  remove({ reference }: ImageRecord): void {
    rmSync(this.#fileOf(reference), { force: true });
  }

  list(): ImageRecord[] {
    const records = readdirSync(this.#directory).map((name) => this.#read(join(this.#directory, name)));
    return records.filter((record) => record !== undefined).sort((a, b) => (a.reference < b.reference ? -1 : 1));
  }

  #fileOf(reference: string): string {
    return join(this.#directory, `${hashOf(reference)}.json`);
  }

  #read(file: string): ImageRecord | undefined {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const record = parseOwn<ImageRecord>(text, file);
    return record.version === 1 ? record : undefined;
  }
}

function isSame(a: FileIdentity, b: FileIdentity): boolean {
  return (['dev', 'ino', 'size', 'mtimeMs', 'ctimeMs'] as const).every((key) => a[key] === b[key]);
}
