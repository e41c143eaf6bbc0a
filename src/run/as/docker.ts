// The same sandbox in the words of docker(1), whose engine knows no root but that of an image: one is made from the directory. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
import { TMPFS_BYTES } from '../../backends/layout.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import { commonArgs, commonLacks, mountArgs, ofTheEtc, profileBefore, tmpfsArg } from './engine.ts';
import {
  ambientBeyond,
  architectureBeyond,
  groupNames,
  limitsBeyond,
  modesBeyond,
  ofTheOutcome,
  ofTheProc,
  quote,
  rlimitNames,
  rootOf,
  type Translation,
  umaskBeyond,
  withoutMountPoints,
} from './shared.ts';

/** Whoever made it removes it, or replaces it the next time. */
const IMAGE = 'sandbox-root';
/** Of the engine. */
const UMASK = 0o022;

export function asDocker(spec: NormalizedSpec, caller: CallerFacts): Translation {
  const impossible = withoutMountPoints('docker', spec);
  if (impossible !== undefined) return impossible;
  const { path, before, layout } = rootOf(spec, caller);
  const { user, root } = spec;
  const owner = [`uid=${user.uid}`, `gid=${user.gid}`];
  return {
    before: [...before, ...profileBefore(spec), `tar -c -C ${quote(path)} . | docker import - ${IMAGE}`],
    argv: [
      ...['docker', 'run'],
      ...commonArgs(spec, layout),
      `--shm-size=${TMPFS_BYTES}`,
      ...mountArgs(layout, (entry) => tmpfsArg(entry, owner)),
      IMAGE,
    ],
    lacks: [
      ...limitsBeyond(spec, [...rlimitNames, ...groupNames]),
      ...umaskBeyond(spec, UMASK),
      'a user namespace: uids inside are those of the host of the engine',
      ...(root.kind === 'directory' ? [`${path} itself: the root is a copy of it`] : []),
      ...(root.readonly ? [] : ['what is written to the root: it goes with the container']),
      ...architectureBeyond(spec, caller),
      ...commonLacks(spec, layout),
      ...modesBeyond(layout),
      ...ambientBeyond(spec),
      ofTheEtc,
      '/run, /sys and /var that are not there: it makes its own',
      ofTheProc,
      'an environment without HOSTNAME',
      ofTheOutcome,
    ],
  };
}
