// Hosts that the readers of src/host can be shown: a tree of files, each with its text, its mode and its owner.
import { posix } from 'node:path';
import type { FileFacts, HostFiles } from '../../src/host/files.ts';

export type FakeEntry =
  | string
  | { readonly text: string; readonly mode?: number; readonly uid?: number; readonly writable?: boolean }
  | { readonly directory: true; readonly mode?: number; readonly writable?: boolean }
  | { readonly link: string };

export type FakeTree = Readonly<Record<string, FakeEntry>>;

/** Directories above an entry are there with mode 755. A file that not every user may read is read only when `caller` is root or its owner. */
export function fakeHost(tree: FakeTree, caller: { readonly uid: number } = { uid: 1000 }): HostFiles {
  const follow = (path: string, depth = 0): string => {
    const entry = tree[path];
    if (depth < 40 && typeof entry === 'object' && 'link' in entry)
      return follow(posix.resolve(posix.dirname(path), entry.link), depth + 1);
    return path;
  };
  const isParent = (path: string): boolean => Object.keys(tree).some((name) => name.startsWith(`${path}/`));
  const factsOf = (path: string): FileFacts | undefined => {
    const entry = tree[path];
    if (entry === undefined) return isParent(path) || path === '/' ? directoryFacts() : undefined;
    if (typeof entry === 'string') return { kind: 'file', mode: 0o644, uid: 0 };
    if ('link' in entry) return { kind: 'symlink', mode: 0o777, uid: 0 };
    if ('directory' in entry) return directoryFacts(entry.mode);
    return { kind: 'file', mode: entry.mode ?? 0o644, uid: entry.uid ?? 0 };
  };
  return {
    readFile(path) {
      const entry = tree[follow(path)];
      if (typeof entry === 'string') return entry;
      if (entry === undefined || !('text' in entry)) return undefined;
      const readable = caller.uid === 0 || caller.uid === (entry.uid ?? 0) || ((entry.mode ?? 0o644) & 0o004) !== 0;
      return readable ? entry.text : undefined;
    },
    readlink(path) {
      const entry = tree[path];
      return typeof entry === 'object' && 'link' in entry ? entry.link : undefined;
    },
    readdir(path) {
      if (factsOf(path)?.kind !== 'directory') return undefined;
      const below = Object.keys(tree).filter((name) => name.startsWith(`${path}/`));
      return [...new Set(below.map((name) => name.slice(path.length + 1).split('/', 1)[0] ?? ''))];
    },
    stat: (path) => factsOf(follow(path)),
    lstat: factsOf,
    writable(path) {
      const entry = tree[follow(path)];
      return typeof entry === 'object' && 'writable' in entry && entry.writable === true;
    },
  };
}

function directoryFacts(mode = 0o755): FileFacts {
  return { kind: 'directory', mode, uid: 0 };
}

const everyId = '         0          0 4294967295\n';
const ordinaryStatus = 'Name:\tnode\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n';
const passwd = 'root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n';

const userTools: FakeTree = {
  '/usr/bin/newuidmap': { text: '', mode: 0o4755 },
  '/usr/bin/newgidmap': { text: '', mode: 0o4755 },
  '/etc/subuid': 'ann:100000:65536\n',
  '/etc/subgid': 'ann:100000:65536\n',
};

const session = '/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope';
const cgroup2Line = '30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';
const rootLine = '24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n';
const procLine = '25 24 0:22 / /proc rw,nosuid shared:5 - proc proc rw\n';

/** A pure v2 host on which systemd delegated the session's scope to its user. */
const delegatedScope: FakeTree = {
  '/proc/self/cgroup': `0::${session}\n`,
  '/proc/self/mountinfo': rootLine + procLine + cgroup2Line,
  [`/sys/fs/cgroup${session}`]: { directory: true, writable: true },
  [`/sys/fs/cgroup${session}/cgroup.controllers`]: 'memory pids cpu\n',
  [`/sys/fs/cgroup${session}/cgroup.procs`]: { text: '', writable: true },
  [`/sys/fs/cgroup${session}/cgroup.subtree_control`]: { text: '', writable: true },
};

