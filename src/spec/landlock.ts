// What Landlock is to leave to the command: the words of the spec, and what becomes of them.
import { checkInteger, checkPathInside } from './checks.ts';
import type { Reporter } from './issues.ts';
import { cleanPath } from './paths.ts';
import type { LandlockAccess, LandlockScope, LandlockSpec, NormalizedLandlock } from './types.ts';

export const landlockAccesses: readonly LandlockAccess[] = ['ro', 'rox', 'rw', 'rwx'];
export const landlockScopes: readonly LandlockScope[] = ['abstract-unix-socket', 'signal'];
export const PORT_MAX = 65_535;
/** More than anybody writes by hand; the launcher takes no more. */
export const LANDLOCK_RULES_MAX = 4096;

/** Preconditions: `given` has the right shape. */
export function resolveLandlock(
  given: LandlockSpec | undefined,
  portsFilter: string | undefined,
  report: Reporter,
): NormalizedLandlock | undefined {
  if (given === undefined) return undefined;
  const { paths, bindTcp, connectTcp, scopes = [] } = given;
  if (paths === undefined && bindTcp === undefined && connectTcp === undefined && scopes.length === 0)
    report(['landlock'], 'must name paths, bindTcp, connectTcp or scopes: as it is, it would restrict nothing');
  const resolved = {
    paths: paths && resolvePaths(paths, report),
    bindTcp: bindTcp && resolvePorts('bindTcp', bindTcp, 0, report),
    connectTcp: connectTcp && resolvePorts('connectTcp', connectTcp, 1, report),
    scopes: [...new Set(scopes)],
    portsFilter,
  };
  const rules = (resolved.paths?.length ?? 0) + (resolved.bindTcp?.length ?? 0) + (resolved.connectTcp?.length ?? 0);
  if (rules > LANDLOCK_RULES_MAX)
    report(['landlock'], `must not have more than ${LANDLOCK_RULES_MAX} rules: it has ${rules}`);
  return resolved;
}

function resolvePaths(paths: NonNullable<LandlockSpec['paths']>, report: Reporter): NormalizedLandlock['paths'] {
  const seen = new Map<string, string>();
  return Object.entries(paths).map(([given, access]) => {
    const problem = checkPathInside(given);
    if (problem !== undefined) report(['landlock', 'paths', given], problem);
    const path = cleanPath(given);
    const before = seen.get(path);
    // The kernel would allow what either says.
    if (before !== undefined) report(['landlock', 'paths', given], `is the same path as '${before}'`);
    seen.set(path, given);
    return { path, access };
  });
}

function resolvePorts(
  key: 'bindTcp' | 'connectTcp',
  ports: readonly number[],
  least: number,
  report: Reporter,
): number[] {
  for (const [index, port] of ports.entries()) {
    const problem = checkInteger(port, least, PORT_MAX);
    if (problem !== undefined) report(['landlock', key, index], problem);
  }
  return [...new Set(ports)];
}
