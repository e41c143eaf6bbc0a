// A spec that can do without a sysfs where none is to be had. Pure.
import type { NormalizedSpec } from '../spec/types.ts';
import type { Feature } from './feature.ts';

/** `spec` itself where it is granted, or has none. */
export function withoutMissingSysfs(spec: NormalizedSpec, granted: ReadonlySet<Feature>): NormalizedSpec {
  const missing = granted.has('mount.sysfs') ? [] : spec.mounts.filter(({ type }) => type === 'sysfs');
  if (missing.length === 0) return spec;
  return {
    ...spec,
    mounts: spec.mounts.filter(({ type }) => type !== 'sysfs'),
    notes: [...spec.notes, ...missing.map(({ destination }) => `there is no sysfs at ${destination}`)],
  };
}
