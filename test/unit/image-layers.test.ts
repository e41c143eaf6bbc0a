import { expect, test } from 'vitest';
import type { TarEntry } from '../../src/image/archive/tar.ts';
import { type LayerOptions, Layers } from '../../src/image/layers.ts';

async function* files(names: Iterable<string>, kind: TarEntry['kind'] = 'file'): AsyncGenerator<TarEntry> {
  for (const name of names)
    yield {
      name,
      kind,
      number: 1,
      target: '',
      mode: 0o644,
      uid: 0,
      gid: 0,
      seconds: 0,
      nanoseconds: 0,
      size: 0,
      major: 0,
      minor: 0,
      xattrs: new Map(),
      lost: [],
      content: (async function* () {})(),
    };
}

async function layersOf(names: Iterable<string>): Promise<Layers> {
  const options = {
    whiteouts: 'overlay',
    duplicates: 'last',
    setid: 'keep',
    asLayer: { marks: true },
    onLost: () => undefined,
  } as const;
  const layers = new Layers(options);
  for await (const _record of layers.archive(files(names), 'layer.tar'));
  return layers;
}

test('directories without an entry of their own are implied, each before what is in it', async () => {
  const layers = await layersOf(['a/b/c/file', 'a/other', 'file']);
  expect(layers.impliedDirectories('layer.tar')).toEqual(['', 'a', 'a/b', 'a/b/c']);
});

test('more of them than anybody makes are refused', async () => {
  const deep = 'x/'.repeat(500);
  const layers = await layersOf(Array.from({ length: 50 }, (_, index) => `${index}/${deep}file`));
  expect(() => layers.impliedDirectories('layer.tar')).toThrow(/^layer.tar: it has too many directories that no entry/);
});

/** Records of one archive, or of two, by what they are: their type and, of an entry, its kind (native/README.md). */
async function recordsOf(
  options: Pick<LayerOptions, 'whiteouts' | 'asLayer'>,
  ...archives: readonly AsyncIterable<TarEntry>[]
): Promise<string[]> {
  const layers = new Layers({ duplicates: 'last', setid: 'keep', onLost: () => undefined, ...options });
  const records: string[] = [];
  for (const [index, entries] of archives.entries())
    for await (const record of layers.archive(entries, `${index}.tar`)) {
      const view = Buffer.from(record);
      const type = view.readUInt16LE(0);
      records.push(type === 1 ? `entry ${view.readUInt32LE(8)}` : `record ${type}`);
    }
  return records;
}

test('a device hides what is below, where that can be marked, and is removed from it where that is the same tree', async () => {
  const device = () => files(['dev/null'], 'character');
  const [CHARACTER, FILE, REMOVE] = ['entry 5', 'entry 1', 'record 4'];
  expect(await recordsOf({ whiteouts: 'overlay', asLayer: { marks: true } }, device())).toEqual([CHARACTER]);
  expect(await recordsOf({ whiteouts: 'keep', asLayer: { marks: true } }, device())).toEqual([CHARACTER]);
  expect(await recordsOf({ whiteouts: 'keep', asLayer: { marks: false } }, device())).toEqual([]);
  expect(await recordsOf({ whiteouts: 'apply', asLayer: { marks: false } }, files(['dev/null']), device())).toEqual([
    FILE,
    REMOVE,
  ]);
});
