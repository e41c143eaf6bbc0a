// A run of an image where no overlay can be had: over a copy of its own, which goes with it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Directory } from '../host/directory.ts';
import { mergeLayers } from '../image/merge.ts';
import { openStore } from '../image/open/open.ts';
import type { RootLayer } from '../spec/layered-root.ts';
import type { NormalizedRoot } from '../spec/types.ts';
import type { AroundRun } from './around.ts';
import type { Prepared } from './launch.ts';

export class CopiedRun implements AroundRun {
  readonly #layers: readonly RootLayer[];
  readonly #missing: NormalizedRoot['missingMountPoints'];
  readonly #plan: (directory: string, notes: readonly string[]) => Prepared | Promise<Prepared>;
  /** Of this process, so that `collectImages` removes it when that was killed. */
  readonly #work = openStore().store.layers.makeWork();

  /** `missing`: mount points that the image lacks, whose parents lead through no symlink of it. */
  constructor(
    layers: readonly RootLayer[],
    missing: NormalizedRoot['missingMountPoints'],
    plan: (directory: string, notes: readonly string[]) => Prepared | Promise<Prepared>,
  ) {
    this.#layers = layers;
    this.#missing = missing;
    this.#plan = plan;
  }

  async start(): Promise<Prepared> {
    const directory = join(this.#work, 'root');
    const leftOut = mergeLayers(this.#layers, directory);
    for (const { path, kind } of this.#missing) {
      const place = join(directory, path);
      mkdirSync(kind === 'directory' ? place : dirname(place), { recursive: true });
      if (kind === 'file') writeFileSync(place, '', { flag: 'wx' });
    }
    const notes = [...leftOut].map(([what, count]) => `${count} of the kind ${what} could not be copied`);
    return await this.#plan(directory, notes);
  }

  async finish(): Promise<undefined> {}

  /** Not in a sandbox, of which there may be none: by descriptor, whatever the command has put there. */
  async release(): Promise<void> {
    using parent = Directory.open(dirname(this.#work));
    parent.remove(basename(this.#work));
  }
}
