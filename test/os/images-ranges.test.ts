// Images run by an ordinary user who has ranges of ids, through newuidmap(1) and newgidmap(1) for real: files have the owners that they have in the image.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/index.ts';
import { buildCli } from '../helpers/cli.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { account, ranges, rangesNeed, scriptWithPrivateEtc } from '../helpers/private-etc.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const needs = [...rangesNeed, `file:${BUSYBOX}`] as const;
requires(...needs);

const module = new URL('../../dist/index.js', import.meta.url);
const program = `
const [, cache, json] = process.argv;
process.env.XDG_CACHE_HOME = cache;
const { collectImages, run } = await import(${JSON.stringify(module.href)});
const answers = [];
for (const [command, spec] of JSON.parse(json))
  answers.push(await run(command, spec).then(({ stdout, stderr }) => stdout + stderr, ({ message }) => message));
console.log(JSON.stringify({ answers, collected: await collectImages() }));
`;

let work: string;
let image: string;

beforeAll(() => {
  if (needs.some((need) => whyMissing(need) !== undefined)) return;
  buildCli();
  work = mkdtempSync(join(tmpdir(), 'images-ranges-'));
  chmodSync(work, 0o755);
  mkdirSync(join(work, 'cache'), { mode: 0o700 });
  chownSync(join(work, 'cache'), account.uid, account.gid);
  const closed = tar(
    { name: 'closed/', type: '5', mode: 0o700, uid: 77, gid: 78 },
    { name: 'closed/file', uid: 77, gid: 78 },
  );
  image = writeLayout(join(work, 'layout'), ociImage([tar(...busyboxRoot()), closed], { User: 'app' }));
});
afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

interface Said {
  readonly answers: string[];
  readonly collected: { readonly unfinished: number };
}

function said(...calls: readonly (readonly [script: string, spec?: SandboxSpec])[]): string[] {
  return saidAndCollected(...calls).answers;
}

function saidAndCollected(...calls: readonly (readonly [script: string, spec?: SandboxSpec])[]): Said {
  const all = calls.map(([script, { root, ...spec } = {}]) => [
    ['/bin/sh', '-c', script],
    { ...spec, root: { image, entrypoint: [], ...(typeof root === 'object' ? root : {}) } },
  ]);
  const text = scriptWithPrivateEtc({ subuid: ranges }, program, join(work, 'cache'), JSON.stringify(all));
  return JSON.parse(text) as Said;
}

test('a user of the image is itself, beside the owners of its files', () => {
  expect(said(['id -u; id -g; stat -c "%u %g" /srv /bin /closed; touch /srv/new && echo written; ls /closed'])).toEqual(
    ["123\n456\n123 456\n0 0\n77 78\nwritten\nls: can't open '/closed': Permission denied\n"],
  );
});

test('root of the image gives files to others, in its view alone', () => {
  const spec: SandboxSpec = { user: { uid: 0, gid: 0 }, capabilities: ['CAP_CHOWN', 'CAP_DAC_OVERRIDE'] };
  const script = 'stat -c "%u %g" /closed/file; chown 5:6 /closed/file && stat -c "%u %g" /closed/file';
  expect(said([script, spec], [script, spec])).toEqual(['77 78\n5 6\n', '77 78\n5 6\n']);
});

test('an App Container image runs as its user', () => {
  writeFileSync(join(work, 'app.aci'), aci(busyboxRoot(), { user: 'app', group: 'app' }));
  expect(said(['id -u; stat -c "%u %g" /srv', { root: { image: join(work, 'app.aci') } }])).toEqual(['123\n123 456\n']);
});

test('an image of erofs has the owners that are in it', () => {
  requires('command:mkfs.erofs', 'command:fsck.erofs');
  const tree = join(work, 'tree');
  mkdirSync(tree);
  execFileSync('tar', ['-x', '-C', tree], { input: tar(...busyboxRoot()) });
  const path = join(work, 'image.erofs');
  execFileSync('mkfs.erofs', ['--force-uid=77', '--force-gid=78', path, tree], { stdio: ['ignore', 'ignore', 'pipe'] });
  const spec: SandboxSpec = { user: { uid: 77, gid: 78 }, root: { image: path } };
  expect(said(['stat -c "%u %g" /bin /srv; touch /srv/new && echo written', spec])).toEqual([
    '77 78\n77 78\nwritten\n',
  ]);
});

test('layers in the store belong to ids of the ranges, in directories of the caller', () => {
  said(['true']);
  const [store = ''] = readdirSync(join(work, 'cache/sandboxlib/images'));
  expect(store).toMatch(/^ranges-/);
  const layers = join(work, 'cache/sandboxlib/images', store, 'layers');
  const owners = readdirSync(layers).flatMap((name) => {
    const { uid, gid, mode } = lstatSync(join(layers, name));
    const found = lstatSync(join(layers, name, 'tree/closed/file'), { throwIfNoEntry: false });
    expect([uid, gid, mode & 0o777]).toEqual([account.uid, account.gid, 0o700]);
    return found === undefined ? [] : [[found.uid, found.gid]];
  });
  expect(owners).toEqual([[700_076, 700_077]]);
});

test('what a killed process left is removed, whichever of the ids it belongs to', () => {
  said(['true']);
  const [store = ''] = readdirSync(join(work, 'cache/sandboxlib/images'));
  const unfinished = join(work, 'cache/sandboxlib/images', store, 'work');
  // Of a process that is not there: pids end at 2^22.
  const left = join(unfinished, '4194305-1-00000000');
  const owners = {
    [left]: account,
    [join(left, 'tree')]: account,
    [join(left, 'tree/closed')]: { uid: 700_050, gid: 700_050 },
  };
  for (const [path, { uid, gid }] of Object.entries(owners)) {
    mkdirSync(path, { mode: 0o700 });
    chownSync(path, uid, gid);
  }
  writeFileSync(join(left, 'tree/closed/file'), 'x');
  chownSync(join(left, 'tree/closed/file'), 700_051, 700_051);
  chmodSync(join(left, 'tree/closed'), 0);
  expect(saidAndCollected(['true']).collected).toMatchObject({ unfinished: 1 });
  expect(readdirSync(unfinished)).toEqual([]);
});
