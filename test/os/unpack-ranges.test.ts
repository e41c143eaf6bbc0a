// Archives unpacked by an ordinary user who has ranges of ids, through newuidmap(1) and newgidmap(1) for real.
import { chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { UnpackReport } from '../../src/image/unpack.ts';
import { buildCli } from '../helpers/cli.ts';
import { account, ranges, rangesNeed, scriptWithPrivateEtc } from '../helpers/private-etc.ts';
import { requires } from '../helpers/requires.ts';
import { type Member, tar } from '../helpers/tar.ts';

requires(...rangesNeed);

const module = new URL('../../dist/image/unpack.js', import.meta.url);
const script = `
const { unpack } = await import(${JSON.stringify(module.href)});
const [, archive, directory] = process.argv;
console.log(JSON.stringify(await unpack(archive, directory).then((report) => ({ report }), ({ message }) => ({ message }))));
`;

let base: string;
beforeAll(buildCli);
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'unpack-ranges-'));
  chownSync(base, account.uid, account.gid);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function unpackAsAccount(...members: readonly Member[]): { readonly report?: UnpackReport; readonly message?: string } {
  const archive = join(base, 'archive.tar');
  writeFileSync(archive, tar(...members));
  return JSON.parse(scriptWithPrivateEtc({ subuid: ranges }, script, archive, join(base, 'target')));
}

function ownerOf(name: string): readonly [uid: number, gid: number, mode: number] {
  const { uid, gid, mode } = lstatSync(join(base, 'target', name));
  return [uid, gid, mode & 0o7777];
}

test('root of the archive is the caller, and others are ids of its ranges, with their set-user-ID bits', () => {
  const { report } = unpackAsAccount(
    { name: './', type: '5', uid: 3, gid: 4 },
    { name: 'root', mode: 0o4755 },
    { name: 'five', uid: 5, gid: 6, mode: 0o6755 },
    { name: 'last', uid: 1000, gid: 1000 },
    { name: 'link', type: '2', linkname: 'root', uid: 5, gid: 6 },
    { name: 'beyond', uid: 1001, gid: 5, mode: 0o4755 },
  );
  expect(report?.owners).toBe('ranges of /etc/subuid and /etc/subgid');
  expect(ownerOf('')).toEqual([700_002, 700_003, 0o755]);
  expect(ownerOf('root')).toEqual([account.uid, account.gid, 0o4755]);
  expect(ownerOf('five')).toEqual([700_004, 700_005, 0o6755]);
  expect(ownerOf('last')).toEqual([700_999, 700_999, 0o644]);
  expect(ownerOf('link').slice(0, 2)).toEqual([700_004, 700_005]);
  expect(ownerOf('beyond')).toEqual([account.uid, account.gid, 0o755]);
  expect(report?.leftOut).toMatchObject({ owners: 1, modes: 1 });
});

test('where it fails, files of other ids in closed directories are removed too', () => {
  const answer = unpackAsAccount(
    { name: './', type: '5', uid: 9, gid: 9, mode: 0 },
    { name: 'closed/', type: '5', uid: 5, gid: 5, mode: 0 },
    { name: 'closed/file', uid: 6, gid: 6, mode: 0 },
    { name: 'closed/file/below' },
  );
  expect(answer.message).toMatch(/cannot write 'closed\/file\/below': what is above it is no directory/);
  expect(existsSync(join(base, 'target'))).toBe(false);
});

test('where it fails, an empty directory is as it was', () => {
  mkdirSync(join(base, 'target'), { mode: 0o750 });
  chownSync(join(base, 'target'), account.uid, account.gid);
  unpackAsAccount({ name: './', type: '5', uid: 9, gid: 9, mode: 0 }, { name: 'a', uid: 7 }, { name: 'a/b' });
  expect(ownerOf('')).toEqual([account.uid, account.gid, 0o750]);
});
