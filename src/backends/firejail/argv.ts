// A sandbox in the words of firejail(1). Pure.
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import { maskedInProc, readonlyInProc } from '../layout.ts';

/** Everything up to the command; the command inherits `descriptors`. */
export function firejailArgs(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  { procEntries }: Pick<CallerFacts, 'procEntries'>,
): string[] {
  const inProc = (names: readonly string[]): string[] =>
    names.filter((name) => procEntries.has(name)).map((name) => `/proc/${name}`);
  return [
    // Profiles are of the person's own, in ~/.config/firejail, and of the distribution: what they open or close is not what was asked for.
    ...['--quiet', '--noprofile'],
    ...(granted.has('hostname') ? [`--hostname=${spec.hostname}`] : []),
    ...(spec.network === 'none' && granted.has('network.none') ? ['--net=none'] : []),
    ...(granted.has('namespace.ipc') ? ['--ipc-namespace'] : []),
    // Its own /dev, and with that its own devpts.
    '--private-dev',
    ...inProc(maskedInProc).map((path) => `--blacklist=${path}`),
    ...inProc(readonlyInProc).map((path) => `--read-only=${path}`),
    ...['--nogroups', '--caps.drop=all', '--nonewprivs'],
    // Without it firejail waits for what the command leaves behind.
    '--deterministic-shutdown',
  ];
}
