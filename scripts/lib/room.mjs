// Where tests make their files.
import { chmodSync, existsSync, mkdirSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { inProject } from './paths.mjs';

/** statfs(2), OVERLAYFS_SUPER_MAGIC. */
const OVERLAYFS = 0x794c7630;

/**
 * No layer above an overlay may lie on another one, which is what all of a container is: there they are in the checkout, or in
 * memory where that is no better.
 */
export function roomForTests() {
  const beside = inProject('build', 'tmp');
  mkdirSync(beside, { recursive: true });
  // Also for the ordinary users that some tests become.
  chmodSync(beside, 0o1777);
  const place = [tmpdir(), beside, '/dev/shm'].find((each) => existsSync(each) && statfsSync(each).type !== OVERLAYFS);
  if (place === undefined || place === tmpdir()) return {};
  console.log(
    `tests make their files in ${place}: ${tmpdir()} is on an overlay, which cannot hold the layers of another`,
  );
  return { TMPDIR: place };
}
