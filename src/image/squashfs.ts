// An image of squashfs as a tar archive, by sqfs2tar(1).
import type { Converter } from './converter.ts';

export const squashfs: Converter = {
  kind: 'squashfs',
  program: 'sqfs2tar',
  packages: 'squashfs-tools-ng',
  // With an entry for the top, which has an owner and a mode.
  writes: false,
  command: (program, image) => [program, '--root-becomes', '.', image],
  sandbox: () => ({}),
};
