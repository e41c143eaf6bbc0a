// Backends that are not for everybody. What who may not use one is told is the business of test/os/root-alone.test.ts and test/os/firejail.test.ts; there
// is nothing to try on them then.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import type { BackendName } from '../../src/backends/backend.ts';
import { callerFacts } from '../../src/host/facts.ts';

export const rootAlone: readonly BackendName[] = ['systemd-nspawn', 'chroot'];

/** Why a part of a case that root plays for an ordinary user has nobody to play it on. */
export function whyRootAlone(backend: BackendName): string | undefined {
  return rootAlone.includes(backend) ? `backend ${backend} is for root alone` : undefined;
}

/** Why the backend cannot be tried by this process; `undefined` when it can. */
export function whyClosed(backend: BackendName): string | undefined {
  if (backend === 'firejail') return whyWithoutAccount();
  if (backend === 'linux-user-chroot') return whyWithoutHelper();
  if (backend === 'docker') return whyWithoutEngine();
  if (process.getuid?.() === 0) return undefined;
  return whyRootAlone(backend);
}

/** firejail(1) looks its caller up, and ends where it does not find it. */
export function whyWithoutAccount(): string | undefined {
  const uid = String(process.getuid?.());
  const known = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .some((line) => line.split(':')[2] === uid);
  return known ? undefined : 'backend firejail is for users with an account';
}

/** linux-user-chroot(8) can do for an ordinary user only what root lets it. */
function whyWithoutHelper(): string | undefined {
  if (process.getuid?.() === 0) return undefined;
  const file = callerFacts().program('linux-user-chroot');
  const { uid, mode } = file === undefined ? { uid: undefined, mode: 0 } : statSync(file);
  return uid === 0 && (mode & 0o4000) !== 0 ? undefined : 'there is no linux-user-chroot that is set-user-ID root';
}

/** test/helpers/engine.ts starts one where it can. */
export function whyWithoutEngine(): string | undefined {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  try {
    accessSync(host.replace(/^unix:\/\//, ''), constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return `no container engine can be reached: ${(error as NodeJS.ErrnoException).code}`;
  }
}
