import { describe, expect, test } from 'vitest';
import type { Feature } from '../../src/features/feature.ts';
import { withoutMissingOverlays } from '../../src/features/overlays.ts';
import { capturedViews } from '../../src/spec/captures.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../../src/spec/types.ts';
import { MemoryHost, ordinaryTree } from '../helpers/memory-host.ts';

const tree = { ...ordinaryTree, srv: { proc: {}, dev: {}, tmp: {}, home: { alice: {} } } };

function normalized(spec: SandboxSpec): NormalizedSpec {
  return normalize(spec, new MemoryHost({ tree }));
}

const everything: SandboxSpec = {
  root: { path: '/srv', changes: 'capture' },
  mounts: [
    { type: 'overlay', source: 'src', destination: '/tmp/one', changes: 'capture' },
    { type: 'overlay', source: 'src', destination: '/tmp/two' },
  ],
};
const all: readonly Feature[] = ['root.changes', 'mount.overlay', 'workspace.overlay', 'changes.capture'];

function without(spec: SandboxSpec, ...missing: Feature[]): NormalizedSpec {
  return withoutMissingOverlays(normalized(spec), new Set(all.filter((feature) => !missing.includes(feature))));
}

describe('where an overlay may be missing', () => {
  test('and nothing is, the spec stays what it is', () => {
    const spec = normalized(everything);
    expect(withoutMissingOverlays(spec, new Set(all))).toBe(spec);
  });

  test('the root is read-only rather than changed for good', () => {
    const { root, notes } = without(everything, 'root.changes');
    expect(root).toMatchObject({ readonly: true, changes: 'keep' });
    expect(notes).toContain('the root is read-only, because changes cannot be captured');
    const discarding = without({ root: { path: '/srv', changes: 'discard' } }, 'root.changes');
    expect(discarding.notes).toContain('the root is read-only, because changes cannot be discarded');
  });

  test('mounts are left out, by name', () => {
    const { mounts, notes } = without(everything, 'mount.overlay');
    expect(mounts).toEqual([]);
    expect(notes).toEqual([0, 1].map((index) => `mounts[${index}], which is of type overlay, is left out`));
  });

  test('the workspace is read-only', () => {
    const { workspace, mounts, notes } = without(
      { workspace: { path: 'src', access: 'overlay' } },
      'workspace.overlay',
    );
    expect(workspace?.access).toBe('ro');
    expect(mounts).toMatchObject([{ type: 'bind', readonly: true, source: '/home/alice/src' }]);
    expect(notes).toContain('the workspace is read-only, because it cannot be an overlay');
  });

  test('what cannot be captured is thrown away, within bounds', () => {
    const { root, mounts, notes } = without(everything, 'changes.capture');
    expect(root.changes).toBe('discard');
    expect(mounts.map(({ changes, sizeBytes }) => [changes, sizeBytes])).toEqual([
      ['discard', 512 << 20],
      ['discard', 512 << 20],
    ]);
    expect(notes).toHaveLength(2);
  });
});

test('captured views are numbered with the root first', () => {
  expect(capturedViews(normalized(everything))).toEqual([
    { source: '/srv', destination: '/' },
    { source: '/home/alice/src', destination: '/tmp/one' },
  ]);
});
