// The command of the tests: static, so that it runs in any root. Built by the global set-up of the projects that need it.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const built: string = fileURLToPath(new URL('../../build/test/guest', import.meta.url));

/** Absolute path of the guest on this host. */
export function guestPath(): string {
  if (!existsSync(built)) throw new Error(`${built} is missing: run "node scripts/build-native.mjs"`);
  return built;
}
