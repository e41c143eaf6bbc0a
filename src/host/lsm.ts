// What the security modules of this kernel have to say about a sandbox.
import type { HostFiles } from './files.ts';
import type { KernelFacts, LsmFacts } from './types.ts';

export function readLsm(files: HostFiles, kernel: KernelFacts): LsmFacts {
  const enforcing = files.readFile('/sys/fs/selinux/enforce')?.trim();
  const enabled = files.readFile('/sys/module/apparmor/parameters/enabled')?.trim() === 'Y';
  return {
    apparmor: {
      enabled,
      restrictsUserNamespaces: enabled && kernel.sysctls['kernel.apparmor_restrict_unprivileged_userns'] === '1',
      profile: enabled ? readProfile(files) : undefined,
    },
    selinux: { enabled: enforcing !== undefined, enforcing: enforcing === '1' },
    landlock: kernel.lsms?.includes('landlock'),
  };
}

/** The directory of its own came with Linux 5.8; the plain file belongs to whichever module is first. */
function readProfile(files: HostFiles): string | undefined {
  const text = files.readFile('/proc/self/attr/apparmor/current') ?? files.readFile('/proc/self/attr/current');
  const profile = text?.replaceAll('\0', '').trim();
  return profile === '' ? undefined : profile;
}
