// Backends that only root can use. What anybody else is told is the business of test/os/root-alone.test.ts; there is nothing to try on them then.
import type { BackendName } from '../../src/backends/backend.ts';

export const rootAlone: readonly BackendName[] = ['systemd-nspawn', 'chroot'];

/** Why the backend cannot be tried by this process; `undefined` when it can. */
export function whyRootAlone(backend: BackendName): string | undefined {
  if (process.getuid?.() === 0 || !rootAlone.includes(backend)) return undefined;
  return `backend ${backend} is for root alone`;
}
