// Before any test: the launcher and the guest of the current sources.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function setup(): void {
  // Once for all projects.
  if (process.env['SANDBOXLIB_TEST_BUILT'] === '1') return;
  const script = fileURLToPath(new URL('../../scripts/build-native.mjs', import.meta.url));
  execFileSync(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
  process.env['SANDBOXLIB_TEST_BUILT'] = '1';
}
