import { expect, test } from 'vitest';
import { hostFiles } from '../../../src/host/files.ts';
import { requireSqfs2tar } from '../../../src/image/squashfs.ts';

test('without sqfs2tar the package that has it is named', () => {
  const nothing = { ...hostFiles, stat: () => undefined };
  expect(() => requireSqfs2tar('app.sqfs', nothing, '/bin')).toThrow(
    'app.sqfs is an image of squashfs, and sqfs2tar, which reads one, is not on PATH; install it (Debian: squashfs-tools-ng)',
  );
});
