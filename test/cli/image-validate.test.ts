import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildCli, runCli } from '../helpers/cli.ts';
import { layoutFiles, writeFiles } from '../helpers/oci-layout.ts';
import { requires } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

requires('linux');
beforeAll(buildCli);

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'validate-'));
  const manifest = '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app","x":1}';
  writeFileSync(join(base, 'app.aci'), tar({ name: 'manifest', content: manifest }, { name: 'rootfs', type: '5' }));
  writeFileSync(join(base, 'bad.aci'), tar({ name: 'manifest', content: '{}' }, { name: 'other' }));
  writeFiles(join(base, 'layout'), layoutFiles());
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const validate = (...args: string[]) => runCli(['image', 'validate', ...args], { cwd: base });

test('what is valid has a line on stdout, and its notes on stderr', () => {
  const { status, stdout, stderr } = validate('app.aci', 'layout');
  expect(status).toBe(0);
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/^app\.aci: App Container image example\.com\/app, sha512-[0-9a-f]{128}$/),
    expect.stringMatching(/^layout: OCI layout, latest linux\/amd64 sha256:[0-9a-f]{64}$/),
    '',
  ]);
  expect(stderr).toBe('run-sandbox: app.aci: note: manifest: x: is not known here and passed over\n');
});

test('of what is not every issue is on stderr; the others are looked at all the same, and the status is 1', () => {
  const { status, stdout, stderr } = validate('bad.aci', 'layout', 'none');
  expect(status).toBe(1);
  expect(stdout).toMatch(/^layout: OCI layout.*\n$/);
  expect(stderr.split('\n')).toEqual([
    "run-sandbox: bad.aci: archive: 'other' has no place: an App Container archive has 'manifest' and 'rootfs' at its top, nothing else",
    'run-sandbox: bad.aci: archive: there is no rootfs',
    'run-sandbox: bad.aci: manifest: acKind: is required',
    'run-sandbox: bad.aci: manifest: acVersion: is required',
    'run-sandbox: bad.aci: manifest: name: is required',
    'run-sandbox: none: does not exist',
    '',
  ]);
});

test('--json has all of it', () => {
  const { status, stdout, stderr } = validate('--json', 'app.aci', 'bad.aci');
  expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject([
    { path: 'app.aci', kind: 'aci', valid: true, name: 'example.com/app', imageId: expect.stringMatching(/^sha512-/) },
    { path: 'bad.aci', kind: 'aci', valid: false, issues: [{ where: 'archive' }, {}, { path: ['acKind'] }, {}, {}] },
  ]);
});

test('bounds can be set; wrong use has status 125', () => {
  expect(validate('--archive-limit', 'entries=1', 'app.aci').stderr).toContain('more than the limit of 1');
  expect(validate()).toMatchObject({
    status: 125,
    stderr: expect.stringContaining('image validate needs a file or a directory'),
  });
  expect(validate('app.aci', '--force').stderr).toContain('--force means nothing to image validate');
});
