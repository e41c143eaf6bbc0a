// A whole Debian as an App Container image, by name at the command line: as root and as an ordinary user, on every backend that has images without an engine.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import { ordinaryUser } from '../helpers/as-user.ts';
import { requires } from '../helpers/requires.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));
requires('linux', 'root', 'userns', 'command:debootstrap');

let work: string;
let cli: string;

beforeAll(() => {
  work = realpathSync(mkdtempSync(join(tmpdir(), 'debian-')));
  chmodSync(work, 0o755);
  execFileSync(process.execPath, [join(project, 'scripts/build.mjs')], { stdio: ['ignore', 'ignore', 'pipe'] });
  // A copy that another user can read, wherever the checkout is.
  for (const part of [
    'package.json',
    'dist',
    'prebuilds',
    'node_modules/zod',
    'node_modules/diff',
    'node_modules/fzstd',
  ]) {
    mkdirSync(dirname(join(work, 'checkout', part)), { recursive: true });
    cpSync(join(project, part), join(work, 'checkout', part), { recursive: true });
  }
  cli = join(work, 'checkout/dist/cli/main.cjs');
  const root = execFileSync(process.execPath, [join(project, 'scripts/toolchain-root.mjs')], { encoding: 'utf8' });
  const script = '. /etc/os-release; echo "$ID $GREETING $0 $*"; pwd; id -un; test -w / && touch /mark && ls /mark';
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: 'example.com/debian',
    app: {
      exec: ['/bin/bash', '-c', script, 'app'],
      user: 'root',
      group: 'root',
      workingDirectory: '/srv',
      environment: [{ name: 'GREETING', value: 'hello' }],
    },
  };
  writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
  // What takes most of the room, and nobody looks at here.
  const without = ['usr/share/doc', 'usr/share/locale', 'usr/lib/gcc', 'var/cache', 'var/lib/apt'];
  const names = ['-C', work, 'manifest', '-C', root.trim(), '--transform', 's,^\\.,rootfs,S', '.'];
  execFileSync('tar', ['-cf', join(work, 'debian.aci'), ...without.map((path) => `--exclude=./${path}`), ...names]);
  for (const name of ['cache', 'cache-user']) mkdirSync(join(work, name));
  chownSync(join(work, 'cache-user'), ordinaryUser.uid ?? 0, ordinaryUser.gid ?? 0);
}, 600_000);

afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

const callers = { root: {}, 'an ordinary user': ordinaryUser } as const;
const backends: readonly (readonly [BackendName, keyof typeof callers])[] = [
  ['native', 'root'],
  ['bubblewrap', 'root'],
  ['systemd-nspawn', 'root'],
  ['oci', 'root'],
  ['native', 'an ordinary user'],
  ['bubblewrap', 'an ordinary user'],
  ['oci', 'an ordinary user'],
];

describe('debian.aci', () => {
  test.each(backends)('on %s as %s', (backend, caller) => {
    const command = commands[backend] ?? backend;
    if (backend !== 'native') requires(`command:${command}`);
    const cache = join(work, caller === 'root' ? 'cache' : 'cache-user');
    const { PATH } = process.env;
    const env = { PATH, HOME: cache, XDG_CACHE_HOME: cache, SANDBOXLIB_OCI_RUNTIME: 'runc' };
    const options = { cwd: work, encoding: 'utf8', env, ...callers[caller] } as const;
    const args = [cli, '--quiet', '--backend', backend, 'debian.aci', 'one', 'two words'];
    const { stdout, stderr, status } = spawnSync(process.execPath, args, options);
    expect(stderr).toBe('');
    expect(stdout).toBe('debian hello app one two words\n/srv\nroot\n/mark\n');
    expect(status).toBe(0);
  });
});

const commands: Readonly<Partial<Record<BackendName, string>>> = { bubblewrap: 'bwrap', oci: 'runc' };
