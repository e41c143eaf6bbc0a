// What the command sees of files, and what it can change.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../src/index.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { allMountPoints } from '../helpers/mount-points.ts';
import type { Bench } from './bench.ts';
import type { Suite } from './describe-backend.ts';

export function filesystemCases(suite: Suite): void {
  hostViewCases(suite);
  directoryRootCases(suite);
  mountCases(suite);
  workspaceCases(suite);
}

function hostViewCases({ bench, promise }: Suite): void {
  promise(['root.host', 'root.readonly'], 'the host view cannot be written to', async () => {
    for (const path of ['/x', '/usr/x', '/etc/x', '/etc/passwd', '/dev/x']) {
      expect(await bench.refusal(['write', path, 'x']), path).toMatch(/^errno (EROFS|EACCES)$/);
    }
    expect(await bench.refusal(['mkdir', '/new'])).toBe('errno EROFS');
  });

  promise(['root.host', 'root.readonly'], 'the host view cannot be made writable from inside', async () => {
    for (const path of ['/', '/usr', '/etc']) expect(await bench.refusal(['remount', path]), path).toBe('errno EPERM');
    const spec: SandboxSpec = { user: { uid: 0, gid: 0 } };
    expect(await bench.refusal(['remount', '/usr'], spec)).toBe('errno EPERM');
  });

  promise(['root.host'], 'the host view shows nothing of home, var, run or mnt', async () => {
    for (const path of ['/var', '/run', '/mnt', '/srv', '/media', '/boot']) {
      expect(await bench.refusal(['stat', path]), path).toBe('errno ENOENT');
    }
    expect(await bench.refusal(['stat', bench.guestOutside])).toBe('errno ENOENT');
    expect(await bench.refusal(['stat', '/etc/shadow'])).toBe('errno ENOENT');
  });

  promise(['mount.tmpfs'], '/tmp and $HOME are private, writable and fresh in every run', async () => {
    const write = `/tmp/${'sandboxlib-private'}`;
    expect(await bench.answer(['write', write, 'x'])).toBe('written');
    expect(await bench.refusal(['stat', write])).toBe('errno ENOENT');
    expect(existsSync(write)).toBe(false);
    const home = (await bench.answer(['env']))
      .split('\n')
      .find((line) => line.startsWith('HOME='))
      ?.slice(5);
    expect(await bench.answer(['write', `${home}/x`, 'x'])).toBe('written');
    expect(await bench.answer(['cwd'])).toBe(home);
  });

  promise(['mount.dev', 'mount.bind'], 'a device is there where it was granted, and /dev stays read-only', async () => {
    const spec: SandboxSpec = { mounts: [{ type: 'bind', source: '/dev/full', destination: '/dev/granted' }] };
    expect(await bench.refusal(['write', '/dev/granted', 'x'], spec)).toBe('errno ENOSPC');
    expect(await bench.refusal(['write', '/dev/other', 'x'], spec)).toBe('errno EROFS');
    expect(await bench.refusal(['stat', '/dev/granted'])).toBe('errno ENOENT');
  });

  promise(['mount.dev'], '/dev has the harmless devices and nothing else', async () => {
    for (const name of ['null', 'zero', 'full', 'random', 'urandom', 'tty']) {
      expect(await bench.answer(['stat', `/dev/${name}`]), name).toMatch(/^other 0666 /);
    }
    for (const name of ['mem', 'kmsg', 'sda', 'vda', 'kvm', 'fuse', 'loop-control', 'console']) {
      expect(await bench.refusal(['stat', `/dev/${name}`]), name).toBe('errno ENOENT');
    }
    expect(await bench.answer(['write', '/dev/shm/x', 'x'])).toBe('written');
  });

  promise(['mount.proc'], '/proc cannot set or tell anything of the machine', async () => {
    const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };
    for (const path of ['/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches']) {
      expect(await bench.refusal(['write', path, 'x'], asRoot), path).toMatch(/^errno (EROFS|EACCES|EPERM|ENOENT)$/);
    }
    // Covered by /dev/null, or not there at all: which it is depends on the kernel.
    for (const path of ['/proc/kcore', '/proc/timer_list', '/proc/keys', '/proc/interrupts']) {
      expect((await bench.run(['read', path], asRoot)).stdout, path).toMatch(/^(errno ENOENT\n)?$/);
    }
  });

  promise(['mount.sysfs'], '/sys cannot set anything of the machine, nor tell of its devices', async () => {
    const spec: SandboxSpec = { user: { uid: 0, gid: 0 }, mounts: [{ type: 'sysfs', destination: '/sys' }] };
    expect(await bench.answer(['read', '/sys/class/net/lo/address'], spec)).toBe('00:00:00:00:00:00');
    expect(await bench.answer(['read', '/sys/devices/system/cpu/online'], spec)).toMatch(/^[\d,-]+$/);
    for (const path of ['/sys/class/net/lo/mtu', '/sys/power/state', '/sys/kernel/mm/ksm/run', '/sys/devices/new'])
      expect(await bench.refusal(['write', path, '1'], spec), path).toMatch(/^errno (EROFS|ENOENT)$/);
    for (const path of ['acpi', 'memmap', 'dmi', 'efi'])
      expect(await bench.refusal(['stat', `/sys/firmware/${path}`], spec), path).toBe('errno ENOENT');
    for (const path of ['platform', 'pci0000:00', 'virtual/powercap', 'virtual/dmi', 'virtual/block', 'system/memory'])
      expect(await bench.refusal(['stat', `/sys/devices/${path}`], spec), path).toBe('errno ENOENT');
    for (const path of ['/sys/kernel/notes', '/sys/kernel/vmcoreinfo'])
      expect((await bench.run(['read', path], spec)).stdout, path).toMatch(/^(errno ENOENT\n)?$/);
  });
}

