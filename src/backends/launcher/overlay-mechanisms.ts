// Views that a command may change, in all backends in which init makes the mounts. Apart from what makes them, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from './tool.ts';

export const overlayMechanisms: Mechanisms = {
  'mount.image': 'its layers by overlay',
  'mount.overlay': 'overlay with a layer above in memory',
  'workspace.overlay': 'overlay with a layer above in memory',
  'root.image': 'its layers by overlay, pivot_root',
  'root.changes': 'overlay with a layer above in memory, pivot_root',
  'changes.capture': 'the layer above in a directory of the host',
};

/** What `granted` makes of the mechanism of one of its features. */
export function mechanismBeside(feature: Feature, mechanism: string, granted: ReadonlySet<Feature>): string {
  if (feature !== 'changes.capture' || !granted.has('limits.diskBytes')) return mechanism;
  return 'the layer above in the tmpfs of limits.diskBytes, copied to a directory of the host at the end';
}
