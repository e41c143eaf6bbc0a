// A sysfs of the sandbox's own: what is to be seen of the machine in it, and who is told that there is none.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { maskedInSysfs } from '../../src/backends/layout.ts';
import { explain, run, type SandboxSpec } from '../../src/index.ts';
import { cliPath } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';
const sysfs: SandboxSpec = { mounts: [{ type: 'sysfs', destination: '/sys' }] };

export function sysfsCases(): void {
  requires('linux', 'userns', `file:${BUSYBOX}`);
  let work: string;
  let image: string;
  const outputOf = async (script: string, spec: SandboxSpec = sysfs): Promise<string> => {
    const { stdout, stderr } = await run(['sh', '-c', script], spec);
    expect(stderr).toBe('');
    return String(stdout);
  };
  const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'sysfs-'));
    process.env['XDG_CACHE_HOME'] = join(work, 'cache');
    mkdirSync(join(work, 'rootfs/bin'), { recursive: true });
    copyFileSync(BUSYBOX, join(work, 'rootfs/bin/busybox'));
    for (const name of ['sh', 'ls', 'cat']) symlinkSync('busybox', join(work, 'rootfs/bin', name));
    const app = { exec: ['/bin/sh', '-c', 'ls /sys/class/net 2>/dev/null || ls /'], user: '0', group: '0' };
    writeFileSync(
      join(work, 'manifest'),
      JSON.stringify({ acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/sys', app }),
    );
    image = join(work, 'image.aci');
    execFileSync('tar', ['-C', work, '-cf', image, 'manifest', 'rootfs']);
  });

  afterAll(() => {
    if (work !== undefined) rmSync(work, { recursive: true });
  });

  describe('a sysfs', () => {
    test('shows the network namespace of the sandbox, and of devices only what is listed', async () => {
      expect(lines(await outputOf('ls /sys/class/net'))).toEqual(['lo']);
      expect(lines(await outputOf('ls /sys/devices /sys/devices/virtual/net | grep -v "^$"'))).toEqual([
        '/sys/devices:',
        'system',
        'virtual',
        '/sys/devices/virtual/net:',
        'lo',
      ]);
      const processors = readdirSync('/sys/devices/system/cpu').filter((name) => /^cpu\d+$/.test(name));
      const counted = await outputOf('ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l');
      expect(Number(counted)).toBe(processors.length);
      const throttled = await outputOf('cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null || true');
      expect(throttled).toBe('');
    });

    test('has nothing in what is masked, and nothing of it can be written to', async () => {
      const masked = maskedInSysfs.map((name) => `/sys/${name}`).filter((path) => existsSync(path));
      expect(masked).toContain('/sys/firmware');
      expect(
        await outputOf(`for f in ${masked.join(' ')}; do if test -d $f; then ls -A $f; else cat $f; fi; done`),
      ).toBe('');
      // Whatever the modes say, also to who is uid 0 of the machine. What is masked looks like a file in its directory, and is /dev/null.
      const script =
        'find -P /sys -mount -type f -perm /222 2>/dev/null | while read -r f; do test -f "$f" && (: >> "$f") 2>/dev/null && echo "$f"; done; ' +
        'find -P /sys -mount -type f 2>/dev/null | wc -l; grep " /sys" /proc/self/mountinfo | grep -v " ro," | wc -l';
      const [files, ...rest] = lines(await outputOf(script, { ...sysfs, user: { uid: 0, gid: 0 } }));
      expect(Number(files)).toBeGreaterThan(10);
      // /proc/sys is none of it.
      expect(rest).toEqual(['0']);
    });

    test('is refused with the reason where the network is that of the host, or left out where that is said', async () => {
      const spec: SandboxSpec = { ...sysfs, network: 'host' };
      await expect(run(['true'], spec)).rejects.toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        missing: [{ feature: 'mount.sysfs', because: expect.stringContaining("network: 'host'") }],
      });
      const { enforcement } = await run(['true'], spec, { optional: ['mount.sysfs'] });
      expect(enforcement.skipped).toMatchObject([{ feature: 'mount.sysfs' }]);
      const wished: SandboxSpec = { network: 'host', mounts: [{ type: 'sysfs', destination: '/sys', optional: true }] };
      const { plan, enforcement: without } = await explain(wished);
      expect(without.skipped).toMatchObject([{ feature: 'mount.sysfs' }]);
      expect(plan.notes).toContain('there is no sysfs at /sys');
    });

    test('is what an app of an App Container image has (A110), of no backend that has none', async () => {
      const { stdout, enforcement } = await run([], { root: { image } });
      expect(stdout).toBe('lo\n');
      expect(enforcement.applied).toContainEqual(expect.objectContaining({ feature: 'mount.sysfs' }));
      requires('command:bwrap');
      const other = await run([], { root: { image } }, { backend: 'bubblewrap' });
      expect(other.stdout).toMatch(/^bin\n/);
      expect(other.enforcement.skipped).toMatchObject([{ feature: 'mount.sysfs' }]);
    });
  });

  // As a container has it: parts of /sys are covered, and the kernel gives nobody below a fresh one.
  describe('where parts of /sys are covered', () => {
    const covered = (args: readonly string[]): { status: number | null; stdout: string; stderr: string } => {
      const room = ['--dev-bind', '/', '/', '--tmpfs', '/sys/firmware', '--', process.execPath, cliPath, ...args];
      const { status, stdout, stderr } = spawnSync('bwrap', room, { encoding: 'utf8', cwd: '/' });
      return { status, stdout, stderr };
    };

    test('a spec that wants one is refused with the reason', () => {
      requires('command:bwrap');
      const { status, stderr } = covered([
        '--backend',
        'native',
        '--mount',
        'type=sysfs,destination=/sys',
        '--',
        'true',
      ]);
      expect(stderr).toMatch(/mount\.sysfs.*parts of \/sys are covered here/s);
      expect(status).toBe(125);
    });

    test('an app does without, and is told', () => {
      requires('command:bwrap');
      const { status, stdout, stderr } = covered(['-v', image]);
      expect([status, stdout]).toEqual([0, 'bin\ndev\netc\nproc\nsys\ntmp\n']);
      expect(stderr).toMatch(/mount\.sysfs/);
    });
  });
}
