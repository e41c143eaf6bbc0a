#!/usr/bin/env node
// `npm run tables`: runs the attacks and the conformance suite, and writes what held and what was refused into docs/.
import { withLock } from './lib/lock.mjs';
import { main } from './lib/main.mjs';
import { ensureLauncher, ensureTestPrograms } from './lib/native.mjs';
import { ensureNodeModules } from './lib/npm.mjs';
import { inProject, projectRoot } from './lib/paths.mjs';
import { passThrough, SetupError } from './lib/steps.mjs';
import { forgetTrials, settleTables, trialsDirectory } from './lib/tables.mjs';
import { ensureTypeScript } from './lib/typescript.mjs';

await main(async () => {
  await withLock(async () => {
    await ensureNodeModules();
    await ensureTypeScript();
    await ensureLauncher();
    await ensureTestPrograms();
  });
  forgetTrials();
  const vitest = [
    inProject('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--project',
    'security',
    '--project',
    'conformance',
  ];
  const env = { ...process.env, SANDBOXLIB_TEST_TRIALS: trialsDirectory, SANDBOXLIB_TEST_BUILT: '1' };
  const { status } = await passThrough(process.execPath, vitest, { cwd: projectRoot, env });
  for (const remark of await settleTables({ write: true })) console.log(remark);
  if (status !== 0) throw new SetupError(`vitest ended with status ${status}`);
});
