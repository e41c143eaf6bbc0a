// What a command must not have together: rules of every backend whose command may be uid 0 of the host in a user namespace. Pure.
import { FeatureError, SpecError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendName, CallerFacts } from '../backend.ts';
import { closesNamespaces } from './command.ts';

/**
 * Without a filter that forbids it the command may make user namespaces, but not with uid 0 of the host among its ids: with a user and a cgroup namespace of
 * its own it could mount the host's control groups, whose files ask for the uid alone.
 */
export function forbidsNesting(spec: NormalizedSpec, granted: ReadonlySet<Feature>, hostRoot: boolean): boolean {
  return (closesNamespaces(spec, granted) || hostRoot) && !spec.capabilities.includes('CAP_SYS_ADMIN');
}

/**
 * A command that is uid 0 of the host itself and could unmount what covers /proc/sys would set kernel parameters of the host: those ask
 * for the uid, not for a capability.
 */
export function refuseHostPrivilege(backend: BackendName, spec: NormalizedSpec, hostRoot: boolean): void {
  if (!hostRoot || !spec.capabilities.includes('CAP_SYS_ADMIN')) return;
  throw new FeatureError(backend, [
    {
      feature: 'capabilities.keep',
      because:
        'CAP_SYS_ADMIN together with uid 0 of this host would let the command change kernel settings of the host',
      remedy:
        'run it as an ordinary user, or map other ids: uidMappings [{ containerID: 0, hostID: 100000, size: 65536 }], gidMappings alike',
    },
  ]);
}

/** Where nobody may call setgroups(2), groups that were asked for are refused rather than left out. */
export function refuseGroups(spec: NormalizedSpec, maySetGroups: boolean): void {
  if (spec.user.additionalGids.length === 0 || maySetGroups) return;
  throw new SpecError([
    {
      path: ['user', 'additionalGids'],
      message:
        "an ordinary user can set groups only with a range of ids; add uidMappings: 'subordinate' and gidMappings: 'subordinate'",
    },
  ]);
}

/** For an ordinary user who can do without: what it can map by itself. */
export function withoutRanges(spec: NormalizedSpec, caller: CallerFacts): NormalizedSpec {
  if (!spec.idMappings.needsHelper) return spec;
  const { user } = spec;
  return {
    ...spec,
    user: { ...user, additionalGids: [] },
    idMappings: {
      uid: [{ containerID: user.uid, hostID: caller.uid, size: 1 }],
      gid: [{ containerID: user.gid, hostID: caller.gid, size: 1 }],
      privileged: false,
      needsHelper: false,
    },
  };
}
