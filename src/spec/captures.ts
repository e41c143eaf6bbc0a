// Of which directories a spec has the changes captured, in an order that everybody who numbers them has in common.
import type { RootLayer } from './layered-root.ts';
import type { NormalizedSpec } from './types.ts';

/** A directory of the host, or an image, and where the command sees it. */
export interface CapturedView {
  /** Of an image what it was named by. */
  readonly source: string;
  readonly destination: string;
  /** Of an image: the uppermost first. */
  readonly layers?: readonly RootLayer[];
}

export function capturedViews({ root, mounts }: Pick<NormalizedSpec, 'root' | 'mounts'>): CapturedView[] {
  const ofRoot = root.changes === 'capture' ? [viewOfRoot(root)] : [];
  const ofMounts = mounts.flatMap(({ changes, source, destination }) =>
    changes === 'capture' && source !== undefined ? [{ source, destination }] : [],
  );
  return [...ofRoot, ...ofMounts];
}

function viewOfRoot({ path = '/', image, layers }: NormalizedSpec['root']): CapturedView {
  return image === undefined ? { source: path, destination: '/' } : { source: image, destination: '/', layers };
}
