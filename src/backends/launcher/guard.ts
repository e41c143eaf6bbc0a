// System calls that reach into another process of the same user. In a pid namespace there is none but the sandbox's own; without one there are all of the
// host, and one that can be traced is a way out of a root that is only entered.
// The program is made beforehand (`guard-filter-data.ts`), or every plain run would load the compiler and its tables of calls.
import type { OciSeccompProfile } from '../../seccomp/oci.ts';
import { guardFilters } from './guard-filter-data.ts';
import type { Step } from './steps.ts';

const EPERM = 1;
const LOW_32_BITS = 0xffffffff;

/** Kept whatever filter the spec asks for, and where it asks for none: everything else stays as it is. */
export const guardProfile: OciSeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
  syscalls: [
    {
      names: [
        ...['kcmp', 'perf_event_open', 'pidfd_getfd', 'process_madvise', 'process_mrelease'],
        ...['process_vm_readv', 'process_vm_writev', 'ptrace'],
      ],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: EPERM,
    },
    // Of another process: the kernel asks for the same user and nothing more, and one whose processor time is bounded to nothing is killed. 0 is the caller.
    {
      names: ['prlimit64'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: EPERM,
      args: [{ index: 0, value: 0, op: 'SCMP_CMP_NE' }],
    },
    // Everybody (-1, of which the kernel looks at 32 bits) is everybody of the host: a script that clears up after itself would end the machine.
    {
      names: ['kill'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: EPERM,
      args: [{ index: 0, value: LOW_32_BITS, valueTwo: LOW_32_BITS, op: 'SCMP_CMP_MASKED_EQ' }],
    },
  ],
};

export function guardStep(architecture: 'x64' | 'arm64'): Step {
  return {
    step: 'seccomp',
    filter: guardFilters[architecture],
    deniesKeyrings: false,
    tells: false,
    asks: false,
    pass: [],
  };
}
