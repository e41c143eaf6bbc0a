// Captured changes, as an object: listed when somebody asks, from what lies on the disk.
import { SandboxError } from '../errors/errors.ts';
import type { CapturedView } from '../spec/captures.ts';
import { applyAll } from './apply.ts';
import { openClosed, withAccess } from './closed.ts';
import { compare, type Difference } from './compare.ts';
import { type Lower, lowerOf } from './lower.ts';
import { join, textOf } from './raw.ts';
import { type Capture, type CapturedImage, removeCapture, viewDirectories } from './store.ts';
import type { ApplyReport, CaptureSummary, Change, Changes } from './types.ts';
import { listUpper, type UpperEntry } from './upper.ts';

interface View {
  readonly view: CapturedView;
  readonly upper: string;
  readonly lower: Lower;
  readonly entries: readonly UpperEntry[];
  readonly differences: readonly Difference[];
}

export async function changesOf(capture: Capture): Promise<Changes> {
  const views: View[] = [];
  for (const [index, view] of capture.views.entries()) {
    const upper = `${viewDirectories(capture.directory, capture.views)[index]}/upper`;
    const entries = await listUpper(upper);
    const lower = lowerOf(view);
    const differences = await withAccess(upper, entries, () => compare(upper, lower, entries));
    views.push({ view, upper, lower, entries, differences });
  }
  return new CapturedChanges(capture, views);
}

class CapturedChanges implements Changes {
  readonly id: string;
  readonly directory: string;
  readonly command: readonly string[];
  readonly startedAt: Date;
  readonly entries: readonly Change[];
  readonly views: readonly CapturedView[];
  readonly image?: CapturedImage;
  readonly #startedNs: bigint;
  readonly #views: readonly View[];

  constructor(capture: Capture, views: readonly View[]) {
    ({ id: this.id, directory: this.directory, command: this.command, startedAt: this.startedAt } = summaryOf(capture));
    this.views = capture.views;
    if (capture.image !== undefined) this.image = capture.image;
    this.entries = views.flatMap(({ view, differences }) => differences.map((each) => changeOf(view, each)));
    this.#startedNs = BigInt(capture.startedNs);
    this.#views = views;
  }

  async diff(): Promise<string> {
    const { diffOf } = await import('./diff.ts');
    const texts: string[] = [];
    for (const { view, upper, lower, entries, differences } of this.#views) {
      const prefix = this.#views.length === 1 ? '' : `${view.destination.slice(1)}/`;
      texts.push(await withAccess(upper, entries, () => diffOf(upper, lower, prefix, differences)));
    }
    return texts.join('');
  }

  async *export(format: 'tar' | 'oci-layer' = 'tar'): AsyncGenerator<Uint8Array> {
    const { exportViews } = await import('./export.ts');
    const several = this.#views.length > 1 || format === 'oci-layer';
    const exported = this.#views.map(({ view: { destination }, upper, lower, differences }) => {
      return { upper, lower, prefix: several ? destination : '', differences };
    });
    // Closed again only when the reader has it all, or goes away.
    const opened = this.#views.map(({ upper, entries }) => openClosed(upper, entries));
    try {
      yield* exportViews(format, exported);
    } finally {
      for (const close of opened) close();
    }
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
    const works = this.#views.map(({ view, upper, differences }) => ({ upper, source: view.source, differences }));
    const opened = this.#views.reduceRight<() => Promise<ApplyReport>>(
      (inner, { upper, entries }) =>
        () =>
          withAccess(upper, entries, inner),
      async () => applyAll(works, this.#startedNs),
    );
    const report = await opened();
    await this.discard();
    return report;
  }

  async discard(): Promise<void> {
    removeCapture(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.discard();
  }
}

export function summaryOf({ id, directory, views, command, startedNs }: Capture): CaptureSummary {
  return { id, directory, views, command, startedAt: new Date(Number(BigInt(startedNs) / 1_000_000n)) };
}

function changeOf(
  { source, destination, layers }: CapturedView,
  { kind, type, path, before, after, problem }: Difference,
): Change {
  const name = textOf(path);
  const sizes = {
    ...(after?.type === 'file' ? { sizeBytes: after.size } : {}),
    ...(before?.isFile() === true ? { previousSizeBytes: Number(before.size) } : {}),
  };
  const places = {
    path: join(destination, name),
    ...(layers === undefined ? { source: join(source, name) } : {}),
  };
  return { kind, type, ...places, ...sizes, ...(problem === undefined ? {} : { problem }) };
}
