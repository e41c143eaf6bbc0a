// Captured changes as an archive: what was added and modified, and for a layer of an image also what was deleted (OCI image-spec, "Image Layer Filesystem
// Changeset").
import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs';
import { padding, type TarEntry, tarEnd, tarHeader } from '../archive/tar-writer.ts';
import type { Difference } from './compare.ts';
import type { NameId } from './ids.ts';
import type { Lower } from './lower.ts';
import { bytesOf, join, nameOf, parentOf, rawOf } from './raw.ts';
import type { ExportFormat } from './types.ts';

const CHUNK = 1 << 18;
const WHITEOUT = '.wh.';

export interface ExportedView {
  readonly upper: string;
  readonly lower: Lower;
  /** Of the names in the archive, which are relative. */
  readonly prefix: string;
  readonly differences: readonly Difference[];
}

/** Owners are those that the command saw. */
export function* exportViews(
  format: ExportFormat,
  views: readonly ExportedView[],
  names: NameId,
): Generator<Uint8Array> {
  for (const view of views) yield* exportView(format, view, names);
  yield tarEnd();
}

function* exportView(format: ExportFormat, view: ExportedView, names: NameId): Generator<Uint8Array> {
  const prefix = rawOf(view.prefix).replace(/^\/+/, '');
  const told = new Set<string>();
  for (const difference of view.differences) {
    if (difference.problem !== undefined || (format === 'tar' && difference.after === undefined)) continue;
    // Whoever unpacks a layer alone would make up the directories on the way.
    if (format === 'oci-layer') yield* parentsOf(difference.path, { ...view, prefix }, names, told);
    const name = join(prefix, difference.path);
    if (difference.after === undefined) {
      const path = join(parentOf(name), `${WHITEOUT}${nameOf(name)}`);
      yield tarHeader({ type: 'file', path, mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0 });
    } else yield* exportEntry(difference, difference.after, name, view, names);
    told.add(difference.path);
  }
}

/** The top of a view is one of them, unless it is the root. */
function* parentsOf(
  path: string,
  view: Pick<ExportedView, 'lower' | 'prefix'>,
  names: NameId,
  told: Set<string>,
): Generator<Uint8Array> {
  const { lower, prefix } = view;
  const parent = parentOf(path);
  if (told.has(parent)) return;
  told.add(parent);
  if (parent !== '') yield* parentsOf(parent, view, names, told);
  const name = parent === '' ? prefix : join(prefix, parent);
  const status = lower.status(parent);
  if (name === '' || status?.isDirectory() !== true) return;
  const mode = Number(status.mode) & 0o7777;
  const [uid, gid] = [names('uid', Number(status.uid)), names('gid', Number(status.gid))];
  yield tarHeader({ type: 'directory', path: name, mode, uid, gid, mtime: Number(status.mtimeMs) / 1000 });
}

function* exportEntry(
  { type }: Difference,
  { mode, uid, gid, mtime, path, size }: NonNullable<Difference['after']>,
  name: string,
  { upper }: ExportedView,
  names: NameId,
): Generator<Uint8Array> {
  const common = { path: name, mode, uid: names('uid', uid), gid: names('gid', gid), mtime };
  const from = bytesOf(join(rawOf(upper), path));
  if (type === 'symlink') {
    yield tarHeader({ ...common, type, target: readlinkSync(from, { encoding: 'buffer' }).toString('latin1') });
  } else if (type === 'directory') yield tarHeader({ ...common, type });
  else yield* exportFile({ ...common, type: 'file', size }, from, size);
}

function* exportFile(entry: TarEntry, from: Buffer, size: number): Generator<Uint8Array> {
  const descriptor = openSync(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    yield tarHeader(entry);
    for (let left = size; left > 0; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, left));
      const length = readSync(descriptor, chunk);
      // Nobody writes to it any more; should somebody, the archive stays one.
      if (length === 0) throw new Error(`${from.toString()} is shorter than it was`);
      yield chunk.subarray(0, length);
      left -= length;
    }
    yield padding(size);
  } finally {
    closeSync(descriptor);
  }
}
