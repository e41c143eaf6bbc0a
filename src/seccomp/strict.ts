// What SECCOMP_MODE_STRICT of seccomp(2) allows, as a filter: that mode itself would not outlive the execve(2) that starts the command.
import type { OciSeccompProfile } from './oci.ts';

/**
 * sigreturn is how i386 programs return from a handler. exit_group is not in the kernel's set: without it a program could end no better than by
 * SIGSYS, for it is what every C library calls, and with one thread it does what exit does.
 */
export const strictProfile: OciSeccompProfile = {
  defaultAction: 'SCMP_ACT_KILL_PROCESS',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64'],
  syscalls: [{ names: ['read', 'write', 'exit', 'exit_group', 'rt_sigreturn', 'sigreturn'], action: 'SCMP_ACT_ALLOW' }],
};
