// Of which directories a spec has the changes captured, in an order that everybody who numbers them has in common.
import type { NormalizedSpec } from './types.ts';

/** A directory of the host, and where the command sees it. */
export interface CapturedView {
  readonly source: string;
  readonly destination: string;
}

export function capturedViews({ root, mounts }: Pick<NormalizedSpec, 'root' | 'mounts'>): CapturedView[] {
  const ofRoot = root.changes === 'capture' ? [{ source: root.path ?? '/', destination: '/' }] : [];
  const ofMounts = mounts.flatMap(({ changes, source, destination }) =>
    changes === 'capture' && source !== undefined ? [{ source, destination }] : [],
  );
  return [...ofRoot, ...ofMounts];
}
