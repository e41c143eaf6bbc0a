// A glance at the host before the first run: whether it may refuse user namespaces to this caller. It decides nothing but whether to look closer.
import { type HostFiles, hostFiles } from './files.ts';

let remembered: boolean | undefined;

export function mayRefuseUserNamespaces(): boolean {
  remembered ??= process.platform === 'linux' && suspects(hostFiles, process.getuid?.() ?? 0);
  return remembered;
}

/** user_namespaces(7); Debian's and Ubuntu's own switches bind only those without CAP_SYS_ADMIN. */
export function suspects(files: HostFiles, uid: number): boolean {
  const is = (name: string, value: string): boolean => files.readFile(`/proc/sys/${name}`)?.trim() === value;
  if (is('user/max_user_namespaces', '0')) return true;
  if (uid === 0) return false;
  return is('kernel/unprivileged_userns_clone', '0') || is('kernel/apparmor_restrict_unprivileged_userns', '1');
}
