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

const document = {
  acKind: 'ImageManifest',
  acVersion: '0.8.11',
  name: 'example.com/app',
  labels: [
    { name: 'os', value: 'linux' },
    { name: 'arch', value: 'amd64' },
  ],
  app: {
    exec: ['/bin/sh', '-c', 'echo \u001b[2J \u202e'],
    user: 'app',
    group: '7',
    eventHandlers: [{ name: 'pre-start', exec: ['/setup'] }],
    environment: [{ name: 'A', value: 'b c' }],
    mountPoints: [{ name: 'data', path: '/data', readOnly: true }],
    ports: [{ name: 'http', protocol: 'tcp', port: 80, count: 3, socketActivated: true }],
    isolators: [{ name: 'resource/memory', value: { limit: '1Gi' } }],
  },
  dependencies: [{ imageName: 'example.com/base', labels: [{ name: 'version', value: '1' }] }],
  unknown: 1,
};

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'inspect-'));
  const manifest = Buffer.from(JSON.stringify(document));
  writeFileSync(join(base, 'app.aci'), tar({ name: 'manifest', content: manifest }, { name: 'rootfs', type: '5' }));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const inspect = (...args: string[]) => runCli(['image', 'inspect', ...args], { cwd: base });

test('an App Container image is told in words, without a character that moves a cursor', () => {
  const { status, stdout, stderr } = inspect('app.aci');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/^image: App Container image example\.com\/app, sha512-[0-9a-f]{128}$/),
    'size: 3KiB, 3KiB uncompressed (none)',
    'entries: 2',
    'name: example.com/app',
    'platform: linux/amd64',
    'labels:',
    '  os=linux',
    '  arch=amd64',
    "command: /bin/sh -c 'echo \\u{1b}[2J \\u{202e}'",
    'before it: /setup',
    'user: app, group 7',
    'working directory: /',
    'environment:',
    '  A=b c',
    'mount points:',
    '  data at /data, read-only',
    'ports:',
    '  http 80-82/tcp, socket-activated',
    'isolators:',
    '  resource/memory { "limit": "1Gi" }',
    'dependencies:',
    '  example.com/base version=1',
    'notes:',
    '  manifest: unknown: is not known here and passed over',
    '',
  ]);
});

test('--json has the documents as they are, and escapes what a terminal would obey', () => {
  const { status, stdout } = inspect('--json', 'app.aci');
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    kind: 'aci',
    archive: { imageId: expect.stringMatching(/^sha512-/) },
    documents: { manifest: document },
    issues: [],
  });
  expect(stdout).toContain('\\u001b[2J \\u202e');
});

test('an OCI layout is told by its images and their layers', () => {
  writeFiles(join(base, 'layout'), layoutFiles());
  const { status, stdout } = inspect('layout');
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /^name: latest\ndigest: sha256:[0-9a-f]{64}\nplatform: linux\/amd64\ncommand: sh\nuser: root\n/m,
  );
  expect(stdout).toMatch(/^size: \d+B in 1 layer\nlayers:\n {2}sha256:[0-9a-f]{64} \d+B\n$/m);
  expect(Object.keys((JSON.parse(inspect('layout', '--json').stdout) as { documents: object }).documents)).toEqual([
    'oci-layout',
    'index.json',
    expect.stringMatching(/^blobs\/sha256\//),
    expect.stringMatching(/^blobs\/sha256\//),
  ]);
});

test('of what is not valid the issues are said, and the status is 1', () => {
  writeFileSync(join(base, 'bad.json'), JSON.stringify({ ...document, name: 'A' }));
  const { status, stderr } = inspect('bad.json');
  expect(status).toBe(1);
  expect(stderr).toMatch(/^run-sandbox: bad\.json: name: 'A' is not an AC Identifier/);
  expect(inspect('app.aci', 'bad.json')).toMatchObject({
    status: 125,
    stderr: expect.stringContaining('needs one file'),
  });
});
