#!/usr/bin/env node
// The launchers alone: of this machine, of arm64 where its cross compiler is installed, and the programs of the tests.
import { withLock } from './lib/lock.mjs';
import { main } from './lib/main.mjs';
import { ensureCrossLauncher, ensureLauncher, ensureTestPrograms } from './lib/native.mjs';

await main(() =>
  withLock(async () => {
    await ensureLauncher();
    await ensureCrossLauncher();
    await ensureTestPrograms();
  }),
);
