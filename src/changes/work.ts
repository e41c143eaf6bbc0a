// What can be done with captured changes where this process may read and remove them: as root, or as whom they belong to.

import type { CapturedView } from '../spec/captures.ts';
import { applyAll, type GivesOwners } from './apply.ts';
import { openClosed, withAccess } from './closed.ts';
import { compare, type Difference } from './compare.ts';
import { type CapturedIds, namesOf } from './ids.ts';
import { type Lower, lowerOf } from './lower.ts';
import { join, textOf } from './raw.ts';
import { type Capture, viewDirectories } from './store.ts';
import type { ApplyReport, Change, ExportFormat } from './types.ts';
import { listUpper, type UpperEntry } from './upper.ts';

/** One way to do it: here, or in a sandbox (in-ranges.ts). */
export interface Work {
  readonly entries: readonly Change[];
  diff(): Promise<string>;
  export(format: ExportFormat): AsyncGenerator<Uint8Array>;
  /** The capture stays. */
  apply(): Promise<ApplyReport>;
}

interface View {
  readonly view: CapturedView;
  readonly upper: string;
  readonly lower: Lower;
  readonly entries: readonly UpperEntry[];
  readonly differences: readonly Difference[];
}

export interface WorkOptions {
  /** The ids that this process has, where it is in a user namespace for the sake of the changes. */
  readonly own?: Pick<CapturedIds, 'uid' | 'gid'>;
}

/** @throws {SandboxError} `SBX_CHANGES_UNREADABLE` */
export async function workHere(capture: Capture, { own }: WorkOptions = {}): Promise<Work> {
  const views: View[] = [];
  for (const [index, view] of capture.views.entries()) {
    const upper = `${viewDirectories(capture.directory, capture.views)[index]}/upper`;
    const entries = await listUpper(upper);
    const lower = lowerOf(view);
    const differences = await withAccess(upper, entries, () => compare(upper, lower, entries));
    views.push({ view, upper, lower, entries, differences });
  }
  return new WorkHere(capture, views, own);
}

class WorkHere implements Work {
  readonly entries: readonly Change[];
  readonly #capture: Capture;
  readonly #views: readonly View[];
  readonly #own: WorkOptions['own'];

  constructor(capture: Capture, views: readonly View[], own: WorkOptions['own']) {
    this.entries = views.flatMap(({ view, differences }) => differences.map((each) => changeOf(view, each)));
    this.#capture = capture;
    this.#views = views;
    this.#own = own;
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

  async *export(format: ExportFormat): AsyncGenerator<Uint8Array> {
    const { exportViews } = await import('./export.ts');
    const several = this.#views.length > 1 || format === 'oci-layer';
    const exported = this.#views.map(({ view: { destination }, upper, lower, differences }) => {
      return { upper, lower, prefix: several ? destination : '', differences };
    });
    const names = namesOf(this.#capture.ids, this.#own);
    // Closed again only when the reader has it all, or goes away.
    const opened = this.#views.map(({ upper, entries }) => openClosed(upper, entries));
    try {
      yield* exportViews(format, exported, names);
    } finally {
      for (const close of opened) close();
    }
  }

  async apply(): Promise<ApplyReport> {
    const { id } = this.#capture;
    const works = this.#views.map(({ view, upper, differences }) => ({ id, upper, source: view.source, differences }));
    const opened = this.#views.reduceRight<() => Promise<ApplyReport>>(
      (inner, { upper, entries }) =>
        () =>
          withAccess(upper, entries, inner),
      async () => applyAll(works, BigInt(this.#capture.startedNs), this.#owners()),
    );
    return await opened();
  }

  #owners(): GivesOwners {
    if (this.#own !== undefined) return 'known';
    return process.getuid?.() === 0 ? 'all' : 'none';
  }
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
