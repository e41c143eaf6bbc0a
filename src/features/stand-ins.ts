// What does nearly the same with less. No spec asks for it by itself: it is taken where the exact feature was asked for, is not to be had, and may be
// missing. Pure.
import type { MissingFeature } from '../errors/errors.ts';
import type { SandboxSpec } from '../spec/types.ts';
import type { Feature } from './feature.ts';

export type StandIns = ReadonlyMap<Feature, Feature>;

const approximations: StandIns = new Map<Feature, Feature>([
  ['limits.cpuMs', 'limits.cpuMs.approximate'],
  ['limits.memoryBytes', 'limits.memoryBytes.approximate'],
  ['limits.pids', 'limits.pids.approximate'],
]);

const none: StandIns = new Map();

/** Every feature that only stands in for another. */
export const onlyStandIns: ReadonlySet<Feature> = new Set(approximations.values());

/** By the exact feature. */
export function standInsFor({ capabilities = [] }: Pick<SandboxSpec, 'capabilities'>): StandIns {
  // With it the command could mount something over the processes that are counted by /proc.
  if (capabilities.includes('CAP_SYS_ADMIN')) return none;
  // RLIMIT_NPROC counts by uid, and with this the command could take another for each process.
  if (capabilities.includes('CAP_SETUID'))
    return new Map([...approximations].filter(([feature]) => feature !== 'limits.pids'));
  return approximations;
}

/** Who is refused the exact feature hears of what would stand in for it. */
export function withStandIn(missing: MissingFeature, standIn: Feature | undefined): MissingFeature {
  if (standIn === undefined) return missing;
  const { feature, remedy } = missing;
  const hint = `name it optional (--optional ${feature}), and ${standIn} stands in for it`;
  return { ...missing, remedy: remedy === undefined ? hint : `${remedy}; or ${hint}` };
}