/** A root with the guest, a marker, and two directories. */
function makeRoot(bench: Bench, name: string, mountPoints: readonly string[]): string {
  const root = bench.makeDirectory(name);
  for (const directory of ['data', 'other', ...mountPoints]) mkdirSync(join(root, directory), { recursive: true });
  copyFileSync(bench.guestOutside, join(root, 'guest'));
  writeFileSync(join(root, 'marker'), 'in the root');
  return root;
}

function directoryRootCases({ bench, promise }: Suite): void {
  const inRoot = async (root: string, args: readonly string[], spec: SandboxSpec = {}): Promise<string> => {
    const given = typeof spec.root === 'object' ? spec.root : {};
    const { stdout } = await run(
      ['/guest', ...args],
      { ...spec, root: { path: root, ...given } },
      bench.options({ stripFinalNewline: true }),
    );
    return stdout as string;
  };

  promise(['root.path'], 'a directory is the root, and nothing of the host is in it', async () => {
    const root = makeRoot(bench, 'root-plain', allMountPoints);
    expect(await inRoot(root, ['read', '/marker'])).toBe('in the root');
    expect(await inRoot(root, ['stat', '/usr'])).toBe('errno ENOENT');
    expect(await inRoot(root, ['stat', bench.directory])).toBe('errno ENOENT');
    expect(await inRoot(root, ['read', '/../../../marker'])).toBe('in the root');
  });

  promise(['root.path', 'root.readonly'], 'a directory root is read-only unless asked otherwise', async () => {
    const root = makeRoot(bench, 'root-readonly', allMountPoints);
    expect(await inRoot(root, ['write', '/data/x', 'x'])).toBe('errno EROFS');
    expect(await inRoot(root, ['write', '/data/x', 'x'], { root: { readonly: false } })).toBe('written');
    expect(readFileSync(join(root, 'data', 'x'), 'utf8')).toBe('x');
  });

  promise(['root.path', 'root.writablePaths'], 'writable paths are writable, and nothing beside them', async () => {
    const root = makeRoot(bench, 'root-writable', allMountPoints);
    const spec: SandboxSpec = { root: { writablePaths: ['/data'] } };
    expect(await inRoot(root, ['write', '/data/x', 'kept'], spec)).toBe('written');
    expect(await inRoot(root, ['write', '/other/x', 'x'], spec)).toBe('errno EROFS');
    expect(await inRoot(root, ['write', '/x', 'x'], spec)).toBe('errno EROFS');
    expect(readFileSync(join(root, 'data', 'x'), 'utf8')).toBe('kept');
  });

  promise(
    ['root.path', 'root.missingMountPoints'],
    'mount points that the root lacks leave nothing in it',
    async () => {
      const root = makeRoot(bench, 'root-bare', []);
      const before = readdirSync(root).sort();
      expect(await inRoot(root, ['read', '/marker'])).toBe('in the root');
      expect(await inRoot(root, ['write', '/tmp/x', 'x'])).toBe('written');
      expect(await inRoot(root, ['write', '/data/x', 'x'])).toBe('errno EROFS');
      expect(readdirSync(root).sort()).toEqual(before);
    },
  );

  promise(
    ['root.path', 'root.missingMountPoints'],
    'above a root that lacks mount points there is nothing',
    async () => {
      const root = makeRoot(bench, 'root-top', []);
      expect(await inRoot(root, ['read', '/../marker'])).toBe('in the root');
      expect(await inRoot(root, ['stat', `/..${bench.directory}`])).toBe('errno ENOENT');
      // Every mount of the sandbox is one that was made for it; the host's own root is not among them.
      const points = (await inRoot(root, ['read', '/proc/self/mountinfo']))
        .split('\n')
        .map((line) => line.split(' ')[4]);
      expect(points.filter((point) => point === '/')).toEqual(['/']);
      expect(points).not.toContain('/sys');
    },
  );
}

