// A glance at this process's mounts: whether the kernel may refuse a sysfs of the sandbox's own. It decides nothing but whether to look closer.
import { parseMountinfo } from '../spec/mountinfo.ts';
import { type HostFiles, hostFiles } from './files.ts';

let remembered: boolean | undefined;

/** In a user namespace there is one to be had only where another is in sight of which nothing is covered (mount_too_revealing()). */
export function mayRefuseSysfs(): boolean {
  remembered ??= !showsSysfs(hostFiles);
  return remembered;
}

/** Mount points that the kernel itself makes there, empty: what is mounted on them covers nothing. */
const emptyInSysfs =
  /^\/(?:kernel\/(?:debug|tracing|security|config)|fs\/(?:cgroup|bpf|pstore|selinux|smackfs|fuse\/connections)|firmware\/efi\/efivars)(?:\/|$)/;

export function showsSysfs(files: HostFiles): boolean {
  const mounts = parseMountinfo(files.readFile('/proc/self/mountinfo'));
  const places = mounts
    .filter(({ type, root }) => type === 'sysfs' && root === '/')
    .map(({ mountPoint }) => mountPoint);
  return places.some((place) =>
    mounts.every(
      ({ mountPoint }) => !mountPoint.startsWith(`${place}/`) || emptyInSysfs.test(mountPoint.slice(place.length)),
    ),
  );
}
