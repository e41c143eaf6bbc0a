// The store of images with many processes at it: at once, killed, and removing what others use.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openStore } from '../../src/image/open/open.ts';
import { layersInUse } from '../../src/image/store/leases.ts';
import { run } from '../../src/index.ts';
import { buildCli, cliPath, waitForText } from '../helpers/cli.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { fail, type MadeImage, serve, serving, sha256, type TestServer } from '../helpers/registry-server.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

requires('linux', 'userns', `file:${BUSYBOX}`);
beforeAll(buildCli);

const members = whyMissing(`file:${BUSYBOX}`) === undefined ? busyboxRoot() : [];
const root = tar(...members);
const more = tar(
  { name: 'd/', type: '5' },
  ...[1, 2, 3].map((number) => ({ name: `d/${number}`, content: `${number}` })),
);
const config = { Entrypoint: ['/bin/busybox'] };

let work: string;
let cache: string;
let servers: TestServer[];
const before = process.env['XDG_CACHE_HOME'];

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'store-'));
  cache = join(work, 'cache');
  process.env['XDG_CACHE_HOME'] = cache;
  servers = [];
});
afterEach(async () => {
  process.env['XDG_CACHE_HOME'] = before;
  for (const server of servers) await server.close();
  rmSync(work, { recursive: true, force: true });
});

async function registryOf(image: MadeImage): Promise<TestServer> {
  const server = await serve(serving(image));
  servers.push(server);
  return server;
}

function nameOfLayer(archive: Uint8Array = root): string {
  return sha256(archive).replace(':', '-');
}

function names(part: string): string[] {
  const stores = join(cache, 'sandboxlib/images');
  return readdirSync(stores).flatMap((store) => readdirSync(join(stores, store, part)));
}

/** The command line in a process of its own; both streams are piped. */
function start(...args: readonly string[]): ChildProcess {
  return startWith({}, args);
}

function startWith(more: NodeJS.ProcessEnv, args: readonly string[]): ChildProcess {
  const env = { ...process.env, ...more };
  return spawn(process.execPath, [cliPath, '--quiet', ...args], { cwd: '/', env, stdio: ['pipe', 'pipe', 'pipe'] });
}

async function ended(child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...said };
}

const collect = (graceMs: number) => openStore().store.collect(graceMs);

describe('many processes at once', () => {
  test('fetch every blob of an image once, and all of them run it', async () => {
    const image = ociImage([root, more], config);
    const registry = await registryOf(image);
    const all = Array.from({ length: 20 }, () => ended(start('--image', `${registry.host}/app`, 'cat', '/d/2')));
    expect(await Promise.all(all)).toEqual(Array(20).fill({ status: 0, stdout: '2', stderr: '' }));
    const blobs = registry.asked.filter((line) => line.includes('/blobs/'));
    expect(blobs.sort()).toEqual([...image.blobs.keys()].map((digest) => `GET /v2/app/blobs/${digest}`).sort());
    expect(names('work')).toEqual([]);
    expect(names('layers')).toHaveLength(2);
  });

  test('fetch images that share layers, and both run', async () => {
    const upper = [1, 2, 3, 4].map((number) => tar({ name: 'which', content: String(number) }));
    const hosts: string[] = [];
    for (const layer of upper) hosts.push((await registryOf(ociImage([root, layer], config))).host);
    const all = hosts.map((host) => ended(start('--image', `${host}/app`, 'cat', '/which')));
    expect((await Promise.all(all)).map(({ stdout, stderr }) => [stdout, stderr])).toEqual(
      ['1', '2', '3', '4'].map((text) => [text, '']),
    );
    expect(names('work')).toEqual([]);
    expect(names('layers')).toHaveLength(5);
  });

  test('in one process too', async () => {
    const registry = await registryOf(ociImage([root, more], config));
    const reference = `${registry.host}/app`;
    const results = await Promise.all(
      Array.from({ length: 5 }, () => run(['cat', '/d/3'], { root: { image: reference } })),
    );
    expect(results.map(({ stdout }) => stdout)).toEqual(Array(5).fill('3'));
    expect(registry.asked.filter((line) => line.includes('/blobs/'))).toHaveLength(3);
  });
});

