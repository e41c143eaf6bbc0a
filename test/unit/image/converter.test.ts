import { expect, test } from 'vitest';
import { hostFiles } from '../../../src/host/files.ts';
import { requireProgram } from '../../../src/image/converter.ts';
import { erofs } from '../../../src/image/erofs.ts';
import { squashfs } from '../../../src/image/squashfs.ts';

const nothing = { ...hostFiles, stat: () => undefined };

test.each([
  [
    squashfs,
    'app is an image of squashfs, and sqfs2tar, which reads one, is not on PATH; install it (Debian: squashfs-tools-ng)',
  ],
  [
    erofs,
    'app is an image of erofs, and fsck.erofs, which reads one, is not on PATH; install it (Debian: erofs-utils)',
  ],
])('without $program the package that has it is named', (converter, message) => {
  expect(() => requireProgram(converter, 'app', nothing, '/bin')).toThrow(message);
});

test('a fsck.erofs that cannot extract is told from one that fails', () => {
  expect(erofs.explain?.("fsck.erofs: option '--extract' doesn't allow an argument")?.remedy).toMatch(/1\.5 or later/);
  expect(erofs.explain?.('<E> erofs: failed to create special file: /x/null')?.why).toMatch(/devices/);
  expect(erofs.explain?.('<E> erofs: cannot find valid erofs superblock')).toBeUndefined();
});
