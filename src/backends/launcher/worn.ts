// What a sandbox made by another program still gets from our own init inside of it, and by which mechanism: the command wears it whoever made the
// namespaces and mounts.
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
