import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { resolveInRoot } from '../../src/spec/in-root.ts';
import { LAYERED_ROOT, LayeredHost } from '../../src/spec/layered-root.ts';
import { MemoryHost, type Node, type Tree, toNode } from '../helpers/memory-host.ts';

const WHITEOUT = '!character device';

interface Layer {
  readonly tree: Tree;
  readonly opaque?: readonly string[];
}

/** The uppermost first. */
function layered(...given: readonly [Layer, ...Layer[]]): { readonly host: LayeredHost; readonly below: MemoryHost } {
  const below = new MemoryHost({
    tree: { store: Object.fromEntries(given.map(({ tree }, index) => [String(index), tree])), outside: 'outside' },
  });
  const [top, ...rest] = given.map(({ opaque = [] }, index) => ({ directory: `/store/${index}`, opaque }));
  if (top === undefined) throw new Error('there is no layer');
  return { host: new LayeredHost(below, { layers: [top, ...rest] }), below };
}

const at = (path: string): string => `${LAYERED_ROOT}${path}`;
const absent = { kind: 'nothing', errno: 'ENOENT' };

describe('a root of layers', () => {
  test('is a directory, also where its layers are empty', () => {
    const { host } = layered({ tree: {} }, { tree: {} });
    expect(host.lstat(LAYERED_ROOT)).toEqual({ kind: 'directory' });
    expect(host.lstat(at('/a'))).toEqual(absent);
  });

  test('shows of each file the uppermost', () => {
    const { host } = layered({ tree: { d: { a: 'upper' } } }, { tree: { d: { a: 'lower', b: 'lower' } } });
    expect(host.readFile(at('/d/a'), 10)).toEqual({ text: 'upper' });
    expect(host.readFile(at('/d/b'), 10)).toEqual({ text: 'lower' });
    expect(host.realPath(at('/d/b'))).toBe('/store/1/d/b');
    expect(host.realPath(at('/d'))).toBe('/store/0/d');
  });

  test('does not show what a whiteout hides, in whatever layer below', () => {
    const { host } = layered(
      { tree: {} },
      { tree: { d: WHITEOUT, e: { a: WHITEOUT } } },
      { tree: { d: { a: 'x' }, e: { a: 'x', b: 'x' } } },
    );
    expect(host.lstat(at('/d'))).toEqual(absent);
    expect(host.lstat(at('/d/a'))).toEqual(absent);
    expect(host.lstat(at('/e/a'))).toEqual(absent);
    expect(host.lstat(at('/e/b'))).toEqual({ kind: 'file' });
    expect(host.readFile(at('/e/a'), 10)).toEqual({ because: 'ENOENT' });
    expect(host.realPath(at('/e/a'))).toBeUndefined();
  });

  test('shows what is above a whiteout, and of a directory there nothing of below', () => {
    const { host } = layered({ tree: { d: { new: 'x' } } }, { tree: { d: WHITEOUT } }, { tree: { d: { old: 'x' } } });
    expect(host.lstat(at('/d/new'))).toEqual({ kind: 'file' });
    expect(host.lstat(at('/d/old'))).toEqual(absent);
  });

  test('has whiteouts in its only layer that show nothing', () => {
    expect(layered({ tree: { a: WHITEOUT } }).host.lstat(at('/a'))).toEqual(absent);
  });

  test('shows nothing of below in an opaque directory, and in those below it', () => {
    const lower = { tree: { d: { e: { old: 'x' }, old: 'x' }, other: { old: 'x' } } };
    const { host } = layered({ tree: { d: { e: {}, new: 'x' }, other: {} }, opaque: ['/d'] }, lower);
    expect(host.lstat(at('/d/new'))).toEqual({ kind: 'file' });
    expect(host.lstat(at('/d/old'))).toEqual(absent);
    expect(host.lstat(at('/d/e'))).toEqual({ kind: 'directory' });
    expect(host.lstat(at('/d/e/old'))).toEqual(absent);
    expect(host.lstat(at('/other/old'))).toEqual({ kind: 'file' });
  });

  test('merges a directory above an opaque one down to that one', () => {
    const { host } = layered(
      { tree: { d: { one: 'x' } } },
      { tree: { d: { two: 'x' } }, opaque: ['/d'] },
      { tree: { d: { three: 'x' } } },
    );
    expect(['one', 'two', 'three'].map((name) => host.lstat(at(`/d/${name}`)).kind)).toEqual([
      'file',
      'file',
      'nothing',
    ]);
  });

  test('has a file where one is above a directory, with nothing below it', () => {
    const { host } = layered({ tree: { d: 'file' } }, { tree: { d: { a: 'x' } } });
    expect(host.lstat(at('/d'))).toEqual({ kind: 'file' });
    expect(host.lstat(at('/d/a'))).toEqual({ kind: 'nothing', errno: 'ENOTDIR' });
  });

  test('has a directory where one is above a file, and does not merge it with what that file hides', () => {
    const { host } = layered({ tree: { d: { a: 'x' } } }, { tree: { d: 'file' } }, { tree: { d: { b: 'x' } } });
    expect(host.lstat(at('/d'))).toEqual({ kind: 'directory' });
    expect(host.readFile(at('/d'), 10)).toEqual({ because: 'it is a directory' });
    expect(host.readlink(at('/d'))).toBeUndefined();
    expect(host.lstat(at('/d/b'))).toEqual(absent);
  });

  test('tells apart what a path of the host is, and what is in it', () => {
    const { host } = layered({ tree: { a: 'x' } });
    expect(host.lstat('/outside')).toEqual({ kind: 'file' });
    expect(host.lstat('/store/0/a')).toEqual({ kind: 'file' });
    expect(host.lstat(`${LAYERED_ROOT}x/a`)).toEqual(absent);
    expect(host.realPath('/outside')).toBe('/outside');
    expect(host.mountsBelow(LAYERED_ROOT)).toEqual([]);
  });

  test('looks at the layers of a directory once', () => {
    const { host, below } = layered({ tree: {} }, { tree: { d: { e: { a: 'x', b: 'x' } } } });
    host.lstat(at('/d/e/a'));
    below.looked.length = 0;
    host.lstat(at('/d/e/b'));
    expect(new Set(below.looked)).toEqual(new Set(['/store/1/d/e/b']));
  });
});

