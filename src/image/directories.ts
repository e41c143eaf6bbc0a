// Directories with nothing in them, as a tree: what is laid over layers whose own directories have the wrong attributes.
import { ImageError } from '../errors/errors.ts';
import { attributesRecord, endRecord, entryRecord, type FileAttributes, header } from './records.ts';
import { type Told, UnpackSandbox } from './unpack-sandbox.ts';

/** `name` as in archives, clean and relative; `''` is the top. Owners are those of this host. */
export interface EmptyDirectory extends FileAttributes {
  readonly name: string;
}

/**
 * Makes them, those above others first, in `directory`, which is empty, absolute and without symlinks. Returns how many.
 *
 * @throws {ImageError} `SBX_IMAGE_UNPACK`
 */
export async function writeDirectories(
  directory: string,
  directories: readonly EmptyDirectory[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const sandbox = await UnpackSandbox.over(directory);
  const told = await sandbox.write(records(sandbox, directories), signal);
  if (told.kind === 'failed') throw failure(told, directory);
  return told.entries;
}

async function* records(
  sandbox: UnpackSandbox,
  directories: readonly EmptyDirectory[],
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header();
  const rest = { kind: 'directory', target: '', size: 0, major: 0, minor: 0, replacesDirectory: false } as const;
  for (const one of directories) yield entryRecord({ ...one, ...rest });
  // The deepest first: a mode may close what is below.
  for (const { name, uid, gid, ...attributes } of directories.toReversed())
    yield attributesRecord(name, { ...attributes, ...sandbox.idsInside(uid, gid) });
  yield endRecord();
}

function failure({ errno, syscall, detail }: Extract<Told, { kind: 'failed' }>, directory: string): ImageError {
  const why = errno === undefined ? (detail ?? 'it failed') : `${errno} from ${syscall}(2)`;
  return new ImageError('SBX_IMAGE_UNPACK', `cannot write directories of an image to ${directory}: ${why}`);
}
