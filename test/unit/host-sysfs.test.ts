// Whether a sysfs is in sight of which nothing is covered: what mount_too_revealing() of the kernel asks.
import { expect, test } from 'vitest';
import { showsSysfs } from '../../src/host/sysfs.ts';
import { fakeHost } from '../helpers/fake-host.ts';

function shows(...mounts: readonly (readonly [mountPoint: string, type: string, root?: string])[]): boolean {
  const lines = mounts.map(
    ([mountPoint, type, root = '/'], id) => `${id} 1 0:${id} ${root} ${mountPoint} rw - ${type} none rw`,
  );
  return showsSysfs(fakeHost({ '/proc/self/mountinfo': `${lines.join('\n')}\n` }));
}

test('a sysfs with nothing on it, or only where the kernel made room for it, is whole', () => {
  expect(shows(['/', 'ext4'], ['/sys', 'sysfs'])).toBe(true);
  const own = ['/fs/cgroup', '/fs/cgroup/memory', '/kernel/debug', '/kernel/tracing', '/fs/fuse/connections'];
  expect(shows(['/sys', 'sysfs'], ...own.map((path) => [`/sys${path}`, 'other'] as const))).toBe(true);
});

test('one that is covered somewhere, or of which a part is mounted, is not', () => {
  expect(shows(['/', 'ext4'])).toBe(false);
  expect(shows(['/sys', 'tmpfs'])).toBe(false);
  expect(shows(['/sys', 'sysfs', '/class'])).toBe(false);
  for (const path of ['/firmware', '/devices/virtual/powercap', '/fs', '/kernel/debugger'])
    expect(shows(['/sys', 'sysfs'], [`/sys${path}`, 'tmpfs']), path).toBe(false);
});

test('any one that is whole will do', () => {
  expect(shows(['/sys', 'sysfs'], ['/sys/firmware', 'tmpfs'], ['/mnt', 'sysfs'])).toBe(true);
});
