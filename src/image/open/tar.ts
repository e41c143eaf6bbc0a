// An archive of files and nothing else as an image: one layer, and nobody who says how it is run.
import { readArchiveFile } from '../archive-file.ts';
import { type ImageRecord, identify } from '../store/records.ts';
import type { ImageStore } from '../store/store.ts';
import { type LayerOptions, nameOfLayer, unpackLayer } from './layer.ts';

/** `content`: the archive, where the file is not that itself. */
export async function recordTar(
  store: ImageStore,
  reference: string,
  path: string,
  options: LayerOptions,
  content: () => AsyncIterable<Uint8Array> = () => readArchiveFile(path),
): Promise<ImageRecord> {
  // Before it is read: one that is written to meanwhile is another one next time.
  const file = identify(path);
  const layer = await store.layers.addAs(async (directory) => {
    const source = { name: path, content: content() };
    const { facts } = await unpackLayer(store.layers, [source], directory, 'keep', options);
    return { name: `tar-${nameOfLayer(facts.diffId)}`, facts };
  });
  const { diffId: id, name } = layer;
  return { version: 1, reference, kind: 'tar', id, layers: [name], document: undefined, file, createdMs: Date.now() };
}