describe('a process that is killed while it opens an image', () => {
  test('leaves no half layer, nothing that gc does not remove, and nobody waiting', async () => {
    const files = Array.from({ length: 400 }, (_, index) => ({ name: `many/${index}`, content: randomBytes(20_000) }));
    const layers = [root, tar({ name: 'many/', type: '5' }, ...files), more];
    const layout = writeLayout(join(work, 'layout'), ociImage(layers, config));
    const whole = new Map([members.length, 401, 4].map((count, index) => [nameOfLayer(layers[index]), count]));
    let killed = 0;
    for (let round = 0; round < 30; round += 1) {
      const child = start('--image', layout, 'cat', '/d/1');
      // At first it loads its modules.
      await delay(100 + Math.random() * 500);
      if (child.exitCode === null) killed += 1;
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      if (!existsSync(join(cache, 'sandboxlib/images'))) continue;
      for (const { name, directory } of openStore().store.layers.list())
        expect(readdirSync(directory, { recursive: true })).toHaveLength(whole.get(name) ?? -1);
      if (round % 5 === 4) {
        const { stdout, stderr } = await ended(start('--image', layout, 'sh', '-c', 'ls /many | wc -l; cat /d/1'));
        expect([stdout, stderr]).toEqual(['400\n1', '']);
      }
      await collect(round % 2 === 0 ? 0 : 600_000);
      expect(names('work')).toEqual([]);
    }
    expect(killed).toBeGreaterThan(0);
  });
});

describe('gc', () => {
  const late = tar({ name: 'late', content: 'late' });
  /** Waits for a line before it reads a file for the first time. */
  const script = 'echo ready; read line; cat /late; ls /d';

  test('takes no layer that a run in another process has, and takes it after that', async () => {
    const layout = writeLayout(join(work, 'layout'), ociImage([root, more, late], config));
    const child = start('--image', layout, 'sh', '-c', script);
    const finished = once(child, 'close');
    await waitForText(child.stdout as Readable, 'ready');
    rmSync(layout, { recursive: true });
    expect(await collect(0)).toMatchObject({ layers: 0, images: 1 });
    expect(names('images')).toEqual([]);
    child.stdin?.end('go\n');
    expect(await waitForText(child.stdout as Readable, '3')).toBe('late1\n2\n3\n');
    await finished;
    expect(await collect(0)).toMatchObject({ layers: 3, images: 0 });
    expect(names('layers')).toEqual([]);
  });

  test('beside many short runs takes nothing from them', async () => {
    const layouts = [1, 2, 3].map((number) =>
      writeLayout(
        join(work, `layout${number}`),
        ociImage([root, more, tar({ name: 'n', content: `${number}` })], config),
      ),
    );
    const runs = async (): Promise<unknown[]> => {
      const said: unknown[] = [];
      for (const layout of layouts) {
        const { stdout, stderr } = await ended(start('--image', layout, 'cat', '/d/1', '/n'));
        said.push([stdout, stderr]);
        // What names its layers goes, and they with it unless they are in use.
        const { store } = openStore();
        for (const { record } of store.list()) store.records.remove(record);
      }
      return said;
    };
    let isOver = false;
    const collecting = (async () => {
      while (!isOver) await collect(0);
    })();
    const all = await Promise.all([runs(), runs(), runs(), runs()]);
    isOver = true;
    await collecting;
    expect(all).toEqual(Array(4).fill(['11', '12', '13'].map((text) => [text, ''])));
    await collect(0);
    expect([names('layers'), names('work')]).toEqual([[], []]);
  });

  test('takes no layer that somebody finds while it decides', async () => {
    const layout = writeLayout(join(work, 'layout'), ociImage([root], config));
    expect((await ended(start('--image', layout, 'true'))).status).toBe(0);
    const { layers, directory } = openStore().store;
    const name = nameOfLayer();
    let looks = 0;
    const removed = await layers.collecting(() =>
      layers.collect(
        new Set(),
        () => {
          looks += 1;
          const used = layersInUse(directory);
          // In that moment somebody else finds it.
          if (looks === 1) expect(layers.find(name)).toBeDefined();
          return used;
        },
        0,
      ),
    );
    expect([removed, looks]).toEqual([[], 2]);
    expect(layers.find(name)).toBeDefined();
  });

  test('and who opens find a layer again whose removal was broken off', async () => {
    const layout = writeLayout(join(work, 'layout'), ociImage([root], config));
    const again = async (): Promise<void> =>
      expect(await ended(start('--image', layout, 'true'))).toEqual({ status: 0, stdout: '', stderr: '' });
    const breakOff = (): void => {
      const at = join(openStore().store.directory, 'layers', nameOfLayer());
      renameSync(join(at, 'facts.json'), join(at, 'facts.going'));
    };
    await again();
    breakOff();
    await again();
    expect(names('work')).toEqual([]);
    breakOff();
    expect(await collect(600_000)).toMatchObject({ layers: 0 });
    expect(openStore().store.layers.list()).toHaveLength(1);
  });

  test('keeps what an image names, and what was used within the time of grace', async () => {
    const layouts = [more, late].map((layer, index) =>
      writeLayout(join(work, `layout${index}`), ociImage([root, layer], config)),
    );
    for (const layout of layouts) await ended(start('--image', layout, 'true'));
    rmSync(layouts[1] ?? '', { recursive: true });
    expect(await collect(600_000)).toMatchObject({ layers: 0, images: 1 });
    expect(await collect(0)).toEqual({ layers: 1, bytes: 4, images: 0, unfinished: 0 });
    expect(names('layers').sort()).toEqual([nameOfLayer(), nameOfLayer(more)].sort());
  });
});

