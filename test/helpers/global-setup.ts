// Before any test: the launcher, the guest and dist/ of the current sources. Some tests run a caller of their own by dist/, and as an ordinary user who may
// not write there.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function setup(): void {
  // Once for all projects.
  if (process.env['SANDBOXLIB_TEST_BUILT'] === '1') return;
  for (const name of ['build.mjs', 'build-native.mjs']) {
    const script = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url));
    execFileSync(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
  process.env['SANDBOXLIB_TEST_BUILT'] = '1';
}