function mountCases({ bench, promise }: Suite): void {
  promise(['mount.bind'], 'a bind mount of a directory is read-only unless asked otherwise', async () => {
    const source = bench.makeDirectory('bind-directory');
    writeFileSync(join(source, 'file'), 'content');
    expect(await bench.answer(['read', '/mnt/file'], { mounts: [`${source}:/mnt`] })).toBe('content');
    expect(await bench.refusal(['write', '/mnt/file', 'x'], { mounts: [`${source}:/mnt:ro`] })).toBe('errno EROFS');
    expect(await bench.answer(['write', '/mnt/new', 'x'], { mounts: [`${source}:/mnt:rw`] })).toBe('written');
    expect(readFileSync(join(source, 'new'), 'utf8')).toBe('x');
  });

  promise(['mount.bind'], 'a bind mount of a file is that file alone', async () => {
    const source = bench.makeFile('bind-file', 'content');
    expect(await bench.answer(['read', '/mnt/f'], { mounts: [`${source}:/mnt/f`] })).toBe('content');
    expect(await bench.refusal(['write', '/mnt/f', 'x'], { mounts: [`${source}:/mnt/f`] })).toBe('errno EROFS');
    expect(await bench.answer(['write', '/mnt/f', 'changed'], { mounts: [`${source}:/mnt/f:rw`] })).toBe('written');
    expect(readFileSync(source, 'utf8')).toBe('changed');
  });

  promise(['mount.bind'], 'a read-only bind mount cannot be made writable from inside', async () => {
    const source = bench.makeDirectory('bind-remount');
    const spec: SandboxSpec = { mounts: [`${source}:/mnt:ro`], user: { uid: 0, gid: 0 } };
    expect(await bench.refusal(['remount', '/mnt'], spec)).toBe('errno EPERM');
  });

  promise(['mount.bind'], 'of two mounts at nested places both are there', async () => {
    const [outer, inner] = [bench.makeDirectory('outer'), bench.makeDirectory('inner')];
    mkdirSync(join(outer, 'sub'), { recursive: true });
    writeFileSync(join(inner, 'file'), 'inner');
    const mounts = [`${outer}:/mnt`, `${inner}:/mnt/sub:rw`];
    expect(await bench.answer(['read', '/mnt/sub/file'], { mounts })).toBe('inner');
    expect(await bench.refusal(['write', '/mnt/x', 'x'], { mounts })).toBe('errno EROFS');
    expect(await bench.answer(['write', '/mnt/sub/x', 'x'], { mounts })).toBe('written');
  });

  promise(['mount.tmpfs'], 'a tmpfs holds as much as it may, and no more', async () => {
    const mounts: SandboxSpec['mounts'] = [{ type: 'tmpfs', destination: '/mnt', sizeBytes: '1MiB' }];
    expect(await bench.answer(['fill', '/mnt/x', 512 * 1024], { mounts })).toBe(String(512 * 1024));
    expect(await bench.refusal(['fill', '/mnt/x', 2 * 1024 * 1024], { mounts })).toBe(`${1024 * 1024} errno ENOSPC`);
  });

  promise(['mount.tmpfs'], 'a tmpfs has the mode that was asked for', async () => {
    const mode = (given: object) =>
      bench.answer(['stat', '/mnt'], { mounts: [{ type: 'tmpfs', destination: '/mnt', ...given }] });
    expect(await mode({})).toMatch(/^directory 0755 /);
    expect(await mode({ mode: 0o700 })).toMatch(/^directory 0700 /);
  });
}

function workspaceCases({ bench, promise }: Suite): void {
  promise(['workspace'], 'the command starts in its workspace, at its own path', async () => {
    const workspace = bench.makeDirectory('workspace');
    expect(await bench.answer(['cwd'], { workspace })).toBe(workspace);
    expect(await bench.answer(['write', 'made', 'inside'], { workspace })).toBe('written');
    expect(readFileSync(join(workspace, 'made'), 'utf8')).toBe('inside');
  });

  promise(['workspace'], 'a read-only workspace cannot be written to', async () => {
    const path = bench.makeDirectory('workspace-readonly');
    expect(await bench.refusal(['write', 'x', 'x'], { workspace: { path, access: 'ro' } })).toBe('errno EROFS');
  });

  promise(['workspace'], 'what lies beside the workspace is not there', async () => {
    const workspace = bench.makeDirectory('beside');
    bench.makeFile('neighbour', 'secret');
    expect(await bench.refusal(['read', join(bench.directory, 'neighbour')], { workspace })).toBe('errno ENOENT');
  });
}