describe('a directory for the store', () => {
  const layoutOf = (): string => writeLayout(join(work, 'layout'), ociImage([root], config));

  async function refusal(): Promise<unknown> {
    return await run(['true'], { root: { image: layoutOf() } }).then(
      () => 'ran',
      (error: unknown) => error,
    );
  }
  const refused = expect.objectContaining({
    code: 'SBX_IMAGE_STORE',
    message: expect.stringContaining('images cannot be kept there'),
    remedy: expect.stringContaining('XDG_CACHE_HOME'),
  });

  test.each([
    ['sandboxlib'],
    ['sandboxlib/images'],
    ['sandboxlib/images/STORE'],
    ['sandboxlib/images/STORE/layers'],
    ['sandboxlib/images/STORE/images'],
    ['sandboxlib/images/STORE/leases'],
    ['sandboxlib/images/STORE/work'],
    ['sandboxlib/images/STORE/locks'],
  ])('is refused where others may write to %s, and where it is theirs', async (path) => {
    expect(await refusal()).toBe('ran');
    const store = readdirSync(join(cache, 'sandboxlib/images'))[0] ?? '';
    const at = join(cache, path.replace('STORE', store));
    for (const mode of [0o770, 0o702]) {
      chmodSync(at, mode);
      expect(await refusal()).toEqual(refused);
    }
    chmodSync(at, 0o700);
    expect(await refusal()).toBe('ran');
    if (process.getuid?.() !== 0) return;
    chownSync(at, 12345, 12345);
    expect(await refusal()).toEqual(refused);
  });

  test('is refused where a part of it leads elsewhere, or is no directory', async () => {
    await refusal();
    const store = openStore().store.directory;
    for (const part of ['layers', 'work']) {
      const at = join(store, part);
      renameSync(at, `${at}-away`);
      symlinkSync(`${at}-away`, at);
      expect(await refusal()).toEqual(refused);
      rmSync(at);
      writeFileSync(at, '');
      expect(await refusal()).toMatchObject({ code: 'SBX_IMAGE_STORE' });
      rmSync(at);
      renameSync(`${at}-away`, at);
    }
    expect(await refusal()).toBe('ran');
  });

  test('is named where it cannot be made', async () => {
    writeFileSync(cache, 'a file');
    expect(await refusal()).toMatchObject({
      code: 'SBX_IMAGE_STORE',
      message: expect.stringContaining(`images cannot be kept in ${cache}/sandboxlib/images: `),
    });
  });

  test('is named where one of its documents is damaged', async () => {
    await refusal();
    const facts = join(openStore().store.directory, 'layers', nameOfLayer(), 'facts.json');
    writeFileSync(facts, '');
    expect(await refusal()).toMatchObject({
      code: 'SBX_IMAGE_STORE',
      message: expect.stringContaining(`${facts} of the store of images is damaged`),
    });
  });

  test('that is full stays as empty as it was', () => {
    requires('root', 'command:unshare');
    const layout = layoutOf();
    mkdirSync(cache);
    const module = new URL('../../dist/index.js', import.meta.url).href;
    const program = `
      const { readdirSync } = await import('node:fs');
      const { run } = await import(${JSON.stringify(module)});
      const failure = await run(['true'], { root: { image: ${JSON.stringify(layout)} } }).then(() => 'ran', ({ code, message }) => ({ code, message }));
      const left = readdirSync(${JSON.stringify(cache)}, { recursive: true }).filter((path) => path.split('/').length > 4);
      console.log(JSON.stringify({ failure, left }));`;
    // A mount that nobody else sees.
    const script = 'mount -t tmpfs -o size=1m,mode=700 none "$0" && exec "$@"';
    const words = ['--mount', '--propagation', 'private', 'sh', '-c', script, cache];
    const node = [process.execPath, '--input-type=module', '-e', program];
    const { stdout, stderr } = spawnSync('unshare', [...words, ...node], { cwd: '/', encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      failure: { code: 'SBX_IMAGE_UNPACK', message: expect.stringContaining('there is no room left') },
      left: [
        expect.stringMatching(/\/leases\/\d+-\d+$/),
        expect.stringMatching(/\/locks\//),
        expect.stringMatching(/\/locks\//),
      ],
    });
  });
});

describe('an image that was opened before', () => {
  const said = async (image: string, command: readonly string[] = ['/bin/cat', '/which']): Promise<unknown> =>
    (await run(command as [string], { root: { image, entrypoint: [] } })).stdout;
  const archive = (text: string): Buffer => aci([...members, { name: 'which', content: text }]);

  test('is opened anew where its file was written to, also with the same size and time', async () => {
    const path = join(work, 'image.aci');
    for (const text of ['one', 'two']) {
      writeFileSync(path, archive(text));
      utimesSync(path, 5, 5);
      expect(await said(path)).toBe(text);
    }
    writeFileSync(`${path}.new`, archive('new'));
    renameSync(`${path}.new`, path);
    expect(await said(path)).toBe('new');
  });

  test('is not read again where its file is what it was', async () => {
    const path = join(work, 'image.aci');
    writeFileSync(path, archive('one'));
    await said(path);
    const { mtimeMs } = statSync(join(openStore().store.directory, 'work'));
    expect(await said(path)).toBe('one');
    expect(statSync(join(openStore().store.directory, 'work')).mtimeMs).toBe(mtimeMs);
  });

  test('is asked for at its registry always, where it is missing, or never', async () => {
    const registry = await registryOf(ociImage([root], config));
    const reference = `${registry.host}/app`;
    const asked = async (pull: 'always' | 'missing' | 'never'): Promise<string[]> => {
      registry.asked.length = 0;
      await run(['true'], { root: { image: reference } }, { image: { pull } });
      return registry.asked.map((line) => line.replace(/sha256:.*/, 'DIGEST')).filter((line) => !line.endsWith('/v2/'));
    };
    await expect(asked('never')).rejects.toMatchObject({
      code: 'SBX_IMAGE_REFERENCE',
      message: expect.stringContaining(`${reference}:latest is not in the store, and may not be pulled`),
    });
    expect(registry.asked).toEqual([]);
    const manifest = 'GET /v2/app/manifests/latest';
    const blob = 'GET /v2/app/blobs/DIGEST';
    expect(await asked('missing')).toEqual([manifest, blob, blob]);
    expect(await asked('missing')).toEqual([]);
    expect(await asked('never')).toEqual([]);
    // The configuration is asked for again, the layer is there.
    expect(await asked('always')).toEqual([manifest, blob]);
  });

  test('may be another one by the same name', async () => {
    const images = ['one', 'two'].map((content) => ociImage([root, tar({ name: 'which', content })], config));
    let current = images[0];
    const server = await serve((request, response) => serving(current ?? ociImage([]))(request, response));
    servers.push(server);
    const reference = `${server.host}/app`;
    expect(await said(reference)).toBe('one');
    current = images[1];
    expect(await said(reference)).toBe('one');
    const shown = { image: reference, entrypoint: [] };
    const { stdout } = await run(['/bin/cat', '/which'], { root: shown }, { image: { pull: 'always' } });
    expect(stdout).toBe('two');
    expect(await said(reference)).toBe('two');
  });

  test('is fetched with what others keep of a login', async () => {
    const image = ociImage([root], config);
    const wanted = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    const server = await serve((request, response) => {
      if (request.headers.authorization === wanted) return serving(image)(request, response);
      response.setHeader('www-authenticate', 'Basic realm="it"');
      return fail(response, 401, 'UNAUTHORIZED');
    });
    servers.push(server);
    const file = join(work, 'auth.json');
    writeFileSync(
      file,
      JSON.stringify({ auths: { [server.host]: { auth: Buffer.from('me:secret').toString('base64') } } }),
    );
    const ask = (path: string) =>
      ended(startWith({ REGISTRY_AUTH_FILE: path }, ['--image', `${server.host}/app`, 'echo', 'in']));
    expect(await ask(join(work, 'none'))).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('wants to know who asks'),
    });
    expect(await ask(file)).toEqual({ status: 0, stdout: 'in\n', stderr: '' });
  });
});
