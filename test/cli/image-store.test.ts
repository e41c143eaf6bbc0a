// Images at the command line: how a run names one, and the commands for the store.
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildCli, type CliResult, runCli, spawnCli } from '../helpers/cli.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { type MadeImage, serve, serving, type TestServer } from '../helpers/registry-server.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

requires('linux', 'userns', `file:${BUSYBOX}`);
beforeAll(buildCli);

const members = whyMissing(`file:${BUSYBOX}`) === undefined ? busyboxRoot() : [];
const root = tar(...members);
const config = { Entrypoint: ['/bin/echo', 'from'], Cmd: ['the', 'image'] };

let base: string;
let server: TestServer | undefined;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'image-store-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(base, { recursive: true, force: true });
});

/** In a store of its own. */
function cli(...args: readonly string[]): CliResult {
  return runCli(args, { cwd: base, env: { XDG_CACHE_HOME: join(base, 'cache') } });
}

/** As `cli`, while a server of this process answers. */
async function cliBeside(...args: readonly string[]): Promise<Pick<CliResult, 'status' | 'stdout' | 'stderr'>> {
  const child = spawnCli(args, { cwd: base, env: { XDG_CACHE_HOME: join(base, 'cache') } });
  child.stdin?.end();
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...said };
}

function acted({ status, stdout, stderr }: Pick<CliResult, 'status' | 'stdout' | 'stderr'>): unknown[] {
  return [status, stdout, stderr];
}

function archive(name = 'app.aci', exec: readonly string[] = ['/bin/echo', 'from']): string {
  writeFileSync(join(base, name), aci(members, { exec }));
  return join(base, name);
}

function layout(name = 'layout', image: MadeImage = ociImage([root], config)): string {
  return writeLayout(join(base, name), image);
}

function layersLeft(): string[] {
  const stores = join(base, 'cache/sandboxlib/images');
  return readdirSync(stores).flatMap((store) => readdirSync(join(stores, store, 'layers')));
}

describe('a run names an image', () => {
  test('by its file as the first operand, and what follows goes behind its entry point', () => {
    archive();
    for (const operand of ['./app.aci', 'app.aci', join(base, 'app.aci')])
      expect(acted(cli(operand, 'one', '--two'))).toEqual([0, 'from one --two\n', '']);
  });

  test('by a layout, whose own words are behind its entry point where none follow', () => {
    layout();
    expect(acted(cli('./layout'))).toEqual([0, 'from the image\n', '']);
    expect(acted(cli('oci:layout', 'me'))).toEqual([0, 'from me\n', '']);
  });

  test('by an option, with another entry point or none', () => {
    const image = layout();
    expect(acted(cli('--image', image, 'me'))).toEqual([0, 'from me\n', '']);
    const other = ['--entrypoint', '/bin/sh', '--entrypoint=-c', '--image', image];
    expect(acted(cli(...other, 'echo $((6*7))'))).toEqual([0, '42\n', '']);
    expect(acted(cli('--entrypoint', '', '--image', image, '/bin/echo', 'x'))).toEqual([0, 'x\n', '']);
    expect(acted(cli('--entrypoint=', `--image=${image}`))).toEqual([
      125,
      '',
      expect.stringMatching(/names no command; name one to run in it\n/),
    ]);
  });

  test('by its name at a registry, and says when it has been pulled', async () => {
    server = await serve(serving(ociImage([root], config)));
    const name = `${server.host}/app`;
    expect(await cliBeside('--image', name)).toEqual({
      status: 0,
      stdout: 'from the image\n',
      stderr: expect.stringMatching(/^run-sandbox: pulled 1 of 1 layers, [\d.]+ MiB of [\d.]+ MiB\n$/),
    });
    expect(await cliBeside('--image', `docker://${name}`, 'again')).toMatchObject({
      stdout: 'from again\n',
      stderr: '',
    });
    expect(await cliBeside('--quiet', '--pull', 'never', '--image', `${name}:other`)).toEqual({
      status: 125,
      stdout: '',
      stderr: `run-sandbox: ${name}:other is not in the store, and may not be pulled; run-sandbox image pull ${name}:other\n`,
    });
  });

  test('with the exit status of what ran, or of why it did not', () => {
    const image = archive('sh.aci', ['/bin/sh', '-c']);
    expect(cli(image, 'exit 7').status).toBe(7);
    expect(cli(image, 'kill -9 $$').status).toBe(137);
    expect(cli('--entrypoint', '/bin/none', image).status).toBe(127);
    expect(cli('--entrypoint', '/etc/passwd', image).status).toBe(126);
    expect(cli('--wall', '200ms', image, 'sleep 60').status).toBe(124);
  });

  test('that is not there, or is none, and nothing is run', () => {
    writeFileSync(join(base, 'text'), 'no archive');
    for (const [args, why] of [
      [['--image', './none.aci'], /none\.aci does not exist\n$/],
      [['--image', 'oci:none'], /none does not exist\n$/],
      [['--image', './text'], /text/],
      [['--image', '/etc'], /is a directory, and no image/],
      [['--image', ''], /--image: must not be empty\n/],
      [['--image', 'UPPER'], /UPPER/],
      [['--image', './text', '--root', '/usr', 'true'], /excludes 'path': a root is a directory or an image/],
      [['--pull', 'sometimes', '--image', './text'], /--pull: 'sometimes' is no way to pull/],
    ] as const) {
      const { status, stdout, stderr } = cli(...args);
      expect([status, stdout]).toEqual([125, '']);
      expect(stderr).toMatch(/^run-sandbox: /);
      expect(stderr).toMatch(why);
    }
  });
});

