// Whether a sandbox's user namespace may have others in it. Pure.
import type { NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';

/**
 * Without the filter the command may make user namespaces, but not with uid 0 of the host among its ids: with a user and a cgroup namespace of
 * its own it could mount the host's control groups, whose files ask for the uid alone.
 */
export function forbidsNesting(spec: NormalizedSpec, caller: Pick<CallerFacts, 'uid'>, filter: boolean): boolean {
  return (filter || mapsHostRoot(spec, caller)) && !spec.capabilities.includes('CAP_SYS_ADMIN');
}

export function mapsHostRoot(spec: NormalizedSpec, caller: Pick<CallerFacts, 'uid'>): boolean {
  return caller.uid === 0 && spec.idMappings.uid.some(({ hostID }) => hostID === 0);
}
