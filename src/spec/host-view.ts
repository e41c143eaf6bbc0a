// What of this host the default root shows.
import { isWithin } from './paths.ts';

/** Where programs and libraries are. Of Nix and Guix only the stores: what lies beside them is state of the machine and of its users. */
export const systemDirectories: readonly string[] = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/opt', // toolchains, JDKs, SDKs of other makers
  '/nix/store',
  '/gnu/store',
];

/** Whether a clean absolute path is of a directory of the host that the host view shows whole. Of `/etc` it shows a choice. */
export function isInHostView(path: string): boolean {
  return systemDirectories.some((directory) => isWithin(path, directory));
}
