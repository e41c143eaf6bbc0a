// As root, by chroot(2), proot(1) and what plays linux-user-chroot(8); and the copy itself beside what umoci makes of the same layers.
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { mergeLayers } from '../../src/image/merge.ts';
import { openImage } from '../../src/index.ts';
import { ociImage, writeLayout } from '../helpers/images.ts';
import { requires } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';
import { copiedCases } from './images-copied-cases.ts';

requires('linux', 'root');

describe('by chroot, a copy', () => copiedCases('chroot'));
describe('by proot, a copy', () => copiedCases('proot'));
// Which mounts into it, so that it has to have the mount points.
describe('by linux-user-chroot, a copy', () => copiedCases('linux-user-chroot'));

test('a copy has the files, owners, modes and times that umoci gives them', async () => {
  requires('command:umoci');
  const work = mkdtempSync(join(tmpdir(), 'merged-'));
  process.env['XDG_CACHE_HOME'] = join(work, 'cache');
  try {
    const folder = { type: '5', uid: 7, gid: 8, mtime: 9 };
    const layers = [
      tar(
        { name: './', type: '5', mode: 0o711, mtime: 3 },
        { name: 'a/', ...folder, mode: 0o1777 },
        { name: 'a/b/', ...folder, mode: 0o700 },
        { name: 'a/b/tool', content: 'tool', mode: 0o4751, uid: 1, gid: 2, mtime: 11 },
        { name: 'a/b/again', type: '1', linkname: 'a/b/tool' },
        { name: 'a/file', content: 'becomes a directory', mtime: 4 },
        { name: 'c/', ...folder, mode: 0o750 },
        { name: 'c/x/', ...folder },
        { name: 'c/x/hidden', content: 'x' },
        { name: 'd/', ...folder },
        { name: 'd/e', content: 'becomes a link' },
      ),
      tar(
        { name: 'a/b/', ...folder, mode: 0o2710, mtime: 10 },
        { name: 'a/.wh.file' },
        { name: 'c/.wh..wh..opq' },
        { name: 'c/y', content: 'y', uid: 3, mtime: 12 },
        { name: '.wh.d' },
      ),
      tar(
        { name: 'a/file/', ...folder, mode: 0o711 },
        { name: 'a/file/in', content: 'in', mtime: 13 },
        { name: 'd', type: '2', linkname: 'nowhere', uid: 5, gid: 6, mtime: 14 },
        { name: 'c/x/', ...folder, mode: 0o700 },
        { name: 'c/x/z', mtime: 15 },
      ),
    ];
    const place = writeLayout(join(work, 'layout'), ociImage(layers), 'app');
    execFileSync('umoci', ['unpack', '--image', 'layout:app', 'bundle'], { cwd: work, stdio: 'ignore' });
    const image = await openImage(`oci:${place}`);
    expect(image.layers).toHaveLength(3);
    const { openReference } = await import('../../src/image/open/open.ts');
    const { layers: stored, directories } = await openReference(`oci:${place}`);
    const all = directories === undefined ? stored : [directories, ...stored];
    expect([...mergeLayers(all, join(work, 'merged'), { keepsOwners: true })]).toEqual([]);
    const found = tree(join(work, 'merged'));
    expect(found).toEqual(tree(join(work, 'bundle/rootfs')));
    expect(Object.keys(found)).toContain('/c/x/z');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});

function tree(directory: string, inside = ''): Record<string, string> {
  const { mode, uid, gid, mtimeMs, nlink, ...status } = lstatSync(`${directory}${inside}`);
  const what = `${mode.toString(8)} ${uid}:${gid} ${mtimeMs}`;
  if ((mode & 0o170000) === 0o120000) return { [inside]: `${what} to ${readlinkSync(`${directory}${inside}`)}` };
  if ((mode & 0o170000) === 0o100000)
    return { [inside]: `${what} ${nlink} ${readFileSync(`${directory}${inside}`, 'utf8')}` };
  expect(status.size).toBeGreaterThan(0);
  const below = readdirSync(`${directory}${inside}`).map((name) => tree(directory, `${inside}/${name}`));
  return Object.assign({ [inside]: what }, ...below) as Record<string, string>;
}
