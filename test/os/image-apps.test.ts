// What documents of images become is run, in a root of one static program: what the account says was enforced is.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAciManifest } from '../../src/image/aci/manifest.ts';
import { type AciContext, type AciRun, aciToSpec } from '../../src/image/aci/spec.ts';
import { parseImageConfig } from '../../src/image/oci/config.ts';
import { ociToSpec } from '../../src/image/oci/spec.ts';
import { rootAccounts } from '../../src/image/root-accounts.ts';
import { type RunResult, run } from '../../src/index.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { requires, whyMissing } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';
requires('linux', 'root', 'userns', `file:${BUSYBOX}`);

let work: string;
let root: string;

beforeAll(() => {
  if (whyMissing(`file:${BUSYBOX}`) !== undefined) return;
  work = realpathSync(mkdtempSync(join(tmpdir(), 'apps-')));
  root = join(work, 'root');
  for (const name of ['bin', 'etc', 'srv/app', 'var/data']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
  for (const name of ['sh', 'id', 'cat', 'mkdir', 'touch', 'grep', 'sleep'])
    symlinkSync('busybox', join(root, 'bin', name));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\napp:x:123:456::/srv:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:456:\nstaff:x:50:app\n');
  mkdirSync(join(work, 'volume'));
  writeFileSync(join(work, 'volume/file'), 'of the volume\n');
});

afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true });
});

function appOf(members: object, more: Partial<AciContext> = {}): AciRun {
  const manifest = parseAciManifest(
    JSON.stringify({
      acKind: 'ImageManifest',
      acVersion: '0.8.11',
      name: 'example.com/app',
      app: { exec: ['sh', '-c', 'true'], user: 'app', group: 'app', ...members },
    }),
  );
  const accounts = rootAccounts(nodeSpecHost(), root);
  return aciToSpec(manifest, {
    root,
    accounts,
    architecture: process.arch,
    realpath: (path) => nodeSpecHost().realpath(path),
    ...more,
  });
}

async function outputOf(script: string, members: object = {}, more: Partial<AciContext> = {}): Promise<string> {
  const { command, spec } = appOf({ ...members, exec: ['sh', '-c', script] }, more);
  const result: RunResult = await run(command, spec);
  return `${String(result.stdout)}${String(result.stderr)}`;
}

describe('an app of an App Container image', () => {
  test('runs as its user, where and with what its manifest says', async () => {
    const script = 'id -u; id -g; id -G; pwd; echo "$AC_APP_NAME $container $X"; echo "$PATH"';
    const environment = [{ name: 'X', value: '$HOME *' }];
    const members = { workingDirectory: '/srv/app', environment, supplementaryGIDs: [50] };
    expect(await outputOf(script, members)).toBe(
      '123\n456\n456 50\n/srv/app\napp sandboxlib $HOME *\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
    );
  });

  test('starts from a clean copy of its root each time (A62)', async () => {
    const script = 'cat /var/data/mark; echo here > /var/data/mark; cat /var/data/mark';
    for (let time = 0; time < 2; time += 1)
      expect(await outputOf(script, { user: '0', group: '0' })).toMatch(/^here\ncat: .*No such file/);
    expect(existsSync(join(root, 'var/data/mark'))).toBe(false);
  });

  test('has its volumes at its mount points, read-only where one says so (A95)', async () => {
    const members = { user: '0', group: '0', mountPoints: [{ name: 'data', path: '/var/data', readOnly: true }] };
    const volumes = [
      { kind: 'host', name: 'data', source: join(work, 'volume'), readOnly: false, recursive: true },
    ] as const;
    expect(await outputOf('cat /var/data/file; touch /var/data/new', members, { volumes })).toMatch(
      /^of the volume\ntouch: .*Read-only file system/,
    );
  });

  test('is kept from the calls that it gives up (A72)', async () => {
    const isolators = [{ name: 'os/linux/seccomp-remove-set', value: { set: ['mkdir', 'mkdirat'], errno: 'ENOTSUP' } }];
    expect(await outputOf('mkdir /tmp/x', { isolators })).toMatch(/mkdir: .*not supported/i);
    const killed = [{ name: 'os/linux/seccomp-remove-set', value: { set: ['mkdir', 'mkdirat'] } }];
    const { command, spec } = appOf({ isolators: killed, exec: ['mkdir', '/tmp/x'] });
    expect((await run(command, spec)).outcome).toMatchObject({ kind: 'denied' });
  });

  test('has the capabilities that its caller grants of those that it wants, and none else (A78)', async () => {
    const script = 'grep -E "Cap(Eff|Bnd)" /proc/self/status';
    const isolators = [{ name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN', 'CAP_KILL'] } }];
    const members = { user: '0', group: '0', isolators };
    expect(await outputOf(script, members)).toBe('CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n');
    expect(await outputOf(script, members, { capabilities: ['CAP_KILL', 'CAP_SYS_ADMIN'] })).toBe(
      'CapEff:\t0000000000000020\nCapBnd:\t0000000000000020\n',
    );
  });

  test('is refused where it is to start in a directory that is not there (A48)', async () => {
    const { command, spec } = appOf({ workingDirectory: '/nowhere' });
    await expect(run(command, spec)).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
  });
});

describe('an image of OCI', () => {
  test('runs as its user, where and with what its configuration says', async () => {
    const config = parseImageConfig(
      JSON.stringify({
        os: 'linux',
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        config: {
          Env: ['A=$B'],
          Entrypoint: ['sh', '-c'],
          Cmd: ['id -u; id -g; id -G; pwd; echo "$A"'],
          User: 'app',
          WorkingDir: 'srv/app',
        },
        rootfs: { type: 'layers', diff_ids: [] },
      }),
    );
    const { command, spec } = ociToSpec(config, {
      root,
      accounts: rootAccounts(nodeSpecHost(), root).read,
      architecture: process.arch,
    });
    const { stdout } = await run(command, spec);
    expect(stdout).toBe('123\n456\n456 50\n/srv/app\n$B\n');
  });
});