const common: FakeTree = {
  '/proc/sys/kernel/osrelease': '6.8.0-31-generic\n',
  '/proc/sys/user/max_user_namespaces': '127234\n',
  '/proc/self/uid_map': everyId,
  '/proc/self/gid_map': everyId,
  '/proc/self/status': ordinaryStatus,
  '/etc/passwd': passwd,
  ...userTools,
  ...delegatedScope,
};

function without(tree: FakeTree, ...names: readonly string[]): FakeTree {
  return Object.fromEntries(Object.entries(tree).filter(([name]) => !names.includes(name)));
}

export const fakeHosts: Record<
  | 'plain'
  | 'ubuntu2404'
  | 'debian10'
  | 'noUserNamespaces'
  | 'dockerDefault'
  | 'rootlessPodman'
  | 'missingSubuid'
  | 'notDelegated'
  | 'hybrid'
  | 'bootedImage',
  FakeTree
> = {
  /** Nothing is in the way. */
  plain: common,
  ubuntu2404: {
    ...common,
    '/sys/kernel/security/lsm': 'lockdown,capability,landlock,yama,apparmor',
    '/sys/module/apparmor/parameters/enabled': 'Y\n',
    '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n',
    '/proc/sys/kernel/unprivileged_userns_clone': '1\n',
    '/proc/self/attr/apparmor/current': 'unconfined\n',
  },
  debian10: {
    ...common,
    '/proc/sys/kernel/osrelease': '4.19.0-27-amd64\n',
    '/proc/sys/kernel/unprivileged_userns_clone': '0\n',
  },
  noUserNamespaces: { ...common, '/proc/sys/user/max_user_namespaces': '0\n' },
  dockerDefault: {
    ...without(common, '/usr/bin/newuidmap', '/usr/bin/newgidmap', '/etc/subuid', '/etc/subgid'),
    '/.dockerenv': '',
    '/proc/self/status': 'CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n',
    '/proc/self/cgroup': '0::/\n',
    '/proc/self/mountinfo':
      '700 600 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l\n' +
      '701 700 0:51 / /proc rw,nosuid - proc proc rw\n' +
      '702 701 0:51 /sys /proc/sys ro,nosuid - proc proc rw\n' +
      '703 701 0:52 / /proc/kcore rw,nosuid - tmpfs tmpfs rw\n' +
      '704 700 8:1 /var/lib/docker/x/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n' +
      '705 700 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n',
    '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
  },
  rootlessPodman: {
    ...without(common, '/usr/bin/newuidmap', '/usr/bin/newgidmap', '/etc/subuid', '/etc/subgid'),
    '/run/.containerenv': 'engine="podman-4.9.3"\nrootless=1\n',
    '/proc/self/uid_map': '         0       1000          1\n         1     100000      65536\n',
    '/proc/self/gid_map': '         0       1000          1\n         1     100000      65536\n',
    '/proc/self/status': 'CapEff:\t00000000800405fb\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n',
    '/proc/self/mountinfo':
      '700 600 0:50 / / rw,relatime - overlay overlay rw\n' +
      '701 700 0:51 / /proc rw - proc proc rw\n' +
      '703 701 0:52 / /proc/acpi ro - tmpfs tmpfs ro\n',
  },
  missingSubuid: without({ ...common, '/etc/subuid': 'bob:100000:65536\n' }, '/etc/subgid'),
  notDelegated: without(
    common,
    `/sys/fs/cgroup${session}/cgroup.procs`,
    `/sys/fs/cgroup${session}/cgroup.subtree_control`,
  ),
  hybrid: {
    ...common,
    '/proc/self/cgroup': '8:pids:/jobs\n4:memory:/jobs\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n',
    '/proc/self/mountinfo':
      rootLine +
      procLine +
      '31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n' +
      '32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n' +
      '33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n' +
      '34 24 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n' +
      '35 24 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n',
  },
  /** An image of a container that is booted as a machine of its own. */
  bootedImage: { ...common, '/.dockerenv': '' },
} as const satisfies Readonly<Record<string, FakeTree>>;
