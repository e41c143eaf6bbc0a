// An image of erofs as a tar archive. fsck.erofs(1) can write its files, but no archive: so it writes them to memory of the sandbox, and tar(1) reads them
// there. Of what is in the image it keeps no extended attributes, no set-user-ID bits of other owners, and makes of the names of one file a file each.
import { totalmem } from 'node:os';
import { callerFacts } from '../host/facts.ts';
import { nodeSpecHost } from '../spec/host.ts';
import type { SandboxSpec } from '../spec/types.ts';
import type { ArchiveLimits } from './archive/limits.ts';
import type { Converter } from './converter.ts';
import { ownersFor } from './owners.ts';

const FILES = '/extracted';
const MEMORY_SHARE = 2;
const NO_ROOM = 'no room is left for its files';
/**
 * The tree is complete when the first byte of it is written: half of it must not look like all. Of a full file system fsck.erofs says no more than that
 * something is wrong.
 */
const SCRIPT = `
image=$1
shift
if "$@" --extract=${FILES}/root --preserve-perms "$image" >&2; then exec tar -C ${FILES}/root -cf - .; fi
case $(stat -f -c '%f,%d' ${FILES}) in 0,* | *,0) echo '${NO_ROOM}' >&2 ;; esac
exit 1`;

export const erofs: Converter = {
  kind: 'erofs',
  program: 'fsck.erofs',
  packages: 'erofs-utils',
  writes: true,
  command: (program, image) => {
    const owners = hasOwners() ? '--preserve-owner' : '--no-preserve-owner';
    return ['/bin/sh', '-c', SCRIPT, 'sh', image, program, owners];
  },
  sandbox: (size, limits) => ({
    ...idsOf(),
    capabilities: ['CAP_CHOWN', 'CAP_FOWNER'],
    mounts: [{ type: 'tmpfs', destination: FILES, sizeBytes: boundFor(size, limits) }],
  }),
  explain: (complaint) => {
    // 1.5 can: before, --extract took no directory.
    if (/unrecognized option|doesn't allow an argument/.test(complaint))
      return { why: 'fsck.erofs is too old to extract one', remedy: 'install erofs-utils 1.5 or later' };
    if (/failed to create special file/.test(complaint))
      return {
        why: 'there are devices in it, which no sandbox can make, and fsck.erofs does not leave them out',
        remedy: 'make it without: mkfs.erofs --exclude-regex=^dev/',
      };
    if (complaint.includes(NO_ROOM))
      return {
        why: 'its files are more than may be in memory while it is read: half of what this machine has, or what image.limits allow',
        remedy:
          'raise image.limits.ratio, or make it an archive: fsck.erofs --extract=DIRECTORY, tar -C DIRECTORY -cf FILE .',
      };
    return undefined;
  },
};

function boundFor(size: number, { ratio, ratioFloorBytes, bytes }: ArchiveLimits): number {
  return Math.floor(Math.min(Math.max(ratioFloorBytes, ratio * size), bytes, totalmem() / MEMORY_SHARE));
}

function hasOwners(): boolean {
  return ownersFor(nodeSpecHost(), callerFacts()).kind !== 'one';
}

/** So that files may have all owners that they will have in the store. */
function idsOf(): Pick<SandboxSpec, 'uidMappings' | 'gidMappings'> {
  const owners = ownersFor(nodeSpecHost(), callerFacts());
  return owners.kind === 'ranges' ? { uidMappings: owners.uid, gidMappings: owners.gid } : {};
}
