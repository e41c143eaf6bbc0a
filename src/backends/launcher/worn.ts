// What a sandbox made by another program still gets from our own init inside of it, and by which mechanism: the command wears it whoever made the
// namespaces and mounts.

import { groupMechanisms } from './cgroups.ts';
import { diskMechanism } from './disk-mechanism.ts';
import { landlockMechanisms } from './landlock.ts';
import { overlayMechanisms } from './overlay-mechanisms.ts';
import type { Mechanisms } from './tool.ts';

/** Independent of the tool. */
export const worn: Mechanisms = {
  cwd: 'chdir',
  env: 'execve',
  umask: 'umask',
  'limits.wallMs': "the launcher's monotonic clock",
  'limits.processCpuMs': 'RLIMIT_CPU, each process by itself',
  'limits.openFiles': 'RLIMIT_NOFILE',
  'limits.fileBytes': 'RLIMIT_FSIZE',
  'limits.stackBytes': 'RLIMIT_STACK',
  'limits.coreBytes': 'RLIMIT_CORE',
  'limits.outputBytes': 'pipes through the launcher',
  'seccomp.default': 'seccomp filter',
  'seccomp.strict': 'seccomp filter of SECCOMP_MODE_STRICT and exit_group',
  'seccomp.custom': 'seccomp filter of the profile',
  'seccomp.notify': 'seccomp user notification, answered by our init',
  ...landlockMechanisms,
  noNewPrivileges: 'PR_SET_NO_NEW_PRIVS',
  descriptors: 'SCM_RIGHTS to an init of ours, close_range, dup2',
  'usage.wall': "the launcher's monotonic clock",
};

/** Where the tool makes a pid namespace, with our init as its pid 1. */
export const wornInPidNamespace: Mechanisms = {
  ...worn,
  'lifecycle.killTree': "end of our init, pid 1 of the tool's pid namespace",
  'lifecycle.dieWithParent': 'end of file on the channel and on the socket of our init',
  'usage.cpu': 'wait4 of the tool and what it leaves',
};

/** Where init makes the root, in namespaces that `tool` makes in a room of ours (root-inside.ts). */
export function wornInRoom(tool: string): Mechanisms {
  return {
    ...wornInPidNamespace,
    ...groupMechanisms,
    'root.host': 'tmpfs with read-only bind mounts of system directories, pivot_root',
    'root.path': 'bind mount, pivot_root',
    'root.readonly': 'MOUNT_ATTR_RDONLY',
    'root.writablePaths': 'bind mounts over a read-only root',
    'root.missingMountPoints': 'overlay with a layer of mount points',
    'mount.bind': 'bind mount',
    'mount.tmpfs': 'tmpfs with size= and nr_inodes=',
    ...overlayMechanisms,
    'limits.diskBytes': diskMechanism,
    'mount.proc': 'proc of the pid namespace, masked',
    'mount.dev': 'tmpfs with six device nodes, own devpts and mqueue',
    workspace: 'bind mount',
    hostname: `sethostname in a uts namespace by ${tool}`,
    user: 'setresuid, setresgid; for an ordinary user uid_map and gid_map of one id',
    idMappings: `uid_map and gid_map of a user namespace around ${tool}`,
    'idMappings.ranges': `uid_map and gid_map of a user namespace around ${tool}`,
    'namespace.user': `user namespace around ${tool}`,
    'namespace.pid': `pid namespace by ${tool}, our init as pid 1`,
    'namespace.mount': `mount namespace by ${tool}, old root detached`,
    'namespace.network': `network namespace by ${tool}`,
    'namespace.ipc': `ipc namespace by ${tool}`,
    'namespace.uts': `uts namespace by ${tool}`,
    'namespace.cgroup': `cgroup namespace around ${tool}`,
    'network.none': `network namespace with nothing but lo by ${tool}`,
    'network.host': "the host's network namespace",
    'capabilities.drop': 'empty capability sets, locked securebits',
    terminal: "pseudo-terminal of the sandbox's devpts",
  };
}
