#!/usr/bin/env node
// Everything that the package holds: dist/ and prebuilds/.
import { withLock } from './lib/lock.mjs';
import { main } from './lib/main.mjs';
import { ensureCrossLauncher, ensureLauncher } from './lib/native.mjs';
import { ensureNodeModules } from './lib/npm.mjs';
import { ensureTypeScript } from './lib/typescript.mjs';

await main(() =>
  withLock(async () => {
    await ensureNodeModules();
    await ensureTypeScript();
    await ensureLauncher();
    if (!(await ensureCrossLauncher())) {
      process.stderr.write(
        'no launcher for arm64: aarch64-linux-gnu-gcc is not on PATH (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)\n',
      );
    }
  }),
);
