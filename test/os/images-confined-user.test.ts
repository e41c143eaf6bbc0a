// Images where user namespaces are refused for real, by a limit of the one that this is run in: layers are written in no view of their own but in a domain of
// Landlock, and the image is run as a copy. As an ordinary user, whoever runs the tests. The first import makes this process one.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const unreachable = whyUnreachable();
const needs = ['linux', 'userns', 'command:unshare', 'command:setpriv', 'command:proot', `file:${BUSYBOX}`] as const;
requires(...needs);

const module = new URL('../../dist/index.js', import.meta.url);
const refusing = `echo 0 > /proc/sys/user/max_user_namespaces
exec setpriv --ambient-caps=-all --inh-caps=-all -- "$@"`;

let work: string;
beforeAll(() => {
  if (unreachable !== undefined || needs.some((need) => whyMissing(need) !== undefined)) return;
  work = mkdtempSync(join(tmpdir(), 'images-confined-'));
});
afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

/** What `script` returns, whose names are those of the library, where no user namespace can be made. */
function said<T>(script: string): T {
  const program = `
process.env.XDG_CACHE_HOME = ${JSON.stringify(join(work, 'cache'))};
const { run, openImage, listImages, collectImages, probe } = await import(${JSON.stringify(module.href)});
const answer = await (async () => { ${script} })().catch(({ code, message }) => ({ code, message }));
console.log(JSON.stringify(answer));
`;
  const id = (kind: 'getuid' | 'getgid'): string => String(process[kind]?.());
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    [
      ...['--user', '--keep-caps', `--map-user=${id('getuid')}`, `--map-group=${id('getgid')}`],
      ...['sh', '-c', refusing, 'sh', process.execPath, '--input-type=module', '-e', program],
    ],
    { cwd: '/', encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`exit status ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function layout(): string {
  const layers = [
    tar(
      ...busyboxRoot(),
      { name: 'a/', type: '5' },
      { name: 'a/gone', content: 'x' },
      { name: 'a/file', content: 'lower' },
    ),
    tar({ name: 'a/.wh.gone' }, { name: 'a/file', content: 'upper' }, { name: 'a/deep/er/still', content: 'x' }),
  ];
  return writeLayout(join(work, 'layout'), ociImage(layers));
}

test('an image is unpacked, run as a copy, and removed again', () => {
  const script = 'cat /a/file; ls /a; echo x > /a/new && echo written';
  const told = said<{ stdout: string; root: string; isolates: boolean; listed: number; left: number }>(`
    const { features } = (await probe()).backends.find(({ backend }) => backend === 'native');
    const { stdout, enforcement } = await run(['/bin/sh', '-c', ${JSON.stringify(script)}],
      { root: { image: ${JSON.stringify(layout())}, entrypoint: [] } }, { backend: 'proot', optional: 'all' });
    const listed = (await listImages()).length;
    return { isolates: features['namespace.user'].available, stdout, root: enforcement.image.root, listed };`);
  expect(told).toEqual({ isolates: false, stdout: 'upperdeep\nfile\nwritten\n', root: 'copy', listed: 1 });
  const [store = '', ...more] = readdirSync(join(work, 'cache/sandboxlib/images'));
  expect([store.replace(/-.*/, ''), more]).toEqual(['one', []]);
  expect(readdirSync(join(work, 'cache/sandboxlib/images', store, 'work'))).toEqual([]);
  // Trees in which there is something to be moved on the way.
  const unfinished = join(work, 'cache/sandboxlib/images', store, 'work/4194305-1-00000000');
  mkdirSync(join(unfinished, 'tree/a/b'), { recursive: true });
  writeFileSync(join(unfinished, 'tree/a/b/c'), 'x');
  expect(said('return await collectImages();')).toMatchObject({ unfinished: 1 });
  expect(existsSync(unfinished)).toBe(false);
});
