// A sandbox in the words of linux-user-chroot(8). Pure.
import type { BindEntry } from '../layout.ts';
import { maskedInProc, readonlyInProc } from '../layout.ts';

/** It refuses more mounts than this, all of them counted. */
export const MOUNTS_MAX = 1024;

/** How a file of the host is named, which it opens itself: by a descriptor that it inherits, so that nobody can put another in its place. */
export type Naming = (entry: BindEntry) => string;

const directoriesInProc: ReadonlySet<string> = new Set(['acpi', 'asound', 'driver', 'scsi']);

/** In the order in which they are made. The root comes first: read-only it would cover what was mounted before it. */
export function mountArgs(
  root: { readonly path: string; readonly readonly: boolean },
  binds: readonly BindEntry[],
  procEntries: ReadonlySet<string>,
  name: Naming,
): string[] {
  return [
    ...(root.readonly ? ['--mount-readonly', '/'] : []),
    ...procArgs(root.path, procEntries, name),
    ...binds.flatMap((entry) => bindArgs(entry, name)),
  ];
}

export function countMounts(args: readonly string[]): number {
  return args.filter((word) => word.startsWith('--mount-')).length;
}

/** What tells of the machine is covered: a file by /dev/null, a directory by that which the root has for a mount point, in which there is nothing. */
function procArgs(root: string, procEntries: ReadonlySet<string>, name: Naming): string[] {
  const own = (names: readonly string[]): string[] => names.filter((entry) => procEntries.has(entry));
  return [
    ...['--mount-proc', '/proc'],
    ...own(readonlyInProc).flatMap((entry) => ['--mount-readonly', `/proc/${entry}`]),
    ...own(maskedInProc).flatMap((entry) =>
      bindArgs(
        directoriesInProc.has(entry)
          ? bind(`${root === '/' ? '' : root}/proc`, `/proc/${entry}`, 'directory')
          : bind('/dev/null', `/proc/${entry}`, 'device'),
        name,
      ),
    ),
  ];
}

function bind(source: string, destination: string, sourceKind: BindEntry['sourceKind']): BindEntry {
  return { kind: 'bind', source, destination, sourceKind, readonly: true };
}

function bindArgs(entry: BindEntry, name: Naming): string[] {
  const { destination, readonly } = entry;
  return [...['--mount-bind', name(entry), destination], ...(readonly ? ['--mount-readonly', destination] : [])];
}
