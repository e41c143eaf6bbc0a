// Views of directories that the command may change: nothing of that reaches the directory.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { RunResult } from '../../src/run/types.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { allMountPoints } from '../helpers/mount-points.ts';
import type { Bench } from './bench.ts';
import type { Suite } from './describe-backend.ts';

const MiB = 1024 * 1024;

/** Told of every view in the same words: which spec shows `directory`, and where the command finds it. */
interface View {
  readonly spec: SandboxSpec;
  readonly inside: string;
}

export function overlayCases({ bench, promise }: Suite): void {
  const views = {
    'mount.overlay': (source: string): View => ({
      spec: { mounts: [{ type: 'overlay', source, destination: '/mnt' }] },
      inside: '/mnt',
    }),
    'workspace.overlay': (path: string): View => ({ spec: { workspace: { path, access: 'overlay' } }, inside: path }),
    'root.changes': (path: string): View => {
      for (const name of allMountPoints) mkdirSync(join(path, name), { recursive: true });
      return { spec: { root: { path, changes: 'discard' } }, inside: '' };
    },
  } as const;

  for (const [feature, viewOf] of Object.entries(views)) {
    const needed = feature as keyof typeof views;
    promise([needed], `${feature}: what the command changes is gone, and was never there`, async () => {
      const { directory, before } = project(bench, needed);
      const { spec, inside } = viewOf(directory);
      // The second run sees nothing of the first.
      for (let round = 0; round < 2; round++) {
        expect(await bench.answer(['write', `${inside}/data/file`, 'changed'], spec)).toBe('written');
        expect(await bench.answer(['write', `${inside}/new`, 'x'], spec)).toBe('written');
        expect(await bench.answer(['read', `${inside}/data/file`], spec)).toBe('content');
        expect(await bench.refusal(['stat', `${inside}/new`], spec)).toBe('errno ENOENT');
      }
      expect(contents(directory)).toEqual(before);
    });

    promise([needed], `${feature}: a view cannot be made a way to the directory`, async () => {
      const { directory, before } = project(bench, `${needed}-remount`);
      const { spec, inside } = viewOf(directory);
      const point = inside === '' ? '/' : inside;
      expect(await bench.refusal(['remount', point], { ...spec, user: { uid: 0, gid: 0 } })).toBe('errno EPERM');
      // Where its layers lie is not told either.
      const mounts = await bench.answer(['read', '/proc/self/mountinfo'], spec);
      // By its mount point: the host's own directories may be on an overlay too.
      const line = mounts.split('\n').findLast((text) => text.split(' ')[4] === point) ?? '';
      expect(line).toContain('upperdir=/proc/self/fd/');
      expect(line.split(' - ')[1]).not.toContain(directory);
      expect(contents(directory)).toEqual(before);
    });
  }

  promise(['mount.overlay'], 'an overlay holds as many changes as it may, and no more', async () => {
    const { directory } = project(bench, 'bounded');
    const spec: SandboxSpec = {
      mounts: [{ type: 'overlay', source: directory, destination: '/mnt', sizeBytes: '1MiB' }],
    };
    expect(await bench.answer(['fill', '/mnt/x', MiB / 2], spec)).toBe(String(MiB / 2));
    expect(await bench.refusal(['fill', '/mnt/x', 2 * MiB], spec)).toMatch(/^\d+ errno ENOSPC$/);
  });

  promise(['mount.overlay', 'limits.diskBytes'], 'changes count among what limits.diskBytes bounds', async () => {
    const { directory } = project(bench, 'shared');
    const spec: SandboxSpec = {
      mounts: [{ type: 'overlay', source: directory, destination: '/mnt' }],
      limits: { diskBytes: 4 * MiB },
    };
    expect(await bench.refusal(['fill', '/mnt/x', 8 * MiB], spec)).toMatch(/^\d+ errno ENOSPC$/);
    expect(await bench.answer(['fill', '/mnt/x', 2 * MiB], spec)).toBe(String(2 * MiB));
  });

  promise(
    ['workspace.overlay', 'changes.capture'],
    'what the command changed is listed, and nothing else',
    async () => {
      const { directory, before } = project(bench, 'captured');
      const spec: SandboxSpec = { workspace: { path: directory, access: 'overlay', changes: 'capture' } };
      const result: RunResult = await bench.run(['write', 'data/file', 'changed'], spec);
      expect(result.stdout).toBe('written\n');
      const { changes } = result;
      if (changes === undefined) throw new Error('nothing was captured');
      try {
        expect(changes.entries).toEqual([
          {
            kind: 'modified',
            type: 'file',
            path: join(directory, 'data/file'),
            source: join(directory, 'data/file'),
            sizeBytes: 7,
            previousSizeBytes: 7,
          },
        ]);
        expect(contents(directory)).toEqual(before);
        expect(await changes.apply()).toEqual({ applied: 1, skipped: [] });
      } finally {
        await changes.discard();
      }
      expect(readFileSync(join(directory, 'data/file'), 'utf8')).toBe('changed');
    },
  );

  promise(
    ['workspace.overlay', 'changes.capture', 'limits.diskBytes'],
    'what is captured is bounded by limits.diskBytes, and kept whole',
    async () => {
      const { directory } = project(bench, 'captured-bounded');
      const workspace = { path: directory, access: 'overlay', changes: 'capture' } as const;
      const spec: SandboxSpec = { workspace, limits: { diskBytes: 4 * MiB } };
      const { stdout, changes } = await bench.run(['fill', 'data/file', 8 * MiB], spec);
      if (changes === undefined) throw new Error('nothing was captured');
      try {
        const size = Number(String(stdout).split(' ')[0]);
        expect(stdout).toMatch(/^\d+ errno ENOSPC$/m);
        expect(size).toBeLessThanOrEqual(4 * MiB);
        expect(changes.entries).toMatchObject([{ kind: 'modified', type: 'file', sizeBytes: size }]);
      } finally {
        await changes.discard();
      }
    },
  );
}

function project(bench: Bench, name: string): { directory: string; before: unknown } {
  const directory = bench.makeDirectory(`overlay-${name}`);
  mkdirSync(join(directory, 'data'), { recursive: true });
  writeFileSync(join(directory, 'data/file'), 'content');
  return { directory, before: contents(directory) };
}

function contents(directory: string): unknown {
  return [readdirSync(join(directory, 'data')), readFileSync(join(directory, 'data/file'), 'utf8')];
}
