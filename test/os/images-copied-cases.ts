// Images where no overlay can be had: a copy of the layers for each run, which is what overlayfs would show.
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BackendName, createSandbox, type RunResult, run } from '../../src/index.ts';
import { BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

/** By `backend`, which can show a directory as the root and no image. */
export function copiedCases(backend: BackendName): void {
  const needs = [
    'linux',
    'userns',
    `file:${BUSYBOX}`,
    ...(backend === 'proot' ? (['command:proot'] as const) : []),
  ] as const;
  requires(...needs);
  let work: string;
  let image: string;

  beforeAll(() => {
    if (needs.some((need) => whyMissing(need) !== undefined)) return;
    work = mkdtempSync(join(tmpdir(), 'copied-'));
    chmodSync(work, 0o755);
    process.env['XDG_CACHE_HOME'] = join(work, 'cache');
    const layers = [
      tar(
        ...busyboxRoot(),
        { name: 'a/', type: '5', mode: 0o1777, mtime: 5 },
        { name: 'a/gone', content: 'x' },
        { name: 'a/both', content: 'lower' },
        { name: 'a/kept', content: 'kept', mode: 0o640, mtime: 7 },
        { name: 'b/', type: '5' },
        { name: 'b/hidden', content: 'x' },
        { name: 'c', content: 'x' },
      ),
      tar(
        { name: 'a/.wh.gone' },
        { name: 'a/both', content: 'upper' },
        { name: 'a/name', type: '1', linkname: 'a/both' },
        { name: 'b/.wh..wh..opq' },
        { name: 'b/shown', content: 'x' },
        { name: '.wh.c' },
        { name: 'c/', type: '5' },
        { name: 'c/link', type: '2', linkname: '../a/both' },
      ),
    ];
    image = `oci:${writeLayout(join(work, 'layout'), ociImage(layers), 'app')}`;
  });
  afterAll(() => {
    if (work !== undefined) rmSync(work, { recursive: true, force: true });
  });

  const root = () => ({ image, entrypoint: [] });
  const runScript = (script: string): Promise<RunResult> =>
    run(['/bin/sh', '-c', script], { root: root() }, { backend, optional: 'all' });

  function expectNothingLeft(): void {
    const stores = join(work, 'cache/sandboxlib/images');
    for (const store of readdirSync(stores)) expect(readdirSync(join(stores, store, 'work'))).toEqual([]);
  }

  const SHOWN = 'both\nkept\nname\nshown\nlink\nupper\n1777 5\n640 7\n2\n';
  const SCRIPT = `ls /a; ls /b; ls /c; cat /c/link; echo; stat -c '%a %Y' /a /a/kept; stat -c %h /a/name`;

  test('is what overlayfs would show, and clean in each run', async () => {
    for (let round = 0; round < 2; round++) {
      const { stdout, stderr, enforcement } = await runScript(
        `${SCRIPT}; echo x > /a/new; rm /a/kept; mkdir -m 0 /shut`,
      );
      expect([stdout, stderr]).toEqual([SHOWN, '']);
      expect(enforcement.image).toMatchObject({ root: 'copy', layers: 2 });
      expect(enforcement.skipped.map(({ feature }) => feature)).toContain('root.image');
      expectNothingLeft();
    }
  });

  test('is one for each run of a sandbox that is used again, also at once', async () => {
    await using sandbox = await createSandbox({ root: root() }, { backend, optional: 'all' });
    const script = 'test ! -e /new || exit 9; echo x > /new; sleep 0.3; ls /new';
    const results = await Promise.all([1, 2].map(() => sandbox.run(['/bin/sh', '-c', script])));
    expect(results.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual([
      ['/new\n', 0],
      ['/new\n', 0],
    ]);
    expectNothingLeft();
  });

  test('is gone where nothing could be started, too', async () => {
    const attempt = run(['/no-such-program'], { root: root() }, { backend, optional: 'all' });
    await expect(attempt).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
    expectNothingLeft();
  });

  test('is never made for who has not named root.image as optional, nor where no root can be shown', async () => {
    const attempt = run(['true'], { root: root() }, { backend });
    await expect(attempt).rejects.toMatchObject({
      code: 'SBX_FEATURE_UNAVAILABLE',
      message: expect.stringContaining('root.image'),
    });
    const without = run(['true'], { root: root() }, { backend: 'none', optional: 'all' });
    await expect(without).rejects.toMatchObject({ message: expect.stringContaining('root.path') });
  });
}
