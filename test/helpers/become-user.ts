// Imported first by a test file that is to run as an ordinary user: from here on its process, which is its alone, is one. Back there is no way.
import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ordinaryUser } from './as-user.ts';

const { uid, gid } = ordinaryUser;
if (uid !== undefined && gid !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

/** Why an ordinary user cannot use this checkout; `undefined` when it can. */
export function whyUnreachable(): string | undefined {
  const launcher = fileURLToPath(new URL(`../../prebuilds/linux-${process.arch}/launcher`, import.meta.url));
  try {
    accessSync(launcher, constants.X_OK);
    return undefined;
  } catch (error) {
    return `an ordinary user cannot reach the checkout: ${(error as NodeJS.ErrnoException).code}`;
  }
}