describe('the store', () => {
  test('is filled by pull, which prints what each image is', () => {
    const [first, second] = [archive(), layout()];
    const { status, stdout, stderr } = cli('image', 'pull', './app.aci', 'oci:layout');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^sha512-[0-9a-f]{128}\nsha256:[0-9a-f]{64}\n$/);
    const json = cli('image', 'pull', '--json', first).stdout;
    expect(JSON.parse(json)).toEqual({
      reference: first,
      kind: 'aci',
      id: stdout.split('\n')[0],
      layers: 1,
      bytes: expect.any(Number),
    });
    expect(cli('image', 'pull', second).stdout).toBe(`${stdout.split('\n')[1]}\n`);
  });

  test('is filled from a registry, asked each time', async () => {
    server = await serve(serving(ociImage([root], config)));
    for (let time = 0; time < 2; time += 1)
      expect(await cliBeside('image', 'pull', '--quiet', `${server.host}/app`)).toMatchObject({
        status: 0,
        stderr: '',
      });
    expect(server.asked.filter((line) => line.includes('/manifests/'))).toHaveLength(2);
    expect(server.asked.filter((line) => line.includes('/blobs/'))).toHaveLength(3);
    const missing = await cliBeside('image', 'pull', `${server.host}/app:none`);
    expect(missing).toEqual({
      status: 125,
      stdout: '',
      stderr: expect.stringMatching(/MANIFEST_UNKNOWN|is not there|no such/),
    });
  });

  test('is listed in a table, or as JSON', () => {
    expect(cli('image', 'ls').stdout).toBe('ID  KIND  LAYERS  SIZE  REFERENCE\n');
    expect(cli('image', 'ls', '--json').stdout).toBe('[]\n');
    const path = archive();
    const id = cli('image', 'pull', path).stdout.trim();
    expect(cli('image', 'ls').stdout).toMatch(
      new RegExp(`^ID +KIND +LAYERS +SIZE +REFERENCE\n${id.slice(7, 19)} +aci +1 +[\\d.]+ MiB +${path}\n$`),
    );
    expect(JSON.parse(cli('image', 'ls', '--json').stdout)).toEqual([
      { reference: path, kind: 'aci', id, layers: 1, bytes: expect.any(Number) },
    ]);
  });

  test('forgets images by rm, and keeps layers that others have', () => {
    const upper = tar({ name: 'upper', content: 'x' });
    const [one, two] = [layout('one'), layout('two', ociImage([root, upper], config))];
    const ids = cli('image', 'pull', one, two).stdout.trim().split('\n');
    expect(layersLeft()).toHaveLength(2);
    expect(acted(cli('image', 'rm', './two'))).toEqual([0, '', 'run-sandbox: 1 layer with 1B removed\n']);
    expect(layersLeft()).toHaveLength(1);
    expect(acted(cli('image', 'rm', '--quiet', (ids[0] ?? '').slice(7, 19)))).toEqual([0, '', '']);
    expect(layersLeft()).toEqual([]);
    expect(cli('image', 'ls', '--json').stdout).toBe('[]\n');
  });

  test('forgets nothing where one of the names is none, and says so of all', () => {
    const path = archive();
    cli('image', 'pull', path);
    const { status, stderr } = cli('image', 'rm', path, 'none', '00000000');
    expect(status).toBe(125);
    expect(stderr).toMatch(/'none' names no image of the store\n.*'00000000' names no image of the store\n/);
    expect(JSON.parse(cli('image', 'ls', '--json').stdout)).toHaveLength(1);
  });

  test('is freed by gc of images whose file has gone', () => {
    cli('image', 'pull', archive(), archive('two.aci', ['/bin/true']));
    rmSync(join(base, 'two.aci'));
    expect(acted(cli('image', 'gc'))).toEqual([
      0,
      '',
      'run-sandbox: 0 layers with 0B removed, 1 image whose file has changed or gone, 0 unfinished directories\n',
    ]);
    expect(JSON.parse(cli('image', 'gc', '--json').stdout)).toEqual({ layers: 0, bytes: 0, unfinished: 0, images: 0 });
    expect(acted(cli('image', 'gc', '--quiet'))).toEqual([0, '', '']);
  });

  test('is left alone where a command is wrong', () => {
    for (const [args, why] of [
      [['pull'], 'this takes at least one image'],
      [['rm'], 'this takes at least one image'],
      [['ls', 'x'], 'this takes nothing'],
      [['gc', 'x'], 'this takes nothing'],
    ] as const)
      expect(acted(cli('image', ...args))).toEqual([125, '', expect.stringContaining(why)]);
    const failed = cli('image', 'pull', '--json', './none.aci');
    expect(failed.status).toBe(125);
    expect(JSON.parse(failed.stderr.split('\n')[1] ?? '')).toMatchObject({
      event: 'error',
      code: 'SBX_IMAGE_REFERENCE',
      exitStatus: 125,
    });
  });
});

describe('--keyring', () => {
  test('wants an image that is signed, of a run and of a pull, and means nothing elsewhere', () => {
    requires('command:gpgv');
    const image = archive();
    const unsigned = `run-sandbox: there is no signature ${image}.asc\n`;
    expect(acted(cli('--keyring', 'ring.gpg', image))).toEqual([125, '', unsigned]);
    expect(acted(cli('image', 'pull', '--keyring', 'ring.gpg', image))).toEqual([125, '', unsigned]);
    expect(cli('image', 'ls').stdout).not.toContain(image);
    expect(cli('image', 'ls', '--keyring', 'ring.gpg').stderr).toContain('--keyring means nothing to image ls');
    const { status, stderr } = cli('--keyring', 'ring.gpg', 'true');
    expect([status, stderr]).toEqual([125, expect.stringContaining('keyring: is for an image, and the spec has none')]);
  });
});
