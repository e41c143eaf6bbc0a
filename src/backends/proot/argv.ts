// A view of a root in the words of proot(1). Pure.
import { SpecError } from '../../errors/errors.ts';
import type { NormalizedMount, NormalizedSpec } from '../../spec/types.ts';

/** `qemu`: what runs programs of another architecture; `undefined`: this machine. */
export function prootArgs(spec: NormalizedSpec, qemu: string | undefined): string[] {
  const { root, mounts } = spec;
  return [
    // Of its own words only those that tell why it ends.
    ...['-v', '-1'],
    ...(qemu === undefined ? [] : ['-q', qemu]),
    ...['-r', root.path ?? '/'],
    ...(root.kind === 'directory' ? ['-b', '/proc', '-b', '/dev'] : []),
    ...mounts.flatMap((mount) => (mount.type === 'bind' ? bindArgs(mount) : [])),
  ];
}

/** `!`: a link at the destination is not followed. */
function bindArgs({ source = '', destination, origin }: NormalizedMount): string[] {
  for (const path of [source, destination]) {
    if (!path.includes(':') && !path.endsWith('!')) continue;
    throw new SpecError([
      { path: [origin], message: `proot cannot name ${path}: a colon parts its paths, and ! ends them` },
    ]);
  }
  return ['-b', source === destination ? source : `${source}:${destination}!`];
}
