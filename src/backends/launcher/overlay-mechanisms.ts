// Views that a command may change, in all backends in which init makes the mounts. Apart from what makes them, so that negotiation need not load that.
import type { Mechanisms } from './tool.ts';

export const overlayMechanisms: Mechanisms = {
  'mount.image': 'its layers by overlay',
  'mount.overlay': 'overlay with a layer above in memory',
  'workspace.overlay': 'overlay with a layer above in memory',
  'root.image': 'its layers by overlay, pivot_root',
  'root.changes': 'overlay with a layer above in memory, pivot_root',
  'changes.capture': 'the layer above in a directory of the host',
};
