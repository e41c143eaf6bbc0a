// Images whose store lies on an overlay, as the root of a container does: nothing there can hide what is below, so that all layers become one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildCli } from '../helpers/cli.ts';
import { aci, BUSYBOX, busyboxRoot, dockerArchive, ociImage, writeLayout } from '../helpers/images.ts';
import { ranges, rangesNeed, scriptWithPrivateEtc } from '../helpers/private-etc.ts';
import { type MadeImage, serve, serving } from '../helpers/registry-server.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const needs = [...rangesNeed, `file:${BUSYBOX}`] as const;
requires(...needs);

const module = new URL('../../dist/index.js', import.meta.url);
const CACHE = 'sandboxlib/images';

const setUp = `set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work"
chown "$2" "$1/upper"
mount -t overlay none -o "lowerdir=$3,upperdir=$1/upper,workdir=$1/work" "$3"
shift 3
exec "$@"
`;
const callers = {
  root: { uid: 0, become: [] },
  'an ordinary user': {
    uid: 23456,
    become: ['setpriv', '--reuid', '23456', '--regid', '23457', '--clear-groups', '--'],
  },
} as const;

let work: string;
let cache: string;
beforeAll(() => {
  if (needs.some((need) => whyMissing(need) !== undefined)) return;
  buildCli();
  work = mkdtempSync(join(tmpdir(), 'images-overlay-'));
  chmodSync(work, 0o755);
  cache = join(work, 'cache');
  for (const part of ['cache', 'private']) mkdirSync(join(work, part));
});
afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

const moduleOf = (script: string): string => `
process.env.XDG_CACHE_HOME = ${JSON.stringify(cache)};
const { readdirSync } = await import('node:fs');
const { run, openImage } = await import(${JSON.stringify(module.href)});
const store = ${JSON.stringify(join(cache, CACHE))};
const inStore = (part) => readdirSync(store).flatMap((owners) => readdirSync(store + '/' + owners + '/' + part));
const answer = await (async () => { ${script} })().catch(({ code, message }) => ({ code, message }));
console.log(JSON.stringify(answer));
`;

/** What `script` returns, whose names are those of the library. */
async function said<T>(who: keyof typeof callers, script: string): Promise<T> {
  const { uid, become } = callers[who];
  const node = [...become, process.execPath, '--input-type=module', '-e', moduleOf(script)];
  const words = [
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    setUp,
    'sh',
    join(work, 'private'),
    String(uid),
    cache,
  ];
  const child = spawn('unshare', [...words, ...node], { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`exit status ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** The second hides what the first has; of the third everything else is as the first has it. */
const layers = (): Buffer[] => [
  tar(
    ...busyboxRoot(),
    { name: 'a/', type: '5', mode: 0o750 },
    { name: 'a/old', content: 'x' },
    { name: 'a/stays', content: 'x' },
    { name: 'b/', type: '5' },
    { name: 'b/old', content: 'x' },
    { name: 'dev/', type: '5' },
    { name: 'dev/null', type: '3', major: 1, minor: 3 },
  ),
  tar(
    { name: 'a/.wh.old' },
    { name: 'b/', type: '5' },
    { name: 'b/.wh..wh..opq' },
    { name: 'b/new', content: 'y' },
    { name: '.wh.srv' },
  ),
  tar({ name: 'a/stays', content: 'other' }, { name: 'a/more', content: 'z' }),
];
const LOOK = 'stat -c %a /a; ls /a /b; [ -e /srv ] && echo srv; cat /a/stays';
const seen = '750\n/a:\nmore\nstays\n\n/b:\nnew\nother';
const runIn = (image: string, more = ''): string => `
  const { stdout, enforcement } = await run(['/bin/sh', '-c', ${JSON.stringify(LOOK)}], { root: { image: ${JSON.stringify(image)}, entrypoint: [] } }, { ${more} });
  return { stdout, root: enforcement.image.root, layers: enforcement.image.layers, work: inStore('work') };`;
const right = { stdout: seen, root: 'overlay', layers: 1, work: [] };

describe.each(Object.keys(callers) as (keyof typeof callers)[])('as %s', (who) => {
  test('a layout', async () => {
    const layout = writeLayout(join(work, `layout-${callers[who].uid}`), ociImage(layers()));
    expect(await said(who, runIn(layout))).toEqual(right);
  });

  test('an archive of docker save', async () => {
    const path = join(work, 'saved.tar');
    writeFileSync(path, dockerArchive(layers()));
    expect(await said(who, runIn(path))).toEqual(right);
  });

  test('an image at a registry, whose layers come one after another', async () => {
    const made: MadeImage = ociImage(layers());
    const server = await serve(serving(made));
    try {
      const told = await said<{ progress: unknown[] }>(
        who,
        `const progress = [];
        const opened = await openImage('${server.host}/app', { onProgress: ({ layersDone, layers }) => progress.push(layersDone + '/' + layers) });
        return { progress: [...new Set(progress)] };`,
      );
      expect(told.progress).toEqual(['0/3', '1/3', '2/3', '3/3']);
      expect(await said(who, runIn(`${server.host}/app`))).toEqual(right);
    } finally {
      await server.close();
    }
  });

  test('one whose layers are others than it says leaves nothing', async () => {
    const [first = Buffer.alloc(0), ...rest] = layers();
    const image = ociImage(
      [first, ...rest],
      {},
      [first, first, first].map(() => `sha256:${'0'.repeat(64)}`),
    );
    const layout = writeLayout(join(work, `other-${callers[who].uid}`), image);
    const told = await said(
      who,
      `const { code, message } = await openImage(${JSON.stringify(layout)}).catch((error) => error);
      return { code, message, work: inStore('work'), layers: inStore('layers') };`,
    );
    expect(told).toEqual({
      code: 'SBX_IMAGE_DIGEST',
      message: expect.stringContaining('layer 1 of '),
      work: [],
      layers: [],
    });
  });

  test('archives with devices in them', async () => {
    const path = join(work, 'plain.tar');
    writeFileSync(path, layers()[0] ?? '');
    const app = join(work, 'app.aci');
    writeFileSync(
      app,
      aci([...busyboxRoot(), { name: 'dev/', type: '5' }, { name: 'dev/x', type: '3', major: 1, minor: 3 }]),
    );
    for (const image of [path, app]) {
      const script = `
        const { stdout } = await run(['/bin/sh', '-c', 'ls /dev/null /dev/x 2>/dev/null; echo fine'], { root: { image: ${JSON.stringify(image)}, entrypoint: [] } });
        return stdout;`;
      expect(await said(who, script)).toBe('/dev/null\nfine\n');
    }
  });
});

test('with ranges of ids files keep their owners', () => {
  const layout = writeLayout(
    join(work, 'owned'),
    ociImage([
      tar(...busyboxRoot(), { name: 'old', content: '' }),
      tar({ name: '.wh.old' }, { name: 'own', content: '', uid: 7, gid: 8 }),
    ]),
  );
  const also = `
mkdir "$private/above" "$private/aside"
chown 23456:23457 "$private/above"
mount -t overlay none -o "lowerdir=${cache},upperdir=$private/above,workdir=$private/aside" ${cache}`;
  const script = moduleOf(`
    const { stdout } = await run(['/bin/sh', '-c', 'ls / | grep -c old; stat -c "%u %g" /own'], { root: { image: ${JSON.stringify(layout)}, entrypoint: [] } });
    return stdout;`);
  expect(JSON.parse(scriptWithPrivateEtc({ subuid: ranges, also }, script))).toBe('0\n7 8\n');
});
