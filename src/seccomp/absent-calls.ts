// A filter that hides calls, for whoever stands between a command and the kernel and does not know them.
import { compileSeccomp } from './compile.ts';

const ENOSYS = 38;

/** `names` answer as on a kernel that does not have them; everything else is allowed. The array is shared between callers. */
export function absentCalls(names: readonly string[], architecture: 'x64' | 'arm64'): Uint8Array {
  const key = `${architecture} ${names.join(' ')}`;
  const known = filters.get(key);
  if (known !== undefined) return known;
  const filter = compileSeccomp(
    {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64'],
      syscalls: [{ names, action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS }],
    },
    { architecture },
  );
  filters.set(key, filter);
  return filter;
}

const filters = new Map<string, Uint8Array>();
