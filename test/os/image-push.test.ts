// Changes of an image, pushed to Debian's docker-registry as the layer above it, and run from there.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Changes, ImageError, openChanges, pushChanges, run } from '../../src/index.ts';
import { runCli } from '../helpers/cli.ts';
import { type Registry, startRegistry } from '../helpers/docker-registry.ts';
import { BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

requires('linux', 'userns', 'command:docker-registry', 'command:skopeo', `file:${BUSYBOX}`);

const here = ['command:docker-registry', `file:${BUSYBOX}`].every((need) => whyMissing(need as 'linux') === undefined);
const sh = ['/bin/busybox', 'sh', '-c'];

let work: string;
let registry: Registry;
let base: string;

beforeAll(async () => {
  if (!here) return;
  work = mkdtempSync(join(tmpdir(), 'push-'));
  chmodSync(work, 0o755);
  registry = await startRegistry(join(work, 'registry'));
  const more = tar({ name: 'd/', type: '5' }, { name: 'd/kept', content: 'kept' }, { name: 'd/gone', content: 'gone' });
  const layout = join(work, 'layout');
  writeLayout(layout, ociImage([tar(...busyboxRoot()), more], { Env: ['WHO=base'] }));
  base = `${registry.host}/base:1`;
  execFileSync('skopeo', ['--insecure-policy', 'copy', '--dest-tls-verify=false', `oci:${layout}`, `docker://${base}`]);
});
afterAll(async () => {
  await registry?.close();
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});
beforeEach(() => {
  vi.stubEnv('XDG_CACHE_HOME', join(work, 'cache'));
  vi.stubEnv('XDG_STATE_HOME', join(work, 'state'));
  return () => vi.unstubAllEnvs();
});

async function changesIn(image: string, script: string): Promise<Changes> {
  const { changes, exitCode, stderr } = await run([...sh, script], { root: { image, changes: 'capture' } });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  if (changes === undefined) throw new Error('nothing was captured');
  return changes;
}

async function inside(image: string, script: string): Promise<unknown> {
  const { stdout, stderr } = await run([...sh, script], { root: { image } });
  return `${stdout}${stderr}`;
}

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('changes of an image', () => {
  test('are the next layer at a registry, and what they are above is sent once', async () => {
    const changes = await changesIn(base, 'echo new > /d/new; rm /d/gone; mkdir -m 700 /d/own');
    const name = `${registry.host}/made/app:2`;
    const pushed = await pushChanges(changes, name);
    expect(pushed).toMatchObject({ reference: `${name}@${pushed.digest}`, layers: 3 });
    // The layers of the base were mounted, for the registry has them.
    expect(pushed.bytes).toBeLessThan(4096);
    expect(await inside(name, 'cd /d; stat -c "%A %n" *; cat new kept; echo $WHO')).toBe(
      '-rw-r--r-- kept\n-rw-r--r-- new\ndrwx------ own\nnew\nkeptbase\n',
    );
    const again = await pushChanges(changes, `${registry.host}/made/app:3`);
    expect(again).toMatchObject({ digest: pushed.digest, bytes: 0 });
    await changes.discard();
  });

  test('go above those that were pushed before, and skopeo reads them', async () => {
    const first = await changesIn(base, 'echo 1 > /d/one');
    const middle = `${registry.host}/steps:1`;
    await pushChanges(first, middle);
    const second = await changesIn(middle, 'echo 2 > /d/two; rm /d/one');
    const last = `${registry.host}/steps:2`;
    const { digest } = await pushChanges(second, last);
    expect(await inside(`${registry.host}/steps@${digest}`, 'cd /d; echo *')).toBe('gone kept two\n');
    const seen = execFileSync('skopeo', ['inspect', '--config', '--tls-verify=false', `docker://${last}`], {
      encoding: 'utf8',
    });
    const { history, rootfs } = JSON.parse(seen) as { history: { comment?: string }[]; rootfs: { diff_ids: [] } };
    expect(history.filter(({ comment }) => comment === 'sandboxlib')).toHaveLength(2);
    expect(rootfs.diff_ids).toHaveLength(4);
    await Promise.all([first.discard(), second.discard()]);
  });

  test('of a layout take its layers along', async () => {
    const changes = await changesIn(`oci:${join(work, 'layout')}`, 'echo new > /d/new');
    const other = await startRegistry(join(work, 'other'));
    try {
      const name = `${other.host}/app`;
      const pushed = await pushChanges(changes, name);
      expect(pushed.bytes).toBeGreaterThan(500_000);
      expect(pushed.reference).toBe(`${name}:latest@${pushed.digest}`);
      expect(await inside(name, 'cat /d/new; echo $WHO')).toBe('new\nbase\n');
    } finally {
      await other.close();
      await changes.discard();
    }
  });

  test('are pushed by the command line', async () => {
    const changes = await changesIn(base, 'echo new > /d/new');
    const name = `${registry.host}/cli:1`;
    const env = { XDG_CACHE_HOME: join(work, 'cache'), XDG_STATE_HOME: join(work, 'state') };
    const { status, stdout } = runCli(['changes', 'push', changes.id, name], { env });
    expect({ status, stdout: stdout.replace(/[0-9a-f]{64}/, '...') }).toEqual({
      status: 0,
      stdout: `${name}@sha256:...\n`,
    });
    expect(await inside(stdout.trim(), 'cat /d/new')).toBe('new\n');
    const lacking = runCli(['changes', 'push', changes.id], { env });
    expect(lacking).toMatchObject({ status: 125, stderr: expect.stringContaining('needs a name at a registry') });
    await changes.discard();
  });
});

describe('what cannot be pushed is named', () => {
  test.each([
    ['./file', /no name at a registry/],
    [`example.org/app@sha256:${'0'.repeat(64)}`, /leave it out/],
  ])('to %s', async (name, message) => {
    const changes = await changesIn(base, 'true');
    const error = await rejection(pushChanges(changes, name));
    expect(error).toBeInstanceOf(ImageError);
    expect(error).toMatchObject({ code: 'SBX_IMAGE_REFERENCE', message: expect.stringMatching(message) });
    await changes.discard();
  });

  test('of no image', async () => {
    const view = { type: 'overlay', source: join(work, 'layout'), destination: '/view', changes: 'capture' } as const;
    const { changes } = await run(['touch', '/view/new'], { mounts: [view] });
    if (changes === undefined) throw new Error('nothing was captured');
    const error = await rejection(pushChanges(changes, `${registry.host}/app`));
    expect(error).toMatchObject({
      code: 'SBX_IMAGE_UNSUPPORTED',
      message: expect.stringContaining('no changes of the root of an image'),
    });
    await changes.discard();
  });

  test('of an image that is gone from where it was', async () => {
    const layout = join(work, 'moved');
    writeLayout(layout, ociImage([tar(...busyboxRoot())], {}));
    const changes = await changesIn(`oci:${layout}`, 'true');
    rmSync(layout, { recursive: true });
    const error = await rejection(pushChanges(changes, `${registry.host}/app`));
    expect(error).toMatchObject({
      code: 'SBX_IMAGE_UNSUPPORTED',
      message: expect.stringContaining('no longer there'),
    });
    expect(await rejection(openChanges(changes.id))).toBeUndefined();
    await changes.discard();
  });
});
