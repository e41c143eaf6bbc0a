// Before any test: the launcher, the guest and dist/ of the current sources, and a container engine. Some tests run a caller of their own by dist/, and as an ordinary user who may
// not write there.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startEngine } from './engine.ts';

export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Once for all projects.
  if (process.env['SANDBOXLIB_TEST_BUILT'] === '1') return undefined;
  for (const name of ['build.mjs', 'build-native.mjs']) {
    const script = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url));
    execFileSync(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
  process.env['SANDBOXLIB_TEST_BUILT'] = '1';
  return startEngine();
}
