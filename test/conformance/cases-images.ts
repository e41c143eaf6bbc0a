// Images as roots and as mounts: each run has a view of its own, and nothing of a run reaches the layers, which others have too.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { writeLayout } from '../helpers/layered-layout.ts';
import { tar } from '../helpers/tar.ts';
import type { Bench } from './bench.ts';
import type { Suite } from './describe-backend.ts';

export function imageCases({ bench, promise }: Suite): void {
  promise(['root.image'], 'root.image: layers are one root, and what one hides is hidden', async () => {
    const spec: SandboxSpec = { root: { image: imageOf(bench) } };
    expect(await bench.answer(['read', '/data/both'], spec)).toBe('upper');
    expect(await bench.answer(['read', '/data/lower'], spec)).toBe('lower');
    expect(await bench.refusal(['stat', '/data/gone'], spec)).toBe('errno ENOENT');
    expect(await bench.refusal(['stat', '/covered/old'], spec)).toBe('errno ENOENT');
    expect(await bench.answer(['read', '/covered/new'], spec)).toBe('new');
  });

  promise(['root.image'], 'root.image: what the command changes is gone, and was never there', async () => {
    const spec: SandboxSpec = { root: { image: imageOf(bench) } };
    await bench.answer(['read', '/data/both'], spec);
    const before = storeOf(bench);
    for (let round = 0; round < 2; round++) {
      expect(await bench.answer(['write', '/data/both', 'changed'], spec)).toBe('written');
      expect(await bench.answer(['write', '/new', 'x'], spec)).toBe('written');
      expect(await bench.answer(['read', '/data/both'], spec)).toBe('upper');
      expect(await bench.refusal(['stat', '/new'], spec)).toBe('errno ENOENT');
    }
    expect(storeOf(bench)).toEqual(before);
  });

  promise(['root.image'], 'root.image: one that is read-only cannot be written to, nor made so', async () => {
    const spec: SandboxSpec = { root: { image: imageOf(bench), readonly: true } };
    expect(await bench.refusal(['write', '/data/both', 'x'], spec)).toBe('errno EROFS');
    expect(await bench.refusal(['remount', '/'], { ...spec, user: { uid: 0, gid: 0 } })).toBe('errno EPERM');
    expect(await bench.answer(['write', '/tmp/x', 'x'], spec)).toBe('written');
  });

  promise(['mount.image'], 'mount.image: is read-only unless it is said not to be', async () => {
    const mount = { type: 'image', source: imageOf(bench), destination: '/mnt' } as const;
    const readonly: SandboxSpec = { mounts: [mount] };
    expect(await bench.answer(['read', '/mnt/data/both'], readonly)).toBe('upper');
    expect(await bench.refusal(['stat', '/mnt/data/gone'], readonly)).toBe('errno ENOENT');
    expect(await bench.refusal(['write', '/mnt/data/both', 'x'], readonly)).toBe('errno EROFS');
    const before = storeOf(bench);
    const writable: SandboxSpec = { mounts: [{ ...mount, readonly: false }] };
    expect(await bench.answer(['write', '/mnt/data/both', 'changed'], writable)).toBe('written');
    expect(await bench.answer(['read', '/mnt/data/both'], writable)).toBe('upper');
    expect(storeOf(bench)).toEqual(before);
  });
}

/** Two layers: files of one, of the other and of both; a whiteout, and a directory that hides what was in it. */
function imageOf({ directory }: Bench): string {
  const layout = join(directory, 'image');
  const folder = (name: string) => ({ name: `${name}/`, type: '5' });
  const lower = tar(
    folder('data'),
    { name: 'data/both', content: 'lower' },
    { name: 'data/lower', content: 'lower' },
    { name: 'data/gone', content: 'x' },
    folder('covered'),
    { name: 'covered/old', content: 'old' },
  );
  const upper = tar(
    folder('data'),
    { name: 'data/both', content: 'upper' },
    { name: 'data/.wh.gone' },
    folder('covered'),
    { name: 'covered/.wh..wh..opq' },
    { name: 'covered/new', content: 'new' },
  );
  writeLayout(layout, [lower, upper], { Cmd: ['/guest'] });
  return `oci:${layout}`;
}

/** Names, modes, sizes, times and contents of all layers in the store. */
function storeOf({ cacheDirectory }: Bench): string[] {
  const walk = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      const { mode, size, mtimeMs } = statSync(path);
      const content = entry.isFile() && entry.name !== 'facts.json' ? readFileSync(path, 'latin1') : '';
      const own = entry.name === 'facts.json' ? [] : [`${path} ${mode} ${size} ${mtimeMs} ${content}`];
      return entry.isDirectory() ? [...own, ...walk(path)] : own;
    });
  const stores = join(cacheDirectory, 'sandboxlib/images');
  return readdirSync(stores).flatMap((store) => walk(join(stores, store, 'layers')));
}
