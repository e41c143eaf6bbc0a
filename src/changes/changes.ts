// Captured changes, as an object: listed when somebody asks, from what lies on the disk.
import { SandboxError } from '../errors/errors.ts';
import type { CapturedView } from '../spec/captures.ts';
import { type Capture, type CapturedImage, removeCapture } from './store.ts';
import type { ApplyReport, CaptureSummary, Change, Changes, ExportFormat } from './types.ts';
import { type Work, workHere } from './work.ts';

/** @throws {SandboxError} `SBX_CHANGES_UNREADABLE` */
export async function changesOf(capture: Capture): Promise<Changes> {
  const work = isOfRanges(capture)
    ? await (await import('./in-ranges.ts')).workInRanges(capture)
    : await workHere(capture);
  return new CapturedChanges(capture, work);
}

/** Without a look at them, which there may be too many for. */
export async function discardCapture(capture: Capture): Promise<void> {
  try {
    removeCapture(capture);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // In directories of the caller's even what is another's may be removed; in those of others nothing.
    if (!isOfRanges(capture) || (code !== 'EACCES' && code !== 'EPERM')) throw error;
    await (await import('./in-ranges.ts')).emptyInRanges(capture);
    removeCapture(capture);
  }
}

/** For root nothing is out of reach. */
function isOfRanges({ ids }: Capture): boolean {
  return ids?.ranges === true && process.geteuid?.() !== 0;
}

class CapturedChanges implements Changes {
  readonly id: string;
  readonly directory: string;
  readonly command: readonly string[];
  readonly startedAt: Date;
  readonly entries: readonly Change[];
  readonly views: readonly CapturedView[];
  readonly image?: CapturedImage;
  readonly #work: Work;
  readonly #capture: Capture;

  constructor(capture: Capture, work: Work) {
    ({ id: this.id, directory: this.directory, command: this.command, startedAt: this.startedAt } = summaryOf(capture));
    this.views = capture.views;
    if (capture.image !== undefined) this.image = capture.image;
    this.entries = work.entries;
    this.#work = work;
    this.#capture = capture;
  }

  diff(): Promise<string> {
    return this.#work.diff();
  }

  export(format: ExportFormat = 'tar'): AsyncGenerator<Uint8Array> {
    return this.#work.export(format);
  }

  async apply(): Promise<ApplyReport> {
    const image = this.views.find(({ layers }) => layers !== undefined);
    if (image !== undefined)
      throw new SandboxError(
        'SBX_CHANGES_IMAGE',
        `these are changes of the image ${image.source}, which stays as it is`,
        {
          remedy: 'export them, as a layer of another image or as an archive',
        },
      );
    const report = await this.#work.apply();
    await this.discard();
    return report;
  }

  discard(): Promise<void> {
    return discardCapture(this.#capture);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.discard();
  }
}

export function summaryOf({ id, directory, views, command, startedNs }: Capture): CaptureSummary {
  return { id, directory, views, command, startedAt: new Date(Number(BigInt(startedNs) / 1_000_000n)) };
}
