// Images on the other backends that know them, one of each kind: what is shown is what the layers say.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import { run, type SandboxSpec } from '../../src/index.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

requires('linux', 'root', 'userns', `file:${BUSYBOX}`);

let work: string;
let layout: string;
let archive: string;

beforeAll(() => {
  if (whyMissing(`file:${BUSYBOX}`) !== undefined) return;
  work = mkdtempSync(join(tmpdir(), 'images-backends-'));
  process.env['XDG_CACHE_HOME'] = join(work, 'cache');
  const members = busyboxRoot();
  const second = tar(
    { name: 'd/', type: '5' },
    { name: 'd/one', content: '1' },
    { name: 'd/two', content: '2' },
    { name: 'hidden/', type: '5' },
    { name: 'hidden/old' },
    { name: 'etc/', type: '5' },
    { name: 'etc/.wh.nothing' },
  );
  const third = tar(
    { name: 'd/', type: '5' },
    { name: 'd/.wh.one' },
    { name: 'd/three', content: '3' },
    { name: 'hidden/', type: '5' },
    { name: 'hidden/.wh..wh..opq' },
    { name: 'hidden/new' },
  );
  const config = { Entrypoint: ['/bin/sh', '-c'], User: 'app', Env: ['A=image'], WorkingDir: '/d' };
  layout = writeLayout(join(work, 'layout'), ociImage([tar(...members), second, third], config));
  archive = join(work, 'app.aci');
  writeFileSync(archive, aci(members, { exec: ['/bin/sh', '-c'], workingDirectory: '/srv' }));
});
afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

const commands: readonly (readonly [BackendName, string | undefined])[] = [
  ['native', undefined],
  ['bubblewrap', 'bwrap'],
  ['oci', 'crun'],
  ['systemd-nspawn', 'systemd-nspawn'],
  ['podman', 'podman'],
];

describe.each(commands)('on %s', (backend, command) => {
  if (command !== undefined) requires(`command:${command}`);

  async function said(script: string, spec: SandboxSpec): Promise<unknown> {
    const { stdout, stderr, enforcement } = await run([script], spec, { backend });
    expect(enforcement.backend).toBe(backend);
    return [stdout, stderr];
  }

  test('an image of three layers', async () => {
    const script = 'id -u; pwd; echo $A; ls /d /hidden /etc; cat three';
    const listed = '/d:\nthree\ntwo\n\n/etc:\ngroup\npasswd\n\n/hidden:\nnew\n';
    const expected = [`123\n/d\nimage\n${listed}3`, ''];
    expect(
      await said(script.replace('/etc', '/etc | grep -v -E "hostname|hosts|mtab|resolv|localtime|machine-id"'), {
        root: { image: layout },
      }),
    ).toEqual(expected);
  });

  test('an App Container image, whose changes are gone after each run', async () => {
    const spec: SandboxSpec = { root: { image: archive } };
    for (let round = 0; round < 2; round += 1)
      expect(await said('pwd; ls /; cd /; echo x > /new && rm -r /srv && ls -d /new /srv 2>/dev/null', spec)).toEqual([
        expect.stringMatching(/^\/srv\n(?:(?!new\n)[a-z0-9]+\n)*srv\n(?:(?!new\n)[a-z0-9]+\n)*\/new\n$/),
        '',
      ]);
  });

  test('a mount of an image, read-only and not', async () => {
    const mount = { type: 'image', source: layout, destination: '/mnt' } as const;
    const script = 'ls /mnt/d; cat /mnt/d/two; touch /mnt/d/new 2>/dev/null && echo written';
    const image = { image: archive };
    expect(await said(`${script}; true`, { root: image, mounts: [mount] })).toEqual(['three\ntwo\n2', '']);
    for (let round = 0; round < 2; round += 1)
      expect(await said(script, { root: image, mounts: [{ ...mount, readonly: false }] })).toEqual([
        'three\ntwo\n2written\n',
        '',
      ]);
  });
});
