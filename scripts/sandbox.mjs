#!/usr/bin/env node
// `npm run sandbox -- COMMAND`: run-sandbox from a checkout, all set-up included. Without a command: the demonstration.
// Only what is missing or out of date is made; on a second call this file reads, compares, and hands over.
import { withLock } from './lib/lock.mjs';
import { ensureLauncher, staleLauncher } from './lib/native.mjs';
import { ensureNodeModules, hasNodeModules } from './lib/npm.mjs';
import { inProject } from './lib/paths.mjs';
import { SetupError } from './lib/steps.mjs';
import { ensureTypeScript, staleTypeScript } from './lib/typescript.mjs';

try {
  if (!hasNodeModules() || staleTypeScript() !== undefined || staleLauncher() !== undefined) await withLock(setUp);
  await handOver(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  // As run-sandbox itself: 125 is "the sandbox failed", never a status of the command.
  process.exitCode = 125;
}

async function setUp() {
  await ensureNodeModules();
  await ensureTypeScript();
  await ensureLauncher();
}

/**
 * In this same process: a second start of Node would cost more than the sandbox.
 *
 * @param {string[]} args
 */
async function handOver(args) {
  const file = args.length === 0 ? inProject('scripts', 'demo.mjs') : inProject('dist', 'cli', 'main.cjs');
  process.argv = [process.execPath, file, ...args];
  await import(file);
}
