// The images that were opened before, and the layers that they share.
import { basename, dirname, join } from 'node:path';
import { readCaptures } from '../../changes/store.ts';
import { LayerStore, type StoredLayer } from './layers.ts';
import { layersInUse } from './leases.ts';
import { withLock } from './lock.ts';
import { hashOf, prepareStore } from './place.ts';
import { type ImageRecord, RecordStore } from './records.ts';

/** An image whose layers are all there. */
export interface StoredImage {
  readonly record: ImageRecord;
  /** The uppermost first. */
  readonly layers: readonly StoredLayer[];
  /** Above them, where the image needs one. */
  readonly directories: StoredLayer | undefined;
}

export interface Collected {
  /** That were removed: nothing names them any more, and nobody uses them. */
  readonly layers: number;
  /** Of their content. */
  readonly bytes: number;
  /** Directories that killed processes left behind. */
  readonly unfinished: number;
  /** Images whose file is gone, or another one. */
  readonly images: number;
}

export class ImageStore {
  readonly directory: string;
  readonly layers: LayerStore;
  readonly records: RecordStore;

  /** @throws {ImageError} `SBX_IMAGE_STORE` */
  constructor(ownersKey: string) {
    this.directory = prepareStore(ownersKey);
    this.layers = new LayerStore(this.directory);
    this.records = new RecordStore(this.directory);
  }

  find(reference: string): StoredImage | undefined {
    const record = this.records.find(reference);
    return record === undefined ? undefined : withLayers(record, (name) => this.layers.find(name));
  }

  /** Where it is not there yet, `make` does that, while everybody else who wants it waits. `again`: also where it is. */
  async obtain(reference: string, again: boolean, make: () => Promise<ImageRecord>): Promise<StoredImage> {
    const found = again ? undefined : this.find(reference);
    if (found !== undefined) return found;
    return await withLock(join(this.directory, 'locks', hashOf('image', reference)), async () => {
      const madeMeanwhile = again ? undefined : this.find(reference);
      if (madeMeanwhile !== undefined) return madeMeanwhile;
      const record = await make();
      this.records.put(record);
      const made = withLayers(record, (name) => this.layers.find(name));
      if (made === undefined) throw new Error(`layers of ${reference} are gone as soon as they were made`);
      return made;
    });
  }

  list(): StoredImage[] {
    return this.records.list().flatMap((record) => {
      const image = withLayers(record, (name) => this.layers.peek(name));
      return image === undefined ? [] : [image];
    });
  }

  /** `graceMs`: how long a layer stays after somebody looked for it. @defaultValue ten minutes */
  async collect(graceMs?: number): Promise<Collected> {
    return await this.layers.collecting(async () => {
      const records = this.records.list();
      const gone = records.filter(
        ({ reference, file }) => file !== undefined && this.records.find(reference) === undefined,
      );
      for (const record of gone) this.records.remove(record);
      const named = this.records.list().flatMap(({ layers, directories = '' }) => [...layers, directories]);
      const keep = new Set([...named, ...layersOfCaptures()]);
      const removed = await this.layers.collect(keep, () => layersInUse(this.directory), graceMs);
      return {
        layers: removed.length,
        bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0),
        unfinished: await this.layers.collectWork(),
        images: gone.length,
      };
    });
  }
}

/** What a command changed in an image is shown against that image. */
function layersOfCaptures(): string[] {
  const views = readCaptures().flatMap((capture) => capture.views);
  return views.flatMap(({ layers = [] }) => layers.map(({ directory }) => basename(dirname(directory))));
}

function withLayers(record: ImageRecord, find: (name: string) => StoredLayer | undefined): StoredImage | undefined {
  const layers = record.layers.map(find).filter((layer) => layer !== undefined);
  const directories = record.directories === undefined ? undefined : find(record.directories);
  const isWhole = layers.length === record.layers.length && directories?.name === record.directories;
  return isWhole ? { record, layers, directories } : undefined;
}
