// The same sandbox in the words of podman(1), which runs a directory as the root. Pure.
import { posix } from 'node:path';
import type { CallerFacts } from '../../backends/backend.ts';
import { TMPFS_BYTES } from '../../backends/layout.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import { commonArgs, commonLacks, mountArgs, ofTheEtc, profileBefore, tmpfsArg } from './engine.ts';
import {
  ambientBeyond,
  architectureBeyond,
  groupNames,
  idRangesBeyond,
  limitsBeyond,
  modesBeyond,
  octal,
  ofTheOutcome,
  ofTheProc,
  rlimitNames,
  rootOf,
  type Translation,
  withoutMountPoints,
} from './shared.ts';

export function asPodman(spec: NormalizedSpec, caller: CallerFacts, directory: string): Translation {
  const impossible = withoutMountPoints('podman', spec);
  if (impossible !== undefined) return impossible;
  const { path, before, layout } = rootOf(spec, caller);
  return {
    before: [...before, ...profileBefore(spec)],
    argv: [
      ...['podman', 'run'],
      ...commonArgs(spec, layout),
      ...(caller.uid === 0 ? [] : ['--userns=keep-id']),
      // Else it mounts files of its own over those of the root.
      ...(spec.network === 'none' ? ['--no-hosts'] : []),
      ...['--pid=private', '--uts=private', '--unsetenv-all', '--image-volume=ignore', '--read-only-tmpfs=false'],
      `--umask=${octal(spec.umask)}`,
      `--shm-size=${TMPFS_BYTES}`,
      ...wallArgs(spec),
      ...mountArgs(layout, (entry) => tmpfsArg(entry, ['notmpcopyup'])),
      // Relative, it would be so to podman's own.
      ...['--rootfs', posix.resolve(directory, path)],
    ],
    lacks: [
      ...limitsBeyond(spec, [
        ...rlimitNames,
        ...groupNames,
        ...(wallArgs(spec).length > 0 ? (['wallMs'] as const) : []),
      ]),
      ...(caller.uid === 0 ? ['a user namespace: uid 0 inside is that of this host'] : idRangesBeyond(spec)),
      ...(spec.user.uid === 0
        ? []
        : [`a home directory that belongs to uid ${spec.user.uid}: a tmpfs belongs to root`]),
      ...architectureBeyond(spec, caller),
      ...commonLacks(spec, layout),
      ofTheProc,
      ...modesBeyond(layout),
      ...ambientBeyond(spec),
      ofTheEtc,
      '/run, /sys and /var that are not there: it makes its own',
      'an environment without container, HOSTNAME and TERM',
      ofTheOutcome,
    ],
  };
}

/** It counts whole seconds. */
function wallArgs({ limits: { wallMs } }: NormalizedSpec): string[] {
  return wallMs !== undefined && wallMs % 1000 === 0 ? [`--timeout=${wallMs / 1000}`] : [];
}
