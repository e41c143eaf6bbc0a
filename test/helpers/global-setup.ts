// Before any test: the launcher, the test programs and dist/ of the current sources, and what plays the tools that are not to be had as they are. Some tests
// run a caller of their own by dist/, and as an ordinary user who may not write there.
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startEngine } from './engine.ts';
import { installStandIns } from './stand-ins.ts';

export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Once for all projects, each of which has a module of its own.
  if (process.env['SANDBOXLIB_TEST_PREPARED'] === '1') return undefined;
  process.env['SANDBOXLIB_TEST_PREPARED'] = '1';
  // scripts/test.mjs has done this.
  if (process.env['SANDBOXLIB_TEST_BUILT'] !== '1') build();
  settleFirejail();
  const removeStandIns = installStandIns();
  const stopEngine = await startEngine();
  return async () => {
    await stopEngine?.();
    removeStandIns();
  };
}

/** With its first sandbox since the machine was started firejail(1) mounts directories of its own below /run, which stay: no test has left them behind. */
function settleFirejail(): void {
  // Where it is missing, or does not serve this user, there is nothing to settle.
  spawnSync('firejail', ['--quiet', '--noprofile', 'true'], { stdio: 'ignore' });
}

function build(): void {
  for (const name of ['build.mjs', 'build-native.mjs']) {
    const script = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url));
    execFileSync(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
}
