// The command of the tests: static, so that it runs in any root. Built by the global set-up of the projects that need it.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Absolute path of the guest on this host. */
export function guestPath(): string {
  return builtPath('guest');
}

/** The program without a C library (native/test/bare.c). */
export function barePath(): string {
  return builtPath('bare');
}

function builtPath(name: string): string {
  const built = fileURLToPath(new URL(`../../build/test/${name}`, import.meta.url));
  if (!existsSync(built)) throw new Error(`${built} is missing: run "node scripts/build-native.mjs"`);
  return built;
}
