// What a directory must have that is to be a root on any backend. Not every one can make what is missing without leaving it in the directory: that is
// root.missingMountPoints.
import { userInfo } from 'node:os';

/** Relative to the root: for whoever runs the test, for root, and for a user without an entry, whom the library calls `user`. */
export const allMountPoints: readonly string[] = [
  ...new Set(['proc', 'dev', 'tmp', 'root', 'home/user', `home/${userName()}`, 'etc']),
];

function userName(): string {
  try {
    return userInfo().username;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR') throw error;
    return 'user';
  }
}
