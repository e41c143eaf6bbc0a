// Which kernel this is, and its switches that matter to a sandbox.
import { release } from 'node:os';
import type { HostFiles } from './files.ts';
import type { KernelFacts } from './types.ts';

/** Switches that change what a sandbox may do. Most kernels have only some of them. */
export const sysctlNames = [
  'kernel.unprivileged_userns_clone', // Debian's and Ubuntu's own
  'user.max_user_namespaces', // 4.9
  'user.max_mnt_namespaces',
  'user.max_pid_namespaces',
  'user.max_net_namespaces',
  'user.max_ipc_namespaces',
  'user.max_uts_namespaces',
  'user.max_cgroup_namespaces',
  'kernel.apparmor_restrict_unprivileged_userns', // Ubuntu 23.10
  'kernel.apparmor_restrict_unprivileged_unconfined',
  'kernel.yama.ptrace_scope',
  'kernel.io_uring_disabled', // 6.6
  'kernel.unprivileged_bpf_disabled',
  'dev.tty.legacy_tiocsti', // 6.2
  'vm.memfd_noexec', // 6.3
] as const;

export type SysctlName = (typeof sysctlNames)[number];

export function readKernel(files: HostFiles): KernelFacts {
  const sysctls: Record<string, string> = {};
  for (const name of sysctlNames) {
    const value = readSysctl(files, name);
    if (value !== undefined) sysctls[name] = value;
  }
  const lsms = files.readFile('/sys/kernel/security/lsm')?.trim();
  return {
    release: readRelease(files),
    lsms: lsms === undefined ? undefined : lsms.split(',').filter((name) => name !== ''),
    sysctls,
  };
}

/** As `uname -r` prints it. */
export function readRelease(files: HostFiles): string {
  return readSysctl(files, 'kernel.osrelease') ?? release();
}

function readSysctl(files: HostFiles, name: string): string | undefined {
  return files.readFile(`/proc/sys/${name.replaceAll('.', '/')}`)?.trim();
}
