#!/usr/bin/env node
// `npm test`: all set-up, then every check there is. The last line is `N passed, N failed, N skipped` over all of them.
// With arguments: only vitest, with those (`npm test -- test/unit`).
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { canInstall, installPackages } from './lib/apt.mjs';
import { ensureCompiler } from './lib/compiler.mjs';
import { ensureEngine } from './lib/engine.mjs';
import { withLock } from './lib/lock.mjs';
import { main } from './lib/main.mjs';
import {
  ensureCrossLauncher,
  ensureLauncher,
  ensureTestPrograms,
  languageFlags,
  launcherSources,
  warningFlags,
} from './lib/native.mjs';
import { ensureNodeModules } from './lib/npm.mjs';
import { inProject, projectRoot } from './lib/paths.mjs';
import { roomForTests } from './lib/room.mjs';
import { isExpectedSkip } from './lib/skips.mjs';
import { execute, passThrough, SetupError } from './lib/steps.mjs';
import { forgetTrials, settleTables, trialsDirectory } from './lib/tables.mjs';
import { ensureTypeScript } from './lib/typescript.mjs';
import { testPackages } from './packages.mjs';

const isCI = process.env.CI !== undefined && process.env.CI !== '' && process.env.CI !== 'false';
const totals = { passed: 0, failed: 0, skipped: 0 };

await main(async () => {
  await withLock(setUp);
  // Not part of the set-up: the other checks have something to say also when a source does not compile.
  await check('dist/ compiles', () => withLock(ensureTypeScript));
  const filters = process.argv.slice(2);
  if (filters.length === 0) await runChecks();
  await runVitest(filters);
  // A part of the tests has tried a part of what the tables say.
  if (filters.length === 0) await check('the tables of docs/ are those of this run', checkTables);
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  if (totals.failed > 0) process.exitCode = 1;
});

async function setUp() {
  await ensureNodeModules();
  // What is missing then shows as skips with their reason, which CI does not accept.
  if (canInstall()) await installPackages(Object.keys(testPackages)).catch(reportAndContinue);
  await ensureEngine().catch(reportAndContinue);
  await ensureLauncher();
  await ensureCrossLauncher();
  await ensureTestPrograms();
}

/** @param {Error} error */
function reportAndContinue(error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
}

async function runChecks() {
  await check('formatting and lint', () => nodeTool('@biomejs/biome/bin/biome', 'check', '--error-on-warnings'));
  await check('types', () => nodeTool('typescript/bin/tsc', '-p', 'tsconfig.json'));
  await check('no unused file, export or dependency', () => nodeTool('knip/bin/knip.js'));
  await check('the launcher compiles without a warning', async () => {
    const { command, flags } = await ensureCompiler();
    // -O2: some warnings come from the optimizer. One file at a time: -o goes with only one.
    const args = [...languageFlags, '-O2', ...warningFlags, ...flags, '-Werror', '-c', '-o', '/dev/null'];
    for (const source of launcherSources()) await execute(command, [...args, source], { cwd: projectRoot });
  });
  const nativeChecks = inProject('native', 'test', 'run.mjs');
  if (existsSync(nativeChecks)) await runCounted('checks of native/', process.execPath, [nativeChecks]);
}

/**
 * @param {string} name
 * @param {() => Promise<unknown>} action
 */
async function check(name, action) {
  const started = performance.now();
  try {
    await action();
    totals.passed++;
    console.log(`ok    ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    totals.failed++;
    console.log(`FAIL  ${name}\n${error.message}`);
  }
}

/**
 * A program of one of our dependencies.
 *
 * @param {string} tool path below node_modules
 * @param {string[]} args
 */
function nodeTool(tool, ...args) {
  return execute(process.execPath, [inProject('node_modules', tool), ...args], { cwd: projectRoot });
}

/**
 * A program that does several checks, shows them itself, and ends with a line of counts like ours.
 *
 * @param {string} name
 * @param {string} file
 * @param {readonly string[]} args
 */
async function runCounted(name, file, args) {
  const { status, output } = await passThrough(file, args, { cwd: projectRoot });
  const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m.exec(output.trimEnd().split('\n').at(-1) ?? '');
  const [passed, failed, skipped] = counts === null ? [0, 0, 0] : counts.slice(1).map(Number);
  totals.passed += passed;
  totals.skipped += skipped;
  totals.failed += failed;
  if (counts === null || (status !== 0 && failed === 0)) {
    totals.failed++;
    console.log(
      `FAIL  ${name}: ended with status ${status} and ${counts === null ? 'no line of counts' : 'no failure counted'}`,
    );
  }
}

/** Outside of CI they are brought up to date. */
async function checkTables() {
  for (const remark of await settleTables({ write: !isCI })) console.log(remark);
}

/** @param {readonly string[]} filters */
async function runVitest(filters) {
  const file = inProject('build', 'test', 'counts.json');
  mkdirSync(path.dirname(file), { recursive: true });
  rmSync(file, { force: true });
  forgetTrials();
  const env = {
    ...process.env,
    SANDBOXLIB_TEST_COUNTS: file,
    SANDBOXLIB_TEST_TRIALS: trialsDirectory,
    SANDBOXLIB_TEST_BUILT: '1',
    ...roomForTests(),
  };
  const { status } = await passThrough(
    process.execPath,
    [inProject('node_modules', 'vitest', 'vitest.mjs'), 'run', ...filters],
    { cwd: projectRoot, env },
  );
  /** @type {{ passed: number, failed: number, skipped: { name: string, reason: string }[] }} */
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 0, skipped: [] };
  const unexpected = isCI ? counts.skipped.filter(({ reason }) => !isExpectedSkip(reason)) : [];
  for (const { name, reason } of unexpected)
    console.log(`FAIL  skipped, and test/skips.json does not expect it: ${name}: ${reason}`);
  totals.passed += counts.passed;
  totals.failed += counts.failed + unexpected.length;
  totals.skipped += counts.skipped.length - unexpected.length;
  if (status !== 0 && counts.failed === 0) {
    totals.failed++;
    console.log(`FAIL  vitest ended with status ${status}`);
  }
}
