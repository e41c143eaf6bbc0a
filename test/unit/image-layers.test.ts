import { expect, test } from 'vitest';
import type { TarEntry } from '../../src/image/archive/tar.ts';
import { Layers } from '../../src/image/layers.ts';

async function* files(names: Iterable<string>): AsyncGenerator<TarEntry> {
  for (const name of names)
    yield {
      name,
      kind: 'file',
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
    asLayer: true,
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
