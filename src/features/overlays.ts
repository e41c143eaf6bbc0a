// A spec of which a caller can do without what an overlay is for: nothing is written that was to be thrown away, and nothing is kept in its stead. Pure.
import { OVERLAY_BYTES_DEFAULT } from '../spec/mounts.ts';
import type { NormalizedMount, NormalizedRoot, NormalizedSpec } from '../spec/types.ts';
import type { Feature } from './feature.ts';

/** `spec` itself where all of it is granted. */
export function withoutMissingOverlays(spec: NormalizedSpec, granted: ReadonlySet<Feature>): NormalizedSpec {
  const notes: string[] = [];
  const root = rootOf(spec.root, granted, notes);
  const mounts = spec.mounts.flatMap((mount) => (mount.type === 'overlay' ? viewOf(mount, granted, notes) : [mount]));
  if (notes.length === 0) return spec;
  const workspace = spec.workspace !== undefined && readonlyWorkspace(spec, granted) ? 'ro' : spec.workspace?.access;
  return {
    ...spec,
    root,
    mounts,
    workspace:
      spec.workspace === undefined || workspace === undefined ? undefined : { ...spec.workspace, access: workspace },
    notes: [...spec.notes, ...notes],
  };
}

function readonlyWorkspace({ workspace }: NormalizedSpec, granted: ReadonlySet<Feature>): boolean {
  return workspace?.access === 'overlay' && !granted.has('workspace.overlay');
}

const NOT_CAPTURED = 'is thrown away, because changes cannot be captured';

function rootOf(root: NormalizedRoot, granted: ReadonlySet<Feature>, notes: string[]): NormalizedRoot {
  if (root.changes === 'keep') return root;
  if (!granted.has('root.changes')) {
    const verb = root.changes === 'discard' ? 'discarded' : 'captured';
    notes.push(`the root is read-only, because changes cannot be ${verb}`);
    return { ...root, readonly: true, changes: 'keep' };
  }
  if (root.changes === 'discard' || granted.has('changes.capture')) return root;
  notes.push(`what is written to the root ${NOT_CAPTURED}`);
  return { ...root, changes: 'discard' };
}

function viewOf(mount: NormalizedMount, granted: ReadonlySet<Feature>, notes: string[]): NormalizedMount[] {
  const isWorkspace = mount.origin === 'workspace';
  // Where they are not granted, normalization has left them out.
  if (mount.layers !== undefined) return [mount];
  if (isWorkspace && !granted.has('workspace.overlay')) {
    notes.push('the workspace is read-only, because it cannot be an overlay');
    return [{ ...mount, type: 'bind', readonly: true, sizeBytes: undefined, changes: undefined }];
  }
  if (!isWorkspace && !granted.has('mount.overlay')) {
    notes.push(`${mount.origin}, which is of type overlay, is left out`);
    return [];
  }
  if (mount.changes === 'discard' || granted.has('changes.capture')) return [mount];
  notes.push(`what is written to ${mount.destination} ${NOT_CAPTURED}`);
  return [{ ...mount, changes: 'discard', sizeBytes: OVERLAY_BYTES_DEFAULT }];
}
