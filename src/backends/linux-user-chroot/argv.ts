// A sandbox in the words of linux-user-chroot(8). Pure.
import type { NormalizedSpec } from '../../spec/types.ts';
import { type BindEntry, readonlyInProc } from '../layout.ts';

/** It takes no more options than this. */
export const OPTIONS_MAX = 1023;

/** Where it finds a directory of the host. */
export type Place = (path: string) => string;

/** `binds` in the order in which they are made; the root comes first, for made read-only it would cover what was mounted before. */
export function helperArgs(
  { network, root }: NormalizedSpec,
  binds: readonly BindEntry[],
  procEntries: ReadonlySet<string>,
  place: Place,
): string[] {
  return [
    // The former makes a uts namespace too.
    ...['--unshare-ipc', '--unshare-pid'],
    ...(network === 'none' ? ['--unshare-net'] : []),
    ...(root.readonly ? ['--mount-readonly', '/'] : []),
    ...['--mount-proc', '/proc'],
    // Without any capability uid 0 of the host could still write what belongs to it there.
    ...readonlyInProc.filter((name) => procEntries.has(name)).flatMap((name) => ['--mount-readonly', `/proc/${name}`]),
    ...binds.flatMap((entry) => bindArgs(entry, place)),
    place(root.path ?? '/'),
  ];
}

export function countOptions(args: readonly string[]): number {
  return args.filter((word) => word.startsWith('--')).length;
}

function bindArgs({ source, destination, readonly }: BindEntry, place: Place): string[] {
  return ['--mount-bind', place(source), destination, ...(readonly ? ['--mount-readonly', destination] : [])];
}
