// What a command changed in views of directories, in the words of who looks at it.

import type { CapturedView } from '../spec/captures.ts';
import type { CapturedImage } from './store.ts';

export type ChangedType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device';

export interface Change {
  readonly kind: 'added' | 'modified' | 'deleted';
  /** Of what is there now; for `deleted` of what was. */
  readonly type: ChangedType;
  /** Where the command saw it. A name that is no UTF-8 has U+FFFD for what is none. */
  readonly path: string;
  /** Where `apply` puts it, on this host; absent for those of an image. */
  readonly source?: string;
  /** Of a file, in bytes: now, and as it was. */
  readonly sizeBytes?: number;
  readonly previousSizeBytes?: number;
  /** Why nobody has looked into it, or why it cannot be applied: a directory that lies too deep, a device. */
  readonly problem?: string;
}

export type ExportFormat = 'tar' | 'oci-layer';

export interface ApplyReport {
  readonly applied: number;
  /** What was left out, and why: what may not be made for a captured change, such as a set-user-ID bit. */
  readonly skipped: readonly { readonly source: string; readonly because: string }[];
}

/**
 * Captured changes, on a disk of this host until they are discarded. What they hold was written by the command: nothing of it is followed or executed here,
 * and whoever looks at it should trust it no more than the command.
 */
export interface Changes extends AsyncDisposable {
  /** For `openChanges`, and for `run-sandbox changes`. */
  readonly id: string;
  /** Of this host, where they are. */
  readonly directory: string;
  readonly views: readonly CapturedView[];
  /** What the root was a view of, where that was an image. */
  readonly image?: CapturedImage;
  readonly command: readonly string[];
  readonly startedAt: Date;
  /** Directories before what they hold. What has only a new time of modification is not among them. */
  readonly entries: readonly Change[];
  /** As git shows them, and `git apply` reads them; files that are no text, or larger than 8 MiB, are only named. */
  diff(): Promise<string>;
  /**
   * Does to the sources what the command did to its views of them; then the capture is gone. Never follows a symlink out of a source.
   *
   * @throws {ChangesError} `SBX_CHANGES_CONFLICT` when a source has changed since the run began: nothing was applied, and all conflicts are named.
   */
  apply(): Promise<ApplyReport>;
  /**
   * What was added and modified as a tar archive, of each view by the names in it (of several by where the command saw them); as a layer of an image by
   * the names in its root, with marks for what was deleted. Extended attributes, and what cannot be applied either, are not in it.
   */
  export(format?: ExportFormat): AsyncIterable<Uint8Array>;
  /** Throws them away. Idempotent. */
  discard(): Promise<void>;
}

/** What a list shows of captured changes without looking at them. */
export interface CaptureSummary extends Pick<Changes, 'id' | 'directory' | 'views' | 'command' | 'startedAt'> {}
