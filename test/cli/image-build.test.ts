import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildCli, runCli, spawnCli, until } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');
beforeAll(buildCli);

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'build-'));
  mkdirSync(join(base, 'tree'));
  writeFileSync(join(base, 'tree/file'), 'content');
  writeFileSync(
    join(base, 'm.json'),
    '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app","lables":[]}',
  );
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

test('image build prints the image ID, and on stderr what it made, and what is not in it', () => {
  const { status, stdout, stderr } = runCli(['image', 'build', 'tree', 'm.json', '-o', 'a.aci'], { cwd: base });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^sha512-[0-9a-f]{128}\n$/);
  expect(stderr.split('\n')).toEqual([
    "run-sandbox: manifest: lables: is not known here and passed over; did you mean 'labels'?",
    'run-sandbox: left out: extended attributes, if files have any: security.capability, user.*, access lists',
    expect.stringMatching(new RegExp(`^run-sandbox: example.com/app: 3 entries, \\d+ bytes, \\d+ in ${base}/a.aci$`)),
    '',
  ]);
});

test('options may stand anywhere before --, and --json prints the report', () => {
  const { status, stdout, stderr } = runCli(
    ['image', '--compress=none', 'build', 'tree', '--json', '-o', 'a.aci', '--owner', '7:8', '--', 'm.json'],
    { cwd: base, env: { SOURCE_DATE_EPOCH: '1' } },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({
    file: join(base, 'a.aci'),
    name: 'example.com/app',
    imageId: expect.stringMatching(/^sha512-/),
    compression: 'none',
    leftOut: { sockets: 0, xattrs: 'not-read' },
  });
  const plain = runCli(['image', 'build', 'tree', 'm.json', '-o', 'b.aci'], { cwd: base });
  expect(plain.stdout).not.toContain((JSON.parse(stdout) as { imageId: string }).imageId);
});

test('wrong use is said, all of it at once', () => {
  const { status, stderr } = runCli(['image', 'build', 'tree', '--owner', 'me', '--setid', 'drop'], {
    env: { SOURCE_DATE_EPOCH: 'now' },
  });
  expect(status).toBe(125);
  expect(stderr.split('\n')).toEqual([
    "run-sandbox: --owner: must be UID:GID, such as 0:0, not 'me'",
    'run-sandbox: --setid means nothing to image build',
    'run-sandbox: image build needs a directory and an image manifest, and nothing else',
    'run-sandbox: image build needs the image to make: -o FILE.aci',
    "run-sandbox: SOURCE_DATE_EPOCH must be a whole number of at least 0, not 'now'",
    'run-sandbox: see run-sandbox --help',
    '',
  ]);
  expect(runCli(['image', 'unpack', 'a', 'b', '--force']).stderr).toContain('--force means nothing to image unpack');
});

test('what is there is replaced only with --force', () => {
  const args = ['image', 'build', 'tree', 'm.json', '-o', 'a.aci'];
  expect(runCli(args, { cwd: base }).status).toBe(0);
  const again = runCli(args, { cwd: base });
  expect(again).toMatchObject({ status: 125, stdout: '' });
  expect(again.stderr).toContain(`${base}/a.aci: it exists already; remove it, or overwrite it (--force)`);
  expect(runCli([...args, '--force'], { cwd: base }).status).toBe(0);
});

test.each(['none', 'xz'])('a signal ends it while it compresses by %s, and nothing is left', async (compression) => {
  if (compression === 'xz') requires('command:xz');
  // Of holes, which take time and no room.
  truncateSync(join(base, 'tree/file'), 2 ** 33);
  const child = spawnCli(['image', 'build', 'tree', 'm.json', '-o', 'a.aci', '--compress', compression], { cwd: base });
  await until(
    () => readdirSync(base).some((name) => name.startsWith('.a.aci.')),
    () => 'nothing was begun',
  );
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([143, null]);
  expect(readdirSync(base).sort()).toEqual(['m.json', 'tree']);
});
