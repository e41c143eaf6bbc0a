// As root where user namespaces are refused, as the filter of a container does it: layers are written in a domain of Landlock, and the image is run as a copy
// by chroot(2).
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildCli } from '../helpers/cli.ts';
import { Gpg } from '../helpers/gpg.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
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

describe('what reads an image of squashfs', () => {
  requires('command:tar2sqfs', 'command:sqfs2tar');

  test('is confined too, and what it makes of one is an archive like others', () => {
    const path = join(work, 'image.sqfs');
    execFileSync('tar2sqfs', ['--quiet', path], { input: tar(...busyboxRoot()), stdio: ['pipe', 'ignore', 'pipe'] });
    const told = said<string>(
      [],
      `const { stdout } = await run(['/bin/busybox', 'echo', 'hello'], { root: { image: ${JSON.stringify(path)} } },
        { backend: 'chroot', optional: 'all' });
      return stdout;`,
    );
    expect(told).toBe('hello\n');
  });
});

test('what is confined so reads what it is for and the system, and writes nowhere', () => {
  const [seen, hidden] = [join(work, 'seen'), join(work, 'hidden')];
  for (const path of [seen, hidden]) writeFileSync(path, 'text');
  const told = said<unknown>(
    [],
    `const { OwnSandbox } = await import(${JSON.stringify(new URL('backends/own-sandbox.js', module).href)});
    const { textOf } = await import(${JSON.stringify(new URL('backends/own-output.js', module).href)});
    const sandbox = await OwnSandbox.reading([${JSON.stringify(seen)}], {});
    const said = [];
    for (const script of ['cat ${seen}', 'cat ${hidden}', 'echo x >> ${seen}', 'echo x > ${work}/new', 'ls ${work}']) {
      const running = sandbox.launch(['/bin/sh', '-c', script], ['ignore', 'pipe', 'pipe']);
      const [text, complaint] = await Promise.all([textOf(running, 1), textOf(running, 2)]);
      said.push(text + (/Permission denied/.test(complaint) ? 'denied' : complaint));
    }
    return { said, isConfined: sandbox.isConfined };`,
  );
  expect(told).toEqual({ said: ['text', 'denied', 'denied', 'denied', 'denied'], isConfined: true });
});

describe('a signature', () => {
  requires('command:gpg', 'command:gpgv');
  let gpg: Gpg | undefined;
  afterAll(() => gpg?.end());

  test('is checked in a domain of its own', () => {
    mkdirSync(join(work, 'k'));
    gpg = new Gpg(join(work, 'k'));
    const app = join(work, 'app.aci');
    writeFileSync(app, aci(busyboxRoot()));
    for (const user of ['good', 'other']) {
      gpg.key(`${user}@example.com`);
      writeFileSync(join(work, `${user}.gpg`), gpg.run('--export', `${user}@example.com`));
    }
    gpg.run('--armor', '-u', 'good@example.com', '-o', `${app}.asc`, '--detach-sign', app);
    const opened = (ring: string) =>
      said(
        [],
        `const { enforcement } = await run(['-c', 'true'], { root: { image: ${JSON.stringify(app)} } },
          { backend: 'chroot', optional: 'all', image: { keyring: ${JSON.stringify(join(work, ring))} } });
        return enforcement.image.signatures.length;`,
      );
    expect(opened('good.gpg')).toBe(1);
    expect(opened('other.gpg')).toMatchObject({
      code: 'SBX_IMAGE_SIGNATURE',
      message: expect.stringContaining('by a key that is not in'),
    });
  });
});

test('without Landlock nothing is unpacked', () => {
  const calls = ['landlock_create_ruleset'];
  const told = said(calls, `return await openImage(${layout('other', 'other')});`);
  expect(told).toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE', message: expect.stringContaining('landlock.paths') });
});
