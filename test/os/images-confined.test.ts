// As root where user namespaces are refused, as the filter of a container does it: layers are written in a domain of Landlock, and the image is run as a copy
// by chroot(2).
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildCli } from '../helpers/cli.ts';
import { BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { type Bench, makeBench } from '../helpers/native-plan.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const needs = ['linux', 'root', 'userns', 'command:cc', `file:${BUSYBOX}`] as const;
requires(...needs);

const module = new URL('../../dist/index.js', import.meta.url);

let work: string;
let bench: Bench;
beforeAll(() => {
  if (needs.some((need) => whyMissing(need) !== undefined)) return;
  buildCli();
  bench = makeBench('without_syscall');
  work = mkdtempSync(join(tmpdir(), 'images-confined-'));
  chmodSync(work, 0o755);
});
afterAll(() => {
  bench?.remove();
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

/** What `script` returns, whose names are those of the library, where these calls fail with EPERM. */
function said<T>(calls: readonly string[], script: string): T {
  const program = `
process.env.XDG_CACHE_HOME = ${JSON.stringify(join(work, 'cache'))};
const { run, openImage } = await import(${JSON.stringify(module.href)});
const answer = await (async () => { ${script} })().catch(({ code, message }) => ({ code, message }));
console.log(JSON.stringify(answer));
`;
  const words = ['--errno', '1', 'clone@0&0x10000000', ...calls, '--', process.execPath, '--input-type=module', '-e'];
  const { status, stdout, stderr } = spawnSync(bench.program('without_syscall'), [...words, program], {
    cwd: '/',
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`exit status ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function layout(name: string, content: string): string {
  const closed = tar(
    { name: 'a/', type: '5', mode: 0o700, uid: 7, gid: 8 },
    { name: 'a/file', content, uid: 7, gid: 8 },
  );
  return JSON.stringify(writeLayout(join(work, name), ociImage([tar(...busyboxRoot()), closed])));
}

test('all files are of root, which has no capability there, and nothing is left of a run', () => {
  const told = said<{ stdout: string; root: string }>(
    [],
    `const { stdout, enforcement } = await run(['/bin/sh', '-c', 'stat -c "%u %g %a" /a /a/file; cat /a/file'],
      { root: { image: ${layout('layout', 'text')}, entrypoint: [] } }, { backend: 'chroot', optional: 'all' });
    return { stdout, root: enforcement.image.root };`,
  );
  expect(told).toEqual({ stdout: '0 0 700\n0 0 644\ntext', root: 'copy' });
  const [store = ''] = readdirSync(join(work, 'cache/sandboxlib/images'));
  expect(store).toMatch(/^one-/);
  expect(readdirSync(join(work, 'cache/sandboxlib/images', store, 'work'))).toEqual([]);
});

test('without Landlock nothing is unpacked', () => {
  const calls = ['landlock_create_ruleset'];
  const told = said(calls, `return await openImage(${layout('other', 'other')});`);
  expect(told).toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE', message: expect.stringContaining('landlock.paths') });
});
