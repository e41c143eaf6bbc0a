// A run of an image where no overlay can be had: over a copy of its own, which goes with it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Directory } from '../host/directory.ts';
import { mergeLayers } from '../image/merge.ts';
import { openStore } from '../image/open/open.ts';
import type { RootLayer } from '../spec/layered-root.ts';
import type { NormalizedRoot } from '../spec/types.ts';
import type { AroundRun } from './around.ts';
import type { Prepared } from './plan.ts';

export class CopiedRun implements AroundRun {
  readonly #layers: readonly RootLayer[];
  readonly #ranges: boolean;
  readonly #missing: NormalizedRoot['missingMountPoints'];
  readonly #plan: (directory: string, notes: readonly string[]) => Prepared | Promise<Prepared>;
  /** Of this process, so that `collectImages` removes it when that was killed. */
  readonly #work = openStore().store.layers.makeWork();

  /**
   * `ranges`: whether the layers belong to ranges of ids of the caller's. `missing`: mount points that the image lacks, whose parents lead through no
   * symlink of it.
   */
  constructor(
    { layers, ranges }: { readonly layers: readonly RootLayer[]; readonly ranges: boolean },
    missing: NormalizedRoot['missingMountPoints'],
    plan: (directory: string, notes: readonly string[]) => Prepared | Promise<Prepared>,
  ) {
    this.#layers = layers;
    this.#ranges = ranges;
    this.#missing = missing;
    this.#plan = plan;
  }

  async start(): Promise<Prepared> {
    const directory = join(this.#work, 'root');
    const leftOut = await this.#merge(directory);
    for (const { path, kind } of this.#missing) {
      const place = join(directory, path);
      mkdirSync(kind === 'directory' ? place : dirname(place), { recursive: true });
      if (kind === 'file') writeFileSync(place, '', { flag: 'wx' });
    }
    const notes = [...leftOut].map(([what, count]) => `${count} of the kind ${what} could not be copied`);
    return await this.#plan(directory, notes);
  }

  async #merge(directory: string): Promise<ReadonlyMap<string, number>> {
    if (this.#ranges) return await (await import('../changes/in-ranges.ts')).mergeInRanges(this.#layers, directory);
    return mergeLayers(this.#layers, directory, { keepsOwners: process.geteuid?.() === 0 });
  }

  async finish(): Promise<undefined> {}

  /** Not in a sandbox, of which there may be none: by descriptor, whatever the command has put there. */
  async release(): Promise<void> {
    using parent = Directory.open(dirname(this.#work));
    parent.remove(basename(this.#work));
  }
}