describe('a symlink in a root of layers', () => {
  const { host } = layered(
    { tree: { link: '->/target/dir', out: '->../../outside', top: '->d', absolute: '->/outside' } },
    { tree: { target: { dir: '->other' }, d: { a: 'lower' }, link: { hidden: 'x' } } },
    { tree: { target: { other: { a: 'x' } } } },
  );
  const lookUp = (path: string) => resolveInRoot(host, LAYERED_ROOT, path);

  test('is followed into other layers', () => {
    expect(lookUp('/link/a')).toMatchObject({ kind: 'file', path: '/target/other/a' });
    expect(lookUp('/top/a')).toMatchObject({ kind: 'file', path: '/d/a' });
  });

  test('hides a directory below it', () => {
    expect(lookUp('/link/hidden')).toMatchObject({ kind: 'absent', path: '/target/other/hidden' });
  });

  test('leads nowhere out of it', () => {
    expect(lookUp('/out')).toMatchObject({ kind: 'absent', path: '/outside' });
    expect(lookUp('/absolute')).toMatchObject({ kind: 'absent', path: '/outside' });
  });
});

// What the kernel's documentation says of layers (overlayfs.rst), told as a merge of two trees at a time; the host looks a path up in all of them.
describe('any layers show what overlayfs makes of them', () => {
  const names = ['a', 'b', 'c'];
  const leaf = fc.constantFrom('file', '->a', WHITEOUT, '!FIFO');
  const { tree } = fc.letrec<{ tree: Tree; node: string | Tree }>((tie) => ({
    tree: fc.dictionary(fc.constantFrom(...names), tie('node'), { maxKeys: 3, noNullPrototype: true }),
    node: fc.oneof({ depthSize: 'small', maxDepth: 2 }, leaf, tie('tree')),
  }));
  const paths = names.flatMap((a) => [
    `/${a}`,
    ...names.flatMap((b) => [`/${a}/${b}`, ...names.map((c) => `/${a}/${b}/${c}`)]),
  ]);
  const layer = fc.record({ tree, opaque: fc.subarray(paths) });

  function merge(upper: Node, lower: Node | undefined, path: string, opaque: readonly string[]): Node | undefined {
    if (upper.kind === 'character device') return undefined;
    if (upper.kind !== 'directory') return upper;
    const merged = lower?.kind === 'directory' && !opaque.includes(path) ? lower.entries : new Map<string, Node>();
    const entries = new Map(merged);
    for (const [name, node] of upper.entries) {
      const shown = merge(node, merged.get(name), `${path}/${name}`, opaque);
      if (shown === undefined) entries.delete(name);
      else entries.set(name, shown);
    }
    return { kind: 'directory', entries };
  }

  function inModel(root: Node | undefined, path: string): { readonly kind: string; readonly errno?: string } {
    let node = root;
    for (const name of path.split('/').slice(1)) {
      if (node?.kind !== 'directory') return node === undefined ? absent : { kind: 'nothing', errno: 'ENOTDIR' };
      node = node.entries.get(name);
    }
    return node === undefined ? absent : { kind: node.kind };
  }

  test('at every path, in whatever order they are asked for', () => {
    fc.assert(
      fc.property(
        fc.array(layer, { minLength: 1, maxLength: 4 }),
        fc.shuffledSubarray(paths, { minLength: paths.length }),
        (layers, order) => {
          const [top, ...rest] = layers;
          if (top === undefined) return;
          const { host } = layered(top, ...rest);
          const model = layers.reduceRight<Node | undefined>(
            (lower, { tree, opaque }) => merge(toNode(tree), lower, '', opaque),
            undefined,
          );
          for (const path of order) expect([path, host.lstat(at(path))]).toEqual([path, inModel(model, path)]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
