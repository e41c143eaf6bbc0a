import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildCli, runCli, spawnCli, until } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';
import { header, tar } from '../helpers/tar.ts';

requires('linux', 'userns');
beforeAll(buildCli);

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'image-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function archive(name: string, content: Uint8Array): string {
  writeFileSync(join(base, name), content);
  return join(base, name);
}

test('image unpack writes what is in an archive, and says how much', () => {
  const file = archive('a.tar.gz', gzipSync(tar({ name: 'd/file', content: 'content' })));
  const { status, stdout, stderr } = runCli(['image', 'unpack', file, 'out'], { cwd: base });
  expect({ status, stdout, stderr }).toEqual({
    status: 0,
    stdout: '',
    stderr: `run-sandbox: 1 entry with 7 bytes in ${base}/out\n`,
  });
  expect(readFileSync(join(base, 'out/d/file'), 'utf8')).toBe('content');
});

test('it says what it left out', () => {
  const file = archive('a.tar', tar({ name: 'null', type: '3', major: 1, minor: 3 }));
  expect(runCli(['image', 'unpack', file, join(base, 'out')]).stderr).toContain(
    'left out: 1 device, the first at null: devices cannot be made in a user namespace (owners: ',
  );
});

test('with --json, before or after the word, it prints its report', () => {
  const file = archive('a.tar', tar({ name: 'file' }));
  for (const args of [
    ['--json', 'unpack'],
    ['unpack', '--json'],
  ]) {
    const { status, stdout, stderr } = runCli(['image', ...args, file, join(base, 'out')]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      entries: 1,
      archives: [{ compression: 'none', digest: expect.stringMatching(/^sha256:/) }],
    });
    rmSync(join(base, 'out'), { recursive: true });
  }
});

test('several archives are layers', () => {
  const lower = archive('0.tar', tar({ name: 'a' }, { name: 'b' }));
  const upper = archive('1.tar', tar({ name: '.wh.a' }, { name: 'c' }));
  expect(runCli(['image', 'unpack', lower, upper, join(base, 'out')]).status).toBe(0);
  expect(readdirSync(join(base, 'out')).sort()).toEqual(['b', 'c']);
});

test('a failure has status 125, its reason on stderr, and leaves nothing', () => {
  const file = archive('a.tar', tar({ name: '../up' }));
  const { status, stderr } = runCli(['image', 'unpack', '--json', file, join(base, 'out')]);
  const [text = '', json = ''] = stderr.split('\n');
  expect(status).toBe(125);
  expect(text).toBe(`run-sandbox: ${file}, entry 1 '../up': its name has '..' in it`);
  expect(JSON.parse(json)).toMatchObject({ event: 'error', code: 'SBX_IMAGE_INVALID', exitStatus: 125 });
  expect(readdirSync(base)).toEqual(['a.tar']);
});

test('bounds can be set, and are named where they are met', () => {
  const file = archive('a.tar', tar({ name: 'a', content: 'x'.repeat(2000) }));
  const limited = runCli(['image', 'unpack', '--archive-limit', 'bytes=1kB', file, join(base, 'out')]);
  expect(limited.stderr).toMatch(
    /its files have 2000 bytes or more, more than the limit of 1000; if you trust it, raise limits\.bytes\n$/,
  );
  expect(runCli(['image', 'unpack', '--archive-limit=byts=1', file, 'x']).stderr).toContain(
    "--archive-limit: 'byts' is no limit of an archive; did you mean bytes?",
  );
});

test('wrong use is said, all of it at once', () => {
  expect(runCli(['image'])).toMatchObject({
    status: 125,
    stderr: expect.stringContaining('image: do what? known is build, inspect, unpack, pull, ls, rm, gc, validate'),
  });
  expect(runCli(['image', 'unpak', 'x'])).toMatchObject({
    status: 125,
    stderr: expect.stringContaining("image does not know 'unpak'"),
  });
  const { stderr } = runCli(['image', 'unpack', '--whiteouts', 'eat', 'x']);
  expect(stderr).toMatch(
    /--whiteouts: 'eat' is no way with whiteouts.*\n.*image unpack needs an archive and a directory\n/,
  );
  expect(runCli(['image', 'unpack', '--help']).stdout).toContain('run-sandbox image unpack [options] ARCHIVE');
});

test('a signal ends it, and nothing is left', async () => {
  const file = archive('a.tar', header({ name: 'zeros', size: 2 ** 31 - 1024 }));
  // Of holes, which take some time to read and no room.
  truncateSync(file, 2 ** 31);
  const child = spawnCli(['image', 'unpack', file, join(base, 'out')]);
  await until(
    () => existsSync(join(base, 'out/zeros')),
    () => 'nothing was unpacked',
  );
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([143, null]);
  expect(existsSync(join(base, 'out'))).toBe(false);
});
